//! What Redis may hold (`--redis-budget`). When it holds too much, the scheduler parks nothing more for
//! an endpoint that fails. Pure.

use super::{Now, Scheduler};
use crate::delivery::hold::Cause;
use crate::delivery::status_update::Disposition;
use crate::delivery::{DeadReason, Job};

/// Whether Redis holds too much.
#[derive(Debug, Default)]
pub struct Budget {
    is_exceeded: bool,
}

impl Scheduler {
    /// Redis holds too much from now on, or no longer.
    pub fn set_over_budget(&mut self, over: bool) {
        self.budget.is_exceeded = over;
    }

    /// Whether there is no room in Redis for it: Redis holds too much, and the message waits only for an
    /// endpoint that fails. A message for a paused endpoint waits for the operator, and has room.
    pub(super) fn is_one_too_many(&self, job: &Job, now: Now) -> bool {
        if !self.budget.is_exceeded || !self.has_store() || self.drain.has_begun() {
            return false;
        }
        let wish = job.delivery.message.deliver_at.unwrap_or_default();
        let hold = self.holds.find(&job.delivery.message.endpoint, now.mono);
        match hold.map(|hold| hold.cause) {
            Some(Cause::Paused) => false,
            Some(Cause::Gone) => wish <= now.unix_ms,
            None => wish <= now.unix_ms && self.endpoint_failure(job).is_some(),
        }
    }

    /// Gives a message up because its endpoint fails and there is no room for it to wait.
    pub(super) fn bury_for_room(&mut self, job: Job, now: Now) -> Disposition {
        let detail = format!(
            "Redis holds more than --redis-budget, and outhook parks nothing more for an endpoint \
             that fails: {}",
            self.why_not(&job, now)
        );
        self.bury(job, DeadReason::OverBudget, detail, now)
    }
}
