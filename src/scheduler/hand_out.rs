//! Who gets a worker. Pure.
//!
//! Those that are not known to answer may hold half of the workers together, those that are closed
//! a quarter, so that neither takes them from those who do. One that was never tried goes before
//! the others, and if all that half hangs, an eighth is kept for the last that came.

use std::time::Instant;

use super::turns::Turn;
use super::{Now, Scheduler};
use crate::delivery::Job;
use crate::scheduler::lane::HealthSignal;

impl Scheduler {
    /// The next delivery to attempt, if a worker is free for it. It must come back through
    /// [`Scheduler::finish`], exactly once.
    pub fn next(&mut self, now: Now) -> Option<Job> {
        while self.in_flight < self.limits.workers {
            let (place, id) = self.next_turn(now)?;
            let is_crowded = self.lanes.tally().untrusted_in_flight * 2 >= self.untrusted_share();
            let Some(lane) = self.lanes.get(id).filter(|l| l.has_turn(place)) else {
                continue;
            };
            if is_crowded && lane.is_awaited() {
                // It gets its turn back when it has answered, or has not.
                self.lanes.change(id, |lane| lane.drop_turn());
                continue;
            }
            let taken = self.lanes.change(id, |lane| lane.take(now.mono));
            let delivery = taken.flatten();
            self.update_turn(id, now.mono);
            let Some(job) = delivery else {
                continue;
            };
            if let Some(mut job) = self.look_again(job, now) {
                self.in_flight += 1;
                // It may have changed while it stood there.
                job.rule = self.rules.find(&job.delivery.message.endpoint).cloned();
                return Some(job);
            }
        }
        None
    }

    /// Its turn has come. Nothing if it is too late for it.
    fn look_again(&mut self, job: Job, now: Now) -> Option<Job> {
        let lapsed = self.has_lapsed(&job.delivery, now);
        let expired = self.is_expired(&job.delivery, now.unix_ms);
        let too_old = self.is_too_old(&job, now);
        let late = self.is_too_old_to_begin(&job, now);
        if !lapsed && !expired && !too_old && !late {
            return Some(job);
        }
        self.release(&job, HealthSignal::NOTHING, now);
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
    pub(super) fn next_turn(&mut self, now: Now) -> Option<Turn> {
        // A customer who is not known to answer may not take the last of the workers from those
        // who do, and one who is known to fail not from those who may answer.
        let others = self.lanes.tally().untrusted_in_flight < self.untrusted_share();
        let failing = self.lanes.tally().failing < self.failing_share();
        let turn = self.turns.next(others, failing);
        turn.or_else(|| self.take_from_reserve(now.mono))
    }

    /// Who was never tried need not wait until those who hang have been given up: some workers are
    /// kept for the last that came. They are given out so slowly that there is always one, as each
    /// is back when its attempt has timed out.
    fn take_from_reserve(&mut self, now: Instant) -> Option<Turn> {
        if !self.waits_for_reserve() || self.reserve.is_some_and(|at| at > now) {
            return None;
        }
        while let Some((place, id)) = self.turns.newest() {
            if self.lanes.get(id).is_some_and(|l| l.has_turn(place)) {
                let pause = self.limits.timeout / self.reserved() as u32;
                self.reserve = Some(now + pause);
                return Some((place, id));
            }
        }
        None
    }

    pub(super) fn waits_for_reserve(&self) -> bool {
        let (doubt, share) = (
            self.lanes.tally().untrusted_in_flight,
            self.untrusted_share(),
        );
        let is_free = self.in_flight < self.limits.workers;
        is_free && doubt >= share && doubt < share + self.reserved() && self.turns.has_untried()
    }

    fn reserved(&self) -> usize {
        self.limits.workers / 8
    }

    /// Workers that endpoints may hold together that are not trusted.
    pub(super) fn untrusted_share(&self) -> usize {
        self.limits.workers.div_ceil(2)
    }

    /// Workers that endpoints may hold together that are closed.
    pub(super) fn failing_share(&self) -> usize {
        self.limits.workers.div_ceil(4)
    }
}
