//! Everything at once, in any order, so that no two features undo each other.
//!
//! **It believes** little: which messages have come, and which have left, as what.
//!
//! **It does**, as dice decide ([`ACTS`]): messages come, some too old, some for a later time, a
//! third with an order key; attempts begin and end; an endpoint is paused and resumed; Redis is over
//! its budget and under it again; what was parked comes back, due or not; the machine sleeps. Between
//! any two of these the ledger moves what it is to move, and now and then finds that an entry is
//! another's; and the recaller brings what backlogs are asked for.
//!
//! **It checks** after each step that no message leaves twice, that all that came is counted in one
//! place, and that what lanes add up to is what the scheduler has added up. At the end nothing is
//! left.
//!
//! Whether a message goes where it should is for `model`, and what users see over time for
//! `simulation`.

use std::collections::HashMap;
use std::time::Duration;

use super::model::{boot, delivery, limits};
use crate::delivery::hold::{Cause, Hold};
use crate::delivery::parked::{Parked, Until, Want};
use crate::delivery::receipt::{Receipt, Turn};
use crate::delivery::{AttemptResult, Attempts, FailureKind};
use crate::dice::{Dice, Odds, seeds};
use crate::message::entry::EntryId;
use crate::scheduler::*;

/// What happens in a step, and how often.
const ACTS: Odds<fn(&mut Soup)> = &[
    (60, Soup::arrive),
    (40, Soup::pass_time),
    (30, Soup::hand_out),
    (30, Soup::answer),
    (10, Soup::come_back),
    (10, Soup::fill_or_empty_redis),
    (10, Soup::pause),
    (10, Soup::resume),
];

/// How an attempt ends, and how often: with this status, or without any.
const ENDS: Odds<Option<u16>> = &[
    (6, Some(200)),
    (2, Some(500)),
    (1, Some(410)),
    (1, Some(429)),
    (6, None),
];

/// An entry of which the ledger finds, once in so many records, that it is another's.
const LOST: u64 = 12;
/// The same for an attempt whose beginning it was to note.
const LOST_AT_ITS_BEGINNING: u64 = 10;
/// Once in so many times a step takes longer than any lease or age.
const LONG_SLEEP: u64 = 160;

struct Soup {
    dice: Dice,
    scheduler: Scheduler,
    start: Instant,
    elapsed: Duration,
    flying: Vec<Job>,
    arrived: u64,
    /// What became of those that left, by id: a second time is a mistake.
    left: HashMap<String, &'static str>,
    /// Parked, and not back yet, with what the ledger has not confirmed.
    parked: Vec<Parked>,
    keys: HashMap<String, Arc<str>>,
}

impl Soup {
    fn new(seed: u64) -> Soup {
        let mut dice = Dice::new(seed);
        let base = limits(dice.below(1000));
        let limits = Limits {
            parking: Parking::InRedis {
                near_window: Duration::from_millis(200 + dice.below(400)),
            },
            max_age: Duration::from_millis(500 + dice.below(3000)),
            gone: Duration::from_millis(dice.below(300)),
            bridge: false,
            lane_by_url: false,
            ..base
        };
        Soup {
            dice,
            scheduler: Scheduler::new(limits, EndpointRules::default()),
            start: Instant::now(),
            elapsed: Duration::ZERO,
            flying: Vec::new(),
            arrived: 0,
            left: HashMap::new(),
            parked: Vec::new(),
            keys: HashMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: self.start + self.elapsed,
            boot: boot(self.elapsed),
            unix_ms: 1_000_000 + self.elapsed.as_millis() as u64,
        }
    }

