//! What becomes of a delivery that is not to be attempted now: put off, parked, or buried.

use std::sync::Arc;
use std::time::Duration;

use super::types::DrainState;
use super::waiting::Due;
use super::{Now, Scheduler};
use crate::delivery::backoff::RetrySchedule;
use crate::delivery::parked::{Parked, Until};
use crate::delivery::record::{Move, Notice, Record};
use crate::delivery::status_update::{Disposition, StatusUpdate};
use crate::delivery::{Attempt, DeadReason, Delivery, Job};
use crate::message::endpoint::Endpoint;
use crate::scheduler::lane::Weight;

impl Scheduler {
    /// Finds a delivery's rule and lane, in which it is counted from now on.
    pub(super) fn assign_lane(&mut self, delivery: Delivery, now: Now) -> Job {
        let endpoint = &delivery.message.endpoint;
        let rule = self.rules.find(endpoint).cloned();
        let lane = rule.as_ref().and_then(|rule| rule.lane());
        let lane = lane.or(self.apart.find(endpoint));
        let name = lane.unwrap_or(self.own_lane(endpoint)).clone();
        let has_failed = delivery.attempts.made() > 0 && self.limits.parking.is_possible();
        let lane = match has_failed {
            true => self.find_on_probation(&name, now.mono),
            false => self.find_lane(&name, now.mono),
        };
        let bytes = delivery.message.raw().len();
        self.lanes.change(lane, |lane| lane.enter(bytes));
        Job {
            delivery,
            rule,
            lane,
        }
    }

    /// The same for one that has stood somewhere for a while: rules may have changed.
    pub(super) fn requeue(&mut self, job: Job, now: Now) {
        let bytes = job.delivery.message.raw().len();
        self.lanes.change(job.lane, |lane| lane.leave(bytes));
        let job = self.assign_lane(job.delivery, now);
        self.route(job, now);
    }

    /// Where a delivery belongs that may go as far as others of its key are concerned.
    pub(super) fn route(&mut self, job: Job, now: Now) {
        let wish = job.delivery.message.deliver_at.unwrap_or_default();
        if job.delivery.reclaimed && job.delivery.attempts.made() >= self.attempts(&job) {
            let detail = "all attempts were begun, and outhook itself ended during the last: \
                          it may be the cause; see the log of that time";
            self.bury(job, DeadReason::Exhausted, detail.into(), now);
        } else if self.is_expired(&job.delivery, now.unix_ms) {
            self.expire(job, now);
        } else if self.is_too_old(&job, now) {
            self.give_up_old(job, now);
        } else if wish > now.unix_ms {
            self.put_off(job, Duration::from_millis(wish - now.unix_ms), now);
        } else if let Some(after) = self.held(&job, now) {
            self.hold_back(job, after, now);
        } else if self.drain == DrainState::Cut {
            self.put_off(job, Duration::ZERO, now);
        } else if let Some(attempt) = self.unsigned(&job, now) {
            self.wait_for_secret(job, attempt, now);
        } else if job.delivery.head.is_some() && self.is_one_too_many(&job, now) {
            // Those that follow it fill Redis, and are its to make room.
            self.bury_for_room(job, now);
        } else if self.has_store() && !self.may_stay(&job, now) {
            let lane = job.lane;
            self.defer(job, lane, now);
        } else {
            self.enqueue(job, now);
        }
    }

    /// Routes those whose turn has come because others of their key are settled.
    pub(super) fn route_released(&mut self, now: Now) {
        while let Some(job) = self.released.pop_front() {
            self.requeue(job, now);
        }
    }

