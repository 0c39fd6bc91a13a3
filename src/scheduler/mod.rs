//! All decisions about what is delivered next, in one place and one thread's hands.
//!
//! Pure: no clock, channel or I/O; every method that depends on time takes `now`. The
//! scheduler owns each delivery from [`Scheduler::accept`] on, lends it out in
//! [`Scheduler::next`], and takes it back in [`Scheduler::finish`]; in between it stands
//! either in its lane (due) or in the heap (waiting for its time), or, if it has a key, with the
//! ledger, which asks whose turn it is. What leaves for good, and what must be written down, stands
//! in the outbox, for the ledger. At all times
//! `accepted = delivered + dead + parked + deferred + lapsed + duplicates + active`.

mod apart;
mod backlogs;
mod dispositions;
mod ends;
mod hand_out;
mod holds;
mod keys;
pub mod lane;
mod lanes;
mod leases;
mod recalls;
mod saturation;
mod secrets;
mod shares;
mod strand;
mod table;
mod turns;
mod types;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::hold::Holds;
use crate::delivery::parked::Want;
use crate::delivery::record::{Move, Notice, Record};
use crate::delivery::rules::EndpointRules;
use crate::delivery::status_update::{Disposition, StatusUpdate};
use crate::delivery::verdict::{Verdict, judge};
use crate::delivery::{Attempt, DeadLetter, DeadReason, Delivery, FailureKind, Job, LaneId};
use crate::scheduler::lane::{EndpointEvent, Lane, health_signal};
use crate::trust::keyring::Keyring;

use apart::Apart;
use keys::Followers;
use leases::Leases;
use recalls::Line;
use saturation::Saturation;
pub use saturation::{Load, LoadEvent};
pub use shares::LaneClaim;
use shares::Shares;
use table::Lanes;
use turns::Turns;
use types::DrainState;
pub use types::{Levels, Limits, Now, Parking, Stats};
use waiting::{Due, Waiting};

/// How often queues are searched for entries whose lease runs low, or four times in half a lease.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    lanes: Lanes,
    apart: Apart,
    followers: Followers,
    /// Deliveries of which the store is to say whether it is their turn.
    queueing: usize,
    /// Those whose turn has come, within one call.
    released: VecDeque<Job>,
    rules: EndpointRules,
    /// Secrets that messages name.
    keyring: Option<Keyring>,
    holds: Holds,
    turns: Turns,
    waiting: Waiting,
    leases: Leases,
    /// When this was last known to be awake.
    awake: Option<Now>,
    outbox: VecDeque<Record>,
    in_flight: usize,
    /// What is to be asked of the store.
    wants: Vec<Want>,
    /// Lanes that may have room for more of their backlogs, once all else is done.
    to_ask: Vec<LaneId>,
    /// Lanes that are to have a probe when there is room for one.
    line: Line,
    /// When one that was never tried may have a worker beyond what is there for such.
    reserve: Option<Instant>,
    /// Lanes that closed or opened, endpoints held or lifted, for the log.
    changes: Vec<(Arc<str>, EndpointEvent)>,
    bytes: usize,
    /// Redis holds too much.
    over_budget: bool,
    /// When to look for leases that run low.
    next_housekeeping: Option<Instant>,
    drain: DrainState,
    saturation: Saturation,
    shares: Shares,
    stats: Stats,
}

impl Scheduler {
    pub fn new(limits: Limits, rules: EndpointRules) -> Self {
        Scheduler {
            limits,
            lanes: Lanes::default(),
            apart: Apart::default(),
            followers: Followers::default(),
            queueing: 0,
            released: VecDeque::new(),
            rules,
            keyring: None,
            holds: Holds::default(),
            turns: Turns::default(),
            waiting: Waiting::default(),
            leases: Leases::default(),
            awake: None,
            outbox: VecDeque::new(),
            in_flight: 0,
            wants: Vec::new(),
            to_ask: Vec::new(),
            line: Line::default(),
            reserve: None,
            changes: Vec::new(),
            bytes: 0,
            over_budget: false,
            next_housekeeping: None,
            drain: DrainState::Serving,
            saturation: Saturation::default(),
            shares: Shares::default(),
            stats: Stats::default(),
        }
    }

