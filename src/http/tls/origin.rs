//! The TLS side of one origin: whom we trust there, who we are, its sessions, and the handshake.
//!
//! Sessions are kept for each origin apart ([`TrustStore::for_origin`]), so that as many can be resumed
//! as there are endpoints, and none outlives what is known of its origin. Blocks until the deadline that
//! it is handed at the longest.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig, ClientConnection, SupportedCipherSuite};

use super::client_certificate::Asked;
use super::errors;
use super::records::RecordCursor;
use super::verifier::{Unverified, Verifier};
use crate::delivery::FailureKind;
use crate::http::connection::Connection;
use crate::http::failure::Failure;
use crate::trust::authorities::Authorities;
use crate::trust::login::Identity;

/// Sessions that may be kept for one origin; rustls counts them so.
const SESSIONS: usize = 8;

/// Asked for before all others. The sort keeps the order of the rest.
const FIRST_SUITE: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

/// Whom to trust: a configuration that has no sessions yet.
pub struct TrustStore {
    verifier: Arc<Verifier>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustStore")
    }
}

/// The TLS side of one origin: its sessions, and whether it has asked who we are.
#[derive(Debug, Clone)]
pub struct OriginTls {
    config: Arc<ClientConfig>,
    asked: Arc<Asked>,
}

impl TrustStore {
    /// Mozilla's roots if `public`, and what the operator has named.
    pub fn new(public: bool, own: Option<&Authorities>) -> Result<TrustStore, String> {
        let mut provider = ring::default_provider();
        // SHA-256 has instructions of its own in processors where SHA-384 has none, and a
        // handshake is full of hashes; browsers have this order, too.
        let is_first = |suite: &SupportedCipherSuite| suite.suite() == FIRST_SUITE;
        provider.cipher_suites.sort_by_key(|suite| !is_first(suite));
        let provider = Arc::new(provider);
        let own = own.map_or_else(|| Arc::from([]), |own| own.certificates().clone());
        let verifier = Verifier::new(public, own, provider.clone())?;
        Ok(TrustStore {
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
    /// Makes the handshake with `host`, a name or an address. More than the handshake may have been read.
    pub fn shake_hands(
        &self,
        below: &mut dyn Connection,
        host: &str,
        end: Instant,
    ) -> Result<(ClientConnection, RecordCursor), Failure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Failure::new(
                FailureKind::Tls,
                format!("{host:?} is a name that no certificate can have"),
            )
        })?;
        let connection = ClientConnection::new(self.config.clone(), name);
        let mut connection = connection.map_err(|e| errors::describe(&e, self.asked.shown()))?;
        let mut wire = Wire {
            below,
            end,
            first: None,
            records: RecordCursor::default(),
        };
        if let Err(e) = shake_hands(&mut connection, &mut wire) {
            let (first, asked) = (wire.first.as_deref(), self.asked.shown());
            return Err(errors::describe_handshake(&e, first, asked));
        }
        let records = wire.records;
        Ok((connection, records))
    }

    /// What an I/O error on a connection of this origin means, if TLS has to do with it.
    pub fn failure_of(&self, e: &io::Error) -> Option<Failure> {
        errors::describe_io(e, self.asked.shown())
    }
}

/// A connection under rustls, with a deadline. Keeps the first bytes that came, as rustls says
/// nothing of what it could not read.
struct Wire<'a> {
    below: &'a mut dyn Connection,
    end: Instant,
    first: Option<Vec<u8>>,
    records: RecordCursor,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.below.read(buffer, self.end)?;
        self.records.pass(&buffer[..n]);
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
            match self.below.write_parts_now(parts) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.below.wait(PollFlags::OUT, self.end)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
