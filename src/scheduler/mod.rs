//! All decisions about what is delivered next, in one place and one thread's hands.
//!
//! Pure: no clock, channel or I/O; every method that depends on time takes `now`. The
//! scheduler owns each delivery from [`Scheduler::accept`] on, lends it out in
//! [`Scheduler::next`], and takes it back in [`Scheduler::finish`]; in between it stands
//! either in its lane (due) or in the heap (waiting for its time). A message with a key is first with
//! the ledger, which asks the store whose turn it is. The outbox holds what the ledger must write.
//!
//! Each state has one owner: a type that hides its fields, in a file that is the only place where they
//! change. The scheduler tells the owners what has happened. Its methods stand in the file of the
//! subject that they are about. To read it, begin with `lane/tests.rs` (what the lane of one endpoint
//! does), then `routing.rs` (where a delivery goes) and `exits.rs` (how it leaves).

mod backlog_requests;
mod budget;
mod draining;
mod endpoint_report;
mod exits;
mod expiry;
mod held_endpoints;
mod housekeeping;
pub mod lane;
mod lanes;
mod leases;
mod limits;
mod missing_secrets;
mod now;
mod order_keys;
mod room;
mod rotation;
mod routing;
mod saturation;
mod shared_limits;
mod tally;
mod url_lanes;
mod waiting;
mod workers;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::delivery::hold::Holds;
use crate::delivery::record::{Move, Notice, Record};
use crate::delivery::rules::EndpointRules;
use crate::delivery::status_update::{Disposition, StatusUpdate};
use crate::delivery::verdict::{Verdict, judge};
use crate::delivery::{Attempt, DeadLetter, DeadReason, Delivery, Job};
use crate::scheduler::lane::{EndpointEvent, health_signal};
use crate::trust::keyring::Keyring;

use backlog_requests::BacklogRequests;
use budget::Budget;
use draining::DrainState;
use housekeeping::Housekeeping;
use lanes::Lanes;
use leases::Leases;
pub use limits::{Limits, Parking};
pub use now::Now;
use order_keys::Followers;
use room::Room;
use rotation::Rotation;
use saturation::Saturation;
pub use saturation::{Load, LoadEvent};
pub use shared_limits::LaneClaim;
use shared_limits::SharedLimits;
use tally::Tally;
pub use tally::{Levels, Stats};
use url_lanes::UrlLanes;
use waiting::{Due, Waiting};
use workers::Workers;

/// See the module's header.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    /// What operators have set, and the secrets that messages may name.
    rules: EndpointRules,
    holds: Holds,
    keyring: Option<Keyring>,
    /// Where deliveries are: queued in lanes, which take turns; waiting for a time; behind others of
    /// their keys. And which entries of the stream all of these are.
    lanes: Lanes,
    rotation: Rotation,
    waiting: Waiting,
    followers: Followers,
    leases: Leases,
    url_lanes: UrlLanes,
    workers: Workers,
    recalls: BacklogRequests,
    shared_limits: SharedLimits,
    saturation: Saturation,
    budget: Budget,
    housekeeping: Housekeeping,
    drain: DrainState,
    tally: Tally,
    /// What the ledger is to write, in order.
    outbox: VecDeque<Record>,
    /// What has changed at endpoints, for the log.
    events: Vec<(Arc<str>, EndpointEvent)>,
}

impl Scheduler {
    pub fn new(limits: Limits, rules: EndpointRules) -> Self {
        Scheduler {
            limits,
            rules,
            holds: Holds::default(),
            keyring: None,
            lanes: Lanes::default(),
            rotation: Rotation::default(),
            waiting: Waiting::default(),
            followers: Followers::default(),
            leases: Leases::default(),
            url_lanes: UrlLanes::default(),
            workers: Workers::default(),
            recalls: BacklogRequests::default(),
            shared_limits: SharedLimits::default(),
            saturation: Saturation::default(),
            budget: Budget::default(),
            housekeeping: Housekeeping::default(),
            drain: DrainState::default(),
            tally: Tally::default(),
            outbox: VecDeque::new(),
            events: Vec::new(),
        }
    }

    /// Sets where the secrets are that messages name. Without it the scheduler does not look for them.
    pub fn with(mut self, keyring: Option<Keyring>) -> Scheduler {
        self.keyring = keyring;
        self
    }

    /// Whether a store keeps the messages that leave, for other replicas or the next start.
    pub fn has_store(&self) -> bool {
        self.limits.parking.is_possible()
    }

    /// Whether one more message may be held. The byte bound may be passed by one message.
    pub fn has_room(&self) -> bool {
        self.active() < self.limits.max_active && self.tally.bytes() < self.limits.max_active_bytes
    }

    /// Whether there is room for many messages: taking them in one by one would wake their source for
    /// each.
    pub fn has_much_room(&self) -> bool {
        let (count, bytes) = (self.limits.max_active, self.limits.max_active_bytes);
        self.active() < count - count / 8 && self.tally.bytes() < bytes - bytes / 8
    }