    fn arrive(&mut self) {
        let (now, host) = (self.now(), self.dice.below(3));
        self.arrived += 1;
        let mut new = delivery(&format!("m{}", self.arrived), host);
        new.message.deliver_at = None;
        new.received = now.unix_ms - self.dice.below(1500);
        new.lease_renewed_at = now.boot;
        if !self.dice.once_in(4) {
            let (ms, seq) = (self.arrived, 0);
            new.entry = Some(EntryId::new(ms, seq));
        }
        if self.dice.once_in(3) {
            let key = format!("k{}", self.dice.below(3));
            self.keys
                .insert(new.message.id.to_string(), key.clone().into());
            new.message.overrides.order_key = Some(key.into());
        }
        if self.dice.once_in(6) {
            new.message.deliver_at = Some(now.unix_ms + self.dice.below(900));
        }
        self.scheduler.accept(new, now);
    }

    /// One that was parked comes back as another entry, whether it is due or not.
    fn come_back(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        let at = self.dice.index(self.parked.len());
        let parked = self.parked.remove(at);
        self.bring_back(parked);
    }

    /// What was asked for comes, of the backlogs at least.
    fn release(&mut self) {
        for want in self.scheduler.wants(self.now()) {
            let Want::Release {
                name,
                count,
                latest,
            } = want
            else {
                panic!("{want:?}");
            };
            let is_its = |p: &mut Parked| {
                let is_old = latest.is_none_or(|latest| p.received <= latest);
                is_old && is_in(p, &name)
            };
            let out: Vec<Parked> = self.parked.extract_if(.., is_its).take(count).collect();
            let left = self
                .parked
                .iter_mut()
                .filter_map(|p| is_its(p).then_some(()))
                .count();
            let now = self.now();
            let its = self.parked.iter().filter(|p| is_in(p, &name));
            let oldest = its.map(|p| p.received).min();
            self.scheduler
                .released(&name, out.len(), left as u64, oldest, now);
            for parked in out {
                self.bring_back(parked);
            }
        }
    }

    fn bring_back(&mut self, parked: Parked) {
        let now = self.now();
        let host: u64 = parked.url["http://h".len()..][..1].parse().unwrap();
        let mut back = delivery(&parked.id, host);
        (back.received, back.lease_renewed_at) = (parked.received, now.boot);
        back.attempts = Attempts::of_entry(parked.attempts, 1);
        self.arrived += 1;
        let (ms, seq) = (self.arrived, 0);
        back.entry = Some(EntryId::new(ms, seq));
        back.message.overrides.order_key = self.keys.get(&*parked.id).cloned();
        back.head = parked.head.clone();
        self.left.remove(&*parked.id);
        if let Until::Released { name, .. } = parked.until {
            back.backlog = Some(name);
        }
        self.scheduler.accept(back, now);
    }

    fn answer(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.dice.index(self.flying.len());
        let job = self.flying.swap_remove(at);
        let now = self.now();
        if job.delivery.notes_first() && self.dice.once_in(LOST_AT_ITS_BEGINNING) {
            let not_begun = vec![job];
            let receipt = Receipt {
                not_begun,
                ..Receipt::default()
            };
            return self.scheduler.take_receipt(receipt, now);
        }
        let result = match self.dice.draw(ENDS) {
            Some(status) => AttemptResult::Response {
                status,
                retry_after: None,
                body: Box::default(),
            },
            None => AttemptResult::Failure {
                kind: FailureKind::Connect,
                text: "refused".into(),
            },
        };
        let attempt = Attempt {
            at: now.unix_ms,
            took: Duration::from_millis(5),
            result,
        };
        self.scheduler.finish(job, attempt, now);
    }