    fn own_lane<'a>(&self, endpoint: &'a Endpoint) -> &'a Arc<str> {
        match self.limits.lane_by_url {
            true => &endpoint.url,
            false => &endpoint.origin,
        }
    }

    pub(super) fn schedule<'a>(&'a self, job: &'a Job) -> &'a RetrySchedule {
        let rule = job.rule.as_ref();
        rule.and_then(|rule| rule.schedule.as_ref())
            .unwrap_or(&self.limits.schedule)
    }

    /// How many attempts it gets.
    pub(super) fn attempts(&self, job: &Job) -> u32 {
        let own = job.delivery.message.overrides.max_attempts;
        own.unwrap_or(self.schedule(job).attempts)
    }

    pub(super) fn is_expired(&self, delivery: &Delivery, at_ms: u64) -> bool {
        let expires = delivery.message.overrides.expires_at;
        expires.is_some_and(|expires| expires <= at_ms)
    }

    pub(super) fn expire(&mut self, job: Job, now: Now) -> Disposition {
        let detail = format!(
            "expiresAt came before it was delivered (attempts made: {})",
            job.delivery.attempts.made()
        );
        self.bury(job, DeadReason::Expired, detail, now);
        Disposition::Dead(DeadReason::Expired)
    }

    /// The address guard forbids it. Nothing was sent, so that is no attempt.
    pub(super) fn refuse(&mut self, job: Job, detail: String, now: Now) -> Disposition {
        self.bury(job, DeadReason::RefusedAddress, detail, now);
        self.route_released(now);
        Disposition::Dead(DeadReason::RefusedAddress)
    }

    /// The one answer to "not now". What fails waits in the store: for its endpoint, or for its own
    /// time if that is later.
    pub(super) fn put_off(&mut self, job: Job, after: Duration, now: Now) -> Disposition {
        let lane = self.lanes.get(job.lane).filter(|_| self.has_store());
        let closed = lane.and_then(|lane| lane.breaker().failing_for(now.mono));
        match closed {
            Some(left) if left >= after && job.delivery.entry.is_some() => {
                let lane = job.lane;
                self.defer(job, lane, now)
            }
            // What memory alone holds needs no store, as long as there is room.
            Some(_)
                if job.delivery.entry.is_some() || !self.has_unproven_room(Weight::default()) =>
            {
                self.wait(job, after, Some(Duration::ZERO), now)
            }
            Some(_) => self.wait(job, after, self.limits.parking.near_window(), now),
            None => self.wait(job, after, self.limits.parking.near_window(), now),
        }
    }

    /// What is due within `near` waits here, the rest in the store; where there is no store for it,
    /// it waits here too, or is given up at the end of a drain.
    pub(super) fn wait(
        &mut self,
        mut job: Job,
        after: Duration,
        near: Option<Duration>,
        now: Now,
    ) -> Disposition {
        let after = self.at_most(after, &job, now);
        let due = now.mono + after;
        if self.is_expired(
            &job.delivery,
            now.unix_ms.saturating_add(after.as_millis() as u64),
        ) {
            return self.expire(job, now);
        }
        let leaving = self.drain.leaves(due);
        match near {
            Some(near) if !leaving && after > near && self.is_one_too_many(&job, now) => {
                self.bury_for_room(job, now)
            }
            Some(near) if leaving || after > near => {
                let due = now.unix_ms.saturating_add(after.as_millis() as u64);
                self.park(job, due, now);
                Disposition::Parked { after }
            }
            None if leaving => {
                let detail = format!(
                    "outhook was stopped, and this was not delivered within --drain-timeout \
                     (attempts made: {})",
                    job.delivery.attempts.made()
                );
                self.bury(job, DeadReason::Drained, detail, now);
                Disposition::Dead(DeadReason::Drained)
            }
            near => {
                // What it has cost must outlive this process, and it must not outlive its lease.
                let is_over = near.is_some_and(|near| self.age(&job.delivery, now) + after > near);
                // What was begun, and not made, is taken back.
                let was_postponed = |last: &Attempt| last.postponed().is_some();
                let was_begun = job.delivery.notes_first()
                    && job.delivery.last.as_ref().is_some_and(was_postponed);
                if job.delivery.attempts.made() > 0 || is_over || was_begun {
                    self.renew(&mut job.delivery, now);
                }
                self.waiting.set(due, Due::Delivery(job.into()));
                Disposition::Waiting { after }
            }
        }
    }

    /// To the stream, from where it comes back when there is room.
    pub(super) fn overflow(&mut self, job: Job, now: Now) {
        if self.limits.bridge || job.delivery.is_late && self.limits.parking.is_possible() {
            // The stream keeps their order, also of those that are not to be delivered yet.
            self.park(job, now.unix_ms, now);
        } else if self.is_one_too_many(&job, now) {
            self.bury_for_room(job, now);
        } else if self.limits.parking.is_possible() {
            let due = job.delivery.message.deliver_at.unwrap_or_default();
            self.park(job, due.max(now.unix_ms), now);
        } else {
            let detail = "more messages came than are held in memory; --max-active and \
                          --max-active-bytes allow more";
            self.bury(job, DeadReason::Overflow, detail.into(), now);
        }
    }

    /// Hands it to the store.
    pub(super) fn park(&mut self, mut job: Job, due: u64, now: Now) {
        // It comes back to be given up.
        let due = due.min(self.latest(&job).max(now.unix_ms));
        if job.delivery.attempts.made() == 0 {
            // Whoever gives it up may know nothing of its endpoint.
            job.delivery.failed_before = self.endpoint_failure(&job).or(job.delivery.failed_before);
        }
        let after = Duration::from_millis(due.saturating_sub(now.unix_ms));
        // Other replicas may have heard it too. It is told of when it comes from the stream, to one.
        let once = (self.limits.bridge || job.delivery.is_late) && job.delivery.entry.is_none();
        let told = self.told(&job.delivery, Disposition::Parked { after }, now);
        self.leave(&job);
        self.hand_over(&job);
        self.stats.parked += 1;
        self.stats.appended += u64::from(job.delivery.is_late);
        let mut parked = Parked::new(job.delivery, Until::Due(due));
        parked.once = once;
        self.outbox.push_back(Move::Park(parked.into()).into());
        self.outbox.extend(told.filter(|_| !once));
    }

    /// It is settled: the next of its key may go.
    pub(super) fn settle(&mut self, job: &Job) {
        self.leave(job);
        self.advance(job);
    }

    pub(super) fn bury(&mut self, job: Job, reason: DeadReason, detail: String, now: Now) {
        self.settle(&job);
        let told = self.told(&job.delivery, Disposition::Dead(reason), now);
        self.hand_over(&job);
        self.stats.dead += 1;
        let letter = job.delivery.bury(reason, detail, now.unix_ms);
        self.outbox.push_back(Move::Bury(letter.into()).into());
        self.outbox.extend(told);
    }

    /// What becomes of it without an attempt, or besides what that attempt will tell. It follows
    /// the record of that, which may turn out to be somebody else's to make.
    pub(super) fn told(
        &self,
        delivery: &Delivery,
        disposition: Disposition,
        now: Now,
    ) -> Option<Record> {
        self.limits.tells.then(|| {
            let update = StatusUpdate::of(delivery, false, now.unix_ms);
            Notice::Status(update(disposition).into()).into()
        })
    }

    /// The ledger is to move its entry.
    fn hand_over(&mut self, job: &Job) {
        if let Some(entry) = job.delivery.entry {
            self.leases.hand_over(entry);
        }
    }

    /// It is not active any more.
    pub(super) fn leave(&mut self, job: &Job) {
        let bytes = job.delivery.message.raw().len();
        self.bytes -= bytes;
        let is_askable = self.lanes.change(job.lane, |lane| {
            lane.leave(bytes);
            lane.backlog.is_askable()
        });
        if is_askable == Some(true) {
            self.to_ask.push(job.lane);
        }
        if let Some(entry) = job.delivery.entry {
            self.leases.leave(entry);
        }
    }
}
