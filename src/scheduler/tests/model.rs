//! A model of the scheduler: one message after another comes, is attempted, waits, leaves.
//!
//! **It believes** of each message where it is ([`State`]), how many attempts it has cost, when its
//! lease was renewed; of each endpoint (`hosts`) its window, whether it is left alone and until when,
//! and whether it is trusted. It knows no lanes, turns or heaps: it keeps a plain list.
//!
//! **It does**, in an order that dice decide ([`ACTS`]): a message comes, with an entry of the stream
//! or without; one comes a second time; another replica takes one over; the ledger confirms what it
//! has moved; a worker is free; an attempt ends, in any way; time passes; the process is suspended or
//! the machine sleeps. At the end it drains, while attempts go on and more comes, and then cuts.
//!
//! **It checks** after each step that
//! - every message is where it is believed to be, counted there, and in no second place;
//! - each that leaves has one record in the outbox, with its attempts, and nothing else has one;
//! - nothing is handed out early, twice, past one that came before it for the same endpoint, beyond
//!   a window, or to an endpoint that is to be left alone;
//! - a free worker gets what may be attempted, and no endpoint is passed over twice in a round;
//! - no lease runs out unseen, and the scheduler wakes when the next thing is due;
//! - at the end nothing is left, and endpoints that rest are forgotten.
//!
//! Whether there is room for a message is left to the scheduler: the model checks who may be turned
//! away, not how much fits. What becomes of keys and holds is for `simulation` and `soup`.

mod hosts;

use std::collections::HashMap;
use std::time::Duration;

use crate::delivery::parked::{Until, Want};
use crate::delivery::receipt::Receipt;
use crate::delivery::retry_schedule::{Delays, RetrySchedule};
use crate::delivery::{AttemptResult, Attempts, DeadReason, FailureKind};
use crate::dice::{Dice, Odds};
use crate::message::Message;
use crate::message::boot_time::BootTime;
use crate::message::endpoint::Endpoint;
use crate::message::entry::EntryId;
use crate::scheduler::draining::BRIEF;
use crate::scheduler::lane::LaneLimits;
use crate::scheduler::*;
use hosts::{Hope, Host};

/// What happens in a step, and how often.
const ACTS: Odds<fn(&mut Model)> = &[
    (270, Model::arrive),
    (200, Model::hand_out),
    (200, Model::answer),
    (200, Model::pass_time),
    (90, Model::confirm),
    (20, Model::arrive_again),
    (20, Model::lose_one),
    (3, Model::suspend),
];

/// How an attempt ends, and how often.
const ENDS: Odds<End> = &[
    (15, End::Answer(200)),
    (3, End::Answer(500)),
    (3, End::Answer(503)),
    (2, End::Answer(410)),
    (1, End::Refused),
    (3, End::Unresolved),
    (3, End::Hangs),
];

/// An attempt whose beginning the ledger was to note, and of which it says that it is another's.
const LOST_AT_ITS_BEGINNING: u64 = 20;

#[derive(Debug, Clone, Copy)]
enum End {
    Answer(u16),
    /// The guard lets nothing go there.
    Refused,
    /// Its name is still looked up.
    Unresolved,
    /// Until its time is over, or the drain's.
    Hangs,
}

/// What the model believes of one message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    Flying,
    Waiting(Instant),
    Delivered,
    /// Until then, in Unix milliseconds.
    Parked(u64),
    /// In its endpoint's backlog.
    Deferred,
    /// It may not stay, and where it goes depends on where it came from.
    Leaving,
    Dead(DeadReason),
    /// Others have it.
    Lapsed,
}

#[derive(Debug, Clone)]
struct Known {
    state: State,
    host: u64,
    attempts: u32,
    carried: u32,
    bytes: usize,
    entry: Option<EntryId>,
    leased: BootTime,
    /// Its next attempt is noted first.
    asks: bool,
    /// Its last attempt was not made after all.
    postponed: bool,
    late: bool,
}

impl Known {
    /// Whether it is appended only if no other replica has heard it.
    fn is_deduplicated(&self, limits: &Limits) -> bool {
        self.entry.is_none() && (limits.bridge || self.late)
    }
}

struct Model {
    dice: Dice,
    scheduler: Scheduler,
    limits: Limits,
    start: Instant,
    elapsed: Duration,
    /// How long the machine was asleep.
    slept: Duration,
    awake: Now,
    /// Notes that are to stand in the outbox.
    notes: HashMap<String, u32>,
    states: HashMap<String, Known>,
    already_active: u64,
    attempts: u64,
    retried: u64,
    flying: Vec<Job>,
    hosts: Vec<Host>,
    /// The rank at which each message was last queued, or began to wait: first in, first out.
    queued: HashMap<String, u64>,
    rank: u64,
    horizon: Option<Instant>,
    over: bool,
}