    /// What the ledger does: it moves all, or finds that an entry is another's.
    fn write(&mut self) {
        let now = self.now();
        let mut receipt = Receipt::default();
        for record in self.scheduler.outbox().drain(..) {
            let lost = self.dice.once_in(LOST);
            match record {
                Record::Move(Move::Park(parked)) => {
                    receipt.moved.extend(parked.entry);
                    let lost = lost && parked.entry.is_some();
                    match parked.until {
                        Until::Due(_) => receipt.not_parked += u64::from(lost),
                        Until::Released { .. } => receipt.not_deferred += u64::from(lost),
                    }
                    let before = self.left.insert(parked.id.to_string(), "parked");
                    assert_eq!(before, None, "{} left twice", parked.id);
                    if !lost {
                        self.parked.push(*parked);
                    }
                }
                Record::Move(Move::Bury(letter)) => {
                    receipt.moved.extend(letter.entry);
                    receipt.not_buried += u64::from(lost && letter.entry.is_some());
                    let id = letter.id.unwrap().to_string();
                    let before = self.left.insert(id.clone(), "dead");
                    assert_eq!(before, None, "{id} left twice");
                }
                Record::Move(Move::Note(entry, _)) if lost => receipt.lapsed.push(entry),
                Record::Move(Move::Queue(delivery)) => {
                    let turn = match self.dice.below(4) {
                        _ if lost => Turn::Lost,
                        0 => Turn::Follows,
                        _ => Turn::Head,
                    };
                    if turn != Turn::Head {
                        let id = delivery.message.id.to_string();
                        let before = self.left.insert(id.clone(), "queued");
                        assert_eq!(before, None, "{id} left twice");
                    }
                    receipt.turns.push((*delivery, turn));
                }
                _ => {}
            }
        }
        self.scheduler.take_receipt(receipt, now);
    }

    fn hand_out(&mut self) {
        let now = self.now();
        self.flying.extend(self.scheduler.next(now));
    }

    fn fill_or_empty_redis(&mut self) {
        let over = self.dice.once_in(2);
        self.scheduler.set_over_budget(over);
    }

    fn pause(&mut self) {
        let now = self.now();
        let until = now.mono.checked_add(self.dice.millis(0, 400));
        let cause = Cause::Paused;
        self.scheduler
            .hold("http://h1".into(), Hold { cause, until }, now);
    }

    fn resume(&mut self) {
        self.scheduler.resume("http://h1", self.now());
    }

    fn pass_time(&mut self) {
        self.elapsed += self.dice.millis(0, 40);
        if self.dice.once_in(LONG_SLEEP) {
            self.elapsed += Duration::from_millis(1500);
        }
    }

    fn step(&mut self) {
        self.dice.step();
        self.dice.draw(ACTS)(self);
        self.scheduler.wake(self.now());
        self.scheduler.tick(self.now());
        self.write();
        self.release();
        self.write();
        self.check();
    }

    fn check(&self) {
        let stats = self.scheduler.stats();
        let gone = stats.delivered + stats.dead + stats.parked + stats.deferred + stats.lapsed;
        let active = self.scheduler.active() as u64;
        assert_eq!(stats.accepted, gone + active);
        let levels = self.scheduler.levels();
        assert_eq!(levels.in_flight, self.flying.len());
        assert_eq!(levels.bytes == 0, active == 0);
        let mut tally = crate::scheduler::lane::Weight::default();
        for (_, lane) in self.scheduler.lanes.iter() {
            tally.replace(Default::default(), crate::scheduler::lane::Weight::of(lane));
        }
        assert_eq!(self.scheduler.lanes.tally(), &tally);
    }
}

fn is_in(parked: &Parked, backlog: &str) -> bool {
    matches!(&parked.until, Until::Released { name, .. } if **name == *backlog)
}

#[test]
fn each_message_is_in_one_place_whatever_happens() {
    for seed in seeds(0..60) {
        let mut soup = Soup::new(seed);
        for _ in 0..1500 {
            soup.step();
        }
        let dead = soup.scheduler.stats().dead;
        assert!(dead > 0);
        soup.scheduler.drain(soup.now().mono, soup.now());
        soup.write();
        soup.scheduler.cut(soup.now());
        soup.write();
        while !soup.flying.is_empty() {
            soup.answer();
            soup.write();
        }
        soup.check();
        assert_eq!(soup.scheduler.active(), 0);
    }
}
