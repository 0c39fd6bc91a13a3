//! All decisions about what is delivered next, in one place and one thread's hands.
//!
//! Pure: no clock, channel or I/O; every method that depends on time takes `now`. The
//! scheduler owns each delivery from [`Scheduler::accept`] on, lends it out in
//! [`Scheduler::next`], and takes it back in [`Scheduler::finish`]; in between it stands
//! either in its lane (due) or in the heap (waiting for a retry). At all times
//! `accepted = delivered + dead + active`.

use std::cmp::{Ordering, Reverse};
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backoff::RetrySchedule;
use crate::delivery::{Attempt, DeadLetter, DeadReason, Delivery, Exchange, FaultKind};
use crate::lane::Lane;
use crate::verdict::{Verdict, judge};

/// What the scheduler keeps to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Deliveries in flight at a time.
    pub workers: usize,
    /// Deliveries in flight to one origin at a time.
    pub window: usize,
    /// Deliveries held in memory: queued, in flight and waiting.
    pub max_active: usize,
    /// Bytes of messages held in memory.
    pub max_active_bytes: usize,
    pub schedule: RetrySchedule,
}

/// One moment on both clocks: `mono` orders and measures, `unix_ms` is written down.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub mono: Instant,
    pub unix_ms: u64,
}

/// What became of a delivery that came back.
#[derive(Debug)]
pub enum Finished {
    Delivered,
    /// It waits for its next attempt.
    Retry {
        after: Duration,
    },
    /// Given up; the dead letter is now the caller's to keep.
    Dead(DeadLetter),
}

/// Counters since the start.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stats {
    /// Well-formed messages taken in.
    pub accepted: u64,
    pub delivered: u64,
    /// Accepted, and given up for whatever reason.
    pub dead: u64,
    /// Never accepted, as they were malformed.
    pub rejected: u64,
    /// Retries scheduled.
    pub retried: u64,
    /// HTTP attempts made.
    pub attempts: u64,
}

/// Where the active deliveries stand.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Levels {
    pub ready: usize,
    pub in_flight: usize,
    pub waiting: usize,
    pub lanes: usize,
    pub bytes: usize,
}

/// See the module's header.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes with work and room, each once, served in rotation.
    turn: VecDeque<Arc<str>>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Makes equal due times first in, first out.
    sequence: u64,
    in_flight: usize,
    ready: usize,
    bytes: usize,
    /// Once draining: what would be due later than this is given up.
    horizon: Option<Instant>,
    stats: Stats,
}

impl Scheduler {
    pub fn new(limits: Limits) -> Self {
        Scheduler {
            limits,
            lanes: HashMap::new(),
            turn: VecDeque::new(),
            waiting: BinaryHeap::new(),
            sequence: 0,
            in_flight: 0,
            ready: 0,
            bytes: 0,
            horizon: None,
            stats: Stats::default(),
        }
    }

    /// Whether one more message may be held. The byte bound may be passed by one message.
    pub fn has_room(&self) -> bool {
        self.active() < self.limits.max_active && self.bytes < self.limits.max_active_bytes
    }

    /// Takes a message in; it is due at once.
    pub fn accept(&mut self, delivery: Delivery) {
        self.stats.accepted += 1;
        self.bytes += delivery.message.raw().len();
        self.enqueue(delivery);
    }

    /// Takes in a message that there is no room for, and gives it up.
    pub fn overflow(&mut self, delivery: Delivery, now: Now) -> DeadLetter {
        self.stats.accepted += 1;
        self.stats.dead += 1;
        let detail = "more messages came than are held in memory; --max-active and \
                      --max-active-bytes allow more";
        delivery.bury(DeadReason::Overflow, detail.into(), now.unix_ms)
    }

    /// Counts a message that was malformed.
    pub fn reject(&mut self) {
        self.stats.rejected += 1;
    }

    /// Moves what has become due to its lane.
    pub fn tick(&mut self, now: Now) {
        while let Some(Reverse(first)) = self.waiting.peek() {
            if first.due > now.mono {
                break;
            }
            let Reverse(first) = self.waiting.pop().expect("just peeked");
            self.enqueue(first.delivery);
        }
    }

