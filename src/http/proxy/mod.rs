//! The way through a proxy: dialling it, the handshake, and whose fault it is when that fails.
//!
//! [`Gate`] is the one proxy of a process, shared by all workers. What is spoken is pure
//! (`connect`, `socks`, `absolute`), and so is how it fares (`health`); this file is the edge, and
//! `judging` says what came of it. Blocks until the deadlines of the exchange at the longest.

mod absolute_form;
mod health;
pub(super) mod http_connect;
mod monitor;
pub(super) mod socks;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::delivery::FailureKind;
use crate::http::connection::carrier::Carrier;
use crate::http::connection::dialer::connect as dial_addresses;
use crate::http::connection::stream::Stream;
use crate::http::exchange::{Connections, Target as Destination};
use crate::http::failure::{Failure, is_timeout, short};
use crate::http::resolver::LookUpError;
use crate::http::tls::{OriginTls, Trust};
use crate::trust::egress::{Egress, Kind, Proxy};
use crate::trust::guard::Guard;
use crate::trust::login::Redactor;
use crate::trust::secret::Secret;
use health::Health;

/// More addresses of one name are not tried through a proxy, one after another as they are.
const MAX_ADDRESSES: usize = 4;

/// The proxy's name is asked for again after so long at first, and at last.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(1);

/// Whose fault it is, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Blame {
    /// The proxy's own.
    Own(String),
    /// The proxy's or the target's.
    Unclear(String),
    /// It does not take our login, at least not for this target.
    Login(String),
    /// The target's, as the proxy says.
    Target(FailureKind, String),
}

/// See the module's header.
pub struct Gate {
    proxy: Arc<Proxy>,
    authorization: Option<Secret>,
    /// Takes our login out of what the proxy says.
    redactor: Redactor,
    /// For a proxy that is spoken to within TLS.
    tls: Option<OriginTls>,
    health: Mutex<Health>,
    /// The proxy's own address is the operator's.
    open: Guard,
    /// All attempts are cut: what breaks now is nobody's fault.
    closed: AtomicBool,
}

/// How long a way through a proxy may take.
pub struct Times {
    /// Each of its two steps: to the proxy, and from there to the target.
    pub step: Duration,
    /// A name that is still being looked up after so long is a fault.
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
    pub fn of(egress: &Egress, trust: &Trust) -> Option<Arc<Gate>> {
        let proxy = egress.proxy.clone()?;
        let authorization = proxy.login.as_ref().map(|login| login.basic());
        Some(Arc::new(Gate {
            tls: (proxy.kind == Kind::Https).then(|| trust.for_origin(None, false)),
            redactor: Redactor::new(proxy.login.iter().flat_map(|login| login.hidden())),
            authorization,
            proxy,
            health: Mutex::default(),
            open: Guard::open(),
            closed: AtomicBool::new(false),
        }))
    }

    /// To be called before all attempts are cut.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether it finds the addresses of names itself.
    pub fn resolves(&self) -> bool {
        self.proxy.resolves()
    }

    /// Whether requests to `to` are written for the proxy to read, and not for the target alone.
    pub fn reads(&self, to: &Destination) -> bool {
        self.proxy.speaks_http() && !to.endpoint.is_https()
    }

    /// A request as the proxy is to read it.
    pub fn rewrite(&self, request: &[u8], to: &Destination) -> Zeroizing<Vec<u8>> {
        absolute_form::rewrite(request, &to.endpoint.origin, self.authorization())
    }

    /// A connection that leads to `to`. `addresses` are its own, where it is we who look them up.
    pub fn dial(
        &self,
        shared: &Connections,
        to: &Destination,
        addresses: &[IpAddr],
        times: &Times,
    ) -> Result<Carrier, Failure> {
        let begun = Instant::now();
        let is_trial = self.ask(to, begun, times.end)?;
        let dialled = self.dial_for(shared, to, addresses, times, (begun, is_trial));
        if dialled.is_err() {
            // What it has shown has been noted.
            self.health().abandon(&to.endpoint.origin);
        }
        dialled
    }

