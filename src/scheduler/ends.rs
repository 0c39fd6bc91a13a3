//! An end for what waits: messages that have become too old, and those of failing endpoints for
//! which Redis has no more room. Pure.

use std::time::Duration;

use super::{Now, Scheduler};
use crate::delivery::hold::Cause;
use crate::delivery::status_update::Disposition;
use crate::delivery::{DeadReason, Job};

impl Scheduler {
    /// When it has waited for too long, in Unix milliseconds. What is not to be delivered before
    /// a time waits from then on.
    pub(super) fn latest(&self, job: &Job) -> u64 {
        let rule = job.rule.as_ref();
        let age = rule.and_then(|rule| rule.max_age);
        let age = age.unwrap_or(self.limits.max_age).as_millis();
        let from = job.delivery.message.deliver_at.unwrap_or_default();
        let from = from.max(job.delivery.received);
        from.saturating_add(u64::try_from(age).unwrap_or(u64::MAX))
    }

    pub(super) fn is_too_old(&self, job: &Job, now: Now) -> bool {
        self.latest(job) <= now.unix_ms
    }

    /// How long it may wait from now on, at most `after`.
    pub(super) fn at_most(&self, after: Duration, job: &Job, now: Now) -> Duration {
        let left = self.latest(job).saturating_sub(now.unix_ms);
        after.min(Duration::from_millis(left))
    }

    pub(super) fn give_up_old(&mut self, job: Job, now: Now) {
        let rule = job.rule.as_ref();
        let age = rule.and_then(|rule| rule.max_age);
        let age = age.unwrap_or(self.limits.max_age);
        let age = humantime::format_duration(Duration::from_millis(age.as_millis() as u64));
        let detail = format!(
            "it was not delivered within {age} (--max-age): {}",
            self.why_not(&job, now)
        );
        self.bury(job, DeadReason::TooOld, detail, now);
    }

    /// How often it was tried, and why that failed, in words.
    fn why_not(&self, job: &Job, now: Now) -> String {
        let attempts = job.delivery.attempts.made();
        if let Some(failure) = job.delivery.failure().filter(|_| attempts > 0) {
            return format!("attempts made: {attempts}, the last: {failure}");
        }
        let why = match self.holds.find(&job.delivery.message.endpoint, now.mono) {
            Some(hold) => format!("its endpoint is {}", hold.cause),
            None => match self.endpoint_failure(job).or(job.delivery.failure()) {
                Some(failure) => format!("its endpoint was failing, with {failure}"),
                None => "others were before it".into(),
            },
        };
        format!("attempts made: {attempts}, as {why}")
    }

    /// What attempts at its endpoint came to of late, if the endpoint is failing.
    pub(super) fn endpoint_failure(&self, job: &Job) -> Option<Box<str>> {
        let lane = self.lanes.get(job.lane)?;
        let failing = lane.breaker().is_failing() || lane.history.is_hopeless();
        let (_, text) = lane.history.error().filter(|_| failing)?;
        Some(crate::delivery::one_line(text))
    }

    /// From now on Redis holds too much for what waits for failing endpoints, or not any more.
    pub fn set_over_budget(&mut self, over: bool) {
        self.over_budget = over;
    }

    /// Whether it must not be parked: Redis holds too much, and it waits for nothing but an
    /// endpoint that fails. What an operator has paused waits for the operator.
    pub(super) fn is_one_too_many(&self, job: &Job, now: Now) -> bool {
        if !self.over_budget || !self.limits.parking.is_possible() || self.drain.has_begun() {
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

    /// Its endpoint fails, and there is no room to wait for that to end.
    pub(super) fn bury_for_room(&mut self, job: Job, now: Now) -> Disposition {
        let detail = format!(
            "Redis holds more than --redis-budget, and outhook parks nothing more for an endpoint \
             that fails: {}",
            self.why_not(&job, now)
        );
        self.bury(job, DeadReason::OverBudget, detail, now);
        Disposition::Dead(DeadReason::OverBudget)
    }

    /// What stands behind a closed endpoint and has come to its end is given up.
    pub(super) fn end_waiting(&mut self, now: Now) {
        let mut lanes = std::mem::take(&mut self.lanes);
        let is_over =
            |job: &Job| self.is_expired(&job.delivery, now.unix_ms) || self.is_too_old(job, now);
        let over = lanes.extract(|_, lane| lane.breaker().is_failing(), is_over);
        self.lanes = lanes;
        for job in over {
            match self.is_expired(&job.delivery, now.unix_ms) {
                true => drop(self.expire(job, now)),
                false => self.give_up_old(job, now),
            }
        }
    }
}
