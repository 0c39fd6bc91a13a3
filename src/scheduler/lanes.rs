//! The scheduler's lanes: where a delivery that is due stands until a worker is free for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::waiting::Due;
use super::{HOUSEKEEPING_INTERVAL, Now, Scheduler};
use crate::delivery::{DeadReason, Job, LaneId};
use crate::scheduler::lane::{EndpointEvent, Health, HealthSignal, Lane};

/// What is known of an endpoint is forgotten when nothing has gone to it for so long.
pub(super) const LANE_TTL: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Lanes that closed or opened since the last call.
    pub fn changes(&mut self) -> Vec<(Arc<str>, EndpointEvent)> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn note_change(&mut self, id: LaneId, change: Option<EndpointEvent>) {
        let change = change.map(|change| (self.lanes.name(id).clone(), change));
        self.changes.extend(change);
    }

    /// Puts a delivery that is due into its lane.
    pub(super) fn enqueue(&mut self, mut job: Job, now: Now) {
        // It was due a while ago, and nobody could look.
        let is_late = self
            .limits
            .parking
            .near_window()
            .is_some_and(|near| self.age(&job.delivery, now) > near);
        if is_late && !job.delivery.notes_first() {
            self.renew(&mut job.delivery, now);
        }
        let (id, limits, standing) = (job.lane, self.limits.lanes, self.shares.standing);
        self.lanes.change(id, |lane| {
            let rule = job.rule.as_deref();
            lane.apply_rule(rule, &limits, standing, now.mono);
            lane.set_max_age(rule);
            lane.queue.push(job);
        });
        self.update_turn(id, now.mono);
        self.scan_soon(now);
        self.park_stranded(id, now);
    }

    pub(super) fn scan_soon(&mut self, now: Now) {
        let scan = now.mono + self.scan_pause();
        self.next_housekeeping = Some(self.next_housekeeping.map_or(scan, |at| at.min(scan)));
    }

    /// The lane of this name, which is new if there is none.
    pub(super) fn find_lane(&mut self, name: &Arc<str>, now: Instant) -> LaneId {
        match self.lanes.find(name) {
            Some(id) => id,
            None => self.add_lane(name, Lane::new(&self.limits.lanes, now), now),
        }
    }

    /// The same of an endpoint that has failed, as far as others or an earlier life know.
    pub(super) fn find_on_probation(&mut self, name: &Arc<str>, now: Instant) -> LaneId {
        match self.lanes.find(name) {
            Some(id) => id,
            None => self.add_lane(name, Lane::on_probation(&self.limits.lanes, now), now),
        }
    }

    fn add_lane(&mut self, name: &Arc<str>, lane: Lane, now: Instant) -> LaneId {
        // To be forgotten in time.
        self.next_housekeeping.get_or_insert(now + LANE_TTL);
        self.lanes.insert(name.clone(), lane)
    }

    /// Puts a lane where its state says it belongs: into a turn list, or among the alarms.
    pub(super) fn update_turn(&mut self, id: LaneId, now: Instant) {
        let turns = &mut self.turns;
        let updated = self.lanes.change(id, |lane| {
            let claim = lane.claim(false, now);
            if lane.should_queue(now) {
                lane.set_turn(turns.push(id, lane.class()));
            }
            let due = lane.room_at(now).filter(|_| !lane.queue.is_empty());
            (claim, due, lane.backlog.has_some())
        });
        let (claim, due, has_backlog) = updated.expect("whoever updates its turn has it");
        if let Some(claim) = claim {
            self.shares.note(self.lanes.name(id).clone(), claim);
        }
        if let Some(due) = due {
            self.wake_lane(id, due);
        }
        if has_backlog {
            self.ask(id, now);
        }
    }

    /// Has it arranged again then.
    pub(super) fn wake_lane(&mut self, id: LaneId, due: Instant) {
        if self.lanes.change(id, |lane| lane.set_alarm(due)) == Some(true) {
            self.waiting.set(due, Due::Lane(id));
        }
    }

    /// Looks at all queues: defers entries that have stood there for so long that their lease
    /// runs low (their endpoint is slower than what comes for it), and forgets lanes at rest.
    pub(super) fn housekeep(&mut self, now: Now) {
        if let Some(near) = self.limits.parking.near_window() {
            self.defer_old(near, now);
        }
        self.end_waiting(now);
        self.lanes
            .forget(|lane| lane.is_forgettable(now.mono, LANE_TTL));
        self.apart.forget(|url| self.lanes.find(url).is_some());
        self.holds.forget(now.mono);
        let busy = self.active() > 0 || self.lanes.len() > 0;
        let pause = match self.active() {
            0 => LANE_TTL,
            _ => self.scan_pause(),
        };
        self.next_housekeeping = busy.then(|| now.mono + pause);
    }

    fn scan_pause(&self) -> Duration {
        self.limits
            .parking
            .near_window()
            .map_or(HOUSEKEEPING_INTERVAL, |near| {
                HOUSEKEEPING_INTERVAL.min(near / 4)
            })
    }

    fn defer_old(&mut self, near: Duration, now: Now) {
        // An attempt that begins by then ends within the lease.
        let most = near - self.scan_pause();
        let is_old = |job: &Job| {
            job.delivery.entry.is_some() && now.boot.since(job.delivery.lease_renewed_at) > most
        };
        let old = self.lanes.extract(|_, _| true, is_old);
        for job in old.into_iter().rev() {
            // It came before what is in the backlog.
            let lane = job.lane;
            self.defer_to(job, lane, true, now);
        }
    }

    /// A delivery came back from its worker: its lane learns what that says of the endpoint.
    pub(super) fn release(&mut self, job: &Job, sign: HealthSignal, now: Now) {
        self.release_from(job.lane, sign, now);
    }

    pub(super) fn release_from(&mut self, id: LaneId, sign: HealthSignal, now: Now) {
        let limits = self.limits.lanes;
        let released = self.lanes.change(id, |lane| {
            let is_probe = lane.breaker().health(now.mono) == Health::Probing;
            (is_probe, lane.release(sign, &limits, now.mono))
        });
        let (is_probe, change) = released.expect("it has a delivery in flight");
        if let Some(EndpointEvent::Failing { .. }) = change {
            self.defer_queue(id, now);
        }
        self.note_change(id, change);
        self.update_turn(id, now.mono);
        self.park_stranded(id, now);
        if is_probe
            && matches!(sign, HealthSignal::Fault { .. })
            && !self.limits.parking.is_possible()
        {
            self.count_for_all(id, now);
        }
    }

    /// Where nothing can be parked, what waits behind a closed lane must come to an end too: a
    /// failed probe counts as an attempt for all that stand behind it.
    fn count_for_all(&mut self, id: LaneId, now: Now) {
        let queue = self.lanes.change(id, |lane| lane.queue.extract(|_| true));
        for mut job in queue.unwrap_or_default() {
            job.delivery.attempts.add();
            if job.delivery.attempts.made() < self.attempts(&job) {
                self.enqueue(job, now);
            } else {
                let detail = "its endpoint could not be reached; the attempts of others to the \
                              same one were counted for it";
                self.bury(job, DeadReason::Exhausted, detail.into(), now);
            }
        }
    }
}
