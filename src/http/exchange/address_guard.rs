//! The address guard at work: what an exchange asks of it, and when.
//!
//! A URL is judged before anything else, all addresses of its name when they are known, each
//! address again as it is dialled (`connect.rs`), and a kept connection each time it is taken:
//! by whom it leads to, and by what its name leads to now. Where a proxy looks names up, it is the
//! proxy that must guard them; what stands in the URL as an address is judged here all the same.
//! Blocks for the resolver's lock at the most, and for that only when something may have changed
//! since the connection was last judged.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::FailureKind;
use crate::http::connection::approval::Judged;
use crate::http::connection::stream::Stream;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::trust::guard::{Guard, Refusal};

/// A connection to a literal address is judged again after so long, for no reason.
const LONG: Duration = Duration::from_secs(3600);

impl Exchange {
    pub fn guard(&self) -> &Arc<Guard> {
        self.to.guard.as_ref().unwrap_or(&self.connections.guard)
    }

    pub fn check_url(&self) -> Result<(), Failure> {
        let endpoint = &self.to.endpoint;
        let judged = self.guard().check_url(endpoint.is_https(), endpoint.port());
        judged.map_err(|refusal| Failure::new(FailureKind::Refused, refusal.to_string()))
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
    /// any: its host leads elsewhere, for this message. Others may be allowed what this one is not, so
    /// that is no reason to hang up.
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
        let host = self.to.endpoint.host();
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
            Err(_) => match names.present(host, now) {
                Some((addresses, until)) => {
                    self.check_addresses(&addresses)?;
                    until
                }
                // Its servers do not answer, or say that it is gone: no reason to hang up.
                None => now,
            },
        };
        if socket.leads_to().is_some_and(|ip| guard.check(ip).is_err()) {
            return Ok(false);
        }
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
        Failure::new(FailureKind::Refused, text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;

    use super::*;
    use crate::http::connection::carrier::Carrier;
    use crate::http::connection::socket::Socket;
    use crate::http::exchange::{Connections, Target};
    use crate::http::pool::Pool;
    use crate::http::resolver::{Files, Names, NamesConfig};
    use crate::http::tls::Trust;
    use crate::message::endpoint::Endpoint;
    use crate::trust::egress::Egress;
    use crate::trust::guard::{Changes, Cidr};

    /// 127.0.0.1 is allowed.
    fn guard() -> Guard {
        Guard::default().with(Changes {
            allow: vec![Cidr::v4([127, 0, 0, 1], 32)],
            ..Changes::default()
        })
    }

    /// Names are looked up in this hosts file alone.
    fn connections(hosts: &std::path::Path) -> Arc<Connections> {
        let names = NamesConfig {
            servers: Vec::new(),
            system: false,
            files: Files {
                resolv_conf: "/nowhere".into(),
                hosts: hosts.to_owned(),
            },
        };
        Arc::new(Connections {
            pool: Pool::new(8),
            sockets: Arc::default(),
            names: Names::start(names).expect("a resolver"),
            connect_timeout: LONG,
            egress: Egress::default(),
            guard: guard().into(),
        })
    }

    fn exchange(connections: &Arc<Connections>, url: &str) -> Exchange {
        let endpoint = Arc::new(Endpoint::parse(url).expect("a URL"));
        let now = Instant::now();
        Exchange {
            connections: connections.clone(),
            to: Target {
                key: endpoint.origin.clone(),
                endpoint,
                trust: Arc::new(Trust::new(false, None).expect("no roots")),
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

    fn stream(exchange: &Exchange, port: u16) -> Stream {
        let checked = guard().check([127, 0, 0, 1].into()).expect("allowed");
        let sockets = &exchange.connections.sockets;
        let socket = Socket::connecting(checked, port, None, sockets).expect("a socket");
        Stream::plain(Carrier::Socket(socket))
    }

    #[test]
    fn a_kept_connection_is_judged_again_by_each_guard_that_takes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let dir = tempfile::tempdir().expect("a folder");
        let connections = connections(&dir.path().join("hosts"));
        let mut exchange = exchange(&connections, &format!("http://127.0.0.1:{port}/"));
        let mut kept = stream(&exchange, port);
        let mut may_use = |exchange: &Exchange| exchange.may_use(&mut kept, Instant::now());
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
        let connections = connections(&hosts);
        let exchange = exchange(&connections, &format!("http://hooks.customer.test:{port}/"));
        let names = &exchange.connections.names;
        names
            .addresses("hooks.customer.test", Instant::now() + LONG)
            .expect("in the file");
        let mut kept = stream(&exchange, port);
        let measure = |count: u32, act: &mut dyn FnMut()| {
            let begun = Instant::now();
            (0..count).for_each(|_| act());
            begun.elapsed().as_nanos() as f64 / f64::from(count)
        };
        let now = Instant::now();
        let usual = measure(10_000_000, &mut || {
            exchange.check_url().expect("allowed");
            assert!(exchange.may_use(&mut kept, now).expect("allowed"));
        });
        let anew = measure(1_000_000, &mut || {
            kept.socket_mut().judged = None;
            assert!(exchange.may_use(&mut kept, now).expect("allowed"));
        });
        let (good, guard) = (IpAddr::from([9, 9, 9, 9]), guard());
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
