//! What of a lane's queue would hold up a drain.

use std::time::Instant;

use super::Lane;
use crate::delivery::Delivery;

impl Lane {
    /// Takes out what will not begin by `until`: of an endpoint that fails, or for which outhook
    /// itself is not ready, all; of one with a rate, what is over it.
    pub fn take_stranded(&mut self, now: Instant, until: Instant) -> Vec<Delivery> {
        let stays = match (self.closed, self.pace) {
            (Some(_), _) => 0,
            (None, Some(pace)) => {
                let first = self.slot.map_or(now, |slot| slot.max(now));
                let left = until.checked_duration_since(first);
                // The first, and one more after each pause.
                left.map_or(0, |left| 1 + left.as_nanos() / pace.as_nanos().max(1))
            }
            (None, None) if self.slot.is_some_and(|slot| slot > until) => 0,
            (None, None) => return Vec::new(),
        };
        let stays = self.ready.len().min(stays as usize);
        self.ready.split_off(stays).into()
    }
}
