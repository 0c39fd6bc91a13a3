//! What must become true in the store: what the timer tells the ledger.
//!
//! A record is a moment at which responsibility for a message moves, or at which something
//! about it must outlive the process.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::delivery::{DeadLetter, Delivery};

/// See the module's header.
#[derive(Debug)]
pub enum Record {
    /// A stream entry's message was delivered: the entry may go.
    Settle(EntryId),
    /// So many attempts have been made at an entry, which a crash must not forget. Renews
    /// the lease.
    Note(EntryId, u32),
    /// Note the attempt that is about to begin, then hand the delivery to a worker: an entry
    /// that kills the process must not be tried for ever.
    Begin(Delivery),
    Bury(DeadLetter),
    Park(Parked),
}

/// A message that is to be delivered later, from Redis and not from memory.
#[derive(Debug)]
pub struct Parked {
    /// The stream entry that it is now, if it is one.
    pub entry: Option<EntryId>,
    /// Unix milliseconds; what is due already goes to the end of the stream.
    pub due: u64,
    pub id: Box<str>,
    pub attempts: u32,
    pub source: Arc<str>,
    /// Unix milliseconds.
    pub received: u64,
    /// Only if no message of this id was parked so within the dedup window: other replicas
    /// have heard it on the same channel.
    pub once: bool,
    /// The message, byte for byte as published.
    pub message: Vec<u8>,
}

/// The id of a stream entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Unix milliseconds, by Redis's clock, at which it was added.
    pub ms: u64,
    pub seq: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Ok(EntryId {
            ms: ms.parse()?,
            seq: seq.parse()?,
        })
    }
}

impl Record {
    /// Bytes of message in it, for bounds.
    pub fn len(&self) -> usize {
        match self {
            Record::Settle(_) | Record::Note(..) => 0,
            Record::Begin(delivery) => delivery.message.raw().len(),
            Record::Bury(letter) => letter.message.len(),
            Record::Park(parked) => parked.message.len(),
        }
    }

    /// What is lost if it is never written, by name: a message that memory alone holds.
    /// What is an entry of the stream is not lost, but may be sent again.
    pub fn loss(&self) -> Option<String> {
        match self {
            Record::Settle(_) | Record::Note(..) => None,
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
