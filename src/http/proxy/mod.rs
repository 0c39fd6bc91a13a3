//! The way through a proxy: dialling it, the handshake, and whose fault it is when that fails.
//!
//! [`Gate`] is the one proxy of a process, shared by all workers. The protocols are pure (`http_connect.rs`,
//! `socks.rs`, `absolute_form.rs`), and so is `health.rs`, which says whether the proxy works. This file is
//! the edge, and `monitor.rs` judges what came of it. Blocks until the deadlines of the exchange at the longest.

mod absolute_form;
mod blame;
mod health;
pub mod http_connect;
mod monitor;
pub mod socks;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::delivery::FailureKind;
use crate::http::connection::{Connection, Dialer};
use crate::http::failure::{Failure, is_timeout, short, spoke_first};
use crate::http::resolver::LookupError;
use crate::http::tls::{OriginTls, TlsStream, TrustStore};
use crate::message::endpoint::Endpoint;
use crate::trust::egress::{Egress, Kind, Proxy};
use crate::trust::guard::Guard;
use crate::trust::secret::Secret;

pub use blame::Blame;
pub use monitor::Monitor;

/// More addresses of one name are not tried through a proxy, one after another as they are.
const MAX_ADDRESSES: usize = 4;

/// The proxy's name is asked for again after this time at first, and at last.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(1);

/// See the module's header.
pub struct Gate {
    proxy: Arc<Proxy>,
    authorization: Option<Secret>,
    /// For a proxy that is spoken to within TLS.
    tls: Option<OriginTls>,
    /// The proxy's own address is the operator's.
    guard: Guard,
    pub monitor: Monitor,
}

/// How long a way through a proxy may take.
pub struct Times {
    /// A name that is still being looked up after this time is a fault.
    pub limit: Duration,
    pub end: Instant,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({})", self.proxy)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proxy.fmt(f)
    }
}

impl Gate {
    /// The gate that `egress` names, if it names one. Its certificate is judged as any other.
    pub fn of(egress: &Egress, trust: &TrustStore) -> Option<Arc<Gate>> {
        let proxy = egress.proxy.clone()?;
        let authorization = proxy.login.as_ref().map(|login| login.basic());
        Some(Arc::new(Gate {
            tls: (proxy.kind == Kind::Https).then(|| trust.for_origin(None, false)),
            authorization,
            guard: Guard::open(),
            monitor: Monitor::new(proxy.clone()),
            proxy,
        }))
    }

    /// Whether it finds the addresses of names itself.
    pub fn resolves(&self) -> bool {
        self.proxy.resolves()
    }

    /// Whether requests to `to` are written for the proxy to read, and not for the target alone.
    pub fn reads(&self, to: &Endpoint) -> bool {
        self.proxy.speaks_http() && !to.is_https()
    }

    /// A request as the proxy is to read it.
    pub fn rewrite(&self, request: &[u8], to: &Endpoint) -> Zeroizing<Vec<u8>> {
        absolute_form::rewrite(request, &to.origin, self.authorization())
    }

    /// A connection that leads to `to`. `addresses` are those of its host, where we look them up.
    pub fn dial(
        &self,
        dialer: &Dialer,
        to: &Endpoint,
        addresses: &[IpAddr],
        times: &Times,
    ) -> Result<Box<dyn Connection>, Failure> {
        let begun = Instant::now();
        let is_trial = self.monitor.ask(to, begun, times.end)?;
        let dialled = self.dial_for(dialer, to, addresses, times, (begun, is_trial));
        if dialled.is_err() {
            self.monitor.abandon(to);
        }
        dialled
    }

