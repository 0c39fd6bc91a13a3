//! The end of waiting: messages that have become too old (`--max-age`), or that their producer wants no
//! longer (`expiresAt`). Pure.

use std::time::Duration;

use super::{Limits, Now, Scheduler};
use crate::delivery::status_update::Disposition;
use crate::delivery::{DeadReason, Delivery, Job};
use crate::scheduler::lane::Lane;

/// Whether its producer does not want it any more at this time, in Unix milliseconds.
pub fn is_expired(delivery: &Delivery, at_ms: u64) -> bool {
    let expires = delivery.message.overrides.expires_at;
    expires.is_some_and(|expires| expires <= at_ms)
}

impl Limits {
    fn max_age_of(&self, job: &Job) -> Duration {
        let own = job.rule.as_ref().and_then(|rule| rule.max_age);
        own.unwrap_or(self.max_age)
    }

    /// When it has waited for too long, in Unix milliseconds. The age of a message with `deliverAt` counts
    /// from then.
    pub(super) fn latest(&self, job: &Job) -> u64 {
        let age = self.max_age_of(job).as_millis();
        let from = job.delivery.message.deliver_at.unwrap_or_default();
        let from = from.max(job.delivery.received);
        from.saturating_add(u64::try_from(age).unwrap_or(u64::MAX))
    }

    pub(super) fn is_too_old(&self, job: &Job, now: Now) -> bool {
        self.latest(job) <= now.unix_ms
    }

    /// `after`, or less if it would be too old by then.
    pub(super) fn at_most(&self, after: Duration, job: &Job, now: Now) -> Duration {
        let left = self.latest(job).saturating_sub(now.unix_ms);
        after.min(Duration::from_millis(left))
    }
}

impl Scheduler {
    pub(super) fn expire(&mut self, job: Job, now: Now) -> Disposition {
        let detail = format!(
            "expiresAt came before it was delivered (attempts made: {})",
            job.delivery.attempts.made()
        );
        self.bury(job, DeadReason::Expired, detail, now)
    }

    pub(super) fn give_up_old(&mut self, job: Job, now: Now) -> Disposition {
        let age = self.limits.max_age_of(&job).as_millis() as u64;
        let age = humantime::format_duration(Duration::from_millis(age));
        let detail = format!(
            "it was not delivered within {age} (--max-age): {}",
            self.why_not(&job, now)
        );
        self.bury(job, DeadReason::TooOld, detail, now)
    }

    /// How often it was tried, and why that failed, in words.
    pub(super) fn why_not(&self, job: &Job, now: Now) -> String {
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

    /// The last failure of its endpoint, if the endpoint is failing.
    pub(super) fn endpoint_failure(&self, job: &Job) -> Option<Box<str>> {
        let lane = self.lanes.get(job.lane)?;
        let failing = lane.breaker().is_failing() || lane.history.is_hopeless();
        let (_, text) = lane.history.error().filter(|_| failing)?;
        Some(crate::delivery::one_line(text))
    }

    /// Gives up messages behind failing endpoints whose time is over.
    pub(super) fn end_waiting(&mut self, now: Now) {
        let limits = &self.limits;
        let is_over =
            |job: &Job| is_expired(&job.delivery, now.unix_ms) || limits.is_too_old(job, now);
        let is_failing = |_: &str, lane: &Lane| lane.breaker().is_failing();
        for job in self.lanes.extract(is_failing, is_over) {
            match is_expired(&job.delivery, now.unix_ms) {
                true => self.expire(job, now),
                false => self.give_up_old(job, now),
            };
        }
    }
}
