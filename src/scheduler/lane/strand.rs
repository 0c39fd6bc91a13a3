//! What of a lane's queue would hold up a drain.

use std::time::Instant;

use super::Lane;
use crate::delivery::Job;

impl Lane {
    /// Takes out what will not begin by `until`: of an endpoint that fails, or for which outhook
    /// itself is not ready, all; of one with a rate, what is over it.
    pub fn take_stranded(&mut self, now: Instant, until: Instant) -> Vec<Job> {
        let first = self.next_start.map_or(now, |slot| slot.max(now));
        let first = first.max(self.first_start(now));
        let left = until.checked_duration_since(first);
        let stays = match (left.filter(|_| self.closed.is_none()), self.min_interval) {
            (None, _) => 0,
            // The first, and one more after each pause.
            (Some(left), Some(pace)) => 1 + left.as_nanos() / pace.as_nanos().max(1),
            (Some(_), None) => return Vec::new(),
        };
        let stays = self.ready.len().min(stays as usize);
        self.ready.split_off(stays).into()
    }
}