    fn dial_for(
        &self,
        shared: &Connections,
        to: &Destination,
        addresses: &[IpAddr],
        times: &Times,
        (begun, is_trial): (Instant, bool),
    ) -> Result<Carrier, Failure> {
        let host = to.endpoint.host();
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
            let mut carrier = self.reach(shared, times, begun)?;
            if is_trial {
                self.health().reached();
            }
            carrier.socket_mut().led_to(match target {
                socks::Target::Address(ip) => Some(ip),
                socks::Target::Name(_) => None,
            });
            if self.reads(to) {
                // It has led nowhere yet: what it answers will say.
                return Ok(carrier);
            }
            let end = times.end.min(Instant::now() + times.step);
            match self.shake_hands(&mut carrier, to, target, end) {
                Ok(()) => {
                    self.succeed(to);
                    return Ok(carrier);
                }
                Err(blame @ Blame::Target(..)) => last = Some(blame),
                Err(blame) => return Err(self.judge(blame, to, begun)),
            }
        }
        let none = || Blame::Target(FailureKind::Connect, "the name has no address".into());
        Err(self.judge(last.unwrap_or_else(none), to, begun))
    }

    /// A connection to the proxy itself.
    fn reach(
        &self,
        shared: &Connections,
        times: &Times,
        begun: Instant,
    ) -> Result<Carrier, Failure> {
        let Proxy { host, port, .. } = &*self.proxy;
        let addresses = match shared.names.addresses(host, times.end) {
            Ok(addresses) => addresses,
            Err(LookUpError::Pending(since)) if since.elapsed() < times.limit => {
                let again = since.elapsed().clamp(SOONEST, LATEST);
                let text = format!("{host} is still being looked up");
                return Err(self.postponed(again, &text));
            }
            Err(LookUpError::Pending(since)) => {
                let waited = short(since.elapsed());
                let text = format!("{host} is still being looked up: no answer within {waited}");
                return Err(self.fail(&text, false, begun));
            }
            Err(LookUpError::Starved(text)) => {
                return Err(Failure {
                    crowded: true,
                    ..Failure::new(FailureKind::Starved, text)
                });
            }
            Err(LookUpError::Failed(text)) => return Err(self.fail(&text, false, begun)),
        };
        let end = times.end.min(Instant::now() + times.step);
        let source = &shared.egress.source;
        let mine = |e: Failure| match e.kind {
            FailureKind::Starved | FailureKind::Shutdown => e,
            _ => self.fail(&e.text, false, begun),
        };
        let dialled = dial_addresses(&addresses, *port, source, &self.open, &shared.sockets, end);
        let (socket, address) = dialled.map_err(mine)?;
        if addresses.first() != Some(&address) {
            shared.names.prefer(host, address);
        }
        let carrier = Carrier::Socket(socket);
        Ok(match &self.tls {
            None => carrier,
            Some(tls) => {
                let stream = Stream::with_tls(carrier, host, tls.clone(), end);
                Carrier::Tls(Box::new(stream.map_err(mine)?))
            }
        })
    }

    fn shake_hands(
        &self,
        carrier: &mut Carrier,
        to: &Destination,
        target: socks::Target<'_>,
        end: Instant,
    ) -> Result<(), Blame> {
        match self.proxy.speaks_http() {
            true => self.ask_for_tunnel(carrier, to, end),
            false => self.talk_socks(carrier, to.endpoint.port(), target, end),
        }
    }

    fn ask_for_tunnel(
        &self,
        carrier: &mut Carrier,
        to: &Destination,
        end: Instant,
    ) -> Result<(), Blame> {
        let host = to.endpoint.uri.host().unwrap_or_default();
        let authority = format!("{host}:{}", to.endpoint.port());
        let request = http_connect::request(&authority, self.authorization());
        carrier.write_all(&request, end).map_err(|e| broken(&e))?;
        let mut reader = http_connect::AnswerReader::default();
        let mut buffer = [0; 1024];
        loop {
            let n = match carrier.read(&mut buffer, end) {
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
                None if used < n => Err(unasked(&buffer[used..n])),
                None => Ok(()),
            };
        }
    }

    fn talk_socks(
        &self,
        carrier: &mut Carrier,
        port: u16,
        target: socks::Target<'_>,
        end: Instant,
    ) -> Result<(), Blame> {
        let (mut talk, first) = socks::Talk::new(target, port, self.proxy.login.as_ref());
        carrier.write_all(first, end).map_err(|e| broken(&e))?;
        let mut buffer = [0; 300];
        loop {
            let wanted = talk.wants().min(buffer.len());
            let n = match carrier.read(&mut buffer[..wanted], end) {
                Ok(0) => return Err(broken(&ErrorKind::UnexpectedEof.into())),
                Ok(n) => n,
                Err(e) if is_timeout(&e) && talk.has_asked() => return Err(no_answer()),
                Err(e) => return Err(broken(&e)),
            };
            match talk.feed(&buffer[..n])? {
                socks::Next::Send(bytes) => {
                    carrier.write_all(&bytes, end).map_err(|e| broken(&e))?;
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

/// As a rule the target does not answer it; but one that hangs does so to all.
fn no_answer() -> Blame {
    Blame::Unclear("it did not say in time whether it leads there".into())
}

/// With HTTP and TLS it is for us to speak first.
fn unasked(bytes: &[u8]) -> Blame {
    let shown = &bytes[..bytes.len().min(60)];
    let text = format!(
        "the server sent \"{}\" before it was asked: is the port right?",
        shown.escape_ascii()
    );
    Blame::Target(FailureKind::Protocol, text)
}
