//! What an attempt came to and what becomes of its message, for whoever asks (`--status-ttl`,
//! `--attempt-log`).

use std::time::Duration;

use crate::delivery::{AttemptResult, DeadLetter, DeadReason, Delivery};
use crate::message::entry::EntryId;

/// What an attempt came to, and what becomes of its message.
#[derive(Debug)]
pub struct StatusUpdate {
    /// Of the stream, if it is one.
    pub entry: Option<EntryId>,
    pub id: Box<str>,
    pub url: String,
    /// Attempts made.
    pub attempts: u32,
    /// Unix milliseconds.
    pub at: u64,
    /// Of the last attempt, if one was made.
    pub took: Duration,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub disposition: Disposition,
    /// Whether this is of an attempt, and not of what became of the message without one.
    pub attempted: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Disposition {
    Delivered,
    /// It waits in memory for its next attempt, `after` from now.
    Waiting {
        after: Duration,
    },
    /// It waits in the store, for its time.
    Parked {
        after: Duration,
    },
    /// It waits in the store, for its endpoint.
    Deferred,
    Dead(DeadReason),
}

impl StatusUpdate {
    /// Of a delivery as it is now: whoever takes it away then says what becomes of it.
    /// `attempted`: this is of its last attempt.
    pub fn of(
        delivery: &Delivery,
        attempted: bool,
        now: u64,
    ) -> impl FnOnce(Disposition) -> StatusUpdate + use<> {
        let last = delivery.last.as_ref();
        let (status, error) = match last.map(|a| &a.result) {
            Some(AttemptResult::Response { status, .. }) => (Some(*status), None),
            Some(fault) => (None, Some(fault.to_string())),
            None => (None, None),
        };
        let (entry, attempts) = (delivery.entry, delivery.attempts);
        let id = delivery.message.id.clone();
        let url = delivery.message.endpoint.uri.to_string();
        let took = last.map_or(Duration::ZERO, |a| a.took);
        move |disposition| StatusUpdate {
            entry,
            id,
            url,
            attempts,
            at: now,
            took,
            status,
            error,
            disposition,
            attempted,
        }
    }

    /// Of a message that was refused, as far as it can be told from others.
    pub fn of_letter(letter: &DeadLetter) -> Option<StatusUpdate> {
        Some(StatusUpdate {
            entry: letter.entry,
            id: letter.id.clone()?,
            url: letter.url.as_deref().unwrap_or_default().to_owned(),
            attempts: letter.attempts,
            at: letter.died,
            took: Duration::ZERO,
            status: None,
            error: None,
            disposition: Disposition::Dead(letter.reason),
            attempted: false,
        })
    }

    /// Its fields by name, as they are stored. All are always there, so that a field of an
    /// earlier attempt does not outlive it.
    pub fn fields(&self) -> [(&'static str, String); 10] {
        let (state, after, reason) = match self.disposition {
            Disposition::Delivered => ("delivered", None, None),
            Disposition::Waiting { after } => ("waiting", Some(after), None),
            Disposition::Parked { after } => ("parked", Some(after), None),
            Disposition::Deferred => ("deferred", None, None),
            Disposition::Dead(reason) => ("dead", None, Some(reason)),
        };
        let text = |value: Option<String>| value.unwrap_or_default();
        [
            ("id", self.id.to_string()),
            ("url", self.url.clone()),
            ("state", state.into()),
            ("attempts", self.attempts.to_string()),
            ("status", text(self.status.map(|s| s.to_string()))),
            ("error", text(self.error.clone())),
            ("at_ms", self.at.to_string()),
            ("took_ms", self.took.as_millis().to_string()),
            (
                "next_ms",
                text(after.map(|a| (self.at + a.as_millis() as u64).to_string())),
            ),
            ("reason", text(reason.map(|r| r.to_string()))),
        ]
    }
}
