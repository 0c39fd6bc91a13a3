//! The result of an attempt and what happens to its message, for `--status-ttl` and
//! `--attempt-log`.

use std::time::Duration;

use crate::delivery::{AttemptResult, DeadLetter, DeadReason, Delivery};
use crate::message::entry::EntryId;

/// The result of an attempt, and what happens to its message.
#[derive(Debug)]
pub struct StatusUpdate {
    /// Its entry of the stream, if it has one.
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
    /// Whether an attempt was made. A message can also end without one.
    pub attempted: bool,
}

/// What happens to a message.
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
    /// The state of a delivery now. The caller that takes it away sets the disposition.
    /// `attempted`: this is about its last attempt.
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
        let (entry, attempts) = (delivery.entry, delivery.attempts.made());
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

    /// The update of a message that was refused, if it has an id.
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