pub(in crate::scheduler) fn delivery(id: &str, host: u64) -> Delivery {
    delivery_at(id, host, 0, boot(Duration::ZERO))
}

/// So long after everything began.
pub(in crate::scheduler) fn boot(elapsed: Duration) -> BootTime {
    BootTime::new(Duration::from_secs(1000) + elapsed)
}

fn delivery_at(id: &str, host: u64, at: u64, now: BootTime) -> Delivery {
    let raw = format!(r#"{{"url":"http://h{host}/","webhookId":"{id}","data":1}}"#);
    let parsed = Message::parse(
        raw.into_bytes(),
        1000,
        || unreachable!(),
        |url| Endpoint::parse(url).map(Arc::new),
    );
    let mut message = parsed.unwrap();
    message.deliver_at = Some(at);
    Delivery::new(message, "test".into(), 0, now)
}

fn answer(status: u16, retry_after: Option<Duration>) -> AttemptResult {
    AttemptResult::Response {
        status,
        retry_after,
        body: Box::default(),
    }
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let workers = 1 + dice.below(7) as usize;
        let limits = Limits {
            workers,
            lanes: LaneLimits {
                window: 1 + dice.below(workers as u64) as usize,
                backoff_base: Duration::from_millis(20),
                backoff_max: Duration::from_millis(150),
            },
            // Which URLs stand apart from their origin is tested by example.
            lane_by_url: true,
            share: 1 + dice.below(40) as usize,
            share_bytes: 100 + dice.below(3000) as usize,
            max_active: 5 + dice.below(40) as usize,
            max_active_bytes: 300 + dice.below(3000) as usize,
            schedule: RetrySchedule {
                attempts: 1 + dice.below(4) as u32,
                delays: Delays::Doubling {
                    base: Duration::from_millis(100),
                    max: Duration::from_millis(300),
                },
                jitter: 0.2,
            },
            timeout: Duration::from_secs(15),
            max_age: Duration::MAX,
            parking: match dice.below(3) {
                0 => Parking::Nowhere,
                _ => Parking::InRedis {
                    near_window: Duration::from_millis(50 + dice.below(400)),
                },
            },
            tells: dice.once_in(4),
            gone: Duration::ZERO,
            bridge: dice.once_in(8),
        };
        let start = Instant::now();
        Model {
            scheduler: Scheduler::new(limits.clone(), EndpointRules::default()),
            limits,
            start,
            elapsed: Duration::ZERO,
            slept: Duration::ZERO,
            awake: Now {
                mono: start,
                boot: boot(Duration::ZERO),
                unix_ms: 0,
            },
            notes: HashMap::new(),
            states: HashMap::new(),
            already_active: 0,
            attempts: 0,
            retried: 0,
            flying: Vec::new(),
            hosts: vec![Host::default(); 1 + dice.below(6) as usize],
            queued: HashMap::new(),
            rank: 0,
            horizon: None,
            over: false,
            dice,
        }
    }

    /// What waits for longer than this is parked.
    fn near(&self) -> Option<Duration> {
        self.limits.parking.near_window()
    }

    fn can_park(&self) -> bool {
        self.limits.parking.is_possible()
    }

    fn now(&self) -> Now {
        Now {
            mono: self.start + self.elapsed,
            boot: boot(self.elapsed + self.slept),
            unix_ms: self.elapsed.as_millis() as u64,
        }
    }

    fn step(&mut self) {
        self.dice.step();
        self.dice.draw(ACTS)(self);
        self.check();
    }

    fn pass_time(&mut self) {
        self.elapsed += self.dice.millis(0, 60);
        self.tick();
    }

    fn arrive(&mut self) {
        let id = format!("m{}", self.states.len());
        let (host, now) = (self.dice.below(self.hosts.len() as u64), self.now());
        let at = [0, now.unix_ms + self.dice.below(600)][self.dice.below(8) as usize / 7];
        let mut delivery = delivery_at(&id, host, at, now.boot);
        // A store that cannot park has no entries either.
        if self.can_park() && self.dice.once_in(2) {
            let ms = self.states.len() as u64;
            delivery.entry = Some(EntryId::new(ms, 0));
            let (before, begun) = (self.dice.below(3) as u32, self.dice.below(2) as u32);
            delivery.attempts = Attempts::of_entry(before, 1 + begun);
            delivery.reclaimed = begun > 0;
        }
        // Of what is published while draining, some is late.
        let drains = self.horizon.is_some() && self.can_park();
        delivery.is_late = drains && delivery.entry.is_none() && self.dice.once_in(2);
        let known = Known {
            late: delivery.is_late,
            state: State::Ready,
            host,
            attempts: delivery.attempts.made(),
            carried: delivery.attempts.made() - delivery.attempts.made_at_entry(),
            bytes: delivery.message.raw().len(),
            entry: delivery.entry,
            leased: now.boot,
            asks: delivery.notes_first(),
            postponed: false,
        };
        self.meet(host, delivery.attempts.made(), now);
        let fits = self.scheduler.has_room() && !self.limits.bridge;
        let wish = at.max(now.unix_ms) - now.unix_ms;
        let exhausted = delivery.attempts.made() >= self.limits.schedule.attempts;
        let of_host = self
            .states
            .values()
            .filter(|k| k.host == host && is_active(k.state));
        let (mut count, mut bytes) = (1, known.bytes);
        for other in of_host {
            (count, bytes) = (count + 1, bytes + other.bytes);
        }
        let over = count > self.limits.share || bytes > self.limits.share_bytes;
        let over_share = self.can_park() && count > 1 && over;
        let state = match delivery.entry {
            None if self.limits.bridge || known.late => State::Parked(now.unix_ms),
            None if !fits && self.can_park() => State::Parked(at.max(now.unix_ms)),
            None if !fits => State::Dead(DeadReason::Overflow),
            Some(_) if delivery.reclaimed && exhausted => State::Dead(DeadReason::Exhausted),
            entry if wish > 0 => {
                let wish = Duration::from_millis(wish);
                self.put_off_to((host, entry.is_some()), wish, now)
            }
            _ if over_share => State::Leaving,
            _ => State::Ready,
        };
        self.scheduler.accept(delivery, now);
        let state = match state {
            State::Parked(_) if known.entry.is_none() && !self.is_parked(&id) => {
                // There was room for what memory alone holds.
                State::Waiting(now.mono + Duration::from_millis(wish))
            }
            state => state,
        };
        self.rank += 1;
        self.queued.insert(id.clone(), self.rank);
        self.states.insert(id.clone(), Known { state, ..known });
        self.note_if_kept(&id);
        // In a drain it may be stranded.
        self.strand();
        self.check_records(&[id]);
    }

    /// Whether the ledger is to park it.
    fn is_parked(&mut self, id: &str) -> bool {
        let mut records = self.scheduler.outbox().iter();
        records
            .any(|record| matches!(record, Record::Move(Move::Park(parked)) if *parked.id == *id))
    }

    /// Another replica takes over an entry; the ledger finds out when it is to note or move it.
    fn lose_one(&mut self) {
        let mut found: Vec<(&String, &Known)> = self.states.iter().collect();
        found.sort_by_key(|(id, _)| *id);
        let found = found.into_iter().find(|(_, k)| {
            let waits = matches!(k.state, State::Ready | State::Waiting(_));
            let is_known = waits || matches!(k.state, State::Parked(_) | State::Deferred);
            is_known && k.entry.is_some()
        });
        let Some((id, known)) = found.map(|(id, k)| (id.clone(), k.clone())) else {
            return;
        };
        let mut receipt = Receipt::default();
        let entry = known.entry.unwrap();
        match known.state {
            State::Parked(_) => {
                receipt.moved.push(entry);
                receipt.not_parked = 1;
            }
            State::Deferred => {
                receipt.moved.push(entry);
                receipt.not_deferred = 1;
            }
            _ => receipt.lapsed.push(entry),
        }
        self.states.get_mut(&id).unwrap().state = State::Lapsed;
        self.scheduler.take_receipt(receipt, self.now());
        self.check_records(&[]);
    }

    /// The ledger has moved all that it was to move, and what is asked of backlogs is not there: the
    /// entries that come back are others' to test.
    fn confirm(&mut self) {
        let moved = self
            .states
            .values()
            .filter(|k| matches!(k.state, State::Parked(_) | State::Deferred));
        let receipt = Receipt {
            moved: moved.filter_map(|k| k.entry).collect(),
            ..Receipt::default()
        };
        let now = self.now();
        self.scheduler.take_receipt(receipt, now);
        for want in self.scheduler.wants(self.now()) {
            if let Want::Release { name, .. } = want {
                self.scheduler.released(&name, 0, 0, None, now);
            }
        }
        self.check_records(&[]);
    }

    /// The process is stopped, or the machine sleeps, during which one clock stands still.
    fn suspend(&mut self) {
        let longest = self.near().unwrap_or_default().as_millis() as u64 * 3 + 1;
        let length = Duration::from_millis(self.dice.below(longest));
        match self.dice.below(2) {
            0 => self.elapsed += length,
            _ => self.slept += length + self.near().unwrap_or_default() / 16,
        }
        self.tick();
    }

    /// What stays here and has cost attempts, or would outlive its lease, is noted.
    fn note_if_kept(&mut self, id: &str) {
        let (now, known) = (self.now(), &self.states[id]);
        let (State::Waiting(due), Some(_)) = (known.state, known.entry) else {
            return;
        };
        let left = due.saturating_duration_since(now.mono);
        let near = self.near().unwrap();
        let was_begun = known.asks && known.postponed;
        if known.attempts > 0 || was_begun || now.boot.since(known.leased) + left > near {
            self.expect_note(id);
        }
    }

    fn expect_note(&mut self, id: &str) {
        let now = self.now();
        let known = self.states.get_mut(id).unwrap();
        (known.leased, known.asks) = (now.boot, true);
        let made = known.attempts - known.carried;
        self.notes.insert(id.to_owned(), made);
    }

    /// What has lapsed while nobody could look is dropped, and nothing else; what is kept and
    /// would lapse is renewed.
    fn wake(&mut self) {
        let now = self.now();
        let before = std::mem::replace(&mut self.awake, now);
        let passed = now.boot.since(before.boot);
        let slept = passed.saturating_sub(now.mono - before.mono);
        let mut dropped = 0;
        let mut renewed = Vec::new();
        if let Some(near) = self
            .near()
            .filter(|near| passed >= *near / 4 || slept >= *near / 16)
        {
            for (id, known) in &mut self.states {
                let waits = matches!(known.state, State::Ready | State::Waiting(_));
                if !waits || known.entry.is_none() {
                    continue;
                }
                let age = now.boot.since(known.leased);
                if age >= near * 2 {
                    known.state = State::Lapsed;
                    dropped += 1;
                } else if let State::Waiting(due) = known.state
                    && age + due.saturating_duration_since(now.mono) > near
                {
                    renewed.push(id.clone());
                }
            }
        }
        renewed.iter().for_each(|id| self.expect_note(id));
        let told = self.scheduler.wake(now);
        assert_eq!(told.map_or(0, |(_, dropped)| dropped), dropped);
        self.check_records(&[]);
    }

    /// Redis gives an entry that is here already a second time.
    fn arrive_again(&mut self) {
        let here = self
            .states
            .iter()
            .find(|(_, k)| k.entry.is_some() && is_active(k.state));
        let Some((id, known)) = here.map(|(id, k)| (id.clone(), k.clone())) else {
            return;
        };
        let mut copy = delivery(&id, known.host);
        copy.entry = known.entry;
        self.already_active += 1;
        self.scheduler.accept(copy, self.now());
        self.check_records(&[]);
    }

    /// The same for one whose endpoint may be closed: then it waits in the store.
    fn put_off_to(&self, (host, is_entry): (u64, bool), after: Duration, now: Now) -> State {
        let closed = self.hosts[host as usize].closed.filter(|_| self.can_park());
        let left = closed.map(|until| until.saturating_duration_since(now.mono));
        match left {
            Some(left) if left >= after && is_entry => State::Deferred,
            Some(_) if !after.is_zero() => State::Parked(now.unix_ms + after.as_millis() as u64),
            _ => self.put_off(after, now),
        }
    }

    /// Where something must be that is to be done `after` now.
    fn put_off(&self, after: Duration, now: Now) -> State {
        let leaving = self.horizon.is_some_and(|h| now.mono + after > h);
        match self.near() {
            Some(near) if leaving || after > near => {
                State::Parked(now.unix_ms + after.as_millis() as u64)
            }
            None if leaving => State::Dead(DeadReason::Drained),
            _ => State::Waiting(now.mono + after),
        }
    }

    /// What leaves is told of, once, by whether it is dead.
    fn check_told(&self, left: &HashMap<String, State>, asides: &HashMap<String, bool>) {
        let gone = left.iter().filter_map(|(id, state)| match state {
            State::Dead(_) => Some((id.clone(), true)),
            State::Parked(_) if self.states[id].is_deduplicated(&self.limits) => None,
            State::Parked(_) | State::Deferred => Some((id.clone(), false)),
            _ => None,
        });
        let gone: HashMap<_, _> = gone.filter(|_| self.limits.tells).collect();
        assert_eq!(*asides, gone);
    }

    /// Compares the outbox with what the model believes of `touched`: each that left has its
    /// record, none has two, and nothing else is written.
    fn check_records(&mut self, touched: &[String]) -> Vec<(String, Disposition)> {
        let mut tells = Vec::new();
        let mut asides = HashMap::new();
        let mut left: HashMap<String, State> = HashMap::new();
        let mut noted = HashMap::new();
        let mut adapted = Vec::new();
        let by_entry = |entry: EntryId| format!("m{}", entry.ms);
        let records: Vec<Record> = self.scheduler.outbox().drain(..).collect();
        for record in records {
            let (id, state) = match record {
                Record::Move(Move::Settle(entry)) => (by_entry(entry), State::Delivered),
                Record::Move(Move::Bury(letter)) => {
                    let id = letter.id.clone().unwrap().to_string();
                    assert_eq!(letter.attempts, self.states[&id].attempts);
                    assert_eq!(letter.entry, self.states[&id].entry);
                    (id, State::Dead(letter.reason))
                }
                Record::Move(Move::Park(p)) => {
                    let known = &self.states[&*p.id];
                    assert_eq!((p.attempts, p.entry), (known.attempts, known.entry));
                    assert_eq!(p.once, known.is_deduplicated(&self.limits));
                    let state = match p.until {
                        Until::Due(due) => State::Parked(due),
                        Until::Released { name, .. } => {
                            assert_eq!(*name, format!("http://h{}/", known.host));
                            State::Deferred
                        }
                    };
                    (p.id.to_string(), state)
                }
                Record::Move(Move::Note(entry, attempts)) => {
                    assert!(noted.insert(by_entry(entry), attempts).is_none());
                    continue;
                }
                Record::Notice(Notice::Status(told)) => {
                    if told.attempted {
                        tells.push((told.id.to_string(), told.disposition));
                    } else {
                        let is_dead = matches!(told.disposition, Disposition::Dead(_));
                        assert!(asides.insert(told.id.to_string(), is_dead).is_none());
                    }
                    continue;
                }
                other => unreachable!("the timer's, or not in this model: {other:?}"),
            };
            if self.turn_away(&id, state) {
                adapted.push(id.clone());
            }
            assert!(
                left.insert(id, state).is_none(),
                "two records of one message"
            );
        }
        self.check_told(&left, &asides);
        let mut expected = HashMap::new();
        for id in touched.iter().chain(&adapted) {
            let known = &self.states[id];
            // What memory alone held, and is delivered, needs no record.
            let silent = known.state == State::Delivered && known.entry.is_none();
            if !is_active(known.state) && !silent {
                expected.insert(id.clone(), known.state);
            }
        }
        assert_eq!(left, expected);
        assert_eq!(noted, std::mem::take(&mut self.notes));
        tells
    }

    /// Whether there is room for one is not for the model to say, but who may be turned away is.
    /// True if this one has been.
    fn turn_away(&mut self, id: &str, state: State) -> bool {
        let known = &self.states[id];
        let was_turned_away = match (known.state, state) {
            (State::Ready | State::Leaving, State::Deferred) => known.entry.is_some(),
            (State::Ready | State::Leaving, State::Parked(due)) => {
                known.entry.is_none() && due == self.now().unix_ms
            }
            _ => false,
        };
        if was_turned_away {
            let is_good = known.state == State::Ready && self.must_stay(id);
            assert!(!is_good, "{id} was turned away");
            self.states.get_mut(id).unwrap().state = state;
            // Nor is what leaves renewed.
            self.notes.remove(id);
        }
        was_turned_away
    }

    fn tick(&mut self) {
        self.wake();
        let now = self.now();
        let scans = self.scheduler.housekeeping.is_due(now.mono);
        self.scheduler.tick(now);
        let mut due: Vec<(Instant, u64, String)> = Vec::new();
        for (id, known) in &mut self.states {
            if let State::Waiting(at) = known.state
                && at <= now.mono
            {
                known.state = State::Ready;
                due.push((at, self.queued[id], id.clone()));
            }
        }
        // Equal due times (a Retry-After has no jitter) are first in, first out.
        due.sort();
        for (_, _, id) in due {
            self.rank += 1;
            let known = &self.states[&id];
            let near = self.near().filter(|_| known.entry.is_some() && !known.asks);
            if near.is_some_and(|near| now.boot.since(known.leased) > near) {
                self.expect_note(&id);
            }
            self.queued.insert(id, self.rank);
        }
        let mut old = self.strand();
        if let Some(near) = self.near().filter(|_| scans) {
            for (id, known) in &mut self.states {
                let age = now.boot.since(known.leased);
                if known.state == State::Ready
                    && known.entry.is_some()
                    && age > near - housekeeping::INTERVAL.min(near / 4)
                {
                    known.state = State::Leaving;
                    old.push(id.clone());
                }
            }
        }
        self.check_records(&old);
    }

    fn hand_out(&mut self) {
        let flying = |which: fn(&Host) -> bool| {
            let hosts = self
                .flying
                .iter()
                .map(|job| self.states[&*job.delivery.message.id].host);
            hosts
                .filter(|host| which(&self.hosts[*host as usize]))
                .count()
        };
        let hope = Hope {
            others: flying(|host| !host.trusted) < self.limits.workers.div_ceil(2),
            failing: flying(|host| host.closed.is_some()) < self.limits.workers.div_ceil(4),
        };
        let expected = self.flying.len() < self.limits.workers
            && self
                .states
                .values()
                .any(|k| k.state == State::Ready && self.can_fly(k.host, hope));
        let now = self.now();
        match self.scheduler.next(now) {
            None => {
                let text = "a free worker, a due message, and nothing handed out";
                assert!(!expected, "{text}");
                if self.flying.len() < self.limits.workers {
                    // Nobody could be served: who stood in line with nothing has lost its place.
                    self.hosts.iter_mut().for_each(|host| host.passed = 0);
                }
            }
            Some(job) => {
                let id = job.delivery.message.id.to_string();
                let Known { state, host, .. } = self.states[&id];
                assert_eq!(state, State::Ready, "{id} was handed out early or twice");
                let first = self.queued[&id];
                let earlier = self.states.iter().any(|(other, k)| {
                    k.state == State::Ready && k.host == host && self.queued[other] < first
                });
                assert!(!earlier, "{id} overtook another of its lane");
                let first = self.limits.lanes.window.min(4);
                assert!(self.flying.len() < self.limits.workers);
                assert!(self.may_fly(host, hope, first), "{id}: its lane may not");
                self.pass_others(host, hope);
                let known = self.states.get_mut(&id).unwrap();
                assert_eq!(job.delivery.notes_first(), known.asks, "{id}");
                known.state = State::Flying;
                self.flying.push(job);
                if self.states[&id].asks && self.dice.once_in(LOST_AT_ITS_BEGINNING) {
                    self.refuse_begin();
                }
            }
        }
    }

    /// The ledger finds that the entry whose attempt was to begin is another's.
    fn refuse_begin(&mut self) {
        let job = self.flying.pop().unwrap();
        let id = job.delivery.message.id.to_string();
        self.states.get_mut(&id).unwrap().state = State::Lapsed;
        let not_begun = vec![job];
        let receipt = Receipt {
            not_begun,
            ..Receipt::default()
        };
        self.scheduler.take_receipt(receipt, self.now());
        self.check_records(&[]);
    }

    fn some_answer(&mut self) -> AttemptResult {
        let wish = Duration::from_millis(self.dice.below(3) * 200);
        let failure = |kind| AttemptResult::Failure {
            kind,
            text: String::new(),
        };
        match self.dice.draw(ENDS) {
            End::Answer(500) => answer(500, Some(wish)),
            End::Answer(503) => answer(503, Some(wish).filter(|w| !w.is_zero())),
            End::Answer(status) => answer(status, None),
            End::Refused => failure(FailureKind::Refused),
            End::Unresolved => failure(FailureKind::Unresolved {
                again: 2 * wish + Duration::from_millis(25),
            }),
            End::Hangs if self.over => failure(FailureKind::Shutdown),
            End::Hangs => failure(FailureKind::Timeout),
        }
    }

    fn answer(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let i = self.dice.index(self.flying.len());
        let job = self.flying.swap_remove(i);
        let id = job.delivery.message.id.to_string();
        let result = self.some_answer();
        let postponed = match result {
            AttemptResult::Failure { kind, .. } => kind.postponed(),
            AttemptResult::Response { .. } => None,
        };
        let cut = postponed.is_some();
        let is_refused =
            matches!(result, AttemptResult::Failure { kind, .. } if kind == FailureKind::Refused);
        let is_attempt = !cut && !is_refused;
        let now = self.now();
        let made = self.states[&id].attempts + u32::from(is_attempt);
        let took = Duration::from_millis(self.dice.below(5) * 300);
        let (host, is_entry) = (self.states[&id].host, self.states[&id].entry.is_some());
        let has_failed = self.learn(host, &result, took);
        let expected = match judge(
            &result,
            &id,
            made,
            &self.limits.schedule,
            self.limits.schedule.attempts,
        ) {
            _ if cut => self.put_off(postponed.unwrap_or_default(), now),
            _ if is_refused => State::Dead(DeadReason::RefusedAddress),
            Verdict::Delivered => State::Delivered,
            Verdict::Dead { reason, .. } => State::Dead(reason),
            Verdict::Retry { after } => self.put_off_to((host, is_entry), after, now),
        };
        self.attempts += u64::from(is_attempt);
        let is_over = matches!(expected, State::Delivered | State::Dead(_));
        let again = !is_over || expected == State::Dead(DeadReason::Drained);
        self.retried += u64::from(again && !cut);
        let mut touched = vec![id.clone()];
        if has_failed && !self.can_park() {
            touched.extend(self.count_for_all(self.states[&id].host));
        }
        touched.extend(self.strand());
        let attempt = Attempt {
            at: now.unix_ms,
            took,
            result,
        };
        let finished = self.scheduler.finish(job, attempt, now);
        let told = self.state_of(finished);
        let expected = match self.may_wait_instead(told, expected, is_entry) {
            true => told,
            false => expected,
        };
        assert_eq!(told, expected);
        self.rank += 1;
        self.queued.insert(id.clone(), self.rank);
        let known = self.states.get_mut(&id).unwrap();
        known.postponed = cut;
        (known.state, known.attempts) = (expected, made);
        known.asks |= made > 0 && known.entry.is_some();
        self.note_if_kept(&id);
        let tells = self.check_records(&touched);
        let told = (self.limits.tells && is_attempt).then_some((id, finished));
        assert_eq!(tells, Vec::from_iter(told));
    }

    fn state_of(&self, fate: Disposition) -> State {
        let now = self.now();
        match fate {
            Disposition::Delivered => State::Delivered,
            Disposition::Waiting { after } => State::Waiting(now.mono + after),
            Disposition::Parked { after } => State::Parked(now.unix_ms + after.as_millis() as u64),
            Disposition::Deferred => State::Deferred,
            Disposition::Dead(reason) => State::Dead(reason),
        }
    }

    /// What memory alone holds waits there behind a closed endpoint, if there is room.
    fn may_wait_instead(&self, told: State, expected: State, is_entry: bool) -> bool {
        let (State::Waiting(_), State::Parked(due)) = (told, expected) else {
            return false;
        };
        let wait = Duration::from_millis(due - self.now().unix_ms);
        !is_entry && self.near().is_some_and(|near| wait <= near)
    }

    /// Every promise, after every step.
    fn check(&self) {
        let count = |f: fn(&State) -> bool| self.states.values().filter(|k| f(&k.state)).count();
        let levels = self.scheduler.levels();
        assert_eq!(levels.queued, count(|s| *s == State::Ready));
        assert_eq!(levels.in_flight, self.flying.len());
        assert_eq!(levels.scheduled, count(|s| matches!(s, State::Waiting(_))));
        let stats = self.scheduler.stats();
        assert_eq!(stats.accepted, self.states.len() as u64);
        assert_eq!(stats.delivered, count(|s| *s == State::Delivered) as u64);
        assert_eq!(stats.dead, count(|s| matches!(s, State::Dead(_))) as u64);
        assert_eq!(
            stats.parked,
            count(|s| matches!(s, State::Parked(_))) as u64
        );
        assert_eq!(stats.deferred, count(|s| *s == State::Deferred) as u64);
        assert_eq!(stats.lapsed, count(|s| *s == State::Lapsed) as u64);
        let late = self.states.values().filter(|k| k.late).count();
        assert_eq!(stats.appended, late as u64);
        assert_eq!(stats.already_active, self.already_active);
        assert_eq!(stats.attempts, self.attempts);
        assert_eq!(stats.retried, self.retried);
        let settled = stats.delivered + stats.dead + stats.parked + stats.deferred + stats.lapsed;
        assert_eq!(stats.accepted, settled + self.scheduler.active() as u64);
        let earliest = self.states.values().filter_map(|k| match k.state {
            State::Waiting(due) => Some(due),
            _ => None,
        });
        self.check_gates();
        let scan = self.scheduler.housekeeping.next();
        let deadline = earliest.chain(scan).min();
        let opens = |k: &Known| {
            let host = &self.hosts[k.host as usize];
            host.closed.max(host.paused)
        };
        let queued = || self.states.values().filter(|k| k.state == State::Ready);
        let opening = queued()
            .filter_map(opens)
            .filter(|t| *t > self.now().mono)
            .min();
        // It may wake for nothing (an alarm that a later one has replaced), never too late.
        let late = |due: Instant| self.scheduler.next_deadline().is_none_or(|d| d > due);
        assert!(
            !deadline.is_some_and(late) && !opening.is_some_and(late),
            "punctual: {deadline:?} {opening:?} {:?} now {:?}",
            self.scheduler.next_deadline(),
            self.now().mono
        );
        let leased = |k: &Known| k.state == State::Ready && k.entry.is_some();
        assert!(
            scan.is_some() || !self.states.values().any(leased),
            "no lease is forgotten"
        );
        self.check_leases();
        let memory_only = |k: &&Known| is_active(k.state) && k.entry.is_none();
        assert_eq!(
            levels.memory_only,
            self.states.values().filter(memory_only).count()
        );
        assert_eq!(levels.bytes == 0, self.scheduler.active() == 0);
    }

    /// Nothing that stands here outlives its lease unseen: what is queued is looked at in time,
    /// and what waits is due before.
    fn check_leases(&self) {
        let Some(near) = self.near() else {
            return;
        };
        let now = self.now();
        for (id, known) in self.states.iter().filter(|(_, k)| k.entry.is_some()) {
            let age = now.boot.since(known.leased);
            let oldest = match known.state {
                State::Ready => age.saturating_sub(near / 4),
                State::Waiting(due) => age + due.saturating_duration_since(now.mono),
                _ => continue,
            };
            assert!(oldest <= near, "{id}: {age:?}, lease {:?}", near * 2);
        }
    }

    fn drain(&mut self) {
        let horizon = self.now().mono + Duration::from_millis(self.dice.below(400));
        self.horizon = Some(horizon);
        if self.can_park() {
            self.horizon = Some(self.now().mono);
        }
        self.scheduler.drain(horizon, self.now());
        let stranded = self.strand();
        self.leaves(|s| matches!(s, State::Waiting(_)), stranded);
        self.check();
    }

    fn cut(&mut self) {
        self.over = true;
        self.horizon = Some(self.now().mono - Duration::from_nanos(1));
        self.scheduler.cut(self.now());
        self.leaves(
            |s| matches!(s, State::Ready | State::Waiting(_)),
            Vec::new(),
        );
        self.check();
    }

    /// What is queued behind an endpoint that fails leaves in a drain, until when is the lane's to
    /// say.
    fn strand(&mut self) -> Vec<String> {
        let mut stranded = Vec::new();
        if self.horizon.is_none() || !self.can_park() {
            return stranded;
        }
        let brief = self.now().mono + BRIEF;
        for (id, known) in &mut self.states {
            let host = &self.hosts[known.host as usize];
            let is_behind = host.closed.is_some() || host.paused.is_some_and(|at| at > brief);
            if known.state == State::Ready && is_behind {
                known.state = State::Leaving;
                stranded.push(id.clone());
            }
        }
        stranded
    }

    /// Those of `which` that are due after the horizon leave, besides those that have left already.
    fn leaves(&mut self, which: impl Fn(&State) -> bool, left: Vec<String>) {
        let (now, horizon) = (self.now(), self.horizon.unwrap());
        let ids: Vec<String> = self.states.keys().cloned().collect();
        let mut gone = left;
        for id in ids {
            let due = match self.states[&id].state {
                State::Waiting(due) => due,
                _ => now.mono,
            };
            if which(&self.states[&id].state) && due > horizon {
                let Known { host, entry, .. } = self.states[&id];
                let after = due.saturating_duration_since(now.mono);
                let state = self.put_off_to((host, entry.is_some()), after, now);
                self.states.get_mut(&id).unwrap().state = state;
                gone.push(id);
            }
        }
        self.check_records(&gone);
    }
}

