//! Which servers are who they say they are.
//!
//! The judgement is webpki's. One thing is added: a certificate that an operator has named in
//! `--ca-file` is good for the server that shows it, also where it is its own issuer (as
//! `openssl req -x509` makes them, and as curl takes them). But it vouches for others only if it is
//! an authority's. `certificate_errors.rs` makes a sentence of each refusal.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, Der, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate_errors::{is_authority, is_unknown_issuer, refuse};

/// See the module's header.
#[derive(Debug)]
pub struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    /// Certificates that the operator trusts, as they are.
    own: Arc<[CertificateDer<'static>]>,
}

impl Verifier {
    /// Trusts Mozilla's roots if `public`, and `own`.
    pub fn new(
        public: bool,
        own: Arc<[CertificateDer<'static>]>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Verifier, String> {
        let mut roots = RootCertStore::empty();
        if public {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for certificate in own.iter().filter(|c| may_vouch(c)) {
            let added = roots.add(certificate.clone());
            added.map_err(|e| format!("a certificate in it cannot be used: {e}"))?;
        }
        if roots.is_empty() {
            roots.roots.push(nobody());
        }
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Verifier { chains, own })
    }
}

/// Takes whatever certificate a server shows: `insecure_tls`.
#[derive(Debug)]
pub struct Unverified(Arc<Verifier>);

impl Unverified {
    /// Of `verifier` it only has the algorithms.
    pub fn new(verifier: Arc<Verifier>) -> Unverified {
        Unverified(verifier)
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A man in the middle has a key for his own certificate, so its signatures tell nothing. And
    // webpki cannot read all certificates whose keys could be tried.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Whether a certificate is an authority's. webpki takes any root that it is given for one, and then the
/// owner of a server's key could make certificates for all names.
fn may_vouch(certificate: &CertificateDer<'_>) -> bool {
    let parsed = match webpki::EndEntityCert::try_from(certificate) {
        Ok(parsed) => parsed,
        // Version 1 does not say what a certificate is for; authorities of that age have it.
        Err(e) => return matches!(e, webpki::Error::UnsupportedCertVersion),
    };
    let judge = |at| {
        let usage = webpki::KeyUsage::server_auth();
        let judged = parsed.verify_for_usage(&[], &[], &[], at, usage, None, None);
        judged.err()
    };
    // The dates are looked at first, and here they do not matter.
    let reason = match judge(UnixTime::now()) {
        Some(webpki::Error::CertExpired { not_after, .. }) => judge(not_after),
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => judge(not_before),
        reason => reason,
    };
    matches!(reason, Some(webpki::Error::CaUsedAsEndEntity))
}

/// An authority that nobody is: webpki wants one.
fn nobody() -> TrustAnchor<'static> {
    TrustAnchor {
        subject: Der::from_slice(b"nobody"),
        subject_public_key_info: Der::from_slice(b""),
        name_constraints: None,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Err(e) = self
            .chains
            .verify_server_cert(certificate, chain, name, ocsp, now)
        else {
            return Ok(ServerCertVerified::assertion());
        };
        // webpki looks at the dates before it looks for the issuer.
        let lacks_issuer = is_unknown_issuer(&e) || is_authority(&e);
        let e = match lacks_issuer && self.own.contains(certificate) {
            true => match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(e) => e,
            },
            false => e,
        };
        Err(refuse(&e, certificate, chain, name))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
