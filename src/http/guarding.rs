//! The address guard at work: what an exchange asks of it, and when.
//!
//! A URL is judged before anything else, all addresses of its name when they are known, each
//! address again as it is dialled (`connect.rs`), and a kept connection each time it is taken:
//! by whom it leads to, and by what its name leads to now. Where a proxy looks names up, it is the
//! proxy that must guard them; what stands in the URL as an address is judged here all the same. Blocks for the resolver's lock at the
//! most, and for that only when something may have changed since the connection was last judged.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::Exchange;
use super::failure::Failure;
use super::stream::Stream;
use crate::delivery::FaultKind;
use crate::guard::{Guard, Refusal};

/// A connection to a literal address is judged again after so long, for no reason.
const LONG: Duration = Duration::from_secs(3600);

/// When a kept connection was judged last, and how long that holds.
#[derive(Debug)]
pub struct Judged {
    guard: Arc<Guard>,
    /// What the resolver had learned by then.
    changes: u64,
    until: Instant,
}

impl Judged {
    fn holds(&self, guard: &Arc<Guard>, changes: u64, now: Instant) -> bool {
        Arc::ptr_eq(&self.guard, guard) && self.changes == changes && now < self.until
    }
}

impl Exchange {
    pub fn guard(&self) -> &Arc<Guard> {
        self.to.guard.as_ref().unwrap_or(&self.connections.guard)
    }

    pub fn check_url(&self) -> Result<(), Failure> {
        let endpoint = &self.to.endpoint;
        let judged = self.guard().check_url(endpoint.is_https(), endpoint.port());
        judged.map_err(|refusal| Failure::new(FaultKind::Refused, refusal.to_string()))
    }

    /// Judges where the host leads.
    pub fn check_addresses(&self, addresses: &[IpAddr]) -> Result<(), Failure> {
        let judged = self.guard().check_all(addresses);
        judged.map_err(|refusal| self.refused(refusal))
    }

    /// Judges a name that a proxy looks up. Of one alone it is known here where it leads: to the proxy
    /// itself (RFC 6761 6.3).
    pub fn check_name(&self) -> Result<(), Failure> {
        let host = self.to.endpoint.host();
        match host == "localhost" || host.ends_with(".localhost") {
            true => self.check_addresses(&[Ipv4Addr::LOCALHOST.into()]),
            false => Ok(()),
        }
    }

    /// Whether a kept connection leads where it may. An error if nothing is to be sent there on
    /// any: its name leads elsewhere now.
    pub fn may_use(&self, stream: &mut Stream, now: Instant) -> Result<bool, Failure> {
        let (guard, names) = (self.guard(), &self.connections.names);
        let socket = stream.socket_mut();
        // Read first: what changes meanwhile is seen the next time.
        let changes = names.changes();
        if let Some(judged) = &socket.judged
            && judged.holds(guard, changes, now)
        {
            return Ok(true);
        }
        if socket.leads_to().is_some_and(|ip| guard.check(ip).is_err()) {
            return Ok(false);
        }
        let host = self.to.endpoint.host();
        let is_known_to_proxy = socket.leads_to().is_none();
        let until = match host.parse::<IpAddr>() {
            Ok(_) => now + LONG,
            Err(_) if is_known_to_proxy => {
                self.check_name()?;
                now + LONG
            }
            Err(_) => match names.present(host, now) {
                Some((addresses, until)) => {
                    self.check_addresses(&addresses)?;
                    until
                }
                // Its servers do not answer, or say that it is gone: no reason to hang up.
                None => now,
            },
        };
        socket.judged = Some(Judged {
            guard: guard.clone(),
            changes,
            until,
        });
        Ok(true)
    }

    /// Says which address of the name it was.
    fn refused(&self, refusal: Refusal) -> Failure {
        let host = self.to.endpoint.host();
        let text = match host.parse::<IpAddr>() {
            Ok(_) => refusal.to_string(),
            Err(_) => format!("{host} leads to {refusal}"),
        };
        Failure::new(FaultKind::Refused, text)
    }
}
