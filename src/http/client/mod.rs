//! Makes attempts: builds the request, runs the exchange, and reads what came of it.
//!
//! [`Client`] is shared by all workers. It blocks for at most `--timeout`.

mod login;
mod tokens;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{Request, Response, header};
use ureq::{Agent, Body, Error};

use crate::delivery::backoff::parse_retry_after;
use crate::delivery::rules::EndpointRule;
use crate::delivery::{Attempt, AttemptResult as Outcome, FailureKind, Job};
use crate::http::exchange::opener::NoLookUp;
use crate::http::exchange::{Connections, Exchange, Target};
use crate::http::failure::{Failure, without};
use crate::http::pool::Pool;
use crate::http::proxy::Gate;
use crate::http::request;
use crate::http::resolver::{Names, NamesConfig};
use crate::http::tls::Trust;
use crate::message::endpoint::Endpoint;
use crate::message::timestamp::unix_ms;
use crate::trust::authorities::Authorities;
use crate::trust::egress::Egress;
use crate::trust::guard::Guard;
use crate::trust::keyring::Keyring;
use crate::trust::login::Credential;
use tokens::Known;

/// Of an answer's body so much is read (a connection can be used again only when all of
/// it was), and so much is kept for the record.
const BODY_READ: u64 = 64 * 1024;
const BODY_KEPT: usize = 1024;

/// What the client keeps to.
#[derive(Debug)]
pub struct ClientConfig {
    /// For the whole attempt: connect, TLS, sending, and the answer's head; and as long before it
    /// for a name that is not known.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// Idle connections kept, to all origins together.
    pub max_idle: usize,
    pub names: NamesConfig,
    /// Certificates that the operator trusts, and whether Mozilla's roots are trusted too.
    pub authorities: Option<Authorities>,
    pub public_authorities: bool,
    pub egress: Egress,
    /// Where no message may lead.
    pub guard: Arc<Guard>,
}

/// Makes attempts. Shared by all workers.
pub struct Client {
    /// ureq's part: no timeouts, no pool, no proxy, no redirects.
    config: ureq::config::Config,
    timeout: Duration,
    connections: Arc<Connections>,
    /// The proxy, if there is one.
    gate: Option<Arc<Gate>>,
    trust: Arc<Trust>,
    /// What rules trust instead, by the fingerprint of their authorities.
    trusts: Mutex<HashMap<u64, Arc<Trust>>>,
    public_authorities: bool,
    /// Keys by name, if messages may give names.
    keyring: Option<Keyring>,
    grants: Mutex<Vec<Known>>,
    closed: AtomicBool,
}

/// A request, and the exchange that it is sent in.
type Ready<'a> = (Request<&'a [u8]>, Exchange);

