//! A seeded model of the scheduler: random arrivals, answers, pauses, a drain at the end.
//! The model knows nothing of lanes or heaps; it keeps a plain list of what should be where
//! and checks each promise after each step.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::*;
use crate::backoff::Delays;
use crate::endpoint::Endpoint;
use crate::message::Message;

const SEEDS: u64 = 100;
const STEPS: usize = 2000;

/// xorshift64*: enough for choices, and the same on every machine.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// What the model believes of one message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    Flying,
    Waiting(Instant),
    Delivered,
    Dead(DeadReason),
}

struct Model {
    rng: Rng,
    scheduler: Scheduler,
    limits: Limits,
    start: Instant,
    elapsed: Duration,
    states: HashMap<String, (State, u64, u32)>,
    flying: Vec<Delivery>,
    hosts: u64,
    /// The rank at which each message was last queued, or began to wait: first in, first out.
    queued: HashMap<String, u64>,
    rank: u64,
    horizon: Option<Instant>,
    over: bool,
}

fn delivery(id: &str, host: u64) -> Delivery {
    let raw = format!(r#"{{"url":"http://h{host}/","webhookId":"{id}","data":1}}"#);
    let parsed = Message::parse(
        raw.into_bytes(),
        1000,
        || unreachable!(),
        |url| Endpoint::parse(url).map(Arc::new),
    );
    Delivery::new(parsed.unwrap(), "test".into(), 0)
}

fn answer(status: u16, retry_after: Option<Duration>) -> Exchange {
    Exchange::Answer {
        status,
        retry_after,
        body: Box::default(),
    }
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let workers = 1 + rng.below(8) as usize;
        let limits = Limits {
            workers,
            window: 1 + rng.below(workers as u64) as usize,
            max_active: 5 + rng.below(40) as usize,
            max_active_bytes: 300 + rng.below(3000) as usize,
            schedule: RetrySchedule {
                attempts: 1 + rng.below(4) as u32,
                delays: Delays::Doubling {
                    base: Duration::from_millis(100),
                    max: Duration::from_millis(300),
                },
                jitter: 0.2,
            },
        };
        Model {
            scheduler: Scheduler::new(limits.clone()),
            limits,
            start: Instant::now(),
            elapsed: Duration::ZERO,
            states: HashMap::new(),
            flying: Vec::new(),
            hosts: 1 + rng.below(6),
            queued: HashMap::new(),
            rank: 0,
            horizon: None,
            over: false,
            rng,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: self.start + self.elapsed,
            unix_ms: self.elapsed.as_millis() as u64,
        }
    }

    fn step(&mut self) {
        match self.rng.below(10) {
            0..=3 => self.arrive(),
            4..=5 => self.hand_out(),
            6..=7 => self.answer(),
            _ => {
                self.elapsed += Duration::from_millis(self.rng.below(60));
                self.tick();
            }
        }
        self.check();
    }

    fn arrive(&mut self) {
        let id = format!("m{}", self.states.len());
        let host = self.rng.below(self.hosts);
        let delivery = delivery(&id, host);
        let active = self.states.values().filter(|s| is_active(s.0)).count();
        let state = if self.scheduler.has_room() {
            assert!(active < self.limits.max_active);
            self.scheduler.accept(delivery);
            self.rank += 1;
            self.queued.insert(id.clone(), self.rank);
            State::Ready
        } else {
            let dead = self.scheduler.overflow(delivery, self.now());
            assert_eq!(dead.id.as_deref(), Some(&*id));
            State::Dead(dead.reason)
        };
        self.states.insert(id, (state, host, 0));
    }

    fn tick(&mut self) {
        let now = self.now();
        self.scheduler.tick(now);
        let mut due: Vec<(Instant, u64, String)> = Vec::new();
        for (id, (state, _, _)) in &mut self.states {
            if let State::Waiting(at) = *state
                && at <= now.mono
            {
                *state = State::Ready;
                due.push((at, self.queued[id], id.clone()));
            }
        }
        // Equal due times (a Retry-After has no jitter) are first in, first out.
        due.sort();
        for (_, _, id) in due {
            self.rank += 1;
            self.queued.insert(id, self.rank);
        }
    }

    fn hand_out(&mut self) {
        let can_fly = |m: &Model, host: u64| {
            let busy = m
                .flying
                .iter()
                .filter(|d| m.states[&*d.message.id].1 == host);
            busy.count() < m.limits.window
        };
        let expected = self.flying.len() < self.limits.workers
            && self
                .states
                .values()
                .any(|(s, host, _)| *s == State::Ready && can_fly(self, *host));
        match self.scheduler.next() {
            None => assert!(
                !expected,
                "a free worker, a due message, and nothing handed out"
            ),
            Some(delivery) => {
                assert!(expected);
                let id = delivery.message.id.to_string();
                let (state, host, _) = self.states[&id];
                assert_eq!(state, State::Ready, "{id} was handed out early or twice");
                let first = self.queued[&id];
                let earlier = self.states.iter().any(|(other, (s, h, _))| {
                    *s == State::Ready && *h == host && self.queued[other] < first
                });
                assert!(!earlier, "{id} overtook another of its lane");
                self.states.get_mut(&id).unwrap().0 = State::Flying;
                self.flying.push(delivery);
            }
        }
    }

    fn answer(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let i = self.rng.below(self.flying.len() as u64) as usize;
        let delivery = self.flying.swap_remove(i);
        let id = delivery.message.id.to_string();
        let wish = Duration::from_millis(self.rng.below(3) * 200);
        let result = match self.rng.below(8) {
            0..=3 => answer(200, None),
            4..=5 => answer(503, Some(wish)),
            6 => answer(410, None),
            _ => Exchange::Fault {
                kind: if self.over {
                    FaultKind::Cut
                } else {
                    FaultKind::Timeout
                },
                text: String::new(),
            },
        };
        let cut = matches!(
            result,
            Exchange::Fault {
                kind: FaultKind::Cut,
                ..
            }
        );
        let now = self.now();
        let made = self.states[&id].2 + u32::from(!cut);
        let expected = self.expectation(&id, &result, cut, made, now);
        let attempt = Attempt {
            at: now.unix_ms,
            took: Duration::ZERO,
            result,
        };
        let dead = match self.scheduler.finish(delivery, attempt, now) {
            Finished::Dead(dead) => Some(dead),
            Finished::Delivered => {
                assert_eq!(expected, State::Delivered);
                None
            }
            Finished::Retry { after } => {
                assert_eq!(expected, State::Waiting(now.mono + after));
                None
            }
        };
        let reason = dead.as_ref().map(|d| d.reason);
        if let Some(dead) = dead {
            assert_eq!(dead.attempts, made);
            assert_eq!(dead.id.as_deref(), Some(&*id));
        }
        assert_eq!(
            reason,
            if let State::Dead(r) = expected {
                Some(r)
            } else {
                None
            }
        );
        self.rank += 1;
        self.queued.insert(id.clone(), self.rank);
        *self.states.get_mut(&id).unwrap() = (expected, self.states[&id].1, made);
    }

    /// Where a message must be after its `made`-th attempt came to `result`.
    fn expectation(&self, id: &str, result: &Exchange, cut: bool, made: u32, now: Now) -> State {
        let kept = |after| self.horizon.is_none_or(|h| now.mono + after <= h);
        match judge(result, id, made, &self.limits.schedule) {
            Verdict::Delivered => State::Delivered,
            Verdict::Dead { reason, .. } if !cut => State::Dead(reason),
            Verdict::Retry { after } if kept(after) => State::Waiting(now.mono + after),
            _ => State::Dead(DeadReason::Drained),
        }
    }

    /// Every promise, after every step.
    fn check(&self) {
        let count = |f: fn(&State) -> bool| self.states.values().filter(|s| f(&s.0)).count();
        let levels = self.scheduler.levels();
        assert_eq!(levels.ready, count(|s| *s == State::Ready));
        assert_eq!(levels.in_flight, self.flying.len());
        assert_eq!(levels.waiting, count(|s| matches!(s, State::Waiting(_))));
        let stats = self.scheduler.stats();
        assert_eq!(stats.accepted, self.states.len() as u64);
        assert_eq!(stats.delivered, count(|s| *s == State::Delivered) as u64);
        assert_eq!(stats.dead, count(|s| matches!(s, State::Dead(_))) as u64);
        let settled = stats.delivered + stats.dead;
        assert_eq!(stats.accepted, settled + self.scheduler.active() as u64);
        let earliest = self.states.values().filter_map(|s| match s.0 {
            State::Waiting(due) => Some(due),
            _ => None,
        });
        assert_eq!(self.scheduler.next_deadline(), earliest.min(), "punctual");
        let hosts: HashSet<u64> = self
            .states
            .values()
            .filter(|s| matches!(s.0, State::Ready | State::Flying))
            .map(|s| s.1)
            .collect();
        assert_eq!(
            levels.lanes,
            hosts.len(),
            "a lane per origin with work, no more"
        );
        assert_eq!(levels.bytes == 0, self.scheduler.active() == 0);
    }

    fn drain(&mut self) {
        let horizon = self.now().mono + Duration::from_millis(self.rng.below(400));
        self.horizon = Some(horizon);
        let dead = self.scheduler.drain(horizon, self.now());
        let late = |s: &State| matches!(s, State::Waiting(due) if *due > horizon);
        self.expect_drained(dead, late);
        self.check();
    }

    fn cut(&mut self) {
        self.over = true;
        self.horizon = Some(self.now().mono - Duration::from_nanos(1));
        let dead = self.scheduler.cut(self.now());
        self.expect_drained(dead, |s| matches!(s, State::Ready | State::Waiting(_)));
        self.check();
    }

    fn expect_drained(&mut self, dead: Vec<DeadLetter>, which: impl Fn(&State) -> bool) {
        let mut got: Vec<String> = dead.iter().map(|d| d.id.clone().unwrap().into()).collect();
        let mut want: Vec<String> = Vec::new();
        for (id, (state, _, _)) in &mut self.states {
            if which(state) {
                *state = State::Dead(DeadReason::Drained);
                want.push(id.clone());
            }
        }
        got.sort();
        want.sort();
        assert_eq!(got, want);
        assert!(dead.iter().all(|d| d.reason == DeadReason::Drained));
    }
}

