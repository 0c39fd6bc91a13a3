//! Dials a host: connects to one of its addresses, from the address that the operator has named.
//!
//! Owns the resolver and the list of all open sockets. Blocks until the deadline that it is handed, and
//! for `--connect-timeout` at the longest.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::race::race;
use super::socket::{Socket, Sockets};
use crate::http::failure::Failure;
use crate::http::resolver::Resolver;
use crate::trust::egress::Source;
use crate::trust::guard::Guard;

/// See the module's header.
#[derive(Debug)]
pub struct Dialer {
    pub resolver: Resolver,
    sockets: Arc<Sockets>,
    source: Source,
    connect_timeout: Duration,
}

impl Dialer {
    pub fn new(resolver: Resolver, source: Source, connect_timeout: Duration) -> Dialer {
        Dialer {
            resolver,
            sockets: Arc::default(),
            source,
            connect_timeout,
        }
    }

    /// When a connection that is begun now must be there, if all must be over at `end`.
    pub fn connect_deadline(&self, end: Instant) -> Instant {
        end.min(Instant::now() + self.connect_timeout)
    }

    /// Connects to `port` of one of `addresses`, those of `host`. `guard` judges each as it is tried; the
    /// caller has asked it about all of them before.
    pub fn dial(
        &self,
        (host, port): (&str, u16),
        addresses: &[IpAddr],
        guard: &Guard,
        end: Instant,
    ) -> Result<Socket, Failure> {
        let end = self.connect_deadline(end);
        let (socket, address) = race(addresses, port, &self.source, guard, &self.sockets, end)?;
        if addresses.first() != Some(&address) {
            self.resolver.prefer(host, address);
        }
        Ok(socket)
    }

    /// Cuts all connections and look-ups; there are none from now on.
    pub fn shut_down(&self) {
        self.resolver.shut_down();
        self.sockets.shut_down();
    }
}
