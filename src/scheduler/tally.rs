//! The counts: how many deliveries have gone which way since the start, and how many bytes are here. Pure.
//! At all times
//! `accepted = delivered + dead + parked + deferred + lapsed + duplicates + active`.

use crate::delivery::receipt::Receipt;

/// Counters since the start.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stats {
    /// Well-formed messages taken in.
    pub accepted: u64,
    pub delivered: u64,
    /// Accepted, and given up for whatever reason.
    pub dead: u64,
    /// Accepted, and handed to the store for later, or for another replica.
    pub parked: u64,
    /// Accepted, and handed to the store to wait for their endpoints.
    pub deferred: u64,
    /// Of those parked, the ones that came while draining.
    pub appended: u64,
    /// Accepted, and dropped because another replica has taken over the entry meanwhile.
    pub lapsed: u64,
    /// Accepted, and dropped as copies of messages that were heard before.
    pub duplicates: u64,
    /// Never accepted, because they were malformed.
    pub rejected: u64,
    /// Never accepted, because they are here already.
    pub already_active: u64,
    /// Retries scheduled.
    pub retried: u64,
    /// HTTP attempts made.
    pub attempts: u64,
}

/// Where the active deliveries stand.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Levels {
    pub queued: usize,
    pub in_flight: usize,
    pub scheduled: usize,
    pub lanes: usize,
    pub bytes: usize,
    /// Active deliveries that memory alone holds.
    pub memory_only: usize,
}

/// See the module's header. Each method is something that has happened.
#[derive(Debug, Default)]
pub struct Tally {
    stats: Stats,
    /// The bytes of active messages.
    bytes: usize,
    /// Deliveries of which the store has not said yet whether it is their turn.
    queueing: usize,
}

impl Tally {
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn queueing(&self) -> usize {
        self.queueing
    }

    /// A message was taken in.
    pub fn accept(&mut self, bytes: usize) {
        self.stats.accepted += 1;
        self.bytes += bytes;
    }

    /// A message is not active any more. Another method counts where it went.
    pub fn leave(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }

    /// A message came that is here already.
    pub fn refuse_copy(&mut self) {
        self.stats.already_active += 1;
    }

    /// A malformed message came.
    pub fn reject(&mut self) {
        self.stats.rejected += 1;
    }

    /// The store is asked whose turn it is.
    pub fn queue(&mut self) {
        self.queueing += 1;
    }

    /// The store has answered that.
    pub fn end_queueing(&mut self) {
        self.queueing -= 1;
    }

    pub fn count_attempt(&mut self) {
        self.stats.attempts += 1;
    }

    pub fn retry(&mut self) {
        self.stats.retried += 1;
    }

    pub fn deliver(&mut self) {
        self.stats.delivered += 1;
    }

    pub fn bury(&mut self) {
        self.stats.dead += 1;
    }

    /// `is_late`: it came while draining.
    pub fn park(&mut self, is_late: bool) {
        self.stats.parked += 1;
        self.stats.appended += u64::from(is_late);
    }

    pub fn defer(&mut self) {
        self.stats.deferred += 1;
    }

    pub fn lapse(&mut self) {
        self.stats.lapsed += 1;
    }

    /// The intake has found this number of copies before they were accepted.
    pub fn count_copies(&mut self, count: u64) {
        self.stats.accepted += count;
        self.stats.duplicates += count;
    }

    /// Some messages that were parked, deferred or buried turned out to be copies, or to belong to another
    /// replica.
    pub fn correct(&mut self, receipt: &Receipt) {
        let stats = &mut self.stats;
        stats.parked -= receipt.not_parked;
        stats.deferred -= receipt.not_deferred;
        stats.dead -= receipt.not_buried;
        stats.lapsed += receipt.not_parked + receipt.not_deferred + receipt.not_buried;
        stats.parked -= receipt.copies + receipt.reused;
        stats.appended -= receipt.not_appended;
        stats.duplicates += receipt.copies;
        stats.dead += receipt.reused;
    }
}
