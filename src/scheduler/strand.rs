//! What a drain does not wait for: what is to wait longer, or stands in a lane that cannot be
//! served before the drain is over.

use std::time::Duration;

use super::{Now, Scheduler};
use crate::delivery::LaneId;

/// A drain waits so long for a lane that has a rate. What would begin later leaves.
pub(super) const BRIEF: Duration = Duration::from_millis(500);

impl Scheduler {
    /// Looks anew at all that waits.
    pub(super) fn put_off_waiting(&mut self, now: Now) {
        let drain = self.drain;
        for (due, job) in self.waiting.extract(|due, _| drain.leaves(due)) {
            let after = due.saturating_duration_since(now.mono);
            self.put_off(job, after, now);
        }
    }

    /// Whether what leaves is kept in a store, for others or the next start.
    pub fn has_store(&self) -> bool {
        self.limits.parking.is_possible()
    }

    /// The same for all lanes, at the beginning of a drain.
    pub(super) fn park_all_stranded(&mut self, now: Now) {
        for id in self.lanes.ids() {
            self.park_stranded(id, now);
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
