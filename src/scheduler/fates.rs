//! What becomes of a delivery that is not to be attempted now: put off, parked, or buried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::types::What;
use super::{Now, Scheduler};
use crate::backoff::RetrySchedule;
use crate::delivery::{Attempt, DeadReason, Delivery};
use crate::lane::Weight;
use crate::record::{Fate, Parked, Record, Told, Until};

impl Scheduler {
    /// Finds a delivery's rule and lane.
    pub(super) fn place(&mut self, delivery: &mut Delivery, now: Now) {
        delivery.rule = self.rules.find(&delivery.message.endpoint).cloned();
        let lane = delivery.rule.as_ref().and_then(|rule| rule.lane());
        let apart = self.apart.find(&delivery.message.endpoint);
        let lane = lane.or(apart).unwrap_or(self.own_lane(delivery));
        delivery.lane = lane.clone();
        if delivery.attempts > 0 && self.limits.near.is_some() {
            self.put_on_probation(&delivery.lane, now);
        }
        self.lane(&delivery.lane, now.mono);
        let (lane, bytes) = (delivery.lane.clone(), delivery.message.raw().len());
        self.with_lane(&lane, |lane| lane.enter(bytes));
    }

    /// The same for one that has stood somewhere for a while: rules may have changed.
    pub(super) fn route_anew(&mut self, mut delivery: Delivery, now: Now) {
        let bytes = delivery.message.raw().len();
        self.with_lane(&delivery.lane, |lane| lane.leave(bytes));
        self.place(&mut delivery, now);
        self.route(delivery, now);
    }

    /// Where a delivery belongs that may go as far as others of its key are concerned.
    pub(super) fn route(&mut self, delivery: Delivery, now: Now) {
        let wish = delivery.message.deliver_at.unwrap_or_default();
        if delivery.suspect && delivery.attempts >= self.attempts(&delivery) {
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
        } else if self.over {
            self.put_off(delivery, Duration::ZERO, now);
        } else if self.is_deferrable(&delivery) && !self.may_stay(&delivery, now) {
            let name = delivery.lane.clone();
            self.defer(delivery, name, now);
        } else {
            self.enqueue(delivery, now);
        }
    }

    /// Whether it may wait for its endpoint in the store. Those with a key keep their order there
    /// by their times.
    pub(super) fn is_deferrable(&self, delivery: &Delivery) -> bool {
        self.limits.near.is_some() && delivery.message.overrides.order_key.is_none()
    }

