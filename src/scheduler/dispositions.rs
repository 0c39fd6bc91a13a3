//! What becomes of a delivery that is not to be attempted now: put off, parked, or buried.

use std::sync::Arc;
use std::time::Duration;

use super::types::DrainState;
use super::waiting::Due;
use super::{Now, Scheduler};
use crate::delivery::backoff::RetrySchedule;
use crate::delivery::parked::{Parked, Until};
use crate::delivery::record::Record;
use crate::delivery::status_update::{Disposition, StatusUpdate};
use crate::delivery::{Attempt, DeadReason, Delivery};
use crate::scheduler::lane::Weight;

impl Scheduler {
    /// Finds a delivery's rule and lane.
    pub(super) fn assign_lane(&mut self, delivery: &mut Delivery, now: Now) {
        delivery.rule = self.rules.find(&delivery.message.endpoint).cloned();
        let lane = delivery.rule.as_ref().and_then(|rule| rule.lane());
        let apart = self.apart.find(&delivery.message.endpoint);
        let lane = lane.or(apart).unwrap_or(self.own_lane(delivery));
        delivery.lane = lane.clone();
        if delivery.attempts > 0 && self.limits.parking.is_possible() {
            self.put_on_probation(&delivery.lane, now);
        }
        self.ensure_lane(&delivery.lane, now.mono);
        let (lane, bytes) = (delivery.lane.clone(), delivery.message.raw().len());
        self.lanes.change(&lane, |lane| lane.enter(bytes));
    }

    /// The same for one that has stood somewhere for a while: rules may have changed.
    pub(super) fn requeue(&mut self, mut delivery: Delivery, now: Now) {
        let bytes = delivery.message.raw().len();
        self.lanes.change(&delivery.lane, |lane| lane.leave(bytes));
        self.assign_lane(&mut delivery, now);
        self.route(delivery, now);
    }

    /// Where a delivery belongs that may go as far as others of its key are concerned.
    pub(super) fn route(&mut self, delivery: Delivery, now: Now) {
        let wish = delivery.message.deliver_at.unwrap_or_default();
        if delivery.reclaimed && delivery.attempts >= self.attempts(&delivery) {
            let detail = "all attempts were begun, and outhook itself ended during the last: \
                          it may be the cause; see the log of that time";
            self.bury(delivery, DeadReason::Exhausted, detail.into(), now);
        } else if self.is_expired(&delivery, now.unix_ms) {
            self.expire(delivery, now);
        } else if self.is_too_old(&delivery, now) {
            self.give_up_old(delivery, now);
        } else if wish > now.unix_ms {
            self.put_off(delivery, Duration::from_millis(wish - now.unix_ms), now);
        } else if let Some(after) = self.held(&delivery, now) {
            self.hold_back(delivery, after, now);
        } else if self.drain == DrainState::Cut {
            self.put_off(delivery, Duration::ZERO, now);
        } else if let Some(attempt) = self.unsigned(&delivery, now) {
            self.wait_for_secret(delivery, attempt, now);
        } else if delivery.head.is_some() && self.is_one_too_many(&delivery, now) {
            // Those that follow it fill Redis, and are its to make room.
            self.bury_for_room(delivery, now);
        } else if self.has_store() && !self.may_stay(&delivery, now) {
            let name = delivery.lane.clone();
            self.defer(delivery, name, now);
        } else {
            self.enqueue(delivery, now);
        }
    }

    /// Routes those whose turn has come because others of their key are settled.
    pub(super) fn route_released(&mut self, now: Now) {
        while let Some(delivery) = self.released.pop_front() {
            self.requeue(delivery, now);
        }
    }

