//! Says what failures of TLS mean, in sentences for the person who has to mend them. Pure.
//!
//! `certificate_errors.rs` has the sentences about certificates.

use std::io::{self, ErrorKind};

use rustls::{AlertDescription, Error};

use super::certificate_errors::refusal;
use super::client_certificate::{Shown, describe_alert};
use crate::delivery::FailureKind;
use crate::http::failure::{Failure, is_timeout};

/// What a handshake that failed came to. `first`: the first bytes that came.
pub fn describe_handshake(e: &io::Error, first: Option<&[u8]>, shown: Shown) -> Failure {
    if is_timeout(e) {
        return Failure::new(
            FailureKind::Timeout,
            "the TLS handshake did not end in time (connected)",
        );
    }
    if let Some(bytes) = first.filter(|bytes| !is_tls_record(bytes)) {
        return Failure::new(FailureKind::Tls, describe_plain(bytes));
    }
    if let Some(failure) = describe_io(e, shown) {
        return failure;
    }
    let text = match e.kind() {
        ErrorKind::UnexpectedEof => {
            "the server closed the connection in the TLS handshake".to_owned()
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            format!("the server reset the connection in the TLS handshake ({e})")
        }
        _ => format!("the TLS handshake failed: {e}"),
    };
    Failure::new(FailureKind::Tls, text)
}

/// What an I/O error means, if TLS has to do with it.
pub fn describe_io(e: &io::Error, shown: Shown) -> Option<Failure> {
    let e = e.get_ref()?.downcast_ref::<Error>()?;
    Some(describe(e, shown))
}

/// What an error of TLS means. `shown`: what the server was shown when it asked who we are.
pub fn describe(e: &Error, shown: Shown) -> Failure {
    use AlertDescription as Alert;
    if let Error::AlertReceived(alert) = e
        && let Some(text) = describe_alert(*alert, shown)
    {
        return Failure::new(FailureKind::Tls, text);
    }
    let text = match e {
        Error::AlertReceived(Alert::HandshakeFailure) => {
            "the server refuses the handshake: it shares no cipher with us, or wants another \
             name (outhook has TLS 1.2 and 1.3 with ECDHE, and AES-GCM or ChaCha20)"
                .into()
        }
        Error::AlertReceived(Alert::ProtocolVersion) => OLD_TLS.into(),
        Error::PeerIncompatible(why) => describe_incompatible(why),
        Error::AlertReceived(Alert::UnrecognisedName) => {
            "the server knows no such name (alert unrecognized_name)".into()
        }
        Error::AlertReceived(Alert::NoApplicationProtocol) => {
            "the server speaks no HTTP/1.1 on this port (alert no_application_protocol)".into()
        }
        Error::AlertReceived(alert) => format!("the server sent the TLS alert {alert:?}"),
        e => refusal(e).unwrap_or_else(|| format!("TLS failed: {e}")),
    };
    Failure::new(FailureKind::Tls, text)
}

const OLD_TLS: &str = "the server does not speak TLS 1.2 or newer";

fn describe_incompatible(why: &rustls::PeerIncompatible) -> String {
    use rustls::PeerIncompatible as P;
    match why {
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled => OLD_TLS.into(),
        P::NoCipherSuitesInCommon => "the server shares no cipher with us".into(),
        why => format!("the server's TLS does not fit ours ({why:?})"),
    }
}

/// The first byte of a record says what it is (RFC 8446 5.1). All that may come here lie in this range.
fn is_tls_record(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x18, 0x03, ..] | [0x14..=0x18] | [])
}

fn describe_plain(bytes: &[u8]) -> String {
    let line = bytes.split(|b| matches!(b, b'\r' | b'\n')).next();
    let shown: String = String::from_utf8_lossy(line.unwrap_or_default())
        .chars()
        .take(40)
        .flat_map(char::escape_debug)
        .collect();
    let help = match bytes.starts_with(b"HTTP/") {
        true => "it speaks plain HTTP: is http:// meant?",
        false => "is the port right?",
    };
    format!("the server does not speak TLS on this port (it sent \"{shown}\"); {help}")
}
