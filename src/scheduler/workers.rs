//! Who gets a worker. Pure.
//!
//! Endpoints that are not known to answer may hold half of the workers together, and failing endpoints a
//! quarter. So they cannot take workers from endpoints that answer. Untried endpoints go before the others.
//! If that half hangs, an eighth of the workers is kept for the untried endpoint that came last.

use std::time::Instant;

use super::expiry::is_expired;
use super::rotation::Ticket;
use super::{Limits, Now, Scheduler};
use crate::delivery::Job;
use crate::scheduler::lane::{HealthSignal, Weight};

/// How many workers are at work, and when the next one of the reserve may be given out.
#[derive(Debug, Default)]
pub struct Workers {
    in_flight: usize,
    reserve: Option<Instant>,
}

impl Workers {
    /// Deliveries in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn are_all_busy(&self, limits: &Limits) -> bool {
        self.in_flight >= limits.workers
    }

    /// A delivery is handed out.
    fn take(&mut self) {
        self.in_flight += 1;
    }

    /// A delivery has come back.
    pub fn give_back(&mut self) {
        self.in_flight -= 1;
    }

    /// Whether a worker of the reserve is free.
    fn has_reserve(&self, limits: &Limits, held: &Weight) -> bool {
        let (untrusted, share) = (held.untrusted_in_flight, limits.untrusted_share());
        let is_within = untrusted >= share && untrusted < share + limits.reserved_workers();
        is_within && !self.are_all_busy(limits)
    }

    /// Takes a worker from the reserve. The pause until the next is so long that there is always one: each
    /// is back when its attempt has timed out.
    fn take_from_reserve(&mut self, limits: &Limits, now: Instant) {
        let pause = limits.timeout / limits.reserved_workers() as u32;
        self.reserve = Some(now + pause);
    }
}

impl Scheduler {
    /// The next delivery to attempt, if a worker is free for it. It must come back through
    /// [`Scheduler::finish`], exactly once.
    pub fn next(&mut self, now: Now) -> Option<Job> {
        while !self.workers.are_all_busy(&self.limits) {
            let (place, id) = self.next_turn(now)?;
            let untrusted = self.lanes.tally().untrusted_in_flight;
            let is_crowded = untrusted * 2 >= self.limits.untrusted_share();
            let Some(lane) = self.lanes.get(id).filter(|lane| lane.has_turn(place)) else {
                continue;
            };
            if is_crowded && lane.is_awaited() {
                // It gets its turn back when its first attempt is over.
                self.lanes.change(id, |lane| lane.drop_turn());
                continue;
            }
            let taken = self.lanes.change(id, |lane| lane.take(now.mono));
            self.update_turn(id, now.mono);
            let taken = taken.flatten();
            if let Some(mut job) = taken.and_then(|job| self.look_again(job, now)) {
                self.workers.take();
                // The rules may have changed while it was queued.
                job.rule = self.rules.find(&job.delivery.message.endpoint).cloned();
                return Some(job);
            }
        }
        None
    }

    /// Its turn has come. Answers nothing if it is too late for it.
    fn look_again(&mut self, job: Job, now: Now) -> Option<Job> {
        let parking = self.limits.parking;
        let lapsed = parking.has_lapsed(&job.delivery, now);
        let expired = is_expired(&job.delivery, now.unix_ms);
        let too_old = self.limits.is_too_old(&job, now);
        let late = parking.is_too_old_to_begin(&job.delivery, now);
        if !lapsed && !expired && !too_old && !late {
            return Some(job);
        }
        self.release(job.lane, HealthSignal::NOTHING, now);
        if lapsed {
            self.lapse(&job);
        } else if expired {
            self.expire(job, now);
        } else if too_old {
            self.give_up_old(job, now);
        } else {
            self.park(job, now.unix_ms, now);
        }
        self.route_released(now);
        None
    }

    /// The next lane that may have a worker.
    fn next_turn(&mut self, now: Now) -> Option<Ticket> {
        // An endpoint that is not known to answer may not take the last workers from endpoints that do,
        // and a failing endpoint may not take them from endpoints that may answer.
        let held = self.lanes.tally();
        let others = held.untrusted_in_flight < self.limits.untrusted_share();
        let failing = held.failing < self.limits.failing_share();
        let turn = self.rotation.next(others, failing);
        turn.or_else(|| self.next_from_reserve(now.mono))
    }

    /// An untried endpoint need not wait until the attempts that hang have timed out: the reserve is for
    /// the untried endpoint that came last.
    fn next_from_reserve(&mut self, now: Instant) -> Option<Ticket> {
        if !self.waits_for_reserve() || self.workers.reserve.is_some_and(|at| at > now) {
            return None;
        }
        while let Some((place, id)) = self.rotation.newest() {
            if self.lanes.get(id).is_some_and(|lane| lane.has_turn(place)) {
                self.workers.take_from_reserve(&self.limits, now);
                return Some((place, id));
            }
        }
        None
    }

    fn waits_for_reserve(&self) -> bool {
        let has_reserve = self.workers.has_reserve(&self.limits, self.lanes.tally());
        has_reserve && self.rotation.has_untried()
    }

    /// When the next worker of the reserve may be given out, if a lane waits for it.
    pub(super) fn reserve_deadline(&self) -> Option<Instant> {
        self.workers.reserve.filter(|_| self.waits_for_reserve())
    }
}
