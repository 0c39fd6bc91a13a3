//! What waits for its endpoint, and not for a time: who may stand in memory, what is deferred to the
//! endpoint's backlog in Redis, and what is asked back from there. Pure.
//!
//! Memory belongs to those who answer. An endpoint that is closed holds one probe, one that has
//! never answered a few messages, and all of these together an eighth of what may be held; a
//! healthy one what it delivers within two seconds. All else is deferred as it comes, so nothing
//! stops the intake for anybody's sake. When a pause is over the probe is fetched, and when the
//! endpoint is healthy again, as much at a time as it has room for, oldest first.

use std::time::Duration;

use super::{Now, Scheduler};
use crate::delivery::parked::{Parked, Until, Want};
use crate::delivery::record::Move;
use crate::delivery::status_update::Disposition;
use crate::delivery::{Delivery, Job, LaneId};
use crate::scheduler::lane::{Lane, Weight};

/// Endpoints that are not healthy hold this part of what may be held.
pub(super) const UNPROVEN_PART: usize = 8;

/// One endpoint that has never answered holds at most so many messages, and this part of what is
/// left for all of them.
const MOST_UNPROVEN: usize = 64;
const UNPROVEN_EACH: usize = 8;

impl Scheduler {
    /// What is to be asked of the store, now that all else is done.
    pub fn wants(&mut self, now: Now) -> Vec<Want> {
        for id in std::mem::take(&mut self.to_ask) {
            if self.lanes.get(id).is_some() {
                self.update_turn(id, now.mono);
            }
        }
        self.ask_for_probes(now.mono);
        std::mem::take(&mut self.wants)
    }

    /// What has come may be what was asked of a backlog.
    pub(super) fn note_released(&mut self, delivery: &Delivery) {
        let name = delivery.backlog.as_ref();
        let Some(id) = name.and_then(|name| self.lanes.find(name)) else {
            return;
        };
        self.lanes.change(id, |lane| lane.backlog.note_come());
        // When it has found its place, the next may be asked for.
        self.to_ask.push(id);
    }

    /// What one that was released says of those behind it.
    pub(super) fn learn_of_backlog(&mut self, job: &Job, now: Now) {
        let name = job.delivery.backlog.as_ref();
        let Some(id) = name.and_then(|name| self.lanes.find(name)) else {
            return;
        };
        if self.held_by(job, now).is_none() {
            let is_foreign = id != job.lane;
            self.lanes
                .change(id, |lane| lane.backlog.set_foreign(is_foreign));
        }
        if !self.is_too_old(job, now) {
            self.note_young(id, now);
        }
    }

    /// Whether one that is due may stand in memory. Otherwise it is to be deferred.
    pub(super) fn may_stay(&self, job: &Job, now: Now) -> bool {
        let Some(lane) = self.lanes.get(job.lane) else {
            return true;
        };
        // It is counted already.
        let others = lane.active().saturating_sub(1);
        if job.delivery.backlog.is_some() {
            // It was asked for.
            return !lane.breaker().is_failing() || others == 0;
        }
        let is_full =
            others > 0 && (others >= self.limits.share || lane.bytes() > self.limits.share_bytes);
        if is_full {
            return false;
        }
        if lane.breaker().is_failing() && job.delivery.entry.is_none() {
            return others < MOST_UNPROVEN && self.has_unproven_room(Weight::default());
        }
        if lane.breaker().is_failing() {
            let soon = self.limits.parking.near_window().unwrap_or_default() / 2;
            let is_soon = lane
                .breaker()
                .failing_for(now.mono)
                .is_some_and(|left| left <= soon);
            let goes_first = lane.backlog.is_over();
            return is_soon && goes_first && others == 0 && self.has_first_room();
        }
        if !lane.is_healthy() {
            // What it holds is counted already, with this one.
            let most = self.unproven_each() + usize::from(self.has_unproven_room(Weight::of(lane)));
            return others < most.max(usize::from(self.has_first_room()));
        }
        let ahead = self.ahead(lane);
        // What waits in the backlog has its part.
        let ahead = match lane.backlog.has_some() {
            true => ahead.div_ceil(2),
            false => ahead,
        };
        lane.in_play() < ahead || job.delivery.attempts.made() > 0
    }

    pub(super) fn ahead(&self, lane: &Lane) -> usize {
        let workers = self.limits.workers / self.lanes.tally().occupied.max(1);
        lane.ahead(workers).min(self.limits.share)
    }