    /// Whether one more message may be held. The byte bound may be passed by one message.
    pub fn has_room(&self) -> bool {
        self.active() < self.limits.max_active && self.bytes < self.limits.max_active_bytes
    }

    /// Whether there is room for a good many: taking messages in one by one as places
    /// come free would wake their source for each.
    pub fn has_much_room(&self) -> bool {
        let (count, bytes) = (self.limits.max_active, self.limits.max_active_bytes);
        self.active() < count - count / 8 && self.bytes < bytes - bytes / 8
    }

    /// Takes a message in. One that memory alone holds, and that there is no room for,
    /// leaves at once, for the stream or as a dead letter.
    pub fn accept(&mut self, delivery: Delivery, now: Now) {
        // From the first on it matters for how long this process could not look.
        self.awake.get_or_insert(now);
        // It has waited for room for too long, or this process was suspended.
        let has_lapsed = self.has_lapsed(&delivery, now);
        self.note_released(&delivery);
        if has_lapsed
            || delivery
                .entry
                .is_some_and(|entry| !self.leases.enter(entry))
        {
            self.stats.already_active += 1;
            return;
        }
        let age = self.age(&delivery, now);
        let late = self
            .limits
            .parking
            .near_window()
            .is_some_and(|near| age > near);
        let fits = self.has_room() && !self.limits.bridge && !delivery.is_late;
        self.stats.accepted += 1;
        self.bytes += delivery.message.raw().len();
        if self.is_to_queue(&delivery) {
            return self.queue(delivery, now);
        }
        let job = self.assign_lane(delivery, now);
        self.learn_of_backlog(&job, now);
        if late || job.delivery.entry.is_none() && !fits {
            self.overflow(job, now);
        } else {
            self.line_up(job, now);
        }
        self.route_released(now);
    }

    /// Counts a message that was malformed, and keeps its dead letter.
    pub fn reject(&mut self, letter: DeadLetter) {
        if letter
            .entry
            .is_some_and(|entry| !self.leases.hand_over(entry))
        {
            self.stats.already_active += 1;
            return;
        }
        self.stats.rejected += 1;
        let told = StatusUpdate::of_letter(&letter).filter(|_| self.limits.tells);
        self.outbox
            .extend(told.map(|told| Notice::Status(told.into()).into()));
        self.outbox.push_back(Move::Bury(letter.into()).into());
    }

    /// Moves what has become due to its lane, opens what has been closed for long enough, and
    /// parks what cannot wait for its turn any longer.
    pub fn tick(&mut self, now: Now) {
        while let Some(due) = self.waiting.pop(now.mono) {
            match due {
                Due::Delivery(job) => self.requeue(*job, now),
                Due::Lane(id) => {
                    // It may be forgotten.
                    let end = |lane: &mut Lane| lane.end_alarm(now.mono);
                    if self.lanes.change(id, end).is_some() {
                        self.update_turn(id, now.mono);
                    }
                }
            }
        }
        if self.next_housekeeping.is_some_and(|at| at <= now.mono) {
            self.housekeep(now);
        }
        self.route_released(now);
    }

