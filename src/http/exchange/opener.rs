//! The connection for an exchange: a kept one, or a new one.
//!
//! Where none is kept, the opener looks up the name, connects a socket and makes a TLS handshake.
//! `address_guard.rs` says where the connection may lead. Blocks until the exchange's deadline at the longest.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use super::Exchange;
use super::address_guard::AddressGuard;
use super::transport::ExchangeTransport;
use crate::delivery::FailureKind;
use crate::http::connection::{Connection, Socket, Unasked};
use crate::http::failure::{Failure, broken, other, short, spoke_first};
use crate::http::proxy::{Gate, Times};
use crate::http::resolver::LookupError;
use crate::http::tls::TlsStream;

/// A name that is being looked up is asked for again after as long as its look-up has taken so far,
/// within these bounds.
const SOONEST: Duration = Duration::from_millis(25);
const LATEST: Duration = Duration::from_secs(1);

/// Connections that are closed at once where descriptors have run out.
const ROOM: usize = 16;

impl Connector<()> for Exchange {
    type Out = ExchangeTransport;

    fn connect(
        &self,
        _: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<ExchangeTransport>, Error> {
        let opener = Opener {
            exchange: self,
            guard: AddressGuard::of(self),
        };
        opener.open().map(Some).map_err(other)
    }
}

struct Opener<'a> {
    exchange: &'a Exchange,
    guard: AddressGuard<'a>,
}

impl Opener<'_> {
    fn open(&self) -> Result<ExchangeTransport, Failure> {
        let exchange = self.exchange;
        self.guard.check_url()?;
        if let Some(kept) = self.take_kept()? {
            return Ok(ExchangeTransport::new(exchange.clone(), kept, None));
        }
        let mut connection = match self.dial() {
            // A connection that rests can be made again; a message cannot wait for it.
            Err(e) if e.crowded && exchange.shared.pool.free(ROOM) => self.dial()?,
            result => result?,
        };
        match connection.look() {
            // Part of a record is a session ticket as a rule; the rest of it is on its way.
            Ok(Unasked::Nothing | Unasked::Unclear) => {}
            Ok(Unasked::Bytes | Unasked::End) => return Err(describe_unasked(&mut *connection)),
            Err(e) => return Err(connection.tls_failure(&e).unwrap_or_else(|| broken(&e))),
        }
        let after = exchange.begun.elapsed();
        Ok(ExchangeTransport::new(
            exchange.clone(),
            connection,
            Some(after),
        ))
    }

    /// A connection that rests, and leads where it may.
    fn take_kept(&self) -> Result<Option<Box<dyn Connection>>, Failure> {
        let Exchange { shared, to, .. } = self.exchange;
        if !self.exchange.may_reuse {
            return Ok(None);
        }
        let (pool, now) = (&shared.pool, Instant::now());
        pool.take(&to.key, now, |kept| self.guard.may_use(kept, now))
    }

    fn dial(&self) -> Result<Box<dyn Connection>, Failure> {
        let Exchange { shared, to, .. } = self.exchange;
        let connection = match &to.gate {
            None => Box::new(self.dial_directly()?),
            Some(gate) => self.dial_through(gate)?,
        };
        if !to.endpoint.is_https() {
            return Ok(connection);
        }
        let tls = (shared.pool).tls(&to.key, Instant::now(), || {
            to.trust.for_origin(to.identity.as_ref(), to.insecure)
        });
        let host = to.endpoint.host();
        let stream = TlsStream::connect(connection, host, tls, self.exchange.end)?;
        Ok(Box::new(stream))
    }

    fn dial_directly(&self) -> Result<Socket, Failure> {
        let Exchange {
            shared, to, end, ..
        } = self.exchange;
        let addresses = self.addresses()?;
        let destination = (to.endpoint.host(), to.endpoint.port());
        let dialer = &shared.dialer;
        dialer.dial(destination, &addresses, self.guard.guard, *end)
    }

    // Inlined, the buffers of its handshakes would be part of every attempt's frame.
    #[inline(never)]
    fn dial_through(&self, gate: &Gate) -> Result<Box<dyn Connection>, Failure> {
        let Exchange { shared, to, .. } = self.exchange;
        let host = to.endpoint.host();
        let addresses = match gate.resolves() && host.parse::<IpAddr>().is_err() {
            // The proxy finds them itself, and guards them.
            true => {
                self.guard.check_name()?;
                Vec::new()
            }
            false => self.addresses()?,
        };
        let times = Times {
            limit: self.exchange.end - self.exchange.begun,
            end: self.exchange.end,
        };
        gate.dial(&shared.dialer, &to.endpoint, &addresses, &times)
    }

    fn addresses(&self) -> Result<Vec<IpAddr>, Failure> {
        let Exchange {
            shared, to, end, ..
        } = self.exchange;
        let addresses = (shared.dialer.resolver).addresses(to.endpoint.host(), *end);
        let addresses = addresses.map_err(|e| self.no_addresses(e))?;
        self.guard.check_addresses(&addresses)?;
        Ok(addresses)
    }

    /// A name that is still being looked up is no failure until this message has waited for it as
    /// long as the whole exchange may take. Nobody waits for it here: it is asked for again a
    /// little later.
    fn no_addresses(&self, e: LookupError) -> Failure {
        let since = match e {
            LookupError::Failed(text) => return Failure::new(FailureKind::Dns, text),
            LookupError::Starved(text) => {
                return Failure {
                    crowded: true,
                    ..Failure::new(FailureKind::Starved, text)
                };
            }
            LookupError::Pending(since) => since,
        };
        let exchange = self.exchange;
        let (host, waited) = (exchange.to.endpoint.host(), since.elapsed());
        let left = (exchange.end - exchange.begun).saturating_sub(exchange.asked.elapsed());
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

/// What is wrong with a new connection on which the server has spoken first, or has hung up.
fn describe_unasked(connection: &mut dyn Connection) -> Failure {
    let mut buffer = [0; 60];
    let text = match connection.read_now(&mut buffer) {
        Ok(0) => "the server closed the connection before it was asked".into(),
        Ok(n) => spoke_first(&buffer[..n]),
        Err(e) => return broken(&e),
    };
    Failure::new(FailureKind::Protocol, text)
}

/// ureq resolves a name before it asks for a connection; a connection that rests needs none.
#[derive(Debug)]
pub struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}
