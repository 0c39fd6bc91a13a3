//! Our own certificate, for a server that asks who we are: whether there is one to show, and what the
//! server's refusals mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};

/// What the server was shown when it asked.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Shown {
    /// It has not asked.
    NotAsked,
    /// There is no certificate for it.
    None,
    /// It takes no signature that our key can make.
    Unfit,
    Ours,
}

/// Notes that the server asks for a certificate of ours, and shows it if there is one.
#[derive(Debug)]
pub struct Asked {
    ours: Option<Arc<CertifiedKey>>,
    shown: AtomicU8,
}

impl Asked {
    pub fn new(ours: Option<Arc<CertifiedKey>>) -> Asked {
        Asked {
            ours,
            shown: AtomicU8::new(Shown::NotAsked as u8),
        }
    }

    pub fn shown(&self) -> Shown {
        let shown = self.shown.load(Ordering::Relaxed);
        let all = [Shown::None, Shown::Unfit, Shown::Ours];
        let found = all.into_iter().find(|s| *s as u8 == shown);
        found.unwrap_or(Shown::NotAsked)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Whose certificates it wants is a hint that many servers get wrong, so ours is shown anyway.
        let ours = self.ours.as_ref();
        let fit = ours.filter(|ours| ours.key.choose_scheme(schemes).is_some());
        let shown = match (ours, fit) {
            (None, _) => Shown::None,
            (Some(_), None) => Shown::Unfit,
            (Some(_), Some(_)) => Shown::Ours,
        };
        self.shown.store(shown as u8, Ordering::Relaxed);
        fit.cloned()
    }

    fn has_certs(&self) -> bool {
        self.ours.is_some()
    }
}

/// What an alert means of our certificate, if it may be about that.
pub fn describe_alert(alert: AlertDescription, shown: Shown) -> Option<String> {
    use AlertDescription as Alert;
    let is_vague = matches!(
        alert,
        Alert::HandshakeFailure | Alert::BadCertificate | Alert::AccessDenied
    );
    match shown {
        Shown::NotAsked if alert == Alert::CertificateRequired => Some(NONE.into()),
        Shown::NotAsked => None,
        Shown::None | Shown::Unfit if !is_vague && alert != Alert::CertificateRequired => None,
        Shown::None => Some(NONE.into()),
        Shown::Unfit => Some(UNFIT.into()),
        Shown::Ours => {
            let why = match alert {
                Alert::UnknownCA => "it does not know who has issued it (alert unknown_ca)",
                Alert::CertificateExpired => "it has expired (alert certificate_expired)",
                Alert::CertificateRevoked => "it is revoked (alert certificate_revoked)",
                Alert::BadCertificate => "alert bad_certificate",
                Alert::UnsupportedCertificate => "alert unsupported_certificate",
                Alert::CertificateUnknown => "alert certificate_unknown",
                Alert::CertificateRequired => "alert certificate_required",
                Alert::AccessDenied => "alert access_denied",
                Alert::DecryptError => "alert decrypt_error",
                Alert::HandshakeFailure => "alert handshake_failure",
                _ => return None,
            };
            Some(format!(
                "the server refuses our client certificate (client_cert_file): {why}"
            ))
        }
    }
}

const NONE: &str = "the server demands a client certificate, and outhook has none to show; \
                    client_cert_file in the endpoints file names one";

const UNFIT: &str = "the server demands a client certificate, and takes no signature that the key in \
                     client_key_file can make";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_what_was_shown() {
        use AlertDescription as Alert;
        for (alert, shown, words) in [
            (
                Alert::CertificateRequired,
                Shown::NotAsked,
                Some("none to show"),
            ),
            (
                Alert::CertificateRequired,
                Shown::None,
                Some("none to show"),
            ),
            (Alert::HandshakeFailure, Shown::None, Some("none to show")),
            (Alert::HandshakeFailure, Shown::NotAsked, None),
            (Alert::HandshakeFailure, Shown::Unfit, Some("no signature")),
            (Alert::ProtocolVersion, Shown::None, None),
            (Alert::ProtocolVersion, Shown::Ours, None),
            (Alert::UnknownCA, Shown::NotAsked, None),
            (Alert::UnknownCA, Shown::Ours, Some("who has issued it")),
            (Alert::CertificateRequired, Shown::Ours, Some("refuses our")),
        ] {
            let text = describe_alert(alert, shown);
            assert_eq!(text.is_some(), words.is_some(), "{alert:?} {shown:?}");
            let words = words.unwrap_or_default();
            assert!(
                text.unwrap_or_default().contains(words),
                "{alert:?} {shown:?}"
            );
        }
    }
}
