//! What is known of a lane's backlog, which is in Redis and shared with other replicas. Pure.
//!
//! There is one question at a time, and its answer says how many messages come and what is left.

use std::time::{Duration, Instant};

/// A backlog whose first message was not too old is not asked again for that reason for this time.
const YOUNG: Duration = Duration::from_secs(60);

/// See the module's header.
#[derive(Debug, Default)]
pub struct Backlog {
    /// There may be something in it.
    has: bool,
    /// Something was asked for, and there is no answer yet.
    is_asked: bool,
    /// The lane stands in line for a probe.
    is_in_line: bool,
    /// Its messages are for other lanes: it is the backlog of a hold that was lifted, or of a lane that
    /// does not exist any more.
    is_foreign: bool,
    /// Messages that were released and have not come yet. A malformed one never comes.
    coming: i32,
    /// Messages that the ledger is to add to it.
    deferring: u32,
    /// Messages that will be given up from its beginning, because Redis holds too much.
    to_bury: u32,
    /// When its oldest message was received, in Unix milliseconds, and when it becomes too old.
    oldest: Option<(u64, Instant)>,
    /// It is not asked for messages that are too old before this time.
    expire_after: Option<Instant>,
    /// Something was added since something was asked for.
    was_added: bool,
}

impl Backlog {
    /// Whether there may be something in it.
    pub fn has_some(&self) -> bool {
        self.has
    }

    /// Whether none of its messages is known to be anywhere.
    pub fn is_over(&self) -> bool {
        !self.has && !self.is_asked && self.coming <= 0 && self.deferring == 0
    }

    /// Whether it is time to ask for some of it.
    pub fn is_askable(&self) -> bool {
        self.has && !self.is_asked && self.coming <= 0
    }

    /// Whether a message of it is under way to this replica.
    pub fn is_coming(&self) -> bool {
        self.is_asked || self.coming > 0
    }

    /// Some of it is asked for.
    pub fn ask(&mut self) {
        self.is_asked = true;
    }

    /// The question was answered: `count` messages come, and `left` are left.
    pub fn release(&mut self, count: usize, left: u64) {
        self.is_asked = false;
        // Some may have come before this was told.
        self.coming += count as i32;
        self.has = left > 0 || self.deferring > 0 || self.was_added;
        self.was_added = false;
        self.oldest = None;
        if count == 0 {
            self.to_bury = 0;
        }
    }

    /// A message that was released has come.
    pub fn note_come(&mut self) {
        self.coming -= 1;
        self.to_bury = self.to_bury.saturating_sub(1);
    }

    /// The ledger will add a message.
    pub fn defer(&mut self) {
        self.deferring += 1;
        self.has = true;
    }

    /// The ledger has added a message.
    pub fn note_added(&mut self) {
        self.deferring = self.deferring.saturating_sub(1);
        self.note_more();
    }

    /// Messages were added. The answer to a question that is under way may be older.
    pub fn note_more(&mut self) {
        self.has = true;
        self.was_added |= self.is_asked;
    }

    /// One more message will be given up from its beginning, because there is no room.
    pub fn bury_one(&mut self) {
        self.to_bury += 1;
    }

    /// How many messages will be given up from its beginning.
    pub fn to_bury(&self) -> usize {
        self.to_bury as usize
    }

    /// Its messages are for other lanes, or not.
    pub fn set_foreign(&mut self, is_foreign: bool) {
        self.is_foreign = is_foreign;
    }

    pub fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Its lane stands in line for a probe from now on. False if it did already.
    pub fn stand_in_line(&mut self) -> bool {
        !std::mem::replace(&mut self.is_in_line, true)
    }

    pub fn leave_line(&mut self) {
        self.is_in_line = false;
    }

    /// Its oldest message was received at this time, in Unix milliseconds, and is too old at `until`.
    pub fn set_oldest(&mut self, received: u64, until: Option<Instant>) {
        self.oldest = until.map(|until| (received, until));
    }

    pub fn knows_oldest(&self) -> bool {
        self.oldest.is_some()
    }

    /// It was asked for a message that is too old, and a younger one came. So it is not asked again at once:
    /// rules and `deliverAt` may allow a message more time.
    pub fn note_young(&mut self, now: Instant) {
        self.expire_after = now.checked_add(YOUNG);
    }

    /// Messages that were received by this time, in Unix milliseconds, are too old now.
    pub fn expired(&self, now: Instant) -> Option<u64> {
        let (received, until) = self.oldest?;
        let late = now.checked_duration_since(until)?;
        let is_time = self.expire_after.is_none_or(|at| at <= now);
        is_time.then_some(received + late.as_millis() as u64)
    }

    #[cfg(test)]
    pub fn deferring(&self) -> u32 {
        self.deferring
    }

    /// The earlier of this time and the time at which a message becomes too old.
    pub fn alarm(&self, at: Option<Instant>) -> Option<Instant> {
        let expiry = self
            .oldest
            .map(|(_, until)| Some(until).max(self.expire_after));
        let expiry = expiry.flatten();
        at.into_iter().chain(expiry).min()
    }
}