impl Client {
    /// Fails when the resolver cannot be started, or a certificate cannot be used.
    pub fn new(config: ClientConfig, keyring: Option<Keyring>) -> io::Result<Client> {
        let trust = Trust::new(config.public_authorities, config.authorities.as_ref());
        let trust = trust.map_err(io::Error::other)?;
        let connections = Connections {
            pool: Pool::new(config.max_idle),
            sockets: Arc::default(),
            names: Names::start(config.names)?,
            connect_timeout: config.connect_timeout,
            egress: config.egress,
            guard: config.guard,
        };
        Ok(Client {
            gate: Gate::of(&connections.egress, &trust),
            config: request::agent_config(),
            timeout: config.timeout,
            connections: Arc::new(connections),
            trust: Arc::new(trust),
            trusts: Mutex::default(),
            public_authorities: config.public_authorities,
            keyring,
            grants: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Posts one message, once. A kept connection that turns out to be closed does not count:
    /// the post is repeated at once, on a new one, with what is left of the time. So it is with a
    /// token that the endpoint does not take any more.
    // Inlined, its frame would be part of the worker's loop, and every worker that has never
    // worked would hold 8 KiB of memory for it.
    #[inline(never)]
    pub fn attempt(&self, job: &Job) -> Attempt {
        let at = unix_ms(SystemTime::now());
        let begun = Instant::now();
        let result = match self.try_it(job, (at, begun)) {
            Ok(answer) => answer,
            Err(_) if self.closed.load(Ordering::SeqCst) => Outcome::Failure {
                kind: FailureKind::Shutdown,
                text: "cut short by the end of the drain".into(),
            },
            Err(e) => fault(&e),
        };
        Attempt {
            at,
            took: begun.elapsed(),
            result,
        }
    }

    fn try_it(&self, job: &Job, times: (u64, Instant)) -> Result<Outcome, Error> {
        let login = self.log_in(job, times.1, None)?;
        let answer = self.post(job, times, login.as_ref())?;
        match login {
            Some(Credential::Token(token)) if is_unauthorized(&answer) => {
                self.post_again(job, times, token, answer)
            }
            _ => Ok(answer),
        }
    }

    /// Cuts all attempts in progress, and fails those to come, as [`FailureKind::Shutdown`].
    pub fn shutdown(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.close();
        }
        self.connections.names.close();
        self.connections.pool.close();
        self.connections.sockets.shut_down();
    }

    /// Closes connections that have rested for too long. To be called every few seconds.
    pub fn close_idle(&self, now: Instant) {
        self.connections.pool.close_idle(now);
    }

    fn post(
        &self,
        job: &Job,
        (at, begun): (u64, Instant),
        login: Option<&Credential<'_>>,
    ) -> Result<Outcome, Error> {
        let make = |may_reuse| {
            let (header, keyring) = (login.map(Credential::header), self.keyring.as_ref());
            let request = request::build(job, at, header, keyring)?;
            let exchange = Exchange {
                connections: self.connections.clone(),
                to: self.target(job)?,
                begun,
                end: begun + self.limit(job),
                asked: job.delivery.name_asked.unwrap_or(begun),
                may_reuse,
                wants_body: false,
                expected: request::size(&request),
            };
            Ok((request, exchange))
        };
        let redactor = login.map(Credential::redactor);
        let response = self.run(make).map_err(|e| without(e, redactor))?;
        Ok(answer(response, login, self.gate.as_deref()))
    }

    /// Runs what `make` makes, told whether a kept connection may be used: once more where that turns
    /// out to be closed.
    fn run<'a>(
        &self,
        make: impl Fn(bool) -> Result<Ready<'a>, Error>,
    ) -> Result<Response<Body>, Error> {
        match self.run_once(make(true)?) {
            Err(e) if failure_in(&e).is_some_and(|f| f.stale) => self.run_once(make(false)?),
            response => response,
        }
    }

    fn run_once(&self, (request, exchange): Ready<'_>) -> Result<Response<Body>, Error> {
        // An agent of its own carries the exchange to the transport, and costs less than ureq's
        // pool, which recounts all its connections several times a request.
        let gate = exchange.to.gate.clone();
        Agent::with_parts(self.config.clone(), exchange, NoLookUp)
            .run(request)
            .map_err(|e| match gate {
                Some(gate) => gate.name_in(e),
                None => e,
            })
    }

    fn target(&self, job: &Job) -> Result<Target, Error> {
        let rule = job.rule.as_deref();
        let insecure = rule.is_some_and(|rule| rule.is_insecure());
        self.target_of(&job.delivery.message.endpoint, rule, insecure)
    }

    /// Where an exchange by this rule goes, whoever is asked there.
    fn target_of(
        &self,
        endpoint: &Arc<Endpoint>,
        rule: Option<&EndpointRule>,
        insecure: bool,
    ) -> Result<Target, Error> {
        let gate = (self.gate.as_ref())
            .filter(|_| !self.connections.egress.is_direct(endpoint))
            .cloned();
        let guard = rule.and_then(|rule| rule.guard.clone());
        let own = rule.and_then(|rule| rule.authorities.as_ref());
        let identity = rule.and_then(|rule| rule.login.as_ref()?.identity.as_ref());
        let mark = login::tls_mark(own, identity, insecure);
        Ok(match mark.filter(|_| endpoint.is_https()) {
            Some(mark) => Target {
                // Others do not trust whoever it is that answers there, or are somebody else to it.
                key: format!("{} {mark}", endpoint.origin).into(),
                trust: own.map_or_else(|| Ok(self.trust.clone()), |own| self.trust_in(own))?,
                identity: identity.cloned(),
                insecure,
                gate,
                guard,
                endpoint: endpoint.clone(),
            },
            None => Target {
                key: endpoint.origin.clone(),
                trust: self.trust.clone(),
                identity: None,
                insecure: false,
                gate,
                guard,
                endpoint: endpoint.clone(),
            },
        })
    }

    fn trust_in(&self, own: &Authorities) -> Result<Arc<Trust>, Error> {
        let mut trusts = self.trusts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trust) = trusts.get(&own.fingerprint()) {
            return Ok(trust.clone());
        }
        let trust = Trust::new(self.public_authorities, Some(own))
            .map_err(|e| Error::Other(Box::new(Failure::new(FailureKind::Tls, e))))?;
        let trust = Arc::new(trust);
        trusts.insert(own.fingerprint(), trust.clone());
        Ok(trust)
    }

