//! What has come of the way through a proxy: whose fault it is, what is told, and what is never shown.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use log::{info, warn};
use ureq::Error;

use super::health::Health;
use super::{Blame, Gate, connect};
use crate::delivery::FaultKind;
use crate::http::failure::{Failure, changed, short};
use crate::http::head::Head;
use crate::trust::login::Blots;

impl Gate {
    /// What an answer, where the proxy reads our requests, says of the proxy. An error if it is its own.
    pub fn note_answer(&self, head: &Head, begun: Instant) -> Result<(), Failure> {
        let is_its_own = head.status >= 400 && head.proxy_says.is_some();
        if !is_its_own && (head.status != 407 || !head.asks) {
            self.succeed();
            return Ok(());
        }
        let answer = connect::Answer::new(head.status, head.proxy_says.as_deref(), head.asks);
        match answer.blame(self.authorization.is_some()) {
            Some(blame) => Err(self.judge(blame, begun)),
            None => Ok(()),
        }
    }

    pub(super) fn ask(&self, now: Instant) -> Result<(), Failure> {
        self.health().ask(now).map_err(|(again, text)| {
            Failure::new(FaultKind::Proxy { again }, format!("proxy {self}: {text}"))
        })
    }

    pub(super) fn succeed(&self) {
        let over = self.health().succeed(Instant::now());
        if let Some(length) = over {
            info!("proxy {self}: back after {}", short(length));
        }
    }

    /// The failure of an attempt that began then.
    pub(super) fn judge(&self, blame: Blame, begun: Instant) -> Failure {
        let now = Instant::now();
        let text = match blame {
            Blame::Target(kind, text) => {
                self.succeed();
                return Failure::new(kind, self.blots.hide_in(text));
            }
            Blame::Unclear(text) if self.health().is_proven(now) => {
                let text = self.blots.hide_in(text);
                let text = format!("the proxy leads to others, but here: {text}");
                return Failure::new(FaultKind::Connect, text);
            }
            Blame::Own(text) | Blame::Unclear(text) => self.blots.hide_in(text),
        };
        let advice = self.health().fail(&text, begun, now);
        if advice.tell && !self.closed.load(Ordering::SeqCst) {
            warn!("proxy {self}: trouble: {text}; what goes through it waits");
        }
        let again = advice.again;
        Failure::new(FaultKind::Proxy { again }, format!("proxy {self}: {text}"))
    }

    /// Blots our login out of what is said: some repeat the request in their answers.
    pub fn blots(&self) -> &Blots {
        &self.blots
    }

    /// An error of an exchange, with whom it went through, unless it is that one's own.
    pub fn name_in(&self, e: Error) -> Error {
        changed(e, |failure| {
            // Neither what is its own, nor what it was never asked for.
            let is_others =
                failure.kind != FaultKind::Refused && failure.kind.postponed().is_none();
            if is_others {
                let text = self.blots.hide_in(std::mem::take(&mut failure.text));
                failure.text = format!("through {self}: {text}");
            }
        })
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
