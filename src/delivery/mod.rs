//! A message on its way, the results of its attempts, and what is kept when it dies.

mod attempts;
pub mod config;
pub mod endpoint_snapshot;
pub mod endpoints_file;
pub mod hold;
mod job;
pub mod limits;
pub mod parked;
mod reason;
pub mod receipt;
pub mod record;
pub mod retry_schedule;
pub mod rules;
pub mod status_update;
pub mod verdict;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::boot_time::BootTime;
use crate::message::detail::Detail;
use crate::message::entry::EntryId;
use crate::message::printable::printable;
use crate::message::{Message, Rejection};

pub use attempts::Attempts;
pub use job::{Job, LaneId};
pub use reason::DeadReason;

/// A message on its way. Not `Clone`: it is in one place at a time, and the thread that has it is
/// responsible for it.
#[derive(Debug)]
pub struct Delivery {
    pub message: Message,
    /// The stream entry that keeps it while it is here. Without one, it is in memory alone.
    pub entry: Option<EntryId>,
    /// When the entry's lease was last renewed, or a moment before that.
    pub lease_renewed_at: BootTime,
    /// A note renewed the lease last. Only the store knows whether it came in time.
    pub renewed: bool,
    /// Where it came from, as `pubsub:payments` or `stdin`.
    pub source: Arc<str>,
    /// Unix milliseconds at which it was first received.
    pub received: u64,
    pub attempts: Attempts,
    /// It was taken over from a process that died, perhaps because of this message.
    pub reclaimed: bool,
    /// It was published while draining: it goes to the stream, for another replica or the next
    /// start.
    pub is_late: bool,
    /// The key (see [`Message::group`]) whose head it is: the others of that key wait for it.
    pub head: Option<Arc<str>>,
    /// The backlog that it was released from.
    pub backlog: Option<Arc<str>>,
    pub last: Option<Attempt>,
    /// When its next attempt was first postponed, for want of an address or of a token to log in
    /// with.
    pub name_asked: Option<Instant>,
    pub token_asked: Option<Instant>,
    /// Why the last attempt failed before the message became this entry, in words.
    pub failed_before: Option<Box<str>>,
}

/// One HTTP exchange.
#[derive(Debug)]
pub struct Attempt {
    /// Unix milliseconds at which it began.
    pub at: u64,
    pub took: Duration,
    pub result: AttemptResult,
}

impl Attempt {
    /// Why there was no answer, if there was none.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        match self.result {
            AttemptResult::Failure { kind, .. } => Some(kind),
            AttemptResult::Response { .. } => None,
        }
    }

    /// The rule of the address guard that forbids it, as a sentence.
    pub fn refusal(&self) -> Option<&str> {
        match &self.result {
            AttemptResult::Failure {
                kind: FailureKind::Refused,
                text,
            } => Some(text),
            _ => None,
        }
    }

    /// See [`FailureKind::postponed`].
    pub fn postponed(&self) -> Option<Duration> {
        self.failure_kind()?.postponed()
    }
}

/// The result of an attempt: a response with any status, or none.
#[derive(Debug)]
pub enum AttemptResult {
    Response {
        status: u16,
        /// The endpoint's `Retry-After`, already read and capped.
        retry_after: Option<Duration>,
        /// The beginning of the body.
        body: Box<[u8]>,
    },
    Failure {
        kind: FailureKind,
        text: String,
    },
}

/// How long a delivery waits if outhook had no descriptor, port or memory for it.
const STARVED: Duration = Duration::from_secs(1);

