//! One exchange: where to, until when, and on which connection.
//!
//! A connection that rests is taken if there is one; otherwise a name is looked up, a socket
//! connected and a TLS handshake made. Blocks until the exchange's deadline at the longest.

use std::sync::Arc;
use std::time::Instant;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use super::connect::connect;
use super::failure::{Failure, broken};
use super::names::LookUpError;
use super::stream::{Stream, Unasked};
use super::transport::Wire;
use super::{Connections, Target};
use crate::delivery::FaultKind;

/// Connections that are closed at once where descriptors have run out.
const ROOM: usize = 16;

/// One exchange: where to, until when, and on what.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub connections: Arc<Connections>,
    pub to: Target,
    pub begun: Instant,
    pub end: Instant,
    /// Whether a connection that rests may be used.
    pub may_reuse: bool,
    /// How many bytes the request is expected to have.
    pub expected: usize,
}

impl Connector<()> for Exchange {
    type Out = Wire;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, Error> {
        let wire = self.open().map_err(other)?;
        Ok(Some(wire))
    }
}

impl Exchange {
    fn open(&self) -> Result<Wire, Failure> {
        if self.may_reuse
            && let Some(stream) = self.connections.pool.take(&self.to.key, Instant::now())
        {
            return Ok(Wire::new(self.clone(), stream, None));
        }
        let mut stream = match self.dial() {
            // A connection that rests can be made again; a message cannot wait for it.
            Err(e) if e.crowded && self.connections.pool.free(ROOM) => self.dial()?,
            result => result?,
        };
        match stream.look() {
            // Part of a record is a session ticket as a rule; the rest of it is on its way.
            Ok(Unasked::Nothing | Unasked::Unclear) => {}
            Ok(Unasked::Bytes | Unasked::End) => return Err(stream.describe_unasked()),
            Err(e) => return Err(stream.tls_failure(&e).unwrap_or_else(|| broken(&e))),
        }
        let after = self.begun.elapsed();
        Ok(Wire::new(self.clone(), stream, Some(after)))
    }

    fn dial(&self) -> Result<Stream, Failure> {
        let Connections { names, sockets, .. } = &*self.connections;
        let to = &self.to;
        let (host, port) = (to.endpoint.host(), to.endpoint.port());
        let addresses = names.addresses(host, self.end).map_err(|e| match e {
            LookUpError::Failed(text) => Failure::new(FaultKind::Dns, text),
            LookUpError::TimedOut(text) => Failure::new(FaultKind::Timeout, text),
            LookUpError::Starved(text) => Failure {
                crowded: true,
                ..Failure::new(FaultKind::Starved, text)
            },
        })?;
        let end = self
            .end
            .min(Instant::now() + self.connections.connect_timeout);
        let (socket, address) = connect(&addresses, port, sockets, end)?;
        if addresses.first() != Some(&address) {
            names.prefer(host, address);
        }
        if !to.endpoint.is_https() {
            return Ok(Stream::plain(socket));
        }
        let tls = (self.connections.pool).tls(&to.key, Instant::now(), || to.trust.for_origin());
        Stream::with_tls(socket, host, tls, self.end)
    }
}

/// ureq resolves a name before it asks for a connection; a connection that rests needs none.
#[derive(Debug)]
pub struct NoLookUp;

impl Resolver for NoLookUp {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// As ureq carries it.
pub fn other(failure: Failure) -> Error {
    Error::Other(Box::new(failure))
}
