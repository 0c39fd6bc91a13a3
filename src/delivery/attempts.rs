//! How many attempts were made at a message. Pure.
//!
//! Redis counts in two places: the field `attempts` of an entry says how many were made before the
//! message became this entry, and the entry's delivery count says how many since then, and one more
//! for the reading. An attempt is noted there after it failed, or before it begins. For example, an entry
//! with `attempts` 2 and a delivery count of 1 was read once and not tried since: 2 were made. All of
//! that arithmetic is here.

use crate::message::MAX_ATTEMPTS;

/// See the module's header.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Attempts {
    made: u32,
    /// Of these, the ones made before the message became its entry.
    before_entry: u32,
}

impl Attempts {
    /// Those that its entry tells of: its field, and its delivery count.
    pub fn of_entry(before_entry: u32, delivery_count: u32) -> Attempts {
        // The reading counted one that was no attempt.
        let since = delivery_count.saturating_sub(1);
        Attempts {
            made: before_entry.saturating_add(since).min(MAX_ATTEMPTS),
            before_entry: before_entry.min(MAX_ATTEMPTS),
        }
    }

    /// So many have been made so far.
    pub fn made(self) -> u32 {
        self.made
    }

    /// One more was made.
    pub fn add(&mut self) {
        self.made += 1;
    }

    /// The number of the next one: 1 is the first.
    pub fn next(self) -> u32 {
        self.made + 1
    }

    /// Of those made, what is noted at the entry.
    pub fn made_at_entry(self) -> u32 {
        self.made - self.before_entry
    }

    /// The same once the next one has begun.
    pub fn begun_at_entry(self) -> u32 {
        self.made_at_entry() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_of_one_entry_is_what_the_next_begins_with() {
        let mut attempts = Attempts::of_entry(0, 1);
        assert_eq!((attempts.made(), attempts.next()), (0, 1), "it was read");
        attempts.add();
        attempts.add();
        assert_eq!(
            (attempts.made_at_entry(), attempts.begun_at_entry()),
            (2, 3)
        );
        // It is parked, and comes back as another entry.
        let mut back = Attempts::of_entry(attempts.made(), 1);
        back.add();
        assert_eq!((back.made(), back.made_at_entry()), (3, 1));
        // Killed during the next attempt, which was begun: another process takes it over.
        let taken = Attempts::of_entry(2, 1 + back.begun_at_entry());
        assert_eq!((taken.made(), taken.next()), (4, 5));
        let most = Attempts::of_entry(u32::MAX, u32::MAX);
        assert_eq!((most.made(), most.made_at_entry()), (MAX_ATTEMPTS, 0));
    }
}