    fn own_lane<'a>(&self, delivery: &'a Delivery) -> &'a Arc<str> {
        match self.limits.lane_by_url {
            true => &delivery.message.endpoint.url,
            false => &delivery.message.endpoint.origin,
        }
    }

    pub(super) fn schedule<'a>(&'a self, delivery: &'a Delivery) -> &'a RetrySchedule {
        let rule = delivery.rule.as_ref();
        rule.and_then(|rule| rule.schedule.as_ref())
            .unwrap_or(&self.limits.schedule)
    }

    /// How many attempts it gets.
    pub(super) fn attempts(&self, delivery: &Delivery) -> u32 {
        let own = delivery.message.overrides.max_attempts;
        own.unwrap_or(self.schedule(delivery).attempts)
    }

    pub(super) fn is_expired(&self, delivery: &Delivery, at_ms: u64) -> bool {
        let expires = delivery.message.overrides.expires_at;
        expires.is_some_and(|expires| expires <= at_ms)
    }

    pub(super) fn expire(&mut self, delivery: Delivery, now: Now) -> Disposition {
        let detail = format!(
            "expiresAt came before it was delivered (attempts made: {})",
            delivery.attempts
        );
        self.bury(delivery, DeadReason::Expired, detail, now);
        Disposition::Dead(DeadReason::Expired)
    }

    /// The address guard forbids it. Nothing was sent, so that is no attempt.
    pub(super) fn refuse(&mut self, delivery: Delivery, detail: String, now: Now) -> Disposition {
        self.bury(delivery, DeadReason::RefusedAddress, detail, now);
        self.route_released(now);
        Disposition::Dead(DeadReason::RefusedAddress)
    }

    /// The one answer to "not now". What fails waits in the store: for its endpoint, or for its own
    /// time if that is later.
    pub(super) fn put_off(&mut self, delivery: Delivery, after: Duration, now: Now) -> Disposition {
        let lane = self.lanes.get(&delivery.lane).filter(|_| self.has_store());
        let closed = lane.and_then(|lane| lane.closed_for(now.mono));
        match closed {
            Some(left) if left >= after && delivery.entry.is_some() => {
                let name = delivery.lane.clone();
                self.defer(delivery, name, now)
            }
            // What memory alone holds needs no store, as long as there is room.
            Some(_) if delivery.entry.is_some() || !self.has_unproven_room(Weight::default()) => {
                self.wait(delivery, after, Some(Duration::ZERO), now)
            }
            Some(_) => self.wait(delivery, after, self.limits.parking.near_window(), now),
            None => self.wait(delivery, after, self.limits.parking.near_window(), now),
        }
    }

    /// What is due within `near` waits here, the rest in the store; where there is no store for it,
    /// it waits here too, or is given up at the end of a drain.
    pub(super) fn wait(
        &mut self,
        mut delivery: Delivery,
        after: Duration,
        near: Option<Duration>,
        now: Now,
    ) -> Disposition {
        let after = self.at_most(after, &delivery, now);
        let due = now.mono + after;
        if self.is_expired(
            &delivery,
            now.unix_ms.saturating_add(after.as_millis() as u64),
        ) {
            return self.expire(delivery, now);
        }
        let leaving = self.drain.leaves(due);
        match near {
            Some(near) if !leaving && after > near && self.is_one_too_many(&delivery, now) => {
                self.bury_for_room(delivery, now)
            }
            Some(near) if leaving || after > near => {
                let due = now.unix_ms.saturating_add(after.as_millis() as u64);
                self.park(delivery, due, now);
                Disposition::Parked { after }
            }
            None if leaving => {
                let detail = format!(
                    "outhook was stopped, and this was not delivered within --drain-timeout \
                     (attempts made: {})",
                    delivery.attempts
                );
                self.bury(delivery, DeadReason::Drained, detail, now);
                Disposition::Dead(DeadReason::Drained)
            }
            near => {
                // What it has cost must outlive this process, and it must not outlive its lease.
                let is_over = near.is_some_and(|near| self.age(&delivery, now) + after > near);
                // What was begun, and not made, is taken back.
                let was_postponed = |last: &Attempt| last.postponed().is_some();
                let was_begun =
                    delivery.notes_first() && delivery.last.as_ref().is_some_and(was_postponed);
                if delivery.attempts > 0 || is_over || was_begun {
                    self.renew(&mut delivery, now);
                }
                self.waiting.set(due, Due::Delivery(delivery.into()));
                Disposition::Waiting { after }
            }
        }
    }

    /// To the stream, from where it comes back when there is room.
    pub(super) fn overflow(&mut self, delivery: Delivery, now: Now) {
        if self.limits.bridge || delivery.is_late && self.limits.parking.is_possible() {
            // The stream keeps their order, also of those that are not to be delivered yet.
            self.park(delivery, now.unix_ms, now);
        } else if self.is_one_too_many(&delivery, now) {
            self.bury_for_room(delivery, now);
        } else if self.limits.parking.is_possible() {
            let due = delivery.message.deliver_at.unwrap_or_default();
            self.park(delivery, due.max(now.unix_ms), now);
        } else {
            let detail = "more messages came than are held in memory; --max-active and \
                          --max-active-bytes allow more";
            self.bury(delivery, DeadReason::Overflow, detail.into(), now);
        }
    }

    /// Hands it to the store.
    pub(super) fn park(&mut self, mut delivery: Delivery, due: u64, now: Now) {
        // It comes back to be given up.
        let due = due.min(self.latest(&delivery).max(now.unix_ms));
        if delivery.attempts == 0 {
            // Whoever gives it up may know nothing of its endpoint.
            delivery.failed_before = self.endpoint_failure(&delivery).or(delivery.failed_before);
        }
        let after = Duration::from_millis(due.saturating_sub(now.unix_ms));
        // Other replicas may have heard it too. It is told of when it comes from the stream, to one.
        let once = (self.limits.bridge || delivery.is_late) && delivery.entry.is_none();
        let told = self.told(&delivery, Disposition::Parked { after }, now);
        self.leave(&delivery);
        self.hand_over(&delivery);
        self.stats.parked += 1;
        self.stats.appended += u64::from(delivery.is_late);
        let mut parked = Parked::new(delivery, Until::Due(due));
        parked.once = once;
        self.outbox.push_back(Record::Park(parked));
        self.outbox.extend(told.filter(|_| !once));
    }

    /// It is settled: the next of its key may go.
    pub(super) fn settle(&mut self, delivery: &Delivery) {
        self.leave(delivery);
        self.advance(delivery);
    }

    pub(super) fn bury(
        &mut self,
        delivery: Delivery,
        reason: DeadReason,
        detail: String,
        now: Now,
    ) {
        self.settle(&delivery);
        let told = self.told(&delivery, Disposition::Dead(reason), now);
        self.hand_over(&delivery);
        self.stats.dead += 1;
        let letter = delivery.bury(reason, detail, now.unix_ms);
        self.outbox.push_back(Record::Bury(letter));
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
            Record::Tell(Box::new(update(disposition)))
        })
    }

    /// The ledger is to move its entry.
    fn hand_over(&mut self, delivery: &Delivery) {
        if let Some(entry) = delivery.entry {
            self.leases.hand_over(entry);
        }
    }

    /// It is not active any more.
    pub(super) fn leave(&mut self, delivery: &Delivery) {
        let bytes = delivery.message.raw().len();
        self.bytes -= bytes;
        let is_askable = self.lanes.change(&delivery.lane, |lane| {
            lane.leave(bytes);
            lane.backlog.is_askable()
        });
        if is_askable == Some(true) {
            self.to_ask.push(delivery.lane.clone());
        }
        if let Some(entry) = delivery.entry {
            self.leases.leave(entry);
        }
    }
}
