//! Which servers are who they say they are, and what exactly is wrong with the others.
//!
//! The judgement is webpki's. What is added: a certificate that an operator has named himself in
//! `--ca-file` is good for the server that shows it, also where it is its own issuer (as
//! `openssl req -x509` makes them, and as curl takes them), but vouches for others only if it is
//! an authority's; and each refusal becomes a sentence for the one who has to mend it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, Der, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

/// More names of a certificate are not written out.
const NAMES_SHOWN: usize = 6;

/// What is wrong with a certificate, in a sentence.
#[derive(Debug)]
pub struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

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

    // Whoever stands between has a key for his own certificate, so its signatures tell nothing; and
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

/// Whether a certificate is an authority's. webpki takes whatever it is given as one, and so whoever
/// has a server's key could show certificates for all names.
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
        let refusal = Refusal(describe(&e, certificate, chain, name));
        Err(CertificateError::Other(OtherError(Arc::new(refusal))).into())
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

/// The refusal in an error of rustls, if it is one of ours.
pub fn refusal(e: &Error) -> Option<String> {
    match e {
        Error::InvalidCertificate(CertificateError::Other(OtherError(e))) => {
            e.downcast_ref::<Refusal>().map(Refusal::to_string)
        }
        _ => None,
    }
}

fn describe(
    e: &Error,
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> String {
    use CertificateError as C;
    let Error::InvalidCertificate(reason) = e else {
        return format!("the server's certificate is refused: {e}");
    };
    match reason {
        C::ExpiredContext { not_after, .. } => {
            format!("the certificate expired at {}", date(*not_after))
        }
        C::NotValidYetContext { not_before, .. } => {
            let from = date(*not_before);
            format!("the certificate is not yet valid: it begins at {from} (is the clock right?)")
        }
        C::NotValidForNameContext { presented, .. } => {
            let wanted = name.to_str();
            format!(
                "the certificate is not for {wanted}; it is for {}",
                names(presented)
            )
        }
        C::UnknownIssuer => describe_issuer(certificate, chain),
        _ if is_authority(e) => match parties(certificate) {
            Some((issuer, subject)) if issuer == subject => SELF_SIGNED.into(),
            _ => "the server shows the certificate of an authority as its own".into(),
        },
        C::InvalidPurposeContext { .. } | C::InvalidPurpose => {
            "the certificate is not for servers (extended key usage)".into()
        }
        C::BadEncoding => "the certificate is malformed".into(),
        C::BadSignature => "the certificate is not signed by the issuer that it names".into(),
        other => format!("the certificate is refused: {other}"),
    }
}

const SELF_SIGNED: &str = "the certificate is self-signed; --ca-file can name it as trusted";

fn describe_issuer(certificate: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> String {
    let Some((issuer, subject)) = parties(certificate) else {
        return "the certificate's issuer is not known".into();
    };
    if issuer == subject {
        return SELF_SIGNED.into();
    }
    // Of what it sent, walk up to the certificate whose issuer is missing.
    let mut missing = issuer;
    let mut steps = 0;
    while let Some((above, _)) = chain
        .iter()
        .filter_map(parties)
        .find(|(_, subject)| *subject == missing)
        && steps < chain.len()
        && above != missing
    {
        missing = above;
        steps += 1;
    }
    let issuer = common_name(&missing).unwrap_or_else(|| "an unnamed issuer".into());
    if steps == 0 {
        format!(
            "the certificate's issuer, {issuer}, is not known: an intermediate certificate is \
             missing in what the server sends (browsers may fetch it themselves), or it is a \
             private authority, which --ca-file can name"
        )
    } else {
        format!("the issuer {issuer} is not trusted; --ca-file can name a private authority")
    }
}

/// Issuer and subject, as they are encoded.
fn parties(certificate: &CertificateDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some((parsed.issuer().to_vec(), parsed.subject().to_vec()))
}

/// The common name in an encoded name: what follows the object identifier 2.5.4.3.
fn common_name(encoded: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let at = encoded
        .windows(COMMON_NAME.len())
        .position(|bytes| bytes == COMMON_NAME)?;
    let value = &encoded[at + COMMON_NAME.len()..];
    let length = usize::from(*value.get(1)?);
    let text = value.get(2..2 + length).filter(|_| length < 0x80)?;
    Some(format!("{:?}", String::from_utf8_lossy(text)))
}

fn names(presented: &[String]) -> String {
    let clean = |name: &String| {
        // webpki writes them as DnsName("a.example"), IpAddress(127.0.0.1).
        let inner = name.split_once('(').map_or(&**name, |(_, rest)| rest);
        inner
            .trim_end_matches(')')
            .trim_matches('"')
            .escape_debug()
            .to_string()
    };
    let mut shown: Vec<String> = presented.iter().take(NAMES_SHOWN).map(clean).collect();
    match presented.len() {
        0 => return "no name at all (a common name alone does not count)".into(),
        n if n > NAMES_SHOWN => shown.push(format!("{} more", n - NAMES_SHOWN)),
        _ => {}
    }
    shown.join(", ")
}

fn date(time: UnixTime) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time).to_string()
}

fn is_unknown_issuer(e: &Error) -> bool {
    matches!(
        e,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    )
}

/// The certificate of an authority where a server's own is expected.
fn is_authority(e: &Error) -> bool {
    match e {
        Error::InvalidCertificate(CertificateError::Other(OtherError(e))) => {
            matches!(
                e.downcast_ref::<webpki::Error>(),
                Some(webpki::Error::CaUsedAsEndEntity)
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_cleaned() {
        let list = |n: usize| {
            (0..n)
                .map(|i| format!("DnsName(\"h{i}.example\")"))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&list(2)), "h0.example, h1.example");
        assert!(names(&list(9)).ends_with("h5.example, 3 more"));
        assert!(names(&[]).contains("no name"));
        assert_eq!(names(&["IpAddress(127.0.0.1)".into()]), "127.0.0.1");
    }

    #[test]
    fn a_common_name_is_found_and_nothing_is_read_beyond_the_end() {
        let name = b"\x31\x0f\x30\x0d\x06\x03\x55\x04\x03\x0c\x06Acme 1";
        assert_eq!(common_name(name).unwrap(), "\"Acme 1\"");
        for end in 0..name.len() {
            assert_eq!(common_name(&name[..end]), None);
        }
    }
}
