//! Who gets a worker. Pure.
//!
//! Those that are not known to answer may hold half of the workers together, those that are failing
//! a quarter, so that neither takes them from those who do. One that was never tried goes before
//! the others, and if all that half hangs, an eighth is kept for the last that came.

use std::time::Instant;

use super::expiry::is_expired;
use super::rotation::Turn;
use super::{Limits, Now, Scheduler};
use crate::delivery::Job;
use crate::scheduler::lane::{HealthSignal, Weight};

/// The workers that are at work, and when one of those that are kept may be given out.
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

    /// One delivery is handed out.
    fn take(&mut self) {
        self.in_flight += 1;
    }

    /// One has come back.
    pub fn give_back(&mut self) {
        self.in_flight -= 1;
    }

    /// Whether a worker is free that is kept for endpoints that were never tried.
    fn has_reserve(&self, limits: &Limits, held: &Weight) -> bool {
        let (untrusted, share) = (held.untrusted_in_flight, limits.untrusted_share());
        let is_within = untrusted >= share && untrusted < share + limits.reserved_workers();
        is_within && !self.are_all_busy(limits)
    }

    /// They are given out so slowly that there is always one, as each is back when its attempt has
    /// timed out.
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
                // It gets its turn back when it has answered, or has not.
                self.lanes.change(id, |lane| lane.drop_turn());
                continue;
            }
            let taken = self.lanes.change(id, |lane| lane.take(now.mono));
            self.update_turn(id, now.mono);
            let taken = taken.flatten();
            if let Some(mut job) = taken.and_then(|job| self.look_again(job, now)) {
                self.workers.take();
                // It may have changed while it stood there.
                job.rule = self.rules.find(&job.delivery.message.endpoint).cloned();
                return Some(job);
            }
        }
        None
    }

    /// Its turn has come. Nothing if it is too late for it.
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
    fn next_turn(&mut self, now: Now) -> Option<Turn> {
        // A customer who is not known to answer may not take the last of the workers from those
        // who do, and one who is known to fail not from those who may answer.
        let held = self.lanes.tally();
        let others = held.untrusted_in_flight < self.limits.untrusted_share();
        let failing = held.failing < self.limits.failing_share();
        let turn = self.rotation.next(others, failing);
        turn.or_else(|| self.next_from_reserve(now.mono))
    }

    /// Who was never tried need not wait until those who hang have been given up: some workers are
    /// kept for the last that came.
    fn next_from_reserve(&mut self, now: Instant) -> Option<Turn> {
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

    /// When one of the workers that are kept may be given out, if a lane waits for that.
    pub(super) fn reserve_deadline(&self) -> Option<Instant> {
        self.workers.reserve.filter(|_| self.waits_for_reserve())
    }
}