    /// Whether all that are not healthy hold less than they may, without `own`.
    pub(super) fn has_unproven_room(&self, own: Weight) -> bool {
        let (count, bytes) = (
            self.lanes.tally().unproven,
            self.lanes.tally().unproven_bytes,
        );
        count - own.unproven < (self.limits.max_active / UNPROVEN_PART).max(1)
            && bytes - own.unproven_bytes < (self.limits.max_active_bytes / UNPROVEN_PART).max(1)
    }

    /// Whether one that holds nothing may hold its first message, though others have used up what
    /// there is for them together: whoever is new must be tried.
    fn has_first_room(&self) -> bool {
        let (count, bytes) = (
            self.lanes.tally().unproven,
            self.lanes.tally().unproven_bytes,
        );
        count <= self.limits.max_active / 2 && bytes <= self.limits.max_active_bytes / 2
    }

    /// How many each of those may hold that have never answered.
    fn unproven_each(&self) -> usize {
        let most = (self.limits.max_active / UNPROVEN_PART).max(1);
        let bytes = self.limits.max_active_bytes / UNPROVEN_PART;
        if self.lanes.tally().unproven_bytes >= bytes {
            return 0;
        }
        (most.saturating_sub(self.lanes.tally().unproven) / UNPROVEN_EACH).min(MOST_UNPROVEN)
    }

    /// Puts it at the end of the backlog of `lane`, in the store, or back at its beginning if it has
    /// just come from one. What memory alone holds goes to
    /// the stream instead, from where it comes back as an entry: a request that is repeated would
    /// double it in a list.
    pub(super) fn defer(&mut self, job: Job, lane: LaneId, now: Now) -> Disposition {
        let first = job.delivery.backlog.as_ref() == Some(self.lanes.name(lane));
        self.defer_to(job, lane, first, now)
    }

    /// The same, at the beginning if it is `first`.
    pub(super) fn defer_to(
        &mut self,
        mut job: Job,
        lane: LaneId,
        first: bool,
        now: Now,
    ) -> Disposition {
        if job.delivery.entry.is_none() {
            self.park(job, now.unix_ms, now);
            return Disposition::Parked {
                after: Duration::ZERO,
            };
        }
        if self.is_one_too_many(&job, now) {
            if job.delivery.backlog.is_some() {
                return self.bury_for_room(job, now);
            }
            // The oldest makes room for it.
            self.lanes.change(lane, |lane| lane.backlog.bury_one());
        }
        if job.delivery.attempts.made() == 0 {
            // Whoever gives it up may know nothing of its endpoint.
            job.delivery.failed_before = self.endpoint_failure(&job).or(job.delivery.failed_before);
        }
        let told = self.told(&job.delivery, Disposition::Deferred, now);
        self.leave(&job);
        if let Some(entry) = job.delivery.entry {
            self.leases.defer(entry, lane);
        }
        self.stats.deferred += 1;
        let knows_oldest = self.lanes.change(lane, |lane| {
            lane.set_max_age(job.rule.as_deref());
            lane.backlog.defer();
            lane.backlog.knows_oldest()
        });
        if knows_oldest == Some(false) {
            self.set_oldest(lane, job.delivery.received, now);
        }
        let name = self.lanes.name(lane).clone();
        let parked = Parked::new(job.delivery, Until::Released { name, first });
        self.outbox.push_back(Move::Park(parked.into()).into());
        self.outbox.extend(told);
        Disposition::Deferred
    }

    /// All that is queued in a lane that has closed waits better in its backlog, before what is
    /// there. What memory alone holds goes only if there is no room for it: it needs no store.
    pub(super) fn defer_queue(&mut self, id: LaneId, now: Now) {
        if !self.has_store() {
            return;
        }
        let queue = self.lanes.change(id, |lane| {
            lane.queue.extract(|job| job.delivery.entry.is_some())
        });
        for job in queue.unwrap_or_default().into_iter().rev() {
            self.defer_to(job, id, true, now);
        }
        // A store that is away must not stop what needs none.
        while !self.has_unproven_room(Weight::default())
            && self.outbox.len() < MOST_UNPROVEN
            && let Some(job) = self
                .lanes
                .change(id, |lane| lane.queue.pop_last())
                .flatten()
        {
            self.defer(job, id, now);
        }
    }

    /// The ledger has made true that so much is in a backlog.
    pub(super) fn note_deferred(&mut self, id: LaneId) {
        self.lanes.change(id, |lane| lane.backlog.note_added());
        self.to_ask.push(id);
    }
}
