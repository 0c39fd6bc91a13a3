//! When the messages of an order key are to come back, for which there is no room now. Pure.

use std::time::{Duration, Instant};

use super::Lane;

/// Appointments are made for at most so many deliveries a second, and for an endpoint that may not
/// keep them: each is then a message that goes back to Redis for nothing.
const MOST_APPOINTED: f64 = 20_000.0;
const MOST_HOPED: f64 = 1000.0;

/// No appointment is made for later than this on the ground of what is queued alone.
const LONGEST_AHEAD: Duration = Duration::from_secs(10);

impl Lane {
    /// A time at which the one that is the `rank`-th of its key may come, of which there are so
    /// many, for which there is no room now: at the speed of the endpoint, after all before it, and
    /// not before half of the `here` messages before it are done.
    pub fn appoint_in_line(&self, now: Instant, here: usize, rank: usize, keys: usize) -> Instant {
        let gap = self.gap(self.cap.min(keys.max(1)) as f64);
        // Its share of what all keys get.
        let own = gap * keys.max(1) as f64;
        let gap = gap.max(self.pace.unwrap_or_default().as_secs_f64());
        self.from(now, here, gap) + Duration::from_secs_f64(own * (rank + 1) as f64)
    }

    /// Seconds between two messages, of which so many can be under way at a time.
    fn gap(&self, parallel: f64) -> f64 {
        let most = match self.trusted {
            true => MOST_APPOINTED,
            false => MOST_HOPED,
        };
        self.takes.unwrap_or_default().max(parallel / most) / parallel
    }

    fn from(&self, now: Instant, here: usize, gap: f64) -> Instant {
        let half = Duration::from_secs_f64(here as f64 / 2.0 * gap).min(LONGEST_AHEAD);
        (now + half).max(self.closed.unwrap_or(now))
    }
}
