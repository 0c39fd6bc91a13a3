//! The end of this process (SIGTERM). A drain does not wait for every message: one that is due later,
//! or whose lane cannot be served in time, leaves at once. Pure.

use std::time::{Duration, Instant};

use super::{Now, Parking, Rotation, Scheduler};
use crate::delivery::LaneId;

/// How far the end of this process is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub enum DrainState {
    #[default]
    Serving,
    /// A message that is due later than `horizon` leaves.
    Draining { horizon: Instant },
    /// The time is over: no message is queued any more, and one that comes back leaves.
    Cut,
}

impl DrainState {
    pub fn is_over(self) -> bool {
        self == DrainState::Cut
    }

    pub fn has_begun(self) -> bool {
        self != DrainState::Serving
    }

    /// Whether a message that is due then leaves.
    pub fn leaves(self, due: Instant) -> bool {
        match self {
            DrainState::Serving => false,
            DrainState::Draining { horizon } => due > horizon,
            DrainState::Cut => true,
        }
    }
}

/// How long a drain waits for a lane that has a rate. Attempts that would begin later leave.
pub(super) const BRIEF: Duration = Duration::from_millis(500);

impl Scheduler {
    /// Begins the drain: messages that wait for a time or for an endpoint leave, now and from now on.
    /// Without a store, those that are due until `horizon` stay.
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

    /// Ends the drain: every message leaves that is not in flight. One in flight leaves when it comes
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

    /// Looks again at the messages that wait for a time.
    fn put_off_waiting(&mut self, now: Now) {
        let drain = self.drain;
        for (due, job) in self.waiting.extract(|due, _| drain.leaves(due)) {
            let after = due.saturating_duration_since(now.mono);
            self.put_off(job, after, now);
        }
    }

    /// While draining, defers messages behind an endpoint that fails or is over its rate: they wait
    /// better where the next start finds them. Without a store they stay.
    pub(super) fn park_stranded(&mut self, id: LaneId, now: Now) {
        if !self.drain.has_begun() || !self.has_store() {
            return;
        }
        let until = now.mono + BRIEF;
        let stranded = self
            .lanes
            .change(id, |lane| lane.take_stranded(now.mono, until));
        for job in stranded.unwrap_or_default().into_iter().rev() {
            // It is older than the messages in the backlog.
            self.defer_to(job, id, true, now);
        }
    }
}
