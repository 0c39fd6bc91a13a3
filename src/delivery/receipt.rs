//! The store's answer to the ledger about messages that were to be moved, and the ledger's to the
//! timer.

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
    /// Another replica has it.
    Lost,
}

/// What became of the records that the ledger was given: which are done, and which were lost.
#[derive(Debug, Default)]
pub struct Receipt {
    /// Entries that were to be moved, and have left memory now.
    pub moved: Vec<EntryId>,
    /// The entries among them that other replicas have: these were neither parked, deferred nor
    /// buried.
    pub not_parked: u64,
    pub not_deferred: u64,
    pub not_buried: u64,
    /// Messages that were to be appended, and had been heard before: copies, and dead letters.
    pub copies: u64,
    pub reused: u64,
    /// The messages among them that came while draining.
    pub not_appended: u64,
    /// Entries that were to be noted, and that other replicas have.
    pub lapsed: Vec<EntryId>,
    /// The same for attempts that were about to begin.
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
