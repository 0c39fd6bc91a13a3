//! The address guard at work: what an exchange asks of it, and when.
//!
//! The guard judges a URL before anything else, all addresses of its name when they are known, each
//! address again as it is dialled (`connection/race.rs`), and a kept connection each time `opener.rs` takes it:
//! by the address that it leads to, and by the addresses that its name has now. Where a proxy looks names
//! up, the proxy must guard them; an address that stands in the URL is judged here all the same.
//! Blocks for the resolver's lock at the most, and for that only when something may have changed
//! since the connection was last approved.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Exchange;
use crate::delivery::FailureKind;
use crate::http::connection::{Approval, Connection};
use crate::http::failure::Failure;
use crate::http::resolver::Resolver;
use crate::message::endpoint::Endpoint;
use crate::trust::guard::{Guard, Refusal};

/// A connection to a literal address is judged again after this time. Nothing makes it necessary.
const LONG: Duration = Duration::from_secs(3600);

/// The guard of one exchange.
pub struct AddressGuard<'a> {
    pub guard: &'a Arc<Guard>,
    endpoint: &'a Endpoint,
    resolver: &'a Resolver,
}

impl<'a> AddressGuard<'a> {
    pub fn of(exchange: &'a Exchange) -> AddressGuard<'a> {
        let Exchange { shared, to, .. } = exchange;
        AddressGuard {
            guard: to.guard.as_ref().unwrap_or(&shared.guard),
            endpoint: &to.endpoint,
            resolver: &shared.dialer.resolver,
        }
    }

    pub fn check_url(&self) -> Result<(), Failure> {
        let (is_https, port) = (self.endpoint.is_https(), self.endpoint.port());
        let judged = self.guard.check_url(is_https, port);
        judged.map_err(|refusal| Failure::new(FailureKind::Refused, refusal.to_string()))
    }

    /// Judges where the host leads.
    pub fn check_addresses(&self, addresses: &[IpAddr]) -> Result<(), Failure> {
        let judged = self.guard.check_all(addresses);
        judged.map_err(|refusal| self.refused(refusal))
    }

    /// Judges a name that a proxy looks up. Of one alone it is known here where it leads: to the proxy
    /// itself (RFC 6761 6.3).
    pub fn check_name(&self) -> Result<(), Failure> {
        let host = self.endpoint.host();
        match host == "localhost" || host.ends_with(".localhost") {
            true => self.check_addresses(&[Ipv4Addr::LOCALHOST.into()]),
            false => Ok(()),
        }
    }

    /// Whether a kept connection leads where it may. An error if nothing is to be sent there on
    /// any: its host leads elsewhere, for this message. Others may be allowed what this one is not, so
    /// that is no reason to hang up.
    pub fn may_use(&self, kept: &mut dyn Connection, now: Instant) -> Result<bool, Failure> {
        let socket = kept.socket_mut();
        // Read first: what changes meanwhile is seen the next time.
        let changes = self.resolver.changes();
        if let Some(approval) = &socket.approval
            && approval.holds(self.guard, changes, now)
        {
            return Ok(true);
        }
        let host = self.endpoint.host();
        let is_known_to_proxy = socket.leads_to().is_none();
        let until = match host.parse::<IpAddr>() {
            Ok(ip) => {
                self.check_addresses(&[ip])?;
                now + LONG
            }
            Err(_) if is_known_to_proxy => {
                self.check_name()?;
                now + LONG
            }
            Err(_) => match self.resolver.present(host, now) {
                Some((addresses, until)) => {
                    self.check_addresses(&addresses)?;
                    until
                }
                // Its servers do not answer, or say that it is gone: no reason to hang up.
                None => now,
            },
        };
        if socket
            .leads_to()
            .is_some_and(|ip| self.guard.check(ip).is_err())
        {
            return Ok(false);
        }
        socket.approval = Some(Approval {
            guard: self.guard.clone(),
            changes,
            until,
        });
        Ok(true)
    }

    /// Says which address of the name it was.
    fn refused(&self, refusal: Refusal) -> Failure {
        let host = self.endpoint.host();
        let text = match host.parse::<IpAddr>() {
            Ok(_) => refusal.to_string(),
            Err(_) => format!("{host} leads to {refusal}"),
        };
        Failure::new(FailureKind::Refused, text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;

    use super::*;
    use crate::http::connection::Dialer;
    use crate::http::exchange::{Shared, Target};
    use crate::http::pool::Pool;
    use crate::http::resolver::{Files, ResolverConfig};
    use crate::http::tls::TrustStore;
    use crate::message::endpoint::Endpoint;
    use crate::trust::egress::Source;
    use crate::trust::guard::{Changes, Cidr};

    /// 127.0.0.1 is allowed.
    fn guard() -> Guard {
        Guard::default().with(Changes {
            allow: vec![Cidr::v4([127, 0, 0, 1], 32)],
            ..Changes::default()
        })
    }

    /// Names are looked up in this hosts file alone.
    fn shared(hosts: &std::path::Path) -> Arc<Shared> {
        let config = ResolverConfig {
            servers: Vec::new(),
            system: false,
            files: Files {
                resolv_conf: "/nowhere".into(),
                hosts: hosts.to_owned(),
            },
        };
        let resolver = Resolver::start(config).expect("a resolver");
        Arc::new(Shared {
            pool: Pool::new(8),
            dialer: Dialer::new(resolver, Source::default(), LONG),
            guard: guard().into(),
        })
    }

    fn exchange(shared: &Arc<Shared>, url: &str) -> Exchange {
        let endpoint = Arc::new(Endpoint::parse(url).expect("a URL"));
        let now = Instant::now();
        Exchange {
            shared: shared.clone(),
            to: Target {
                key: endpoint.origin.clone(),
                endpoint,
                trust: Arc::new(TrustStore::new(false, None).expect("no roots")),
                identity: None,
                insecure: false,
                guard: None,
                gate: None,
            },
            begun: now,
            end: now + LONG,
            asked: now,
            may_reuse: true,
            wants_body: false,
            expected: 0,
        }
    }

    fn connection(exchange: &Exchange, port: u16) -> Box<dyn Connection> {
        let here = [IpAddr::from([127, 0, 0, 1])];
        let dialer = &exchange.shared.dialer;
        let socket = dialer.dial(("127.0.0.1", port), &here, &guard(), exchange.end);
        Box::new(socket.expect("a socket"))
    }

    #[test]
    fn a_kept_connection_is_judged_again_by_each_guard_that_takes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let dir = tempfile::tempdir().expect("a folder");
        let shared = shared(&dir.path().join("hosts"));
        let mut exchange = exchange(&shared, &format!("http://127.0.0.1:{port}/"));
        let mut kept = connection(&exchange, port);
        let mut may_use =
            |exchange: &Exchange| AddressGuard::of(exchange).may_use(&mut *kept, Instant::now());
        assert!(may_use(&exchange).expect("not refused"));
        exchange.to.guard = Some(Arc::default());
        assert!(
            may_use(&exchange).is_err(),
            "what others may is not for all"
        );
        exchange.to.guard = None;
        assert!(may_use(&exchange).expect("not refused"));
    }

    /// What the guard costs a delivery on a kept connection, which is the usual one:
    /// `cargo test --release --lib cost_of_the_guard -- --ignored --nocapture`.
    #[test]
    #[ignore = "it measures"]
    fn cost_of_the_guard() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let dir = tempfile::tempdir().expect("a folder");
        let hosts = dir.path().join("hosts");
        fs::write(&hosts, "127.0.0.1 hooks.customer.test\n").expect("to write");
        let shared = shared(&hosts);
        let exchange = exchange(&shared, &format!("http://hooks.customer.test:{port}/"));
        let resolver = &exchange.shared.dialer.resolver;
        resolver
            .addresses("hooks.customer.test", Instant::now() + LONG)
            .expect("in the file");
        let mut kept = connection(&exchange, port);
        let measure = |count: u32, act: &mut dyn FnMut()| {
            let begun = Instant::now();
            (0..count).for_each(|_| act());
            begun.elapsed().as_nanos() as f64 / f64::from(count)
        };
        let now = Instant::now();
        let guard = AddressGuard::of(&exchange);
        let usual = measure(10_000_000, &mut || {
            guard.check_url().expect("allowed");
            assert!(guard.may_use(&mut *kept, now).expect("allowed"));
        });
        let anew = measure(1_000_000, &mut || {
            kept.socket_mut().approval = None;
            assert!(guard.may_use(&mut *kept, now).expect("allowed"));
        });
        let (good, guard) = (IpAddr::from([9, 9, 9, 9]), self::guard());
        let dialled = measure(1_000_000, &mut || {
            guard.check_all(&[good; 4]).expect("allowed");
            guard.check(good).expect("allowed");
        });
        println!(
            "the guard costs {usual:.1} ns on a kept connection, {anew:.1} ns when its name is \
             looked at anew, {dialled:.1} ns for a name of four addresses that is dialled"
        );
    }
}