    /// Routes those whose turn has come because others of their key are settled.
    pub(super) fn route_released(&mut self, now: Now) {
        while let Some(delivery) = self.released.pop_front() {
            self.route_anew(delivery, now);
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

    pub(super) fn expire(&mut self, delivery: Delivery, now: Now) -> Fate {
        let detail = format!(
            "expiresAt came before it was delivered (attempts made: {})",
            delivery.attempts
        );
        self.bury(delivery, DeadReason::Expired, detail, now);
        Fate::Dead(DeadReason::Expired)
    }

    /// The one answer to "not now". What fails waits in the store: for its endpoint, or for its own
    /// time if that is later.
    pub(super) fn put_off(&mut self, delivery: Delivery, after: Duration, now: Now) -> Fate {
        let lane = self
            .lanes
            .get(&delivery.lane)
            .filter(|_| self.is_deferrable(&delivery));
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
            Some(_) => self.wait(delivery, after, self.limits.near, now),
            None => self.wait(delivery, after, self.limits.near, now),
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
    ) -> Fate {
        let after = self.at_most(after, &delivery, now);
        let due = now.mono + after;
        if self.is_expired(
            &delivery,
            now.unix_ms.saturating_add(after.as_millis() as u64),
        ) {
            return self.expire(delivery, now);
        }
        let leaving = self.horizon.is_some_and(|horizon| due > horizon);
        match near {
            Some(near) if !leaving && after > near && self.is_one_too_many(&delivery, now) => {
                self.bury_for_room(delivery, true, now)
            }
            Some(near) if leaving || after > near => {
                let due = now.unix_ms.saturating_add(after.as_millis() as u64);
                self.park(delivery, due, now);
                Fate::Parked { after }
            }
            None if leaving => {
                let detail = format!(
                    "outhook was stopped, and this was not delivered within --drain-timeout \
                     (attempts made: {})",
                    delivery.attempts
                );
                self.bury(delivery, DeadReason::Drained, detail, now);
                Fate::Dead(DeadReason::Drained)
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
                self.waiting += 1;
                self.set_alarm(due, What::Delivery(delivery.into()));
                Fate::Waiting { after }
            }
        }
    }

    /// Parks those that wait for others which will not come any more.
    pub(super) fn park_back(&mut self, now: Now) {
        for (delivery, due) in self.chains.give_back(now.unix_ms) {
            self.park_follower(delivery, due, now);
        }
    }

    /// To the stream, from where it comes back when there is room.
    pub(super) fn overflow(&mut self, delivery: Delivery, now: Now) {
        if self.limits.bridge || delivery.is_late && self.limits.near.is_some() {
            // The stream keeps their order, also of those that are not to be delivered yet.
            self.park_follower(delivery, now.unix_ms, now);
        } else if self.is_one_too_many(&delivery, now) {
            self.bury_for_room(delivery, false, now);
        } else if self.limits.near.is_some() {
            self.send_away(delivery, now.unix_ms, now);
        } else {
            let detail = "more messages came than are held in memory; --max-active and \
                          --max-active-bytes allow more";
            self.bury(delivery, DeadReason::Overflow, detail.into(), now);
        }
    }

    /// One with a key, if its lane holds its share of what is active, comes back when there may be
    /// room. Otherwise it is answered.
    pub(super) fn appoint_if_crowded(&mut self, delivery: Delivery, now: Now) -> Option<Delivery> {
        if !self.is_over_share(&delivery) {
            return Some(delivery);
        }
        if self.is_one_too_many(&delivery, now) {
            self.bury_for_room(delivery, false, now);
            return None;
        }
        let here = self.lane(&delivery.lane, now.mono).active();
        let rank = self.chains.rank(&delivery).unwrap_or_default();
        let after = self.next_appointment(&delivery, rank, here, now) - now.mono;
        self.send_away(delivery, now.unix_ms + after.as_millis() as u64, now);
        None
    }

    /// When its lane may have room for one with a key, before which so many go.
    pub(super) fn next_appointment(
        &mut self,
        delivery: &Delivery,
        rank: usize,
        here: usize,
        now: Now,
    ) -> Instant {
        let keys = self.chains.len();
        let lane = self.lane(&delivery.lane, now.mono);
        lane.appoint_in_line(now.mono, here, rank, keys)
    }

    /// Parks one that has just come, before it has taken its place among others of its key.
    fn send_away(&mut self, delivery: Delivery, due: u64, now: Now) {
        let due = due.max(delivery.message.deliver_at.unwrap_or_default());
        self.chains.send_away(&delivery, due);
        self.park_follower(delivery, due, now);
    }

    /// Hands it to the store, and with it all that must not go before it.
    pub(super) fn park(&mut self, delivery: Delivery, due: u64, now: Now) {
        let followers = self.chains.parked(&delivery, due);
        self.park_follower(delivery, due, now);
        for (delivery, due) in followers {
            self.park_follower(delivery, due, now);
        }
    }

    pub(super) fn park_follower(&mut self, mut delivery: Delivery, due: u64, now: Now) {
        // It comes back to be given up. The times of those with a key say in which order they go.
        let due = match &delivery.message.overrides.order_key {
            Some(_) => due,
            None => due.min(self.latest(&delivery).max(now.unix_ms)),
        };
        if delivery.attempts == 0 {
            // Whoever gives it up may know nothing of its endpoint.
            delivery.failed_before = self.endpoint_failure(&delivery).or(delivery.failed_before);
        }
        let after = Duration::from_millis(due.saturating_sub(now.unix_ms));
        // Other replicas may have heard it too. It is told of when it comes from the stream, to one.
        let once = (self.limits.bridge || delivery.is_late) && delivery.entry.is_none();
        let told = self.told(&delivery, Fate::Parked { after }, now);
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
        if let Some(key) = &delivery.message.overrides.order_key {
            self.released.extend(self.chains.settled(key));
        }
    }

    pub(super) fn bury(
        &mut self,
        delivery: Delivery,
        reason: DeadReason,
        detail: String,
        now: Now,
    ) {
        self.settle(&delivery);
        self.write_off(delivery, reason, detail, now);
    }

    /// The same for one that has just come, before it has taken its place among others of its key.
    pub(super) fn bury_unadmitted(
        &mut self,
        delivery: Delivery,
        reason: DeadReason,
        detail: String,
        now: Now,
    ) {
        self.leave(&delivery);
        self.chains.forget_away(&delivery);
        self.write_off(delivery, reason, detail, now);
    }

    fn write_off(&mut self, delivery: Delivery, reason: DeadReason, detail: String, now: Now) {
        let told = self.told(&delivery, Fate::Dead(reason), now);
        self.hand_over(&delivery);
        self.stats.dead += 1;
        let letter = delivery.bury(reason, detail, now.unix_ms);
        self.outbox.push_back(Record::Bury(letter));
        self.outbox.extend(told);
    }

    /// What becomes of it without an attempt, or besides what that attempt will tell. It follows
    /// the record of that, which may turn out to be somebody else's to make.
    pub(super) fn told(&self, delivery: &Delivery, fate: Fate, now: Now) -> Option<Record> {
        self.limits.tells.then(|| {
            let told = Told {
                fate,
                attempted: false,
                ..Told::of(delivery, now.unix_ms)
            };
            Record::Tell(Box::new(told))
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
        let is_askable = self.with_lane(&delivery.lane, |lane| {
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