fn is_active(s: State) -> bool {
    matches!(s, State::Ready | State::Flying | State::Waiting(_))
}

#[test]
fn nothing_is_lost_early_late_or_in_two_places() {
    for seed in 0..SEEDS {
        let mut model = Model::new(seed);
        for _ in 0..STEPS / 10 * (1 + seed as usize % 10) {
            model.step();
        }
        model.drain();
        for _ in 0..100 {
            model.hand_out();
            model.answer();
            model.elapsed += Duration::from_millis(3);
            model.tick();
            model.check();
        }
        model.cut();
        while !model.flying.is_empty() {
            model.answer();
            model.check();
        }
        assert_eq!(model.scheduler.active(), 0, "seed {seed}");
        assert_eq!(model.scheduler.levels(), Levels::default(), "seed {seed}");
        assert!(
            model.states.values().all(|s| !is_active(s.0)),
            "seed {seed}"
        );
    }
}

#[test]
fn lanes_take_turns_and_none_holds_more_than_its_window() {
    let mut s = Scheduler::new(Limits {
        workers: 8,
        window: 2,
        max_active: 1000,
        max_active_bytes: 1 << 20,
        schedule: RetrySchedule {
            attempts: 1,
            delays: Delays::List(vec![]),
            jitter: 0.0,
        },
    });
    for n in 0..50 {
        s.accept(delivery(&format!("busy{n}"), 1));
    }
    for n in 0..3 {
        s.accept(delivery(&format!("calm{n}"), 2));
    }
    let out: Vec<String> = std::iter::from_fn(|| s.next())
        .map(|d| d.message.id.to_string())
        .collect();
    assert_eq!(out, ["busy0", "calm0", "busy1", "calm1"]);
    assert_eq!(s.levels().in_flight, 4);
}

#[test]
fn bytes_bound_what_is_held_as_well_as_the_count() {
    let mut limits = Model::new(1).limits;
    limits.max_active = 100;
    limits.max_active_bytes = 120;
    let mut s = Scheduler::new(limits);
    s.accept(delivery("a", 1));
    assert!(s.has_room());
    s.accept(delivery("b", 1));
    s.accept(delivery("c", 1));
    assert!(!s.has_room());
}