    /// When [`Scheduler::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(first)| first.due)
    }

    /// The next delivery to attempt, if a worker is free for it. It must come back through
    /// [`Scheduler::finish`], exactly once.
    pub fn next(&mut self) -> Option<Delivery> {
        while self.in_flight < self.limits.workers {
            let origin = self.turn.pop_front()?;
            let lane = self.lanes.get_mut(&origin)?;
            let (delivery, again) = lane.take(self.limits.window);
            if again {
                self.turn.push_back(origin);
            }
            if let Some(delivery) = delivery {
                self.ready -= 1;
                self.in_flight += 1;
                return Some(delivery);
            }
        }
        None
    }

    /// Takes a delivery back with what its attempt came to.
    pub fn finish(&mut self, mut delivery: Delivery, attempt: Attempt, now: Now) -> Finished {
        self.release(&delivery.message.endpoint.origin);
        let cut = matches!(
            attempt.result,
            Exchange::Fault {
                kind: FaultKind::Cut,
                ..
            }
        );
        // An attempt that outhook itself cut short is not the endpoint's failure.
        if !cut {
            delivery.attempts += 1;
            self.stats.attempts += 1;
        }
        let made = delivery.attempts;
        let verdict = match cut {
            true => Verdict::Retry {
                after: Duration::ZERO,
            },
            false => judge(
                &attempt.result,
                &delivery.message.id,
                made,
                &self.limits.schedule,
            ),
        };
        delivery.last = Some(attempt);
        match verdict {
            Verdict::Delivered => {
                self.stats.delivered += 1;
                self.bytes -= delivery.message.raw().len();
                Finished::Delivered
            }
            Verdict::Dead { reason, detail } => {
                Finished::Dead(self.bury(delivery, reason, detail, now))
            }
            Verdict::Retry { after } => {
                let due = now.mono + after;
                if self.horizon.is_some_and(|horizon| due > horizon) {
                    return Finished::Dead(self.bury_drained(delivery, now));
                }
                self.stats.retried += 1;
                self.wait(delivery, due);
                Finished::Retry { after }
            }
        }
    }

    /// Begins the drain: retries due after `horizon` are given up, now and from now on.
    pub fn drain(&mut self, horizon: Instant, now: Now) -> Vec<DeadLetter> {
        self.horizon = Some(horizon);
        let (keep, late): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|Reverse(w)| w.due <= horizon);
        self.waiting = keep.into();
        late.into_iter()
            .map(|Reverse(w)| self.bury_drained(w.delivery, now))
            .collect()
    }

    /// Ends the drain: gives up all that is not in flight, and what is when it comes back
    /// unfinished.
    pub fn cut(&mut self, now: Now) -> Vec<DeadLetter> {
        // A moment before `now`, so that not even an immediate retry is kept.
        self.horizon = now.mono.checked_sub(Duration::from_nanos(1));
        let mut left: Vec<Delivery> = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|Reverse(w)| w.delivery)
            .collect();
        left.extend(self.lanes.values_mut().flat_map(Lane::clear));
        self.lanes.retain(|_, lane| !lane.is_idle());
        self.ready = 0;
        left.into_iter()
            .map(|delivery| self.bury_drained(delivery, now))
            .collect()
    }

    /// Deliveries that are not settled yet, wherever they stand.
    pub fn active(&self) -> usize {
        self.ready + self.in_flight + self.waiting.len()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    pub fn levels(&self) -> Levels {
        Levels {
            ready: self.ready,
            in_flight: self.in_flight,
            waiting: self.waiting.len(),
            lanes: self.lanes.len(),
            bytes: self.bytes,
        }
    }

    fn enqueue(&mut self, delivery: Delivery) {
        let origin = delivery.message.endpoint.origin.clone();
        let window = self.limits.window;
        self.ready += 1;
        if self
            .lanes
            .entry(origin.clone())
            .or_default()
            .push(delivery, window)
        {
            self.turn.push_back(origin);
        }
    }

    fn wait(&mut self, delivery: Delivery, due: Instant) {
        self.sequence += 1;
        self.waiting.push(Reverse(Waiting {
            due,
            sequence: self.sequence,
            delivery,
        }));
    }

    fn release(&mut self, origin: &Arc<str>) {
        self.in_flight -= 1;
        let Entry::Occupied(mut lane) = self.lanes.entry(origin.clone()) else {
            unreachable!("a lane lives as long as one of its deliveries is in flight");
        };
        if lane.get_mut().release(self.limits.window) {
            self.turn.push_back(origin.clone());
        } else if lane.get().is_idle() {
            lane.remove();
        }
    }

    fn bury(
        &mut self,
        delivery: Delivery,
        reason: DeadReason,
        detail: String,
        now: Now,
    ) -> DeadLetter {
        self.stats.dead += 1;
        self.bytes -= delivery.message.raw().len();
        delivery.bury(reason, detail, now.unix_ms)
    }

    fn bury_drained(&mut self, delivery: Delivery, now: Now) -> DeadLetter {
        let detail = format!(
            "outhook was stopped, and this was not delivered within --drain-timeout \
             (attempts made: {})",
            delivery.attempts
        );
        self.bury(delivery, DeadReason::Drained, detail, now)
    }
}

/// A delivery that waits for its retry.
#[derive(Debug)]
struct Waiting {
    due: Instant,
    sequence: u64,
    delivery: Delivery,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests;
