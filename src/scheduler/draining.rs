//! The end of this process (SIGTERM): what a drain does not wait for leaves. That is what is to wait
//! longer, or stands in a lane that cannot be served before the drain is over. Pure.

use std::time::{Duration, Instant};

use super::{Now, Parking, Rotation, Scheduler};
use crate::delivery::LaneId;

/// How far the end of this process is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub enum DrainState {
    #[default]
    Serving,
    /// What would be due later than `horizon` leaves.
    Draining { horizon: Instant },
    /// The time is over: nothing is queued any more, and whatever comes back leaves.
    Cut,
}

impl DrainState {
    pub fn is_over(self) -> bool {
        self == DrainState::Cut
    }

    pub fn has_begun(self) -> bool {
        self != DrainState::Serving
    }

    /// Whether what is due then leaves.
    pub fn leaves(self, due: Instant) -> bool {
        match self {
            DrainState::Serving => false,
            DrainState::Draining { horizon } => due > horizon,
            DrainState::Cut => true,
        }
    }
}

/// A drain waits so long for a lane that has a rate. What would begin later leaves.
pub(super) const BRIEF: Duration = Duration::from_millis(500);

impl Scheduler {
    /// Begins the drain: what waits, for its time or for its endpoint, leaves, now and from now
    /// on. Where there is no store for it, what is due until `horizon` stays.
    pub fn drain(&mut self, horizon: Instant, now: Now) {
        let horizon = match self.limits.parking {
            Parking::InRedis { .. } => now.mono,
            Parking::Nowhere => horizon,
        };
        self.drain = DrainState::Draining { horizon };
        self.put_off_waiting(now);
        for id in self.lanes.ids() {
            self.park_stranded(id, now);
        }
        self.route_released(now);
    }

    /// Ends the drain: all that is not in flight leaves, and what is in flight when it comes
    /// back unfinished.
    pub fn cut(&mut self, now: Now) {
        self.drain = DrainState::Cut;
        self.put_off_waiting(now);
        let queues = self.lanes.change_each(|_, _| true, |_, lane| lane.clear());
        self.rotation = Rotation::default();
        for job in queues.into_iter().flatten() {
            self.put_off(job, Duration::ZERO, now);
        }
        self.route_released(now);
    }

    /// Looks anew at all that waits.
    fn put_off_waiting(&mut self, now: Now) {
        let drain = self.drain;
        for (due, job) in self.waiting.extract(|due, _| drain.leaves(due)) {
            let after = due.saturating_duration_since(now.mono);
            self.put_off(job, after, now);
        }
    }

    /// While draining, parks what stands behind an endpoint that fails, or is over its rate: it
    /// waits better where the next start finds it. Without a store it stays.
    pub(super) fn park_stranded(&mut self, id: LaneId, now: Now) {
        if !self.drain.has_begun() || !self.has_store() {
            return;
        }
        let until = now.mono + BRIEF;
        let stranded = self
            .lanes
            .change(id, |lane| lane.take_stranded(now.mono, until));
        for job in stranded.unwrap_or_default().into_iter().rev() {
            // It came before what is in the backlog.
            self.defer_to(job, id, true, now);
        }
    }
}
