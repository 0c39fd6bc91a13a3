//! A search once a second: for entries whose lease runs low, for messages that have become too old, and
//! for lanes that nobody needs any more. Pure.

use std::time::{Duration, Instant};

use super::{Now, Scheduler};
use crate::delivery::Job;

/// The time between two searches. There are four at least in half a lease.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// A lane is forgotten when nothing has gone to its endpoint for this time.
const LANE_TTL: Duration = Duration::from_secs(60);

/// When the next search is due.
#[derive(Debug, Default)]
pub struct Housekeeping {
    next: Option<Instant>,
}

impl Housekeeping {
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|at| at <= now)
    }

    /// A message was queued: it must be looked at within `interval`.
    pub fn note_queued(&mut self, interval: Duration, now: Instant) {
        let at = now + interval;
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// There is a new lane: it must be forgotten in time.
    pub fn note_lane(&mut self, now: Instant) {
        self.next.get_or_insert(now + LANE_TTL);
    }

    /// The process was suspended: the queues must be searched at once.
    pub fn hurry(&mut self, now: Instant) {
        self.next = self.next.map(|at| at.min(now));
    }

    /// A search is over. The next is due `after` now, or never if nothing is left.
    fn end(&mut self, after: Option<Duration>, now: Instant) {
        self.next = after.map(|after| now + after);
    }
}

impl Scheduler {
    /// Defers entries that have been queued for so long that their lease runs low (their endpoint
    /// is slower than what comes for it), gives up what is too old, and forgets lanes at rest.
    pub(super) fn housekeep(&mut self, now: Now) {
        if let Some(near) = self.limits.parking.near_window() {
            self.defer_old(near, now);
        }
        self.end_waiting(now);
        self.lanes
            .forget(|lane| lane.is_forgettable(now.mono, LANE_TTL));
        self.url_lanes.forget(|url| self.lanes.find(url).is_some());
        self.holds.forget(now.mono);
        let after = match (self.active(), self.lanes.len()) {
            (0, 0) => None,
            (0, _) => Some(LANE_TTL),
            _ => Some(self.housekeeping_interval()),
        };
        self.housekeeping.end(after, now.mono);
    }

    pub(super) fn housekeeping_interval(&self) -> Duration {
        let near = self.limits.parking.near_window();
        near.map_or(INTERVAL, |near| INTERVAL.min(near / 4))
    }

    fn defer_old(&mut self, near: Duration, now: Now) {
        // An attempt that begins before this age ends within the lease.
        let most = near - self.housekeeping_interval();
        let parking = self.limits.parking;
        let is_old = |job: &Job| parking.age(&job.delivery, now) > most;
        let old = self.lanes.extract(|_, _| true, is_old);
        for job in old.into_iter().rev() {
            // It is older than the messages in the backlog.
            let lane = job.lane;
            self.defer_to(job, lane, true, now);
        }
    }
}
