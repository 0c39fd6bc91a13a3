//! What of a lane waits in the store, how much of it may be in memory, and what it weighs there. Pure.

use std::time::{Duration, Instant};

use super::Lane;
use crate::delivery::rules::EndpointRule;

/// A healthy endpoint has in memory what it delivers in so long (seconds).
const AHEAD: f64 = 2.0;

/// It may always have so many.
const LEAST: usize = 4;

/// What is known of a lane's backlog, which is in Redis and shared with other replicas.
#[derive(Debug, Default)]
pub struct Backlog {
    /// There may be something in it.
    pub has: bool,
    /// Something was asked for, and there is no answer yet.
    pub is_asked: bool,
    /// The lane stands in line for a probe.
    pub is_in_line: bool,
    /// What comes from it is for other lanes: it is the backlog of a hold that was lifted, or of
    /// a lane that there is no more.
    pub is_foreign: bool,
    /// Messages that were released, and have not come yet. Those that turn out to be no messages
    /// never do.
    pub coming: i32,
    /// Messages that the ledger is to add to it.
    pub deferring: u32,
    /// Messages that are to be given up from its beginning, as Redis holds too much.
    pub to_bury: u32,
    /// When its oldest message was received, in Unix milliseconds, and when it is to be given up.
    pub oldest: Option<(u64, Instant)>,
    /// It is not asked for what is too old before.
    pub expire_after: Option<Instant>,
    /// Something was added since something was asked for.
    was_added: bool,
}

impl Backlog {
    /// Nothing of it is known to be anywhere.
    pub fn is_over(&self) -> bool {
        !self.has && !self.is_asked && self.coming <= 0 && self.deferring == 0
    }

    /// Whether it is time to ask for some of it.
    pub fn is_askable(&self) -> bool {
        self.has && !self.is_asked && self.coming <= 0
    }

    /// It was answered: so many come, and so many are left.
    pub fn release(&mut self, count: usize, left: u64) {
        self.is_asked = false;
        // Some may have come before this was told.
        self.coming += count as i32;
        self.has = left > 0 || self.deferring > 0 || self.was_added;
        self.was_added = false;
    }

    /// The ledger has added one.
    pub fn note_added(&mut self) {
        self.deferring = self.deferring.saturating_sub(1);
        self.note_more();
    }

    /// Something was added. The answer to a question that is under way may be older.
    pub fn note_more(&mut self) {
        self.has = true;
        self.was_added |= self.is_asked;
    }

    /// Until when those were received that are to be given up now, in Unix milliseconds.
    pub fn expired(&self, now: Instant) -> Option<u64> {
        let (received, until) = self.oldest?;
        let late = now.checked_duration_since(until)?;
        let is_time = self.expire_after.is_none_or(|at| at <= now);
        is_time.then_some(received + late.as_millis() as u64)
    }

    /// The earlier of this time and when something is to be given up.
    pub fn alarm(&self, at: Option<Instant>) -> Option<Instant> {
        let expiry = self
            .oldest
            .map(|(_, until)| Some(until).max(self.expire_after));
        let expiry = expiry.flatten();
        at.into_iter().chain(expiry).min()
    }
}

/// What a lane takes of what all share.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Weight {
    /// Workers that it holds on no better ground than hope.
    pub untrusted_in_flight: usize,
    /// Of these, the ones of a closed lane.
    pub failing: usize,
    /// Deliveries of it that are active, if it is not known to answer, and their bytes.
    pub unproven: usize,
    pub unproven_bytes: usize,
    /// 1 if it is closed and has a probe, or asks for one.
    pub probes: usize,
    /// 1 if a message is under way for it, and it is not known to answer.
    pub expected: usize,
    /// 1 if any delivery of it is active.
    pub occupied: usize,
    /// Deliveries that wait for their turn.
    pub queued: usize,
}

impl Weight {
    /// One lane's weight has changed in the sum of all.
    pub fn replace(&mut self, before: Weight, after: Weight) {
        self.untrusted_in_flight =
            self.untrusted_in_flight - before.untrusted_in_flight + after.untrusted_in_flight;
        self.failing = self.failing - before.failing + after.failing;
        self.unproven = self.unproven - before.unproven + after.unproven;
        self.unproven_bytes = self.unproven_bytes - before.unproven_bytes + after.unproven_bytes;
        self.probes = self.probes - before.probes + after.probes;
        self.expected = self.expected - before.expected + after.expected;
        self.occupied = self.occupied - before.occupied + after.occupied;
        self.queued = self.queued - before.queued + after.queued;
    }
}

impl Lane {
    /// Whether it has answered and is not closed.
    pub fn is_healthy(&self) -> bool {
        self.closed.is_none() && self.avg_response_secs.is_some()
    }

    /// Whether it was tried, and whether it answers at all is still open.
    pub fn is_awaited(&self) -> bool {
        self.closed.is_none() && self.avg_response_secs.is_none() && self.busy > 0
    }

    pub fn weight(&self) -> Weight {
        let (is_healthy, is_closed) = (self.is_healthy(), self.closed.is_some());
        let unless_healthy = |n: usize| if is_healthy { 0 } else { n };
        let comes = self.backlog.is_asked || self.backlog.coming > 0;
        Weight {
            untrusted_in_flight: self.untrusted_in_flight(),
            failing: if is_closed { self.busy } else { 0 },
            unproven: unless_healthy(self.active),
            unproven_bytes: unless_healthy(self.bytes),
            probes: usize::from(is_closed && (comes || self.active > 0)),
            expected: usize::from(!is_healthy && comes),
            occupied: usize::from(self.active > 0),
            queued: self.ready.len(),
        }
    }

    /// Deliveries of it that are queued or in flight.
    pub fn in_play(&self) -> usize {
        self.ready.len() + self.busy
    }

    /// How many a healthy endpoint is to have in play: what it delivers soon, if `workers` are its
    /// part of all.
    pub fn ahead(&self, workers: usize) -> usize {
        let parallel = self.cap.min(workers.max(1)) as f64;
        let takes = self.avg_response_secs.unwrap_or_default().max(1e-6);
        let mut ahead = AHEAD * parallel / takes;
        if let Some(pace) = self.min_interval.filter(|pace| !pace.is_zero()) {
            ahead = ahead.min(AHEAD / pace.as_secs_f64());
        }
        (ahead as usize).max(LEAST)
    }

    /// Takes over how long its messages may wait.
    pub fn set_max_age(&mut self, rule: Option<&EndpointRule>) {
        self.max_age = rule.and_then(|rule| rule.max_age);
    }

    /// How long its messages may wait, if that is not as for all.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Whether it is closed, has nothing here to be tried with, and may be tried.
    pub fn needs_probe(&self, now: Instant) -> bool {
        self.closed.is_some_and(|until| until <= now) && self.active == 0
    }

    /// How long it stays closed.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        let closed = self.closed?;
        Some(closed.saturating_duration_since(now))
    }
}