    /// When [`Scheduler::tick`] or [`Scheduler::observe_load`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = self.waiting.first();
        let load = self.saturation.deadline();
        let reserve = self.reserve.filter(|_| self.waits_for_reserve());
        let all = first.into_iter().chain(self.next_housekeeping).chain(load);
        all.chain(reserve).min()
    }

    /// Takes a delivery back with what its attempt came to.
    pub fn finish(&mut self, mut job: Job, attempt: Attempt, now: Now) -> Disposition {
        self.in_flight -= 1;
        let signal = health_signal(&attempt);
        if self.set_apart(&mut job, &attempt, signal, now).is_none() {
            self.release(&job, signal, now);
        }
        // What outhook itself cut short, or had nothing to make it with, is no attempt.
        if self.is_unsigned(&attempt) {
            let fate = self.wait_for_secret(job, attempt, now);
            self.route_released(now);
            return fate;
        }
        if let Some(after) = attempt.postponed() {
            let since = match attempt.failure_kind() {
                Some(FailureKind::Unresolved { .. }) => Some(&mut job.delivery.name_asked),
                Some(FailureKind::Tokenless { .. }) => Some(&mut job.delivery.token_asked),
                _ => None,
            };
            if let Some(since) = since {
                since.get_or_insert(now.mono);
            }
            // What came of a true attempt says more.
            if job
                .delivery
                .last
                .as_ref()
                .is_none_or(|last| last.postponed().is_some())
            {
                job.delivery.last = Some(attempt);
            }
            return self.wait(job, after, self.limits.parking.near_window(), now);
        }
        (job.delivery.name_asked, job.delivery.token_asked) = (None, None);
        job.delivery.backlog = None;
        if let Some(detail) = attempt.refusal() {
            return self.refuse(job, detail.to_owned(), now);
        }
        job.delivery.attempts.add();
        self.stats.attempts += 1;
        self.lanes
            .change(job.lane, |lane| lane.history.note(&attempt, now.mono));
        let (id, made) = (&job.delivery.message.id, job.delivery.attempts.made());
        let verdict = judge(
            &attempt.result,
            id,
            made,
            self.schedule(&job),
            self.attempts(&job),
        );
        job.delivery.last = Some(attempt);
        let tells = self.limits.tells;
        let update = tells.then(|| StatusUpdate::of(&job.delivery, true, now.unix_ms));
        let disposition = self.apply_verdict(verdict, job, now);
        self.route_released(now);
        let update = update.map(|of| Notice::Status(of(disposition).into()).into());
        self.outbox.extend(update);
        disposition
    }

    fn apply_verdict(&mut self, verdict: Verdict, job: Job, now: Now) -> Disposition {
        match verdict {
            Verdict::Delivered => {
                self.settle(&job);
                self.stats.delivered += 1;
                let record = match (job.delivery.entry, job.delivery.head) {
                    (Some(entry), Some(key)) => Some(Move::Advance(entry, key)),
                    (entry, _) => entry.map(Move::Settle),
                };
                self.outbox.extend(record.map(Record::Move));
                Disposition::Delivered
            }
            Verdict::Dead { reason, detail } => {
                let url = job.delivery.message.endpoint.url.clone();
                self.bury(job, reason, detail, now);
                if reason == DeadReason::Gone {
                    self.note_gone(url, now);
                }
                Disposition::Dead(reason)
            }
            Verdict::Retry { after } => {
                self.stats.retried += 1;
                self.put_off(job, after, now)
            }
        }
    }

    /// Begins the drain: what waits, for its time or for its endpoint, leaves, now and from now
    /// on. Where there is no store for it, what is due until `horizon` stays.
    pub fn drain(&mut self, horizon: Instant, now: Now) {
        let horizon = match self.limits.parking {
            Parking::InRedis { .. } => now.mono,
            Parking::Nowhere => horizon,
        };
        self.drain = DrainState::Draining { horizon };
        self.put_off_waiting(now);
        self.park_all_stranded(now);
        self.route_released(now);
    }

    /// Ends the drain: all that is not in flight leaves, and what is in flight when it comes
    /// back unfinished.
    pub fn cut(&mut self, now: Now) {
        self.drain = DrainState::Cut;
        self.put_off_waiting(now);
        let queues = self.lanes.change_each(|_, _| true, |_, lane| lane.clear());
        self.turns = Turns::default();
        for job in queues.into_iter().flatten() {
            self.put_off(job, Duration::ZERO, now);
        }
        self.route_released(now);
    }

    /// Deliveries that are not settled yet, wherever they stand.
    pub fn active(&self) -> usize {
        self.queued() + self.in_flight + self.waiting.len() + self.behind()
    }

    /// Deliveries that wait for their turn.
    fn queued(&self) -> usize {
        self.lanes.tally().queued
    }

    /// Those that are to wait for others of their keys, or may be.
    fn behind(&self) -> usize {
        self.queueing + self.followers.len()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    pub fn levels(&self) -> Levels {
        Levels {
            queued: self.queued(),
            in_flight: self.in_flight,
            scheduled: self.waiting.len() + self.behind(),
            lanes: self.lanes.len(),
            bytes: self.bytes,
            memory_only: self.active() - self.leases.len(),
        }
    }

    /// What the ledger is to write, in order.
    pub fn outbox(&mut self) -> &mut VecDeque<Record> {
        &mut self.outbox
    }

    pub fn has_outbox(&self) -> bool {
        !self.outbox.is_empty()
    }
}

#[cfg(test)]
mod tests;
