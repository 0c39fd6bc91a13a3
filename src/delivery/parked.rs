//! What waits in the store, what it waits for, and how it is asked back.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::message::entry::EntryId;

/// What a message waits for in Redis.
#[derive(Debug, Clone, PartialEq)]
pub enum Until {
    /// A time, in Unix milliseconds; what is due already goes to the end of the stream. The head
    /// of a key stays parked.
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
            attempts: delivery.attempts.made(),
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
