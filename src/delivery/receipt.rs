//! What the store answers the ledger, and the ledger the timer, of messages that were to be moved.

use std::collections::BTreeMap;

use crate::delivery::{Delivery, Job};
use crate::message::entry::EntryId;

/// What the store was to make true and did not, by its place in what it was given.
pub type Unmoved = BTreeMap<usize, Why>;

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
    /// It is not the head of its key, as others are before it: it waits in the store now.
    Follows,
}

/// Whose turn it is, of an entry with a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Turn {
    /// It is the head of its key.
    Head,
    /// As [`Why::Follows`].
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
    pub not_begun: Vec<Job>,
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