/// How long a delivery waits that cannot be signed: an operator has to provide a key first.
const UNSIGNED: Duration = Duration::from_secs(10);

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    Dns,
    Connect,
    Tls,
    Timeout,
    /// The connection broke, or the response was not HTTP.
    Protocol,
    /// outhook itself stopped it, at the end of a drain.
    Shutdown,
    /// outhook had no descriptor, port or memory for it. The endpoint is not to blame, and it does
    /// not count as an attempt.
    Starved,
    /// The name is still being looked up; try again after `again`. The endpoint is not to blame
    /// yet, and it does not count as an attempt.
    Unresolved {
        again: Duration,
    },
    /// No key of its endpoint is valid now. The endpoint is not to blame, and it does not count as
    /// an attempt.
    Unsigned,
    /// The token to log in with is being fetched. As with `Unresolved`.
    Tokenless {
        again: Duration,
    },
    /// There are no credentials for the endpoint, so nothing was sent.
    Login,
    /// The address guard forbids it: nothing was sent, and nothing will be.
    Refused,
    /// The proxy failed; try again after `again`. The endpoint is not to blame, and it does not
    /// count as an attempt.
    Proxy {
        again: Duration,
    },
    /// The secret that the message names is being read. The endpoint is not to blame, and it does
    /// not count as an attempt.
    SecretUnread {
        again: Duration,
    },
    /// There is no secret of that name. As with `SecretUnread`.
    NoSecret,
    /// A defect of outhook: the attempt panicked.
    Internal,
}

impl FailureKind {
    /// When to try again, if nothing was sent for a reason on our side. Then no attempt was made.
    pub fn postponed(self) -> Option<Duration> {
        match self {
            FailureKind::Shutdown => Some(Duration::ZERO),
            FailureKind::Starved => Some(STARVED),
            FailureKind::Unsigned => Some(UNSIGNED),
            FailureKind::Unresolved { again }
            | FailureKind::Proxy { again }
            | FailureKind::SecretUnread { again }
            | FailureKind::Tokenless { again } => Some(again),
            FailureKind::NoSecret => Some(UNSIGNED),
            _ => None,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureKind::Dns | FailureKind::Unresolved { .. } => "dns",
            FailureKind::Connect => "connect",
            FailureKind::Tls => "tls",
            FailureKind::Timeout => "timeout",
            FailureKind::Protocol => "protocol",
            FailureKind::Shutdown => "shutdown",
            FailureKind::Login | FailureKind::Tokenless { .. } => "login",
            FailureKind::Refused => "refused",
            FailureKind::Proxy { .. } => "proxy",
            FailureKind::Unsigned | FailureKind::SecretUnread { .. } | FailureKind::NoSecret => {
                "signing"
            }
            FailureKind::Starved | FailureKind::Internal => "internal",
        })
    }
}

impl fmt::Display for AttemptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptResult::Response { status, .. } => write!(f, "status={status}"),
            AttemptResult::Failure { kind, text } => write!(f, "error={kind} ({text})"),
        }
    }
}

/// A message that was given up, with everything that helps to understand and replay it.
#[derive(Debug)]
pub struct DeadLetter {
    pub reason: DeadReason,
    /// A sentence that names the field or setting that helps.
    pub detail: Detail,
    /// The message, byte for byte as published.
    pub message: Vec<u8>,
    /// The stream entry that it was.
    pub entry: Option<EntryId>,
    /// The key whose head it was: the next may go.
    pub head: Option<Arc<str>>,
    pub id: Option<Box<str>>,
    pub url: Option<String>,
    pub source: Arc<str>,
    /// Unix milliseconds.
    pub received: u64,
    pub attempts: u32,
    pub last: Option<Attempt>,
    /// Unix milliseconds.
    pub died: u64,
}

/// A field's value as it is stored, whatever the store.
#[derive(Debug, PartialEq)]
pub enum Field<'a> {
    Text(String),
    Number(u64),
    Bytes(&'a [u8]),
}

impl Delivery {
    /// A new delivery, in memory alone.
    pub fn new(message: Message, source: Arc<str>, received: u64, now: BootTime) -> Self {
        Delivery {
            message,
            entry: None,
            lease_renewed_at: now,
            renewed: false,
            source,
            received,
            attempts: Attempts::default(),
            reclaimed: false,
            is_late: false,
            head: None,
            backlog: None,
            last: None,
            name_asked: None,
            token_asked: None,
            failed_before: None,
        }
    }

    /// The size of its message.
    pub fn bytes(&self) -> usize {
        self.message.raw().len()
    }

