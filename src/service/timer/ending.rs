//! How the timer ends: how far the end is, and what it still waits for.
//!
//! The drain has a time, after which attempts are cut and all that is left is parked. When nothing
//! is left (or what is left will not come back), one last record follows all others to the ledger,
//! which then tells the subscriber, the last of the sources, to leave. What the subscriber still hands
//! on is kept like all else, and its end is the timer's.

use std::time::{Duration, Instant};

use super::Timer;
use crate::delivery::record::Record;
use crate::scheduler::Now;
use crate::service::logging::log_counters;

/// How long attempts that were cut may take to come back, and sources to end, before they are
/// given up. Longer than the consumer's longest read.
const CUT_GRACE: Duration = Duration::from_millis(1500);

/// How long a source that a store keeps may take to end when nothing else is left: it hangs in
/// Redis, and what it was given there is given to others when its lease is over.
const SOURCE_GRACE: Duration = Duration::from_secs(2);

/// How long whoever hears to the last may stay silent once it was told to leave. Longer than it
/// waits for Redis then; it may hang in a look-up or a connect, and hears nothing there.
const LAST_GRACE: Duration = Duration::from_millis(2500);

/// How far the end is.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) phase: Phase,
    /// When sources that a store keeps are given up, once the drain has begun.
    sources_until: Option<Instant>,
    /// The last record has been made.
    has_called: bool,
    /// When whoever hears to the last is given up, once it was told to leave.
    gives_up_at: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    #[default]
    Serving,
    /// Delivering what is left, until then.
    Draining(Instant),
    /// Waiting for attempts that were cut to come back, until then.
    Cut(Instant),
}

impl Ending {
    pub(super) fn has_begun(&self) -> bool {
        self.phase != Phase::Serving
    }

    /// Something was heard: whoever hears to the last is well.
    pub(super) fn put_off(&mut self, now: Instant) {
        if let Some(at) = &mut self.gives_up_at {
            *at = now + LAST_GRACE;
        }
    }
}

impl Timer {
    /// Begins the drain, ends it when its time is over, and then sees all off.
    pub(super) fn advance(&mut self, now: Now) {
        match self.ending.phase {
            Phase::Serving if self.drain.has_begun() => {
                let until = now.mono + self.config.drain_timeout;
                self.ending.phase = Phase::Draining(until);
                if self.scheduler.has_store() {
                    self.ending.sources_until = Some(now.mono + SOURCE_GRACE);
                }
                // Nothing more is to come back, so that source ends.
                self.config.wants = None;
                self.scheduler.drain(until, now);
                let snapshot = self.snapshot();
                let says = format_args!("drain: begins: {snapshot}");
                log_counters("drain_begins", &snapshot.counters(), says);
            }
            Phase::Draining(until) if now.mono >= until => {
                self.ending.phase = Phase::Cut(until + CUT_GRACE);
                (self.config.cut)();
                // What comes from now on is kept with the rest, at once.
                self.full = false;
                self.scheduler.cut(now);
            }
            _ => {}
        }
        if self.ending.has_begun() && !self.ending.has_called && self.is_settled(now.mono) {
            self.ending.has_called = true;
            self.outbox.push_back(Record::LastCall);
        }
        let is_told = self.ending.has_called && self.last.has_begun();
        if is_told && self.ending.gives_up_at.is_none() {
            self.ending.gives_up_at = Some(now.mono + LAST_GRACE);
        }
    }

    /// Whether all that can be read again later has ended, and nothing is left of what was taken
    /// in, or will not come back.
    fn is_settled(&self, now: Instant) -> bool {
        let is_over = matches!(self.ending.phase, Phase::Cut(until) if now >= until);
        let have_ended = !self.patient.is_open();
        let have_ended = have_ended || self.ending.sources_until.is_some_and(|at| now >= at);
        is_over || have_ended && self.scheduler.active() == 0
    }

    /// Whether all is settled, or what is not will not come. What the ledger has not got yet is
    /// waited for in any case: it writes, or gives up in its own time, and tells what of.
    pub(super) fn is_finished(&mut self) -> bool {
        let now = Instant::now();
        let is_given_up = self.ending.gives_up_at.is_some_and(|at| now >= at);
        let is_over = self.is_settled(now) && (!self.eager.is_open() || is_given_up);
        is_over && !self.has_outbox() && !self.has_more()
    }

    /// When there is something to do, even if nobody wakes us up.
    pub(super) fn alarm(&self) -> Option<Instant> {
        let has_outbox = self.has_outbox();
        let phase = match self.ending.phase {
            Phase::Serving => None,
            Phase::Draining(until) => Some(until),
            // Only the ledger is waited for then, or whoever hears to the last. A look at the
            // clock would not do: the time may end between `is_finished` and here, and nobody
            // would wake us up.
            Phase::Cut(_) if has_outbox || self.ending.has_called => None,
            Phase::Cut(until) => Some(until),
        };
        let last = self.ending.gives_up_at.filter(|_| !has_outbox);
        let scheduler = &self.scheduler;
        let waits_for_sources = scheduler.active() == 0 && !self.ending.has_called;
        let sources = self.ending.sources_until.filter(|_| waits_for_sources);
        let retry = scheduler.next_deadline().into_iter();
        retry.chain(phase).chain(sources).chain(last).min()
    }
}
