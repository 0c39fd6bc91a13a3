//! Watches how a proxy fares: whose fault a failure is, what is logged of it, and which secrets are hidden.
//!
//! One monitor serves all workers. It never blocks but for its own lock, which is held for a decision of
//! `health.rs`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{info, warn};
use ureq::Error;

use super::blame::Blame;
use super::health::{Fault, Health, Unclear, Verdict};
use super::http_connect::Answer;
use crate::delivery::FailureKind;
use crate::http::failure::{Failure, changed, short};
use crate::http::response::Head;
use crate::message::endpoint::Endpoint;
use crate::trust::egress::Proxy;
use crate::trust::login::Redactor;

/// See the module's header.
pub struct Monitor {
    proxy: Arc<Proxy>,
    health: Mutex<Health>,
    /// Takes our login out of what the proxy says.
    redactor: Redactor,
    /// All attempts are cut: a fault from now on is nobody's.
    is_shut_down: AtomicBool,
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proxy.fmt(f)
    }
}

impl Monitor {
    pub fn new(proxy: Arc<Proxy>) -> Monitor {
        Monitor {
            redactor: Redactor::new(proxy.login.iter().flat_map(|login| login.hidden())),
            proxy,
            health: Mutex::default(),
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// To be called before all attempts are cut.
    pub fn shut_down(&self) {
        self.is_shut_down.store(true, Ordering::SeqCst);
    }

    /// Where the proxy reads our requests: notes what an answer says of the proxy. It is an error if the
    /// answer is the proxy's own.
    pub fn note_answer(&self, head: &Head, to: &Endpoint, begun: Instant) -> Result<(), Failure> {
        let is_its_own = head.status >= 400 && head.proxy_says.is_some();
        if !is_its_own && (head.status != 407 || !head.asks) {
            self.succeed(to);
            return Ok(());
        }
        let answer = Answer::new(head.status, head.proxy_says.as_deref(), head.asks);
        match answer.blame(self.proxy.login.is_some()) {
            // Its target may say the same.
            Some(Blame::Login(text)) => Err(self.judge(Blame::Unclear(text), to, begun)),
            Some(blame) => Err(self.judge(blame, to, begun)),
            None => Ok(()),
        }
    }

    /// Where the proxy reads our requests: no answer to one has come. That may be the proxy's fault
    /// or the target's.
    pub fn note_silence(&self, failure: Failure, to: &Endpoint, begun: Instant) -> Failure {
        self.doubt(&failure.text, Unclear::Sent, to, begun)
            .unwrap_or(failure)
    }

    /// Whether the proxy may be tried, and whether that attempt may end an outage.
    pub fn ask(&self, to: &Endpoint, now: Instant, until: Instant) -> Result<bool, Failure> {
        let asked = self.health().ask(&to.origin, now, until);
        asked.map_err(|(again, text)| self.postponed(again, &text))
    }

    /// An attempt has come to nothing. What it has shown of the proxy has been noted.
    pub fn abandon(&self, to: &Endpoint) {
        self.health().abandon(&to.origin);
    }

    /// There is a connection to the proxy itself.
    pub fn reached(&self) {
        self.health().reached();
    }

    /// The proxy has led to `to`, or says why it does not.
    pub fn succeed(&self, to: &Endpoint) {
        let over = self.health().succeed(&to.origin, Instant::now());
        if let Some(length) = over {
            info!("proxy {self}: back after {}", short(length));
        }
    }

    /// The failure of an attempt that began then.
    pub fn judge(&self, blame: Blame, to: &Endpoint, begun: Instant) -> Failure {
        let (text, kind) = match blame {
            Blame::Target(kind, text) => {
                self.succeed(to);
                return Failure::new(kind, self.redactor.redact_in(text));
            }
            Blame::Own(text) => return self.fail(&self.redactor.redact_in(text), true, begun),
            Blame::Unclear(text) => (self.redactor.redact_in(text), Unclear::Unled),
            Blame::Login(text) => (self.redactor.redact_in(text), Unclear::Login),
        };
        self.doubt(&text, kind, to, begun).unwrap_or_else(|leads| {
            let text = match leads {
                true => format!("the proxy leads to others, but here: {text}"),
                false => format!("for long now: {text}"),
            };
            Failure::new(FailureKind::Connect, text)
        })
    }

    /// The failure of an attempt that began then, by the proxy's own fault.
    pub fn fail(&self, text: &str, reached: bool, begun: Instant) -> Failure {
        let advice = self.health().fail(text, reached, begun, Instant::now());
        if advice.is_news {
            self.warn(format_args!("{text}; what goes through it waits"));
        }
        self.postponed(advice.again, text)
    }

    /// The failure, if it may be the proxy's. If it is the target's, the error says whether the proxy leads to
    /// others.
    fn doubt(
        &self,
        text: &str,
        kind: Unclear,
        to: &Endpoint,
        begun: Instant,
    ) -> Result<Failure, bool> {
        let origin = &to.origin;
        let fault = Fault { text, kind };
        let verdict = self.health().doubt(origin, fault, begun, Instant::now());
        match verdict {
            Verdict::Target { leads } => Err(leads),
            Verdict::Proxy(advice) => {
                if advice.is_news {
                    self.warn(format_args!("{text}; what goes to {origin} waits"));
                }
                Ok(self.postponed(advice.again, text))
            }
        }
    }

    fn warn(&self, trouble: fmt::Arguments<'_>) {
        if !self.is_shut_down.load(Ordering::SeqCst) {
            warn!("proxy {self}: trouble: {trouble}");
        }
    }

    pub fn postponed(&self, again: Duration, text: &str) -> Failure {
        Failure::new(
            FailureKind::Proxy { again },
            format!("proxy {self}: {text}"),
        )
    }

    /// Takes our login out of what the proxy says: some proxies repeat the request in their answers.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The error of an exchange, with the proxy's name before it, unless the fault is the proxy's own.
    pub fn name_in(&self, e: Error) -> Error {
        changed(e, |failure| {
            // Neither for its own faults, nor where the proxy was never asked.
            let is_others =
                failure.kind != FailureKind::Refused && failure.kind.postponed().is_none();
            if is_others {
                let text = self.redactor.redact_in(std::mem::take(&mut failure.text));
                failure.text = format!("through {self}: {text}");
            }
        })
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
