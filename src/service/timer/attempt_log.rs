//! The log line of each attempt, at `debug`.

use std::sync::Arc;
use std::time::Duration;

use log::{Level, debug, log_enabled};

use crate::delivery::status_update::Disposition;
use crate::delivery::{Attempt, AttemptResult, Delivery};

/// What is said of an attempt once it is known what becomes of its message.
pub struct AttemptLine {
    id: Box<str>,
    endpoint: Arc<str>,
    result: String,
    status: Option<u64>,
    error: Option<String>,
    attempt: u32,
    took: Duration,
    is_postponed: bool,
}

impl AttemptLine {
    /// Nothing where nobody reads it.
    pub fn of(delivery: &Delivery, attempt: &Attempt) -> Option<AttemptLine> {
        log_enabled!(Level::Debug).then(|| AttemptLine {
            id: delivery.message.id.clone(),
            endpoint: delivery.message.endpoint.origin.clone(),
            result: attempt.result.to_string(),
            status: match attempt.result {
                AttemptResult::Response { status, .. } => Some(status.into()),
                AttemptResult::Failure { .. } => None,
            },
            error: attempt.failure_kind().map(|kind| kind.to_string()),
            attempt: delivery.attempts.next(),
            took: attempt.took,
            is_postponed: attempt.postponed().is_some(),
        })
    }

    pub fn log(self, disposition: Disposition) {
        let (word, state, then) = match disposition {
            Disposition::Delivered => ("delivered", "delivered", String::new()),
            Disposition::Waiting { after } if self.is_postponed => {
                ("postponed", "waiting", format!(" again in {after:?}"))
            }
            Disposition::Waiting { after } => ("failed", "waiting", format!(" retry in {after:?}")),
            Disposition::Parked { after } => ("failed", "parked", format!(" parked for {after:?}")),
            Disposition::Deferred => {
                let then = " deferred until its endpoint is back";
                ("failed", "deferred", then.to_owned())
            }
            Disposition::Dead(reason) => ("failed", "dead", format!(" dead={reason}")),
        };
        let (id, endpoint) = (&*self.id, &*self.endpoint);
        debug!(
            event = "attempt", id = id, endpoint = endpoint, state = state, status = self.status,
            error = self.error, attempt = self.attempt, took_ms = self.took.as_millis() as u64;
            "{word} id={id} endpoint={endpoint} {} attempt={} took={:?}{then}",
            self.result,
            self.attempt,
            self.took
        );
    }
}
