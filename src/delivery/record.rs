//! What must become true in the store: what the timer tells the ledger.
//!
//! A record is a moment at which responsibility for a message moves, or at which something
//! about it must outlive the process.

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
    Begin(Job),
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

impl Record {
    /// Its bytes, for bounds: those that matter.
    pub fn len(&self) -> usize {
        match self {
            Record::Settle(_) | Record::Note(..) | Record::LastCall => 0,
            Record::Advance(_, key) => key.len(),
            Record::Tell(told) => told.url.len() + told.error.as_ref().map_or(0, String::len),
            Record::Gone(url, _) => url.len(),
            Record::Answer(_, report) => report.len(),
            Record::Begin(job) => job.delivery.message.raw().len(),
            Record::Queue(delivery) => delivery.message.raw().len(),
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
            Record::Begin(job) => match job.delivery.entry {
                Some(_) => None,
                None => Some(job.delivery.message.id.to_string()),
            },
            Record::Bury(letter) if letter.entry.is_none() => Some(letter.name()),
            Record::Park(parked) if parked.entry.is_none() => Some(parked.id.to_string()),
            Record::Bury(_) | Record::Park(_) => None,
        }
    }
}
