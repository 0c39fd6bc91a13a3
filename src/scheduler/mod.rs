//! All decisions about what is delivered next, in one place and one thread's hands.
//!
//! Pure: no clock, channel or I/O; every method that depends on time takes `now`. The
//! scheduler owns each delivery from [`Scheduler::accept`] on, lends it out in
//! [`Scheduler::next`], and takes it back in [`Scheduler::finish`]; in between it stands
//! either in its lane (due) or in the heap (waiting for its time). What leaves for good, and
//! what must be written down, stands in the outbox, for the ledger. At all times
//! `accepted = delivered + dead + parked + active`.

mod turns;
mod types;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::{Attempt, DeadLetter, DeadReason, Delivery, Exchange, FaultKind};
use crate::lane::{Change, Lane, Sign, sign};
use crate::record::{EntryId, Fate, Record, Told};
use crate::verdict::{Verdict, judge};

use turns::Turns;
use types::{Alarm, What};
pub use types::{Levels, Limits, Now, Stats};

/// What is known of an endpoint is forgotten when nothing has gone to it for so long.
const REST: Duration = Duration::from_secs(60);

/// How often queues are searched for entries whose lease runs low.
const SCAN: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    lanes: HashMap<Arc<str>, Lane>,
    turns: Turns,
    alarms: BinaryHeap<Reverse<Alarm>>,
    /// Deliveries among the alarms.
    waiting: usize,
    /// The stream entries among the active deliveries: none is held twice.
    held: HashSet<EntryId>,
    outbox: VecDeque<Record>,
    sequence: u64,
    in_flight: usize,
    /// Of these, the ones to endpoints that are not trusted.
    doubt: usize,
    /// Lanes that closed or opened, for the log.
    changes: Vec<(Arc<str>, Change)>,
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
            turns: Turns::default(),
            alarms: BinaryHeap::new(),
            waiting: 0,
            held: HashSet::new(),
            outbox: VecDeque::new(),
            sequence: 0,
            in_flight: 0,
            doubt: 0,
            changes: Vec::new(),
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
        self.active() <= count - count / 8 - 1 && self.bytes <= bytes - bytes / 8 - 1
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
        } else if self.is_over_share(&delivery) {
            let lane = self.lane(&delivery.message.endpoint.origin, now.mono);
            let after = lane.appoint(now.mono) - now.mono;
            self.park(delivery, now.unix_ms + after.as_millis() as u64);
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

    /// Moves what has become due to its lane, opens what has been closed for long enough, and
    /// parks what cannot wait for its turn any longer.
    pub fn tick(&mut self, now: Now) {
        while let Some(Reverse(first)) = self.alarms.peek() {
            if first.due > now.mono {
                break;
            }
            let Reverse(first) = self.alarms.pop().expect("just peeked");
            match first.what {
                What::Delivery(delivery) => {
                    self.waiting -= 1;
                    self.lane(&delivery.message.endpoint.origin, now.mono)
                        .waiting -= 1;
                    self.enqueue(delivery, now);
                }
                What::Lane(key) => {
                    // It may have been replaced by an earlier one, and be forgotten.
                    if let Some(lane) = self.lanes.get_mut(&key) {
                        lane.alarm = lane.alarm.filter(|at| *at > now.mono);
                        self.arrange(&key, now.mono);
                    }
                }
            }
        }
        if self.scan.is_some_and(|at| at <= now.mono) {
            self.park_old(now);
            self.lanes
                .retain(|_, lane| !lane.is_forgettable(now.mono, REST));
            let busy = self.active() > 0 || !self.lanes.is_empty();
            let pause = if self.ready > 0 { SCAN } else { REST };
            self.scan = busy.then(|| now.mono + pause);
        }
    }

    /// When [`Scheduler::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = self.alarms.peek().map(|Reverse(first)| first.due);
        first.into_iter().chain(self.scan).min()
    }

    /// The next delivery to attempt, if a worker is free for it. It must come back through
    /// [`Scheduler::finish`], exactly once.
    pub fn next(&mut self, now: Now) -> Option<Delivery> {
        while self.in_flight < self.limits.workers {
            // A customer who is not known to answer may not take the last of the workers from
            // those who do.
            let hope = self.doubt < self.limits.workers.div_ceil(2);
            let (place, key) = self.turns.next(hope)?;
            let Some(lane) = self.lanes.get_mut(&key).filter(|l| l.turn == Some(place)) else {
                continue;
            };
            let before = lane.doubt();
            let delivery = lane.take(now.mono);
            self.doubt = self.doubt - before + self.lanes[&key].doubt();
            self.arrange(&key, now.mono);
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
        self.in_flight -= 1;
        self.release(&delivery, sign(&attempt), now);
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
        self.put_off_waiting(now);
    }

    /// Ends the drain: all that is not in flight leaves, and what is in flight when it comes
    /// back unfinished.
    pub fn cut(&mut self, now: Now) {
        // A moment before `now`, so that not even an immediate retry is kept.
        self.horizon = now.mono.checked_sub(Duration::from_nanos(1));
        self.put_off_waiting(now);
        let ready: Vec<Delivery> = self.lanes.values_mut().flat_map(Lane::clear).collect();
        self.turns = Turns::default();
        self.ready = 0;
        for delivery in ready {
            self.put_off(delivery, Duration::ZERO, now);
        }
    }

    /// Looks anew at all that waits.
    fn put_off_waiting(&mut self, now: Now) {
        let horizon = self.horizon.unwrap_or(now.mono);
        let (late, keep): (Vec<_>, Vec<_>) = std::mem::take(&mut self.alarms)
            .into_iter()
            .partition(|Reverse(alarm)| alarm.due > horizon && alarm.is_delivery());
        self.alarms = keep.into();
        for Reverse(alarm) in late {
            if let What::Delivery(delivery) = alarm.what {
                self.waiting -= 1;
                self.lane(&delivery.message.endpoint.origin, now.mono)
                    .waiting -= 1;
                let after = alarm.due.saturating_duration_since(now.mono);
                self.put_off(delivery, after, now);
            }
        }
    }

    /// Deliveries that are not settled yet, wherever they stand.
    pub fn active(&self) -> usize {
        self.ready + self.in_flight + self.waiting
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    pub fn levels(&self) -> Levels {
        Levels {
            ready: self.ready,
            in_flight: self.in_flight,
            waiting: self.waiting,
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

    /// Lanes that closed or opened since the last call.
    pub fn changes(&mut self) -> Vec<(Arc<str>, Change)> {
        std::mem::take(&mut self.changes)
    }

    fn enqueue(&mut self, delivery: Delivery, now: Now) {
        let key = delivery.message.endpoint.origin.clone();
        self.ready += 1;
        self.lane(&key, now.mono).push(delivery);
        self.arrange(&key, now.mono);
        let scan = now.mono + SCAN;
        self.scan = Some(self.scan.map_or(scan, |at| at.min(scan)));
    }

    fn lane(&mut self, key: &Arc<str>, now: Instant) -> &mut Lane {
        // Looked up first, as the entry API would copy the key each time.
        if !self.lanes.contains_key(key) {
            let lane = Lane::new(&self.limits.lanes, now);
            self.lanes.insert(key.clone(), lane);
        }
        self.lanes.get_mut(key).expect("just inserted")
    }

    /// Puts a lane where its state says it belongs: into a turn list, or among the alarms.
    fn arrange(&mut self, key: &Arc<str>, now: Instant) {
        let lane = self.lanes.get_mut(key).expect("whoever arranges it has it");
        if lane.enters(now) {
            lane.turn = Some(self.turns.push(key.clone(), lane.is_trusted()));
        }
        let closed = lane.closed_until(now);
        if let Some(due) = closed.filter(|_| lane.has_queue()) {
            // One that stands there already may be for a longer pause, before it opened again.
            if lane.alarm.is_none_or(|at| at > due) {
                lane.alarm = Some(due);
                self.set_alarm(due, What::Lane(key.clone()));
            }
        }
    }

    fn set_alarm(&mut self, due: Instant, what: What) {
        self.sequence += 1;
        self.alarms.push(Reverse(Alarm {
            due,
            sequence: self.sequence,
            what,
        }));
    }

    fn is_over_share(&self, delivery: &Delivery) -> bool {
        let lane = self.lanes.get(&delivery.message.endpoint.origin);
        let full = lane.is_some_and(|lane| lane.active() >= self.limits.share);
        full && self.limits.near.is_some()
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
                self.waiting += 1;
                self.lane(&delivery.message.endpoint.origin, now.mono)
                    .waiting += 1;
                self.set_alarm(due, What::Delivery(delivery));
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
        let mut old = Vec::new();
        for lane in self.lanes.values_mut() {
            for delivery in lane.extract(is_old) {
                let after = (lane.appoint(now.mono) - now.mono).max(near / 2);
                old.push((delivery, now.unix_ms + after.as_millis() as u64));
            }
        }
        self.ready -= old.len();
        for (delivery, due) in old {
            self.park(delivery, due);
        }
    }

    fn release(&mut self, delivery: &Delivery, sign: Sign, now: Now) {
        let key = &delivery.message.endpoint.origin;
        let limits = self.limits.lanes;
        let lane = self
            .lanes
            .get_mut(key)
            .expect("it has a delivery in flight");
        let (doubt, trusted) = (lane.doubt(), lane.is_trusted());
        let change = lane.release(sign, &limits, now.mono);
        self.doubt = self.doubt - doubt + lane.doubt();
        if lane.turn.is_some() && lane.is_trusted() != trusted {
            lane.turn = Some(self.turns.push(key.clone(), !trusted));
        }
        self.changes
            .extend(change.map(|change| (key.clone(), change)));
        self.arrange(key, now.mono);
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