    /// Whether its next attempt must be noted before it is made. The first attempt of a new entry
    /// need not be: reading it started its lease, and nearly all messages need only one attempt.
    pub fn notes_first(&self) -> bool {
        self.entry.is_some() && (self.reclaimed || self.renewed || self.attempts.made() > 0)
    }

    /// An attempt was not made after all, because a name, a token or something of ours was missing.
    pub fn postpone(&mut self, attempt: Attempt, now: Instant) {
        match attempt.failure_kind() {
            Some(FailureKind::Unresolved { .. }) => drop(self.name_asked.get_or_insert(now)),
            Some(FailureKind::Tokenless { .. }) => drop(self.token_asked.get_or_insert(now)),
            _ => {}
        }
        self.note_unmade(attempt);
    }

    /// Keeps the result of an attempt that was not made, unless a true attempt has said more.
    pub fn note_unmade(&mut self, attempt: Attempt) {
        let last = self.last.as_ref();
        if last.is_none_or(|last| last.postponed().is_some()) {
            self.last = Some(attempt);
        }
    }

    /// Why its last attempt failed, on this replica or another; short, and on one line.
    pub fn failure(&self) -> Option<Box<str>> {
        let last = self.last.as_ref().map(|last| last.result.to_string());
        match last {
            Some(text) => Some(one_line(&text)),
            None => self.failed_before.clone(),
        }
    }

    /// Gives the message up.
    pub fn bury(self, reason: DeadReason, detail: String, now: u64) -> DeadLetter {
        DeadLetter {
            reason,
            detail: detail.into(),
            id: Some(self.message.id.clone()),
            url: Some(self.message.endpoint.uri.to_string()),
            message: self.message.into_raw(),
            entry: self.entry,
            head: self.head,
            source: self.source,
            received: self.received,
            attempts: self.attempts.made(),
            last: self.last,
            died: now,
        }
    }
}

/// Longer failures are cut.
const MAX_FAILURE: usize = 200;

/// A text that fits into a line with others: short and without control characters.
pub fn one_line(text: &str) -> Box<str> {
    printable(text).take(MAX_FAILURE).collect::<String>().into()
}

impl DeadLetter {
    /// The dead letter of a message that was never accepted.
    pub fn rejected(rejection: Rejection, source: Arc<str>, now: u64) -> Self {
        DeadLetter {
            reason: DeadReason::Rejected(rejection.reason),
            detail: rejection.detail,
            message: rejection.raw,
            entry: None,
            head: None,
            id: rejection.id,
            url: rejection.url,
            source,
            received: now,
            attempts: 0,
            last: None,
            died: now,
        }
    }

    /// Its fields by name, in the order in which they are stored. Unknown fields are left out.
    pub fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        use Field::{Bytes, Number, Text};
        let mut fields = vec![
            ("reason", Text(self.reason.to_string())),
            ("detail", Text(self.detail.to_string())),
        ];
        if let Some(id) = &self.id {
            fields.push(("id", Text(id.to_string())));
        }
        if let Some(url) = &self.url {
            fields.push(("url", Text(url.clone())));
        }
        fields.push(("attempts", Number(self.attempts.into())));
        if let Some(last) = &self.last {
            match &last.result {
                AttemptResult::Response { status, body, .. } => {
                    fields.push(("status", Number((*status).into())));
                    if !body.is_empty() {
                        fields.push(("answer", Bytes(body)));
                    }
                }
                AttemptResult::Failure { kind, text } => {
                    fields.push(("error", Text(format!("{kind}: {text}"))));
                }
            }
        }
        fields.push(("source", Text(self.source.to_string())));
        fields.push(("received_ms", Number(self.received)));
        if let Some(last) = &self.last {
            fields.push(("last_attempt_ms", Number(last.at)));
        }
        fields.push(("dead_ms", Number(self.died)));
        fields.push(("message", Bytes(&self.message)));
        fields
    }

    /// Its name in a log: its id, its entry, or its length. The log shows nothing of a message.
    pub fn name(&self) -> String {
        match (&self.id, self.entry) {
            (Some(id), _) => id.to_string(),
            (None, Some(entry)) => format!("entry {entry}"),
            (None, None) => format!("a message of {} bytes", self.message.len()),
        }
    }
}
