//! Makes attempts: sends a message, and says what came of it.
//!
//! [`Client`] is shared by all workers. `sender.rs` runs an exchange under ureq, `targets.rs` says where it
//! goes, `login.rs` and `tokens.rs` who we are there, and `answer.rs` reads what came back. An attempt
//! blocks for `--timeout` at the longest.

mod answer;
mod login;
mod sender;
mod targets;
mod tokens;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ureq::Error;

use crate::delivery::{Attempt, AttemptResult, FailureKind, Job};
use crate::http::connection::Dialer;
use crate::http::exchange::{Exchange, Shared};
use crate::http::failure::{Failure, kind_and_text, other, without};
use crate::http::pool::Pool;
use crate::http::request;
use crate::http::resolver::{Resolver, ResolverConfig};
use crate::message::timestamp::unix_ms;
use crate::trust::authorities::Authorities;
use crate::trust::egress::Egress;
use crate::trust::guard::Guard;
use crate::trust::keyring::Keyring;
use crate::trust::login::{Credential, Token};
use sender::Sender;
use targets::Targets;
use tokens::TokenFetcher;

/// An attempt that was refused looks this often for the token that another message fetches, and for this
/// long: it holds a worker meanwhile.
const SOON: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1);

/// The options of a client.
#[derive(Debug)]
pub struct ClientConfig {
    /// For the whole attempt: connect, TLS, sending, and the answer's head; and as long before it
    /// for a name that is not known.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// Idle connections kept, to all origins together.
    pub max_idle: usize,
    pub names: ResolverConfig,
    /// Certificates that the operator trusts, and whether Mozilla's roots are trusted too.
    pub authorities: Option<Authorities>,
    pub public_authorities: bool,
    pub egress: Egress,
    /// Where no message may lead.
    pub guard: Arc<Guard>,
}

/// Makes attempts. Shared by all workers.
pub struct Client {
    sender: Sender,
    tokens: TokenFetcher,
    /// Keys by name, if messages may give names.
    keyring: Option<Keyring>,
    /// Attempts are cut, and none succeeds from now on.
    is_shut_down: AtomicBool,
}

impl Client {
    /// Fails when the resolver cannot be started, or a certificate cannot be used.
    pub fn new(config: ClientConfig, keyring: Option<Keyring>) -> io::Result<Client> {
        let (source, own) = (config.egress.source, config.authorities.as_ref());
        let targets = Targets::new(config.egress, own, config.public_authorities);
        let targets = targets.map_err(io::Error::other)?;
        let resolver = Resolver::start(config.names)?;
        let shared = Arc::new(Shared {
            pool: Pool::new(config.max_idle),
            dialer: Dialer::new(resolver, source, config.connect_timeout),
            guard: config.guard,
        });
        Ok(Client {
            sender: Sender::new(shared, targets, config.timeout),
            tokens: TokenFetcher::default(),
            keyring,
            is_shut_down: AtomicBool::new(false),
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
        let result = match self.log_in_and_post(job, (at, begun)) {
            Ok(result) => result,
            Err(_) if self.is_shut_down.load(Ordering::SeqCst) => AttemptResult::Failure {
                kind: FailureKind::Shutdown,
                text: "cut short by the end of the drain".into(),
            },
            Err(e) => {
                let (kind, text) = kind_and_text(&e);
                AttemptResult::Failure { kind, text }
            }
        };
        Attempt {
            at,
            took: begun.elapsed(),
            result,
        }
    }

    fn log_in_and_post(&self, job: &Job, times: (u64, Instant)) -> Result<AttemptResult, Error> {
        let login = self.log_in(job, times.1, None).map_err(other)?;
        let result = self.post(job, times, login.as_ref())?;
        match login {
            Some(Credential::Token(token)) if is_unauthorized(&result) => {
                self.post_again(job, times, token, result)
            }
            _ => Ok(result),
        }
    }

    /// Cuts all attempts in progress, and fails those to come, as [`FailureKind::Shutdown`].
    pub fn shutdown(&self) {
        self.is_shut_down.store(true, Ordering::SeqCst);
        if let Some(gate) = self.sender.targets.gate() {
            gate.monitor.shut_down();
        }
        self.sender.shared.pool.shut_down();
        self.sender.shared.dialer.shut_down();
    }

    /// Closes connections that have rested for too long. To be called every few seconds.
    pub fn close_idle(&self, now: Instant) {
        self.sender.shared.pool.close_idle(now);
    }

    fn log_in<'a>(
        &self,
        job: &'a Job,
        begun: Instant,
        refused: Option<&Token>,
    ) -> Result<Option<Credential<'a>>, Failure> {
        login::log_in(job, |oauth2| {
            (self.tokens).token(&self.sender, oauth2, job, begun, refused)
        })
    }

    fn post(
        &self,
        job: &Job,
        (at, begun): (u64, Instant),
        login: Option<&Credential<'_>>,
    ) -> Result<AttemptResult, Error> {
        let Sender {
            shared, targets, ..
        } = &self.sender;
        let rule = job.rule.as_deref();
        let insecure = rule.is_some_and(|rule| rule.is_insecure());
        let make = |may_reuse| {
            let (header, keyring) = (login.map(Credential::header), self.keyring.as_ref());
            let request = request::build(job, at, header, keyring)?;
            let to = targets.target(&job.delivery.message.endpoint, rule, insecure);
            let exchange = Exchange {
                shared: shared.clone(),
                to: to.map_err(other)?,
                begun,
                end: begun + self.sender.limit(job),
                asked: job.delivery.name_asked.unwrap_or(begun),
                may_reuse,
                wants_body: false,
                expected: request::size(&request),
            };
            Ok((request, exchange))
        };
        let login_redactor = login.map(Credential::redactor);
        let response = (self.sender.send(make)).map_err(|e| without(e, login_redactor))?;
        let proxy_redactor = targets.gate().map(|gate| gate.monitor.redactor());
        let redactors = login_redactor.into_iter().chain(proxy_redactor);
        Ok(answer::read(response, redactors))
    }

    /// The endpoint has answered 401 to a token. With another one it may say something else.
    #[inline(never)]
    fn post_again(
        &self,
        job: &Job,
        times: (u64, Instant),
        token: Token,
        result: AttemptResult,
    ) -> Result<AttemptResult, Error> {
        match login::oauth2(job) {
            Some(oauth2) if self.tokens.refuse(oauth2, job, &token) => {}
            _ => return Ok(result),
        }
        // The endpoint was asked, so the attempt counts in any case: an endpoint that always answers
        // so would be asked for ever.
        let end = (times.1 + self.sender.limit(job) / 2).min(Instant::now() + PATIENCE);
        while Instant::now() < end && !self.is_shut_down.load(Ordering::SeqCst) {
            match self.log_in(job, times.1, Some(&token)) {
                Ok(login) => return self.post(job, times, login.as_ref()),
                Err(failure) => match failure.kind {
                    // A token that has been on its way for long will not come now.
                    FailureKind::Tokenless { again } if again < PATIENCE => thread::sleep(SOON),
                    kind if kind.postponed().is_some() => break,
                    kind => {
                        let text = format!(
                            "the endpoint answered 401, and there is no new token: {failure}"
                        );
                        return Err(other(Failure::new(kind, text)));
                    }
                },
            }
        }
        Ok(result)
    }
}

fn is_unauthorized(result: &AttemptResult) -> bool {
    matches!(result, AttemptResult::Response { status: 401, .. })
}
