//! Where a delivery goes: to its lane, or, if it is not tried now, to the place where it waits. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::expiry::is_expired;
use super::leases::renew;
use super::waiting::Due;
use super::{Now, Scheduler};
use crate::delivery::status_update::Disposition;
use crate::delivery::{Attempt, DeadReason, Delivery, Job};
use crate::message::endpoint::Endpoint;
use crate::scheduler::lane::Weight;

impl Scheduler {
    /// Finds the rule and the lane of a delivery. From now on the lane counts it.
    pub(super) fn assign_lane(&mut self, delivery: Delivery, now: Now) -> Job {
        let endpoint = &delivery.message.endpoint;
        let rule = self.rules.find(endpoint).cloned();
        let lane = rule.as_ref().and_then(|rule| rule.lane());
        let lane = lane.or(self.url_lanes.find(endpoint));
        let name = lane.unwrap_or(self.own_lane(endpoint)).clone();
        let has_failed = delivery.attempts.made() > 0 && self.has_store();
        let lane = match has_failed {
            true => self.find_on_probation(&name, now.mono),
            false => self.find_lane(&name, now.mono),
        };
        let bytes = delivery.bytes();
        self.lanes.change(lane, |lane| lane.enter(bytes));
        Job {
            delivery,
            rule,
            lane,
        }
    }

    /// Routes a delivery again that has waited for a while: rules may have changed.
    pub(super) fn requeue(&mut self, job: Job, now: Now) {
        let bytes = job.delivery.bytes();
        self.lanes.change(job.lane, |lane| lane.leave(bytes));
        let job = self.assign_lane(job.delivery, now);
        self.route(job, now);
    }

    /// Decides where a delivery goes. No other of its key is before it.
    pub(super) fn route(&mut self, job: Job, now: Now) {
        let wish = job.delivery.message.deliver_at.unwrap_or_default();
        if job.delivery.reclaimed && job.delivery.attempts.made() >= self.limits.attempts(&job) {
            let detail = "all attempts were begun, and outhook itself ended during the last: \
                          it may be the cause; see the log of that time";
            self.bury(job, DeadReason::Exhausted, detail.into(), now);
        } else if is_expired(&job.delivery, now.unix_ms) {
            self.expire(job, now);
        } else if self.limits.is_too_old(&job, now) {
            self.give_up_old(job, now);
        } else if wish > now.unix_ms {
            self.put_off(job, Duration::from_millis(wish - now.unix_ms), now);
        } else if let Some(after) = self.held(&job, now) {
            self.hold_back(job, after, now);
        } else if self.drain.is_over() {
            self.put_off(job, Duration::ZERO, now);
        } else if let Some(attempt) = self.unsigned(&job, now) {
            self.wait_for_secret(job, attempt, now);
        } else if job.delivery.head.is_some() && self.is_one_too_many(&job, now) {
            // Its followers fill Redis, and it must make room.
            self.bury_for_room(job, now);
        } else if self.has_store() && !self.may_stay(&job, now) {
            let lane = job.lane;
            self.defer(job, lane, now);
        } else {
            self.enqueue(job, now);
        }
    }

    /// Routes deliveries whose turn has come because the one before them is settled.
    pub(super) fn route_released(&mut self, now: Now) {
        while let Some(job) = self.followers.pop_released() {
            self.requeue(job, now);
        }
    }

    fn own_lane<'a>(&self, endpoint: &'a Endpoint) -> &'a Arc<str> {
        match self.limits.lane_by_url {
            true => &endpoint.url,
            false => &endpoint.origin,
        }
    }

    /// Whether a due delivery may stay in memory. Otherwise it must be deferred.
    fn may_stay(&self, job: &Job, now: Now) -> bool {
        let lane = self.lanes.get(job.lane);
        lane.is_none_or(|lane| self.room().may_hold(job, lane, now))
    }

    /// Puts a due delivery into its lane.
    pub(super) fn enqueue(&mut self, mut job: Job, now: Now) {
        // It was due a while ago, and this process was suspended.
        let is_late = self.limits.parking.is_past_near_window(&job.delivery, now);
        if is_late && !job.delivery.notes_first() {
            renew(&mut job.delivery, &mut self.outbox, now);
        }
        let (id, limits, standing) = (job.lane, self.limits.lanes, self.shared_limits.standing());
        self.lanes.change(id, |lane| {
            let rule = job.rule.as_deref();
            lane.apply_rule(rule, &limits, standing, now.mono);
            lane.set_max_age(rule);
            lane.queue.push(job);
        });
        self.update_turn(id, now.mono);
        let interval = self.housekeeping_interval();
        self.housekeeping.note_queued(interval, now.mono);
        self.park_stranded(id, now);
    }

    /// The one answer to "not now". A delivery whose endpoint fails waits in the store: for the endpoint,
    /// or for its own time if that is later.
    pub(super) fn put_off(&mut self, job: Job, after: Duration, now: Now) -> Disposition {
        let lane = self.lanes.get(job.lane).filter(|_| self.has_store());
        let failing = lane.and_then(|lane| lane.breaker().failing_for(now.mono));
        match failing {
            Some(left) if left >= after && job.delivery.entry.is_some() => {
                let lane = job.lane;
                self.defer(job, lane, now)
            }
            // A delivery that memory alone holds needs no store, as long as there is room.
            Some(_)
                if job.delivery.entry.is_some() || !self.room().has_unproven(Weight::default()) =>
            {
                self.wait(job, after, Some(Duration::ZERO), now)
            }
            _ => self.wait(job, after, self.limits.parking.near_window(), now),
        }
    }

    /// A delivery that is due within `near` waits in memory, and otherwise in the store. Without a store it
    /// waits in memory, or is given up at the end of a drain.
    pub(super) fn wait(
        &mut self,
        mut job: Job,
        after: Duration,
        near: Option<Duration>,
        now: Now,
    ) -> Disposition {
        let after = self.limits.at_most(after, &job, now);
        let due = now.mono + after;
        let due_ms = now.unix_ms.saturating_add(after.as_millis() as u64);
        if is_expired(&job.delivery, due_ms) {
            return self.expire(job, now);
        }
        let leaving = self.drain.leaves(due);
        match near {
            Some(near) if !leaving && after > near && self.is_one_too_many(&job, now) => {
                self.bury_for_room(job, now)
            }
            Some(near) if leaving || after > near => self.park(job, due_ms, now),
            None if leaving => {
                let detail = format!(
                    "outhook was stopped, and this was not delivered within --drain-timeout \
                     (attempts made: {})",
                    job.delivery.attempts.made()
                );
                self.bury(job, DeadReason::Drained, detail, now)
            }
            near => {
                // Its attempts must outlive this process, and it must not outlive its lease.
                let is_over = near
                    .is_some_and(|near| self.limits.parking.age(&job.delivery, now) + after > near);
                // An attempt that was begun and not made is taken back.
                let was_postponed = |last: &Attempt| last.postponed().is_some();
                let was_begun = job.delivery.notes_first()
                    && job.delivery.last.as_ref().is_some_and(was_postponed);
                if job.delivery.attempts.made() > 0 || is_over || was_begun {
                    renew(&mut job.delivery, &mut self.outbox, now);
                }
                self.waiting.set(due, Due::Delivery(job.into()));
                Disposition::Waiting { after }
            }
        }
    }

    /// There is no room: it goes to the stream, and comes back when there is.
    pub(super) fn overflow(&mut self, job: Job, now: Now) {
        if self.limits.bridge || job.delivery.is_late && self.limits.parking.is_possible() {
            // The stream keeps the order, also of messages that are not due yet.
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
}
