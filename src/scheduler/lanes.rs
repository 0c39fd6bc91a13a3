//! The scheduler's lanes: where a delivery that is due stands until a worker is free for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::waiting::Due;
use super::{HOUSEKEEPING_INTERVAL, Now, Scheduler};
use crate::delivery::{DeadReason, Job};
use crate::scheduler::lane::{EndpointEvent, Health, HealthSignal, Lane};

/// What is known of an endpoint is forgotten when nothing has gone to it for so long.
pub(super) const LANE_TTL: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Lanes that closed or opened since the last call.
    pub fn changes(&mut self) -> Vec<(Arc<str>, EndpointEvent)> {
        std::mem::take(&mut self.changes)
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
        let key = job.lane.clone();
        let rule = job.rule.clone();
        let (limits, standing) = (self.limits.lanes, self.shares.standing);
        self.ensure_lane(&key, now.mono);
        self.lanes.change(&key, |lane| {
            lane.apply_rule(rule.as_deref(), &limits, standing, now.mono);
            lane.set_max_age(rule.as_deref());
            lane.queue.push(job);
        });
        self.update_turn(&key, now.mono);
        self.scan_soon(now);
        self.park_stranded(&key, now);
    }

    pub(super) fn scan_soon(&mut self, now: Now) {
        let scan = now.mono + self.scan_pause();
        self.next_housekeeping = Some(self.next_housekeeping.map_or(scan, |at| at.min(scan)));
    }

    pub(super) fn ensure_lane(&mut self, key: &Arc<str>, now: Instant) {
        // Looked up first, as the entry API would copy the key each time.
        if !self.lanes.has(key) {
            let lane = Lane::new(&self.limits.lanes, now);
            self.add_lane(key.clone(), lane, now);
        }
    }

    pub(super) fn add_lane(&mut self, key: Arc<str>, lane: Lane, now: Instant) {
        self.lanes.insert(key, lane);
        // To be forgotten in time.
        self.next_housekeeping.get_or_insert(now + LANE_TTL);
    }

    /// Puts a lane where its state says it belongs: into a turn list, or among the alarms.
    pub(super) fn update_turn(&mut self, key: &Arc<str>, now: Instant) {
        let Scheduler {
            lanes,
            shares,
            turns,
            ..
        } = self;
        let updated = lanes.change(key, |lane| {
            shares.note(key, lane, now);
            if lane.should_queue(now) {
                lane.set_turn(turns.push(key.clone(), lane.class()));
            }
            let opens = lane.room_at(now).filter(|_| !lane.queue.is_empty());
            (opens, lane.backlog.has_some())
        });
        let (opens, has_backlog) = updated.expect("whoever updates its turn has it");
        if let Some(due) = opens {
            self.wake_lane(key, due);
        }
        if has_backlog {
            self.ask(key, now);
        }
    }

    /// Has it arranged again then.
    pub(super) fn wake_lane(&mut self, key: &Arc<str>, due: Instant) {
        if self.lanes.change(key, |lane| lane.set_alarm(due)) == Some(true) {
            self.waiting.set(due, Due::Lane(key.clone()));
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
        self.apart.forget(|url| self.lanes.has(url));
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
            let name = job.lane.clone();
            self.defer_to(job, name, true, now);
        }
    }

    /// A delivery came back from its worker: its lane learns what that says of the endpoint.
    pub(super) fn release(&mut self, job: &Job, sign: HealthSignal, now: Now) {
        self.release_from(&job.lane, sign, now);
    }

    pub(super) fn release_from(&mut self, key: &Arc<str>, sign: HealthSignal, now: Now) {
        let limits = self.limits.lanes;
        let released = self.lanes.change(key, |lane| {
            let is_probe = lane.breaker().health(now.mono) == Health::Probing;
            (is_probe, lane.release(sign, &limits, now.mono))
        });
        let (is_probe, change) = released.expect("it has a delivery in flight");
        if let Some(EndpointEvent::Failing { .. }) = change {
            self.defer_queue(key, now);
        }
        self.changes
            .extend(change.map(|change| (key.clone(), change)));
        self.update_turn(key, now.mono);
        self.park_stranded(key, now);
        if is_probe
            && matches!(sign, HealthSignal::Fault { .. })
            && !self.limits.parking.is_possible()
        {
            self.count_for_all(key, now);
        }
    }

    /// Where nothing can be parked, what waits behind a closed lane must come to an end too: a
    /// failed probe counts as an attempt for all that stand behind it.
    fn count_for_all(&mut self, key: &Arc<str>, now: Now) {
        let queue = self.lanes.change(key, |lane| lane.queue.extract(|_| true));
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