    fn dial_for(
        &self,
        dialer: &Dialer,
        to: &Endpoint,
        addresses: &[IpAddr],
        times: &Times,
        (begun, is_trial): (Instant, bool),
    ) -> Result<Box<dyn Connection>, Failure> {
        let host = to.host();
        let named = host
            .parse()
            .map_or(socks::Target::Name(host), socks::Target::Address);
        let targets: Vec<socks::Target<'_>> = match self.resolves() {
            true => vec![named],
            false => {
                let some = addresses.iter().take(MAX_ADDRESSES);
                some.map(|ip| socks::Target::Address(*ip)).collect()
            }
        };
        let mut last = None;
        for target in targets {
            let mut connection = self.reach(dialer, times, begun)?;
            if is_trial {
                self.monitor.reached();
            }
            connection.socket_mut().led_to(match target {
                socks::Target::Address(ip) => Some(ip),
                socks::Target::Name(_) => None,
            });
            if self.reads(to) {
                // The proxy has led nowhere yet: its answer will say whether it does.
                return Ok(connection);
            }
            let end = dialer.connect_deadline(times.end);
            match self.shake_hands(&mut *connection, to, target, end) {
                Ok(()) => {
                    self.monitor.succeed(to);
                    return Ok(connection);
                }
                Err(blame @ Blame::Target(..)) => last = Some(blame),
                Err(blame) => return Err(self.monitor.judge(blame, to, begun)),
            }
        }
        let none = || Blame::Target(FailureKind::Connect, "the name has no address".into());
        Err(self.monitor.judge(last.unwrap_or_else(none), to, begun))
    }

    /// A connection to the proxy itself.
    fn reach(
        &self,
        dialer: &Dialer,
        times: &Times,
        begun: Instant,
    ) -> Result<Box<dyn Connection>, Failure> {
        let Proxy { host, port, .. } = &*self.proxy;
        let addresses = match dialer.resolver.addresses(host, times.end) {
            Ok(addresses) => addresses,
            Err(LookupError::Pending(since)) if since.elapsed() < times.limit => {
                let again = since.elapsed().clamp(SOONEST, LATEST);
                let text = format!("{host} is still being looked up");
                return Err(self.monitor.postponed(again, &text));
            }
            Err(LookupError::Pending(since)) => {
                let waited = short(since.elapsed());
                let text = format!("{host} is still being looked up: no answer within {waited}");
                return Err(self.monitor.fail(&text, false, begun));
            }
            Err(LookupError::Starved(text)) => {
                return Err(Failure {
                    crowded: true,
                    ..Failure::new(FailureKind::Starved, text)
                });
            }
            Err(LookupError::Failed(text)) => return Err(self.monitor.fail(&text, false, begun)),
        };
        let end = dialer.connect_deadline(times.end);
        let mine = |e: Failure| match e.kind {
            FailureKind::Starved | FailureKind::Shutdown => e,
            _ => self.monitor.fail(&e.text, false, begun),
        };
        let dialled = dialer.dial((host, *port), &addresses, &self.guard, end);
        let socket = Box::new(dialled.map_err(mine)?);
        Ok(match &self.tls {
            None => socket,
            Some(tls) => {
                let stream = TlsStream::connect(socket, host, tls.clone(), end);
                Box::new(stream.map_err(mine)?)
            }
        })
    }

    fn shake_hands(
        &self,
        connection: &mut dyn Connection,
        to: &Endpoint,
        target: socks::Target<'_>,
        end: Instant,
    ) -> Result<(), Blame> {
        match self.proxy.speaks_http() {
            true => self.ask_for_tunnel(connection, to, end),
            false => self.talk_socks(connection, to.port(), target, end),
        }
    }

    fn ask_for_tunnel(
        &self,
        connection: &mut dyn Connection,
        to: &Endpoint,
        end: Instant,
    ) -> Result<(), Blame> {
        let host = to.uri.host().unwrap_or_default();
        let authority = format!("{host}:{}", to.port());
        let request = http_connect::request(&authority, self.authorization());
        connection
            .write_all(&request, end)
            .map_err(|e| broken(&e))?;
        let mut reader = http_connect::AnswerReader::default();
        let mut buffer = [0; 1024];
        loop {
            let n = match connection.read(&mut buffer, end) {
                Ok(n) => n,
                Err(e) if is_timeout(&e) => return Err(no_answer()),
                Err(e) => return Err(broken(&e)),
            };
            if n == 0 {
                return Err(broken(&ErrorKind::UnexpectedEof.into()));
            }
            let (used, answer) = reader.feed(&buffer[..n]).map_err(Blame::Own)?;
            let Some(answer) = answer else {
                continue;
            };
            let has_login = self.authorization.is_some();
            return match answer.blame(has_login) {
                Some(blame) => Err(blame),
                None if used < n => Err(Blame::Target(
                    FailureKind::Protocol,
                    spoke_first(&buffer[used..n]),
                )),
                None => Ok(()),
            };
        }
    }

    fn talk_socks(
        &self,
        connection: &mut dyn Connection,
        port: u16,
        target: socks::Target<'_>,
        end: Instant,
    ) -> Result<(), Blame> {
        let (mut talk, first) = socks::Talk::new(target, port, self.proxy.login.as_ref());
        connection.write_all(first, end).map_err(|e| broken(&e))?;
        let mut buffer = [0; 300];
        loop {
            let wanted = talk.wants().min(buffer.len());
            let n = match connection.read(&mut buffer[..wanted], end) {
                Ok(0) => return Err(broken(&ErrorKind::UnexpectedEof.into())),
                Ok(n) => n,
                Err(e) if is_timeout(&e) && talk.has_asked() => return Err(no_answer()),
                Err(e) => return Err(broken(&e)),
            };
            match talk.feed(&buffer[..n])? {
                socks::Next::Send(bytes) => {
                    connection.write_all(&bytes, end).map_err(|e| broken(&e))?;
                }
                socks::Next::Read(_) => {}
                socks::Next::Done => return Ok(()),
            }
        }
    }

    fn authorization(&self) -> Option<&str> {
        self.authorization.as_ref().map(Secret::expose)
    }
}

fn broken(e: &io::Error) -> Blame {
    match e.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            Blame::Own("it takes connections, and says nothing".into())
        }
        ErrorKind::UnexpectedEof => {
            Blame::Unclear("it closed the connection before it answered".into())
        }
        _ => Blame::Unclear(format!("the connection broke before it answered: {e}")),
    }
}

/// As a rule the target does not answer the proxy. But a proxy that hangs does so for all.
fn no_answer() -> Blame {
    Blame::Unclear("it did not say in time whether it leads there".into())
}
