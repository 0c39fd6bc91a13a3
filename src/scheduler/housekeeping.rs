//! What is looked at once a second: entries whose lease runs low, messages that have become too old,
//! lanes that nobody needs any more. Pure.

use std::time::{Duration, Instant};

use super::{Now, Scheduler};
use crate::delivery::Job;

/// How often, or four times in half a lease.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// What is known of an endpoint is forgotten when nothing has gone to it for so long.
const LANE_TTL: Duration = Duration::from_secs(60);

/// When it is done next.
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

    /// Something is queued: it is looked at within `interval`.
    pub fn note_queued(&mut self, interval: Duration, now: Instant) {
        let at = now + interval;
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// There is a new lane, which is to be forgotten in time.
    pub fn note_lane(&mut self, now: Instant) {
        self.next.get_or_insert(now + LANE_TTL);
    }

    /// Time has passed unnoticed: what is queued has grown older.
    pub fn hurry(&mut self, now: Instant) {
        self.next = self.next.map(|at| at.min(now));
    }

    /// It is done, and there is something left to look at `after` now, or nothing.
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
        // An attempt that begins by then ends within the lease.
        let most = near - self.housekeeping_interval();
        let parking = self.limits.parking;
        let is_old = |job: &Job| parking.age(&job.delivery, now) > most;
        let old = self.lanes.extract(|_, _| true, is_old);
        for job in old.into_iter().rev() {
            // It came before what is in the backlog.
            let lane = job.lane;
            self.defer_to(job, lane, true, now);
        }
    }
}
