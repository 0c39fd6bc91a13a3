//! The connection for an exchange: one that rests, or a new one.
//!
//! Where none rests a name is looked up, a socket connected and a TLS handshake made. `guarding.rs`
//! says where it may lead. Blocks until the exchange's deadline at the longest.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use super::Connections;
use super::transport::Wire;
use crate::delivery::FailureKind;
use crate::http::connection::carrier::Carrier;
use crate::http::connection::dialer::connect;
use crate::http::connection::stream::{Stream, Unasked};
use crate::http::exchange::Exchange;
use crate::http::failure::{Failure, broken, other, short};
use crate::http::proxy::{Gate, Times};
use crate::http::resolver::LookUpError;

/// A name that is being looked up is asked for again after so long, and after as long as its
/// look-up has taken so far, within these.
const SOONEST: Duration = Duration::from_millis(25);
const LATEST: Duration = Duration::from_secs(1);

/// Connections that are closed at once where descriptors have run out.
const ROOM: usize = 16;

impl Connector<()> for Exchange {
    type Out = Wire;

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<Wire>, Error> {
        let wire = self.open().map_err(other)?;
        Ok(Some(wire))
    }
}

impl Exchange {
    fn open(&self) -> Result<Wire, Failure> {
        self.check_url()?;
        if let Some(stream) = self.take_kept()? {
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

    /// A connection that rests, and leads where it may.
    fn take_kept(&self) -> Result<Option<Stream>, Failure> {
        if !self.may_reuse {
            return Ok(None);
        }
        let (pool, now) = (&self.connections.pool, Instant::now());
        pool.take(&self.to.key, now, |stream| self.may_use(stream, now))
    }

    fn dial(&self) -> Result<Stream, Failure> {
        let to = &self.to;
        let carrier = match &to.gate {
            None => self.dial_directly()?,
            Some(gate) => self.dial_through(gate)?,
        };
        if !to.endpoint.is_https() {
            return Ok(Stream::plain(carrier));
        }
        let tls = (self.connections.pool).tls(&to.key, Instant::now(), || {
            to.trust.for_origin(to.identity.as_ref(), to.insecure)
        });
        Stream::with_tls(carrier, to.endpoint.host(), tls, self.end)
    }

    fn dial_directly(&self) -> Result<Carrier, Failure> {
        let Connections {
            names,
            sockets,
            egress,
            ..
        } = &*self.connections;
        let (host, port) = (self.to.endpoint.host(), self.to.endpoint.port());
        let addresses = self.addresses()?;
        let end = self
            .end
            .min(Instant::now() + self.connections.connect_timeout);
        let source = &egress.source;
        let (socket, address) = connect(&addresses, port, source, self.guard(), sockets, end)?;
        if addresses.first() != Some(&address) {
            names.prefer(host, address);
        }
        Ok(Carrier::Socket(socket))
    }

    // Inlined, the buffers of its handshakes would be part of every attempt's frame.
    #[inline(never)]
    fn dial_through(&self, gate: &Gate) -> Result<Carrier, Failure> {
        let host = self.to.endpoint.host();
        let addresses = match gate.resolves() && host.parse::<IpAddr>().is_err() {
            // It finds them itself, and guards them.
            true => {
                self.check_name()?;
                Vec::new()
            }
            false => self.addresses()?,
        };
        let times = Times {
            step: self.connections.connect_timeout,
            limit: self.end - self.begun,
            end: self.end,
        };
        gate.dial(&self.connections, &self.to, &addresses, &times)
    }

    fn addresses(&self) -> Result<Vec<IpAddr>, Failure> {
        let host = self.to.endpoint.host();
        let addresses = self.connections.names.addresses(host, self.end);
        let addresses = addresses.map_err(|e| self.no_addresses(e))?;
        self.check_addresses(&addresses)?;
        Ok(addresses)
    }

    /// A name that is still being looked up is no failure until this message has waited for it as
    /// long as the whole exchange may take. Nobody waits for it here: it is asked for again a
    /// little later.
    fn no_addresses(&self, e: LookUpError) -> Failure {
        let since = match e {
            LookUpError::Failed(text) => return Failure::new(FailureKind::Dns, text),
            LookUpError::Starved(text) => {
                return Failure {
                    crowded: true,
                    ..Failure::new(FailureKind::Starved, text)
                };
            }
            LookUpError::Pending(since) => since,
        };
        let (host, waited) = (self.to.endpoint.host(), since.elapsed());
        let left = (self.end - self.begun).saturating_sub(self.asked.elapsed());
        let text = format!(
            "{host} is still being looked up: no answer within {}",
            short(waited)
        );
        let kind = match left.is_zero() {
            true => FailureKind::Timeout,
            false => FailureKind::Unresolved {
                again: waited.clamp(SOONEST, LATEST).min(left),
            },
        };
        Failure::new(kind, text)
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