    fn usual_limit(&self, job: &Job) -> Duration {
        let rule = job.rule.as_ref().and_then(|rule| rule.timeout);
        rule.unwrap_or(self.timeout)
    }

    /// How long the attempt may take. A message may ask for less time, not for more.
    fn limit(&self, job: &Job) -> Duration {
        let most = self.usual_limit(job);
        let wish = job.delivery.message.overrides.timeout;
        wish.map_or(most, |wish| wish.min(most))
    }
}

fn is_unauthorized(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Response { status: 401, .. })
}

fn answer(
    response: Response<Body>,
    login: Option<&Credential<'_>>,
    gate: Option<&Gate>,
) -> Outcome {
    let status = response.status().as_u16();
    let field = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
    let retry_after = field(header::RETRY_AFTER)
        .and_then(|v| parse_retry_after(v, field(header::DATE), SystemTime::now()));
    let mut kept = Vec::new();
    let mut reader = response.into_body().into_reader().take(BODY_READ);
    // The status has decided. A body that breaks off, or is not done in time, only costs
    // the connection.
    let _ = reader
        .by_ref()
        .take(BODY_KEPT as u64)
        .read_to_end(&mut kept);
    if kept.len() == BODY_KEPT {
        read_rest(&mut reader);
    }
    if let Some(login) = login {
        login.redactor().redact(&mut kept);
    }
    if let Some(gate) = gate {
        gate.redactor().redact(&mut kept);
    }
    Outcome::Response {
        status,
        retry_after,
        body: kept.into(),
    }
}

// Inlined, the buffer of `io::copy` would be part of the attempt's frame, and every attempt that
// waits for an answer would hold 8 KiB of memory for it.
#[inline(never)]
fn read_rest(reader: &mut impl Read) {
    let _ = io::copy(reader, &mut io::sink());
}

fn failure_in(e: &Error) -> Option<&Failure> {
    match e {
        Error::Other(e) => e.downcast_ref(),
        _ => None,
    }
}

fn fault(e: &Error) -> Outcome {
    let (kind, text) = match (failure_in(e), e) {
        (Some(failure), _) => (failure.kind, failure.text.clone()),
        // A request that cannot even be written.
        (None, Error::Http(_) | Error::BadUri(_)) => (FailureKind::Internal, e.to_string()),
        (None, _) => (FailureKind::Protocol, e.to_string()),
    };
    Outcome::Failure { kind, text }
}
