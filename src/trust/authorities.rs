//! Certificates that an operator trusts, beside Mozilla's or instead. Pure: the caller reads the
//! file.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificates of one file.
#[derive(Clone)]
pub struct Authorities {
    certificates: Arc<[CertificateDer<'static>]>,
    fingerprint: u64,
}

impl Authorities {
    /// Reads certificates in PEM. The error says what is wrong with them.
    pub fn parse(pem: &[u8]) -> Result<Authorities, String> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|e| format!("it is not PEM: {e}"))?;
        if certificates.is_empty() {
            return Err("there is no certificate in it (-----BEGIN CERTIFICATE-----)".into());
        }
        for (n, certificate) in (1..).zip(&certificates) {
            webpki::anchor_from_trusted_cert(certificate)
                .map_err(|e| format!("its certificate {n} cannot be used: {e}"))?;
        }
        let mut hasher = DefaultHasher::new();
        certificates.iter().for_each(|c| c.hash(&mut hasher));
        Ok(Authorities {
            certificates: certificates.into(),
            fingerprint: hasher.finish(),
        })
    }

    pub fn certificates(&self) -> &Arc<[CertificateDer<'static>]> {
        &self.certificates
    }

    /// The same for the same certificates, as long as this process runs.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.certificates.len())
    }
}
