//! What the timer tells the ledger: a [`Move`] is a moment at which responsibility for a message
//! moves, or at which something of it must outlive this process. A message depends on it, so the
//! ledger keeps at it until the store has it. A [`Notice`] is for whoever is interested.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::endpoint_snapshot::EndpointSnapshots;
use crate::delivery::parked::Parked;
use crate::delivery::status_update::StatusUpdate;
use crate::delivery::{DeadLetter, Delivery, Job};
use crate::message::entry::EntryId;

/// See the module's header.
#[derive(Debug)]
pub enum Record {
    Move(Move),
    Notice(Notice),
    /// All that was taken in is settled or kept once what stands before this is written: whoever
    /// hears to the last leaves then.
    LastCall,
}

/// What must become true in the store.
#[derive(Debug)]
pub enum Move {
    /// A stream entry's message was delivered: the entry may go.
    Settle(EntryId),
    /// The same of the head of a key: the next of that key may come.
    Advance(EntryId, Arc<str>),
    /// An entry with a key becomes its head if no other is. Otherwise it waits in the store.
    Queue(Box<Delivery>),
    /// So many attempts have been made at an entry, which a crash must not forget. Renews
    /// the lease.
    Note(EntryId, u32),
    /// Note the attempt that is about to begin, then hand the delivery to a worker: an entry
    /// that kills the process must not be tried for ever.
    Begin(Box<Job>),
    Bury(Box<DeadLetter>),
    Park(Box<Parked>),
}

/// What one request to the store makes true, in the order in which it is asked. Settlements are
/// first: they free memory, and are taken even by a server that has none left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveKind {
    Settle,
    Advance,
    Queue,
    /// Of attempts that were made, and of those that are about to begin.
    Note,
    Bury,
    Park,
}

/// What no message depends on: given up where the store refuses it.
#[derive(Debug)]
pub enum Notice {
    /// What an attempt came to, for whoever asks (`--status-ttl`, `--attempt-log`).
    Status(Box<StatusUpdate>),
    /// A URL answered 410: no replica is to send anything there for so long.
    Gone(Arc<str>, Duration),
    /// What is known of the endpoints, for the operator who waits for it at this key.
    Reply(Arc<str>, Box<EndpointSnapshots>),
}

/// As [`MoveKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    Status,
    Gone,
    Reply,
}

impl Record {
    /// How many of them it holds, for bounds: those that matter.
    pub fn bytes(&self) -> usize {
        match self {
            Record::Move(one) => one.bytes(),
            Record::Notice(notice) => notice.bytes(),
            Record::LastCall => 0,
        }
    }

    /// As [`Move::loss`].
    pub fn loss(&self) -> Option<String> {
        match self {
            Record::Move(one) => one.loss(),
            Record::Notice(_) | Record::LastCall => None,
        }
    }
}

impl From<Move> for Record {
    fn from(one: Move) -> Record {
        Record::Move(one)
    }
}

impl From<Notice> for Record {
    fn from(notice: Notice) -> Record {
        Record::Notice(notice)
    }
}

impl Move {
    pub fn kind(&self) -> MoveKind {
        match self {
            Move::Settle(_) => MoveKind::Settle,
            Move::Advance(..) => MoveKind::Advance,
            Move::Queue(_) => MoveKind::Queue,
            Move::Note(..) | Move::Begin(_) => MoveKind::Note,
            Move::Bury(_) => MoveKind::Bury,
            Move::Park(_) => MoveKind::Park,
        }
    }

    /// The stream entry that is moved. Without one, memory alone holds the message.
    pub fn entry(&self) -> Option<EntryId> {
        match self {
            Move::Settle(entry) | Move::Advance(entry, _) | Move::Note(entry, _) => Some(*entry),
            Move::Queue(delivery) => delivery.entry,
            Move::Begin(job) => job.delivery.entry,
            Move::Bury(letter) => letter.entry,
            Move::Park(parked) => parked.entry,
        }
    }

    /// As [`Record::bytes`].
    pub fn bytes(&self) -> usize {
        match self {
            Move::Settle(_) | Move::Note(..) => 0,
            Move::Advance(_, key) => key.len(),
            Move::Queue(delivery) => delivery.message.raw().len(),
            Move::Begin(job) => job.delivery.message.raw().len(),
            Move::Bury(letter) => letter.message.len(),
            Move::Park(parked) => parked.message.len(),
        }
    }

    /// What is lost if it is never written, by name: a message that memory alone holds.
    /// What is an entry of the stream is not lost, but may be sent again.
    pub fn loss(&self) -> Option<String> {
        if self.entry().is_some() {
            return None;
        }
        match self {
            Move::Settle(_) | Move::Advance(..) | Move::Note(..) => None,
            Move::Queue(delivery) => Some(delivery.message.id.to_string()),
            Move::Begin(job) => Some(job.delivery.message.id.to_string()),
            Move::Bury(letter) => Some(letter.name()),
            Move::Park(parked) => Some(parked.id.to_string()),
        }
    }
}

impl Notice {
    pub fn kind(&self) -> NoticeKind {
        match self {
            Notice::Status(_) => NoticeKind::Status,
            Notice::Gone(..) => NoticeKind::Gone,
            Notice::Reply(..) => NoticeKind::Reply,
        }
    }

    /// As [`Record::bytes`].
    pub fn bytes(&self) -> usize {
        match self {
            Notice::Status(update) => {
                update.url.len() + update.error.as_ref().map_or(0, String::len)
            }
            Notice::Gone(url, _) => url.len(),
            Notice::Reply(_, report) => report.len(),
        }
    }
}