fn is_active(s: State) -> bool {
    matches!(s, State::Ready | State::Flying | State::Waiting(_))
}

/// Runs the model of one seed to its end.
pub(super) fn run(seed: u64, steps: usize) {
    let mut model = Model::new(seed);
    for _ in 0..steps {
        model.step();
    }
    model.drain();
    // Some are still in flight when its time is over.
    let slow = 1 + model.dice.below(4);
    for _ in 0..model.dice.below(100) {
        if model.dice.once_in(3) {
            model.arrive();
        }
        model.hand_out();
        if model.dice.once_in(slow) {
            model.answer();
        }
        model.elapsed += Duration::from_millis(3);
        model.tick();
        model.check();
    }
    model.cut();
    while !model.flying.is_empty() {
        model.answer();
        model.check();
    }
    assert_eq!(model.scheduler.active(), 0);
    model.confirm();
    for host in 0..model.hosts.len() {
        let (name, now) = (format!("http://h{host}/").into(), model.now());
        model.scheduler.released(&name, 0, 0, None, now);
    }
    // What is known of endpoints that rest is forgotten in the end.
    let mut ticks = 0..;
    while let Some(due) = model.scheduler.next_deadline() {
        model.elapsed = model.elapsed.max(due - model.start);
        model.tick();
        assert!(ticks.next() < Some(200), "it never rests");
    }
    assert_eq!(model.scheduler.levels(), Levels::default());
    let over = model.states.values().all(|k| !is_active(k.state));
    assert!(over);
}

pub(super) fn limits(seed: u64) -> Limits {
    Model::new(seed).limits
}

pub(super) fn now() -> Now {
    Model::new(1).now()
}
