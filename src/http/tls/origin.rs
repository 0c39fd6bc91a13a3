//! TLS over a connection: configurations, the handshake, and what its failures mean.
//!
//! Blocks until the deadline that it is handed at the longest. Sessions are kept for each origin
//! apart ([`Trust::for_origin`]), so that as many can be resumed as there are endpoints, and none
//! outlives what is known of its origin.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, Error, SupportedCipherSuite,
};

use crate::delivery::FailureKind;
use crate::http::connection::carrier::Carrier;
use crate::http::failure::{Failure, is_timeout};
use crate::http::tls::client_certificate::{Asked, describe_alert};
use crate::http::tls::records::Walk;
use crate::http::tls::verifier::{Unverified, Verifier, refusal};
use crate::trust::authorities::Authorities;
use crate::trust::login::Identity;

/// Sessions that may be kept for one origin; rustls counts them so.
const SESSIONS: usize = 8;

/// Asked for before all others. The sort keeps the order of the rest.
const FIRST_SUITE: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

/// Whom to trust: a configuration that has no sessions yet.
pub struct Trust {
    verifier: Arc<Verifier>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

/// The TLS side of one origin: its sessions, and whether it has asked who we are.
#[derive(Debug, Clone)]
pub struct OriginTls {
    config: Arc<ClientConfig>,
    asked: Arc<Asked>,
}

impl Trust {
    /// Mozilla's roots if `public`, and what the operator has named.
    pub fn new(public: bool, own: Option<&Authorities>) -> Result<Trust, String> {
        let mut provider = ring::default_provider();
        // SHA-256 has instructions of its own in processors where SHA-384 has none, and a
        // handshake is full of hashes; browsers have this order, too.
        let is_first = |suite: &SupportedCipherSuite| suite.suite() == FIRST_SUITE;
        provider.cipher_suites.sort_by_key(|suite| !is_first(suite));
        let provider = Arc::new(provider);
        let own = own.map_or_else(|| Arc::from([]), |own| own.certificates().clone());
        let verifier = Verifier::new(public, own, provider.clone())?;
        Ok(Trust {
            verifier: Arc::new(verifier),
            provider,
        })
    }

    /// A configuration for one origin, and who we are there.
    pub fn for_origin(&self, identity: Option<&Identity>, insecure: bool) -> OriginTls {
        let asked = Arc::new(Asked::new(identity.map(|identity| identity.key.clone())));
        let verifier: Arc<dyn ServerCertVerifier> = match insecure {
            true => Arc::new(Unverified::new(self.verifier.clone())),
            // It is webpki's judgement, with better sentences.
            false => self.verifier.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring knows TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(asked.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        OriginTls {
            config: Arc::new(config),
            asked,
        }
    }
}

/// The client's last words may be left over: they go out with the request, in one write.
fn shake_hands(connection: &mut ClientConnection, wire: &mut Wire<'_>) -> io::Result<()> {
    loop {
        while connection.is_handshaking() && connection.wants_write() {
            connection.write_tls(wire)?;
        }
        if !connection.is_handshaking() {
            return Ok(());
        }
        if connection.read_tls(wire)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Err(e) = connection.process_new_packets() {
            // The alert that says why.
            let _ = connection.write_tls(wire);
            return Err(io::Error::new(ErrorKind::InvalidData, e));
        }
    }
}

impl OriginTls {
    /// Makes the handshake with `host`, a name or an address. What was read may be more than it.
    pub fn connect(
        &self,
        carrier: &mut Carrier,
        host: &str,
        end: Instant,
    ) -> Result<(Box<ClientConnection>, Walk), Failure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Failure::new(
                FailureKind::Tls,
                format!("{host:?} is a name that no certificate can have"),
            )
        })?;
        let connection = ClientConnection::new(self.config.clone(), name);
        let mut connection = connection.map_err(|e| self.describe(&e))?;
        let mut wire = Wire {
            carrier,
            end,
            first: None,
            walk: Walk::default(),
        };
        if let Err(e) = shake_hands(&mut connection, &mut wire) {
            return Err(self.failure(&e, wire.first.as_deref()));
        }
        let walk = wire.walk;
        Ok((Box::new(connection), walk))
    }

    /// What an I/O error on a connection of this origin means, if TLS has to do with it.
    pub fn failure_of(&self, e: &io::Error) -> Option<Failure> {
        let e = e.get_ref()?.downcast_ref::<Error>()?;
        Some(self.describe(e))
    }

    fn failure(&self, e: &io::Error, first: Option<&[u8]>) -> Failure {
        if is_timeout(e) {
            return Failure::new(
                FailureKind::Timeout,
                "the TLS handshake did not end in time (connected)",
            );
        }
        if let Some(bytes) = first.filter(|bytes| !is_tls_record(bytes)) {
            return Failure::new(FailureKind::Tls, describe_plain(bytes));
        }
        if let Some(failure) = self.failure_of(e) {
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

    fn describe(&self, e: &Error) -> Failure {
        use AlertDescription as Alert;
        if let Error::AlertReceived(alert) = e
            && let Some(text) = describe_alert(*alert, self.asked.shown())
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

/// The first byte of a record says what it is (RFC 8446 5.1); all we may meet here lie so close.
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

/// A connection under rustls, with a deadline. Keeps the first bytes that came, as rustls says
/// nothing of what it could not read.
struct Wire<'a> {
    carrier: &'a mut Carrier,
    end: Instant,
    first: Option<Vec<u8>>,
    walk: Walk,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.carrier.read(buffer, self.end)?;
        self.walk.pass(&buffer[..n]);
        let seen = &buffer[..n.min(64)];
        self.first.get_or_insert_with(|| seen.to_vec());
        Ok(n)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.carrier.write_parts_now(parts) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.carrier.wait(PollFlags::OUT, self.end)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