    fn room(&self) -> Room<'_> {
        Room {
            limits: &self.limits,
            held: self.lanes.tally(),
        }
    }

    /// Takes a message in. If memory alone holds it and there is no room, it leaves at once: for the
    /// stream, or as a dead letter.
    pub fn accept(&mut self, delivery: Delivery, now: Now) {
        self.leases.begin(now);
        // It waited for room for too long, or this process was suspended.
        let has_lapsed = self.limits.parking.has_lapsed(&delivery, now);
        self.note_released(&delivery);
        if has_lapsed
            || delivery
                .entry
                .is_some_and(|entry| !self.leases.enter(entry))
        {
            self.tally.refuse_copy();
            return;
        }
        let late = self.limits.parking.is_past_near_window(&delivery, now);
        let fits = self.has_room() && !self.limits.bridge && !delivery.is_late;
        self.tally.accept(delivery.bytes());
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
            self.tally.refuse_copy();
            return;
        }
        self.tally.reject();
        let told = StatusUpdate::of_letter(&letter).filter(|_| self.limits.tells);
        self.outbox
            .extend(told.map(|told| Notice::Status(told.into()).into()));
        self.outbox.push_back(Move::Bury(letter.into()).into());
    }

    /// Moves due messages to their lanes, looks at lanes that have room again, and searches the queues
    /// when it is time.
    pub fn tick(&mut self, now: Now) {
        while let Some(due) = self.waiting.pop(now.mono) {
            match due {
                Due::Delivery(job) => self.requeue(*job, now),
                Due::Lane(id) => {
                    // The lane may have been forgotten.
                    let known = self.lanes.change(id, |lane| lane.end_alarm(now.mono));
                    if known.is_some() {
                        self.update_turn(id, now.mono);
                    }
                }
            }
        }
        if self.housekeeping.is_due(now.mono) {
            self.housekeep(now);
        }
        self.route_released(now);
    }

    /// When [`Scheduler::tick`] or [`Scheduler::observe_load`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = self.waiting.first();
        let load = self.saturation.deadline();
        let all = first
            .into_iter()
            .chain(self.housekeeping.next())
            .chain(load);
        all.chain(self.reserve_deadline()).min()
    }

    /// Takes a job back with the result of its attempt.
    pub fn finish(&mut self, mut job: Job, attempt: Attempt, now: Now) -> Disposition {
        self.workers.give_back();
        let signal = health_signal(&attempt);
        if !self.set_apart(&mut job, &attempt, signal, now) {
            self.release(job.lane, signal, now);
        }
        let disposition = self.conclude(job, attempt, now);
        self.route_released(now);
        disposition
    }

    fn conclude(&mut self, mut job: Job, attempt: Attempt, now: Now) -> Disposition {
        // An attempt that outhook itself cut short, or could not sign, is none.
        if self.is_unsigned(&attempt) {
            return self.wait_for_secret(job, attempt, now);
        }
        if let Some(after) = attempt.postponed() {
            job.delivery.postpone(attempt, now.mono);
            return self.wait(job, after, self.limits.parking.near_window(), now);
        }
        (job.delivery.name_asked, job.delivery.token_asked) = (None, None);
        job.delivery.backlog = None;
        if let Some(detail) = attempt.refusal() {
            // Nothing was sent, so that is no attempt.
            return self.bury(job, DeadReason::RefusedAddress, detail.to_owned(), now);
        }
        job.delivery.attempts.add();
        self.tally.count_attempt();
        self.lanes
            .change(job.lane, |lane| lane.history.note(&attempt, now.mono));
        let verdict = judge(
            &attempt.result,
            &job.delivery.message.id,
            job.delivery.attempts.made(),
            self.limits.schedule(&job),
            self.limits.attempts(&job),
        );
        job.delivery.last = Some(attempt);
        let tells = self.limits.tells;
        let update = tells.then(|| StatusUpdate::of(&job.delivery, true, now.unix_ms));
        let disposition = self.apply_verdict(verdict, job, now);
        let update = update.map(|of| Notice::Status(of(disposition).into()).into());
        self.outbox.extend(update);
        disposition
    }

    fn apply_verdict(&mut self, verdict: Verdict, job: Job, now: Now) -> Disposition {
        match verdict {
            Verdict::Delivered => self.deliver(&job),
            Verdict::Dead { reason, detail } => {
                let url = job.delivery.message.endpoint.url.clone();
                let disposition = self.bury(job, reason, detail, now);
                if reason == DeadReason::Gone {
                    self.note_gone(url, now);
                }
                disposition
            }
            Verdict::Retry { after } => {
                self.tally.retry();
                self.put_off(job, after, now)
            }
        }
    }

    /// Deliveries that are not settled yet, wherever they stand.
    pub fn active(&self) -> usize {
        self.queued() + self.workers.in_flight() + self.waiting.len() + self.behind()
    }

    /// Deliveries that wait for their turn.
    fn queued(&self) -> usize {
        self.lanes.tally().queued
    }

    /// Deliveries that wait for others of their keys, or may have to.
    fn behind(&self) -> usize {
        self.tally.queueing() + self.followers.len()
    }

    pub fn stats(&self) -> &Stats {
        self.tally.stats()
    }

    pub fn levels(&self) -> Levels {
        Levels {
            queued: self.queued(),
            in_flight: self.workers.in_flight(),
            scheduled: self.waiting.len() + self.behind(),
            lanes: self.lanes.len(),
            bytes: self.tally.bytes(),
            memory_only: self.active() - self.leases.len(),
        }
    }

    /// What has changed at endpoints since the last call.
    pub fn events(&mut self) -> Vec<(Arc<str>, EndpointEvent)> {
        std::mem::take(&mut self.events)
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
