//! What must become true in the store: what the timer tells the ledger.
//!
//! A record is a moment at which responsibility for a message moves, or at which something
//! about it must outlive the process.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::report::EndpointSnapshots;
use crate::delivery::{AttemptResult, DeadLetter, DeadReason, Delivery};
use crate::message::entry::EntryId;

/// See the module's header.
#[derive(Debug)]
pub enum Record {
    /// A stream entry's message was delivered: the entry may go.
    Settle(EntryId),
    /// The same of the head of a key: the next of that key may come.
    Advance(EntryId, Arc<str>),
    /// An entry with a key: it is to be told whether it is its turn. Otherwise it waits in the store.
    Queue(Delivery),
    /// So many attempts have been made at an entry, which a crash must not forget. Renews
    /// the lease.
    Note(EntryId, u32),
    /// Note the attempt that is about to begin, then hand the delivery to a worker: an entry
    /// that kills the process must not be tried for ever.
    Begin(Delivery),
    Bury(DeadLetter),
    Park(Parked),
    /// What an attempt came to, for whoever asks (`--status-ttl`, `--attempt-log`).
    Tell(Box<StatusUpdate>),
    /// A URL answered 410: no replica is to send anything there for so long.
    Gone(Arc<str>, Duration),
    /// What is known of the endpoints, for who waits for it at this key.
    Answer(Arc<str>, Box<EndpointSnapshots>),
    /// All that was taken in is settled or kept once what stands before this is written: whoever
    /// hears to the last leaves then.
    LastCall,
}

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

/// What a message waits for in Redis.
#[derive(Debug, Clone, PartialEq)]
pub enum Until {
    /// A time, in Unix milliseconds; what is due already goes to the end of the stream, unless it is
    /// the head of a key, which it stays so.
    Due(u64),
    /// The endpoint, or what else it is, of this name: it goes to the end of that one's backlog, or
    /// to its beginning if it came before what is there.
    Released { name: Arc<str>, first: bool },
}

/// A message that is to be delivered later, from Redis and not from memory.
#[derive(Debug)]
pub struct Parked {
    /// The stream entry that it is now, if it is one.
    pub entry: Option<EntryId>,
    pub until: Until,
    /// The key whose head it is.
    pub head: Option<Arc<str>>,
    /// It has a key, and its turn is still to be found: it goes to what is dealt in order.
    pub is_ordered: bool,
    pub id: Box<str>,
    pub url: Arc<str>,
    pub attempts: u32,
    /// What the last attempt came to, or why there was none; empty if nothing has failed yet.
    pub failure: Box<str>,
    pub source: Arc<str>,
    /// Unix milliseconds.
    pub received: u64,
    /// Only if no message of this id and URL was parked so within the dedup window: other
    /// replicas have heard it on the same channel.
    pub once: bool,
    /// It came while draining.
    pub is_late: bool,
    /// The message, byte for byte as published.
    pub message: Vec<u8>,
}

impl Parked {
    /// Puts a delivery off, out of memory.
    pub fn new(delivery: Delivery, until: Until) -> Parked {
        Parked {
            entry: delivery.entry,
            until,
            is_ordered: delivery.entry.is_none() && delivery.message.overrides.order_key.is_some(),
            head: delivery.head.clone(),
            id: delivery.message.id.clone(),
            url: delivery.message.endpoint.url.clone(),
            attempts: delivery.attempts,
            failure: delivery.failure().unwrap_or_default(),
            source: delivery.source,
            received: delivery.received,
            once: false,
            is_late: delivery.is_late,
            message: delivery.message.into_raw(),
        }
    }
}

/// What the timer asks of whoever brings back what waits in the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    /// Up to so many of the oldest messages of a backlog. It is answered how many come, and what is
    /// left.
    Release {
        name: Arc<str>,
        count: usize,
        /// Only those that were received by then, in Unix milliseconds.
        latest: Option<u64>,
    },
    /// To look whether something is due: an operator has made it so.
    Look,
}

/// What the store was to make true of a message and did not, by its place in what it was given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unmoved {
    pub index: usize,
    pub why: Why,
}

/// Why the store left a message alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// Its entry is pending under another name: someone has taken it over.
    Taken,
    /// Its entry is not pending: someone has settled it, or this was made true before.
    Gone,
    /// It was heard before: by another replica, or twice.
    Copy,
    /// Another message of its id and URL was heard before: it is a dead letter.
    Reused,
}

/// What the store says of an entry with a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Turn {
    /// It is the head of its key.
    Head,
    /// Others are before it: it waits in the store now.
    Follows,
    /// Others have it.
    Lost,
}

/// What the ledger tells the timer of what it was given: what is over, and what was lost.
#[derive(Debug, Default)]
pub struct Receipt {
    /// Entries that were to be moved, and that are somewhere else now.
    pub moved: Vec<EntryId>,
    /// Of these, the ones that others have: neither parked, deferred nor buried.
    pub not_parked: u64,
    pub not_deferred: u64,
    pub not_buried: u64,
    /// Messages that were to be appended, and that were heard before: copies, and dead letters.
    pub copies: u64,
    pub reused: u64,
    /// Of these, the ones that came while draining.
    pub not_appended: u64,
    /// Entries that were to be noted, and that others have.
    pub lapsed: Vec<EntryId>,
    /// The same, of attempts that were about to begin.
    pub not_begun: Vec<Delivery>,
    /// Whose turn it is.
    pub turns: Vec<(Delivery, Turn)>,
}

impl Receipt {
    pub fn is_empty(&self) -> bool {
        let entries = self.moved.len() + self.lapsed.len() + self.not_begun.len();
        let entries = entries + self.turns.len();
        entries == 0 && self.copies + self.reused == 0
    }
}

impl Record {
    /// Its bytes, for bounds: those that matter.
    pub fn len(&self) -> usize {
        match self {
            Record::Settle(_) | Record::Note(..) | Record::LastCall => 0,
            Record::Advance(_, key) => key.len(),
            Record::Tell(told) => told.url.len() + told.error.as_ref().map_or(0, String::len),
            Record::Gone(url, _) => url.len(),
            Record::Answer(_, report) => report.len(),
            Record::Begin(delivery) | Record::Queue(delivery) => delivery.message.raw().len(),
            Record::Bury(letter) => letter.message.len(),
            Record::Park(parked) => parked.message.len(),
        }
    }

    /// What is lost if it is never written, by name: a message that memory alone holds.
    /// What is an entry of the stream is not lost, but may be sent again.
    pub fn loss(&self) -> Option<String> {
        match self {
            Record::Settle(_) | Record::Note(..) | Record::Tell(_) => None,
            Record::Gone(..) | Record::Answer(..) | Record::LastCall => None,
            // Entries both.
            Record::Advance(..) | Record::Queue(_) => None,
            Record::Begin(delivery) => match delivery.entry {
                Some(_) => None,
                None => Some(delivery.message.id.to_string()),
            },
            Record::Bury(letter) if letter.entry.is_none() => Some(letter.name()),
            Record::Park(parked) if parked.entry.is_none() => Some(parked.id.to_string()),
            Record::Bury(_) | Record::Park(_) => None,
        }
    }
}
