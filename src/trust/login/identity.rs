//! A client certificate and its key, as an operator has them in PEM files. Pure.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

/// See the module's header.
#[derive(Clone)]
pub struct Identity {
    pub key: Arc<CertifiedKey>,
    fingerprint: u64,
}

/// The error, and which of the two files has it.
#[derive(Debug, PartialEq)]
pub enum Wrong {
    Certificate(String),
    Key(String),
}

impl Identity {
    /// Reads a chain, its own certificate first, and the key of that. The error does not show the
    /// key.
    pub fn parse(chain: &str, key: &str) -> Result<Identity, Wrong> {
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let certificates = certificates
            .map_err(|e| Wrong::Certificate(format!("it is not PEM: {}", plain(&e))))?;
        if certificates.is_empty() {
            let text = "there is no certificate in it (-----BEGIN CERTIFICATE-----)";
            return Err(Wrong::Certificate(text.into()));
        }
        let mut hasher = DefaultHasher::new();
        certificates.iter().for_each(|c| c.hash(&mut hasher));
        let key = read_key(key).map_err(Wrong::Key)?;
        let provider = ring::default_provider();
        let private = provider.key_provider.load_private_key(key).map_err(|_| {
            Wrong::Key(
                "the key is of no kind that can be used: RSA of 2048 bits or more, ECDSA on P-256 or \
                 P-384, Ed25519"
                    .into(),
            )
        })?;
        let key = CertifiedKey::new(certificates, private);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(Wrong::Key(
                    "it is not the key of the first certificate in client_cert_file".into(),
                ));
            }
            Err(e) => return Err(Wrong::Certificate(format!("it cannot be used: {e}"))),
        }
        Ok(Identity {
            key: Arc::new(key),
            fingerprint: hasher.finish(),
        })
    }

    /// The same for the same certificates, as long as this process runs.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Since when the certificate is of no use to most servers, if it is.
    pub fn expired(&self, now: UnixTime) -> Option<UnixTime> {
        let own = webpki::EndEntityCert::try_from(self.key.cert.first()?).ok()?;
        let usage = webpki::KeyUsage::client_auth();
        // Nothing trusts this certificate, but the dates are checked first.
        let judged = own.verify_for_usage(&[], &[], &[], now, usage, None, None);
        match judged.err()? {
            webpki::Error::CertExpired { not_after, .. } => Some(not_after),
            _ => None,
        }
    }
}

fn read_key(text: &str) -> Result<PrivateKeyDer<'static>, String> {
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Ok(key),
        Err(_) if text.contains("ENCRYPTED") => Err(
            "the key is encrypted, and nobody is there to be asked for the passphrase; \
             `openssl pkey` writes it without"
                .into(),
        ),
        Err(pem::Error::NoItemsFound) => {
            Err("there is no private key in it (-----BEGIN PRIVATE KEY-----, or RSA or EC)".into())
        }
        Err(e) => Err(format!("it is not PEM: {}", plain(&e))),
    }
}

/// What is wrong with a PEM file. The words of the parser may contain lines of the file.
fn plain(e: &pem::Error) -> &'static str {
    match e {
        pem::Error::MissingSectionEnd { .. } => "a section has no end (-----END ...-----)",
        pem::Error::IllegalSectionStart { .. } => "a line that begins a section is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a client certificate, {:x}", self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    fn pair(key: &KeyPair) -> (String, String) {
        let mut params = CertificateParams::new(vec!["us".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let certificate = params.self_signed(key).unwrap();
        (
            pem("CERTIFICATE", certificate.der()),
            pem("PRIVATE KEY", &key.serialize_der()),
        )
    }

    fn pem(kind: &str, der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            lines.join("\n")
        )
    }

    #[test]
    fn a_certificate_and_its_key_are_read_in_any_order() {
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let (chain, key) = pair(&KeyPair::generate_for(algorithm).unwrap());
            let read = Identity::parse(&chain, &key).unwrap();
            let again =
                Identity::parse(&format!("{key}{chain}"), &format!("{chain}{key}")).unwrap();
            assert_eq!(read.fingerprint(), again.fingerprint());
            let shown = format!("{read:?}");
            assert!(shown.len() < 60, "{shown}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_of_the_key() {
        let (chain, key) = pair(&KeyPair::generate().unwrap());
        let (_, other) = pair(&KeyPair::generate().unwrap());
        let broken = key.replace('M', "*");
        let endless = key.replace("END", "DNE");
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        for (chain, key, words) in [
            ("", &*key, "no certificate"),
            (&*key, &key, "no certificate"),
            (&chain, "", "no private key"),
            (&chain, &chain, "no private key"),
            (&chain, &other, "not the key of"),
            (&chain, &broken, "base64"),
            (&chain, &endless, "no end"),
            (&chain, &encrypted, "passphrase"),
        ] {
            let wrong = format!("{:?}", Identity::parse(chain, key).unwrap_err());
            assert!(wrong.contains(words), "{words}: {wrong}");
            let secret: Vec<&str> = key.lines().filter(|l| !l.starts_with('-')).collect();
            assert!(!secret.iter().any(|line| wrong.contains(line)), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_knows_when_it_has_expired() {
        let (chain, key) = pair(&KeyPair::generate().unwrap());
        let identity = Identity::parse(&chain, &key).unwrap();
        let at = |year: u64| {
            let since = (year - 1970) * 31_557_600;
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(since))
        };
        assert!(identity.expired(at(2020)).is_none());
        let since = identity.expired(at(2022)).unwrap();
        assert_eq!(since.as_secs() / 31_557_600 + 1970, 2021);
    }
}
