//! All decisions about what is delivered next, in one place and one thread's hands.
//!
//! Pure: no clock, channel or I/O; every method that depends on time takes `now`. The
//! scheduler owns each delivery from [`Scheduler::accept`] on, lends it out in
//! [`Scheduler::next`], and takes it back in [`Scheduler::finish`]; in between it stands
//! either in its lane (due) or in the heap (waiting for its time). What leaves for good, and
//! what must be written down, stands in the outbox, for the ledger. At all times
//! `accepted = delivered + dead + parked + active`.

mod types;

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::{Attempt, DeadLetter, DeadReason, Delivery, Exchange, FaultKind};
use crate::lane::Lane;
use crate::record::{EntryId, Fate, Record, Told};
use crate::verdict::{Verdict, judge};

use types::Waiting;
pub use types::{Levels, Limits, Now, Stats};

/// How often queues are searched for entries whose lease runs low.
const SCAN: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes with work and room, each once, served in rotation.
    turn: VecDeque<Arc<str>>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// The stream entries among the active deliveries: none is held twice.
    held: HashSet<EntryId>,
    outbox: VecDeque<Record>,
    /// Makes equal due times first in, first out.
    sequence: u64,
    in_flight: usize,
    ready: usize,
    bytes: usize,
    /// When to look for leases that run low.
    scan: Option<Instant>,
    /// Once draining: what would be due later than this leaves.
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
            held: HashSet::new(),
            outbox: VecDeque::new(),
            sequence: 0,
            in_flight: 0,
            ready: 0,
            bytes: 0,
            scan: None,
            horizon: None,
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
        if delivery.entry.is_some_and(|entry| !self.held.insert(entry)) {
            self.stats.held_already += 1;
            return;
        }
        let fits = self.has_room() && !self.limits.bridge;
        self.stats.accepted += 1;
        self.bytes += delivery.message.raw().len();
        let wish = delivery.message.deliver_at.unwrap_or_default();
        if delivery.entry.is_none() && !fits {
            self.overflow(delivery, now);
        } else if delivery.suspect && delivery.attempts >= self.limits.schedule.attempts {
            let detail = "all attempts were begun, and outhook itself ended during the last: \
                          it may be the cause; see the log of that time";
            self.bury(delivery, DeadReason::Exhausted, detail.into(), now);
        } else if wish > now.unix_ms {
            self.put_off(delivery, Duration::from_millis(wish - now.unix_ms), now);
        } else {
            self.enqueue(delivery, now);
        }
    }

    /// Counts a message that was malformed, and keeps its dead letter.
    pub fn reject(&mut self, letter: DeadLetter) {
        self.stats.rejected += 1;
        self.outbox.push_back(Record::Bury(letter));
    }

    /// Moves what has become due to its lane, and parks what cannot wait for its turn any
    /// longer.
    pub fn tick(&mut self, now: Now) {
        while let Some(Reverse(first)) = self.waiting.peek() {
            if first.due > now.mono {
                break;
            }
            let Reverse(first) = self.waiting.pop().expect("just peeked");
            self.enqueue(first.delivery, now);
        }
        if self.scan.is_some_and(|at| at <= now.mono) {
            self.park_old(now);
            self.scan = (self.ready > 0).then(|| now.mono + SCAN);
        }
    }

    /// When [`Scheduler::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = self.waiting.peek().map(|Reverse(first)| first.due);
        first.into_iter().chain(self.scan).min()
    }

    /// The next delivery to attempt, if a worker is free for it. It must come back through
    /// [`Scheduler::finish`], exactly once.
    pub fn next(&mut self, now: Now) -> Option<Delivery> {
        while self.in_flight < self.limits.workers {
            let origin = self.turn.pop_front()?;
            let Entry::Occupied(mut lane) = self.lanes.entry(origin.clone()) else {
                unreachable!("a lane lives as long as it stands in the turn list");
            };
            let (delivery, again) = lane.get_mut().take(self.limits.window);
            if again {
                self.turn.push_back(origin);
            } else if lane.get().is_idle() {
                lane.remove();
            }
            if let Some(mut delivery) = delivery {
                self.ready -= 1;
                self.in_flight += 1;
                if delivery.notes_first() {
                    delivery.leased = now.mono;
                }
                return Some(delivery);
            }
        }
        None
    }

    /// Takes a delivery back with what its attempt came to.
    pub fn finish(&mut self, mut delivery: Delivery, attempt: Attempt, now: Now) -> Fate {
        self.release(&delivery.message.endpoint.origin);
        // An attempt that outhook itself cut short is not the endpoint's failure.
        let cut =
            matches!(&attempt.result, Exchange::Fault { kind, .. } if *kind == FaultKind::Cut);
        if cut {
            delivery.last = Some(attempt);
            return self.put_off(delivery, Duration::ZERO, now);
        }
        delivery.attempts += 1;
        self.stats.attempts += 1;
        let (id, made) = (&delivery.message.id, delivery.attempts);
        let verdict = judge(&attempt.result, id, made, &self.limits.schedule);
        delivery.last = Some(attempt);
        let told = self.limits.tells.then(|| Told::of(&delivery, now.unix_ms));
        let fate = self.obey(verdict, delivery, now);
        self.outbox
            .extend(told.map(|told| Record::Tell(Box::new(Told { fate, ..told }))));
        fate
    }

    fn obey(&mut self, verdict: Verdict, delivery: Delivery, now: Now) -> Fate {
        match verdict {
            Verdict::Delivered => {
                self.leave(&delivery);
                self.stats.delivered += 1;
                self.outbox.extend(delivery.entry.map(Record::Settle));
                Fate::Delivered
            }
            Verdict::Dead { reason, detail } => {
                self.bury(delivery, reason, detail, now);
                Fate::Dead(reason)
            }
            Verdict::Retry { after } => {
                self.stats.retried += 1;
                self.put_off(delivery, after, now)
            }
        }
    }

    /// Begins the drain: what waits leaves, now and from now on. Where there is no store for
    /// it, what is due until `horizon` stays.
    pub fn drain(&mut self, horizon: Instant, now: Now) {
        let horizon = match self.limits.near {
            Some(_) => now.mono,
            None => horizon,
        };
        self.horizon = Some(horizon);
        let (keep, late): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|Reverse(w)| w.due <= horizon);
        self.waiting = keep.into();
        for Reverse(w) in late {
            self.put_off(w.delivery, w.due.saturating_duration_since(now.mono), now);
        }
    }

    /// Ends the drain: all that is not in flight leaves, and what is in flight when it comes
    /// back unfinished.
    pub fn cut(&mut self, now: Now) {
        // A moment before `now`, so that not even an immediate retry is kept.
        self.horizon = now.mono.checked_sub(Duration::from_nanos(1));
        for Reverse(w) in std::mem::take(&mut self.waiting) {
            self.put_off(w.delivery, w.due.saturating_duration_since(now.mono), now);
        }
        let ready: Vec<Delivery> = self.lanes.values_mut().flat_map(Lane::clear).collect();
        self.lanes.retain(|_, lane| !lane.is_idle());
        self.turn.clear();
        self.ready = 0;
        for delivery in ready {
            self.put_off(delivery, Duration::ZERO, now);
        }
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
            unkept: self.active() - self.held.len(),
        }
    }

    /// What the ledger is to write, in order.
    pub fn outbox(&mut self) -> &mut VecDeque<Record> {
        &mut self.outbox
    }

    pub fn has_outbox(&self) -> bool {
        !self.outbox.is_empty()
    }

    fn enqueue(&mut self, delivery: Delivery, now: Now) {
        let origin = delivery.message.endpoint.origin.clone();
        let window = self.limits.window;
        self.ready += 1;
        if self.scan.is_none() && delivery.entry.is_some() {
            self.scan = Some(now.mono + SCAN);
        }
        let lane = self.lanes.entry(origin.clone()).or_default();
        if lane.push(delivery, window) {
            self.turn.push_back(origin);
        }
    }

    /// The one answer to "not now": what is due soon waits here, the rest in the store; where
    /// there is no store for it, it waits here too, or is given up at the end of a drain.
    fn put_off(&mut self, mut delivery: Delivery, after: Duration, now: Now) -> Fate {
        let due = now.mono + after;
        let leaving = self.horizon.is_some_and(|horizon| due > horizon);
        match self.limits.near {
            Some(near) if leaving || after > near => {
                let due = now.unix_ms.saturating_add(after.as_millis() as u64);
                self.park(delivery, due);
                Fate::Parked { after }
            }
            None if leaving => {
                let detail = format!(
                    "outhook was stopped, and this was not delivered within --drain-timeout \
                     (attempts made: {})",
                    delivery.attempts
                );
                self.bury(delivery, DeadReason::Drained, detail, now);
                Fate::Dead(DeadReason::Drained)
            }
            _ => {
                if let Some(entry) = delivery.entry.filter(|_| delivery.attempts > 0) {
                    let made = delivery.attempts - delivery.carried;
                    delivery.leased = now.mono;
                    self.outbox.push_back(Record::Note(entry, made));
                }
                self.sequence += 1;
                self.waiting.push(Reverse(Waiting {
                    due,
                    sequence: self.sequence,
                    delivery,
                }));
                Fate::Waiting { after }
            }
        }
    }

    /// To the stream, from where it comes back when there is room.
    fn overflow(&mut self, delivery: Delivery, now: Now) {
        if self.limits.near.is_some() {
            let wish = delivery.message.deliver_at.unwrap_or_default();
            let due = wish.max(now.unix_ms);
            self.park(delivery, due);
        } else {
            let detail = "more messages came than are held in memory; --max-active and \
                          --max-active-bytes allow more";
            self.bury(delivery, DeadReason::Overflow, detail.into(), now);
        }
    }

    /// Parks entries that have stood in a queue for so long that their lease runs low: their
    /// endpoint is slower than what comes for it.
    fn park_old(&mut self, now: Now) {
        let Some(near) = self.limits.near else { return };
        let is_old = |d: &Delivery| {
            d.entry.is_some() && now.mono.saturating_duration_since(d.leased) > near + SCAN
        };
        let old: Vec<Delivery> = self
            .lanes
            .values_mut()
            .flat_map(|l| l.extract(is_old))
            .collect();
        // A lane that stands in the turn list goes when its turn comes.
        self.lanes.retain(|_, lane| !lane.is_idle());
        self.ready -= old.len();
        let due = now.unix_ms + near.as_millis() as u64;
        for delivery in old {
            self.park(delivery, due);
        }
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

    fn park(&mut self, delivery: Delivery, due: u64) {
        self.leave(&delivery);
        self.stats.parked += 1;
        let mut parked = delivery.park(due);
        parked.once = self.limits.bridge && parked.entry.is_none();
        self.outbox.push_back(Record::Park(parked));
    }

    fn bury(&mut self, delivery: Delivery, reason: DeadReason, detail: String, now: Now) {
        self.leave(&delivery);
        self.stats.dead += 1;
        let letter = delivery.bury(reason, detail, now.unix_ms);
        self.outbox.push_back(Record::Bury(letter));
    }

    /// It is not active any more.
    fn leave(&mut self, delivery: &Delivery) {
        self.bytes -= delivery.message.raw().len();
        if let Some(entry) = delivery.entry {
            self.held.remove(&entry);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
