//! A model of limits for all replicas: real lanes and tables, and a twin of the script that lends.
//!
//! **It believes** nothing of its own about who may have how much: the twin
//! (`delivery/limits/book.rs`) decides, as the script does in Redis, which `tests/it/limits.rs` holds
//! to the same.
//!
//! **It does**, step by step of [`STEP`]: each replica asks when its lane claims something, the question
//! takes its time to Redis and the answer back, some are lost on the way, and the timer hears of the
//! answer a little later. Replicas begin attempts as they may. As dice decide, replicas are added,
//! killed, stalled for a moment, have much to do or nothing, and answers become slow or fast; Redis
//! goes away, forgets all and comes back, to one earlier than to another.
//!
//! **It checks** after each step that what replicas believe they may have at a time is together never
//! more than the limit, and that no ten seconds see more starts than the rate allows. And over time
//! that replicas with as much to do get as much, that what a killed one leaves is used by the others,
//! and that an outage leaves to each what it has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::table::{Question, Table};
use crate::delivery::Job;
use crate::delivery::limits::lender_model::LenderModel;
use crate::delivery::limits::{CALM, Grant, Standing};
use crate::delivery::rules::EndpointRule;
use crate::dice::{Dice, Odds, seeds};
use crate::scheduler::lane::{HealthSignal, Lane, LaneLimits};

const STEP: Duration = Duration::from_millis(2);
const WINDOW: Duration = Duration::from_secs(10);
/// Where answers get lost, each replica also stalls, once in so many steps.
const STALL: u64 = 400;
/// What happens to the replicas from time to time, and how often.
const TURNS: Odds<fn(&mut World)> = &[
    (2, World::add_one),
    (1, World::kill_one),
    (1, |world| world.load_one(0)),
    (1, World::load_one_anew),
    (1, |world| world.answer = world.dice.millis(2, 200)),
];
const LIMITS: LaneLimits = LaneLimits {
    window: 32,
    backoff_base: Duration::from_secs(1),
    backoff_max: Duration::from_secs(1),
};

type Grants = Vec<(Arc<str>, Grant)>;

/// What a replica has asked, on its way.
enum Exchange {
    None,
    /// It reaches Redis then.
    Question(Vec<Question>, Instant, Instant),
    /// The answer comes then, or the connection breaks.
    Answer(Option<(Vec<Question>, Vec<Grant>)>, Vec<Question>, Instant),
}

struct Replica {
    name: String,
    lane: Lane,
    table: Table,
    exchange: Exchange,
    commands: VecDeque<(Instant, Grants)>,
    in_flight: Vec<Instant>,
    /// What stands in its queue at most.
    load: usize,
    /// Redis cannot be reached until then.
    cut: Instant,
    /// It does nothing until then.
    stalls: Instant,
    queued: usize,
    /// Its rule has a limit of these.
    has_places: bool,
    began: u64,
}

struct World {
    dice: Dice,
    begun: Instant,
    now: Instant,
    rule: EndpointRule,
    lender: LenderModel,
    replicas: Vec<Replica>,
    born: u32,
    starts: VecDeque<Instant>,
    /// Starts that are too many once in a while, after an outage.
    slack: u128,
    /// Of a hundred answers.
    lost: u64,
    answer: Duration,
}

/// Attempts at a time, and starts in a second.
fn rule(max_in_flight: Option<usize>, rate: Option<f64>) -> EndpointRule {
    let pace = rate.map(|rate| Duration::from_secs(1).div_f64(rate));
    EndpointRule::of_limits(max_in_flight, pace)
}

fn standing(is_away: bool, calm_until: Instant) -> Standing {
    Standing {
        is_away,
        calm_until,
        replicas: 3,
    }
}

impl World {
    fn new(seed: u64, rule: EndpointRule, lost: u64) -> World {
        let now = Instant::now();
        World {
            dice: Dice::new(seed),
            begun: now,
            now,
            rule,
            lender: LenderModel::default(),
            replicas: Vec::new(),
            born: 0,
            starts: VecDeque::new(),
            slack: 0,
            lost,
            answer: Duration::from_millis(20),
        }
    }

    fn add(&mut self, load: usize) {
        self.born += 1;
        let standing = standing(false, self.now);
        let mut lane = Lane::new(&LIMITS, self.now);
        lane.apply_rule(Some(&self.rule), &LIMITS, Some(standing), self.now);
        self.replicas.push(Replica {
            name: format!("r{}", self.born),
            lane,
            table: Table::default(),
            exchange: Exchange::None,
            commands: VecDeque::new(),
            in_flight: Vec::new(),
            load,
            cut: self.now,
            stalls: self.now,
            queued: 0,
            has_places: self.rule.max_in_flight.is_some(),
            began: 0,
        });
    }

    fn add_one(&mut self) {
        if self.replicas.len() < 6 {
            self.add(40);
        }
    }

    /// Its last questions may still arrive; that lends what nobody uses.
    fn kill_one(&mut self) {
        if self.replicas.len() > 1 {
            let which = self.dice.index(self.replicas.len());
            self.replicas.remove(which);
        }
    }

    fn load_one(&mut self, load: usize) {
        let which = self.dice.index(self.replicas.len());
        self.replicas[which].load = load;
    }

    fn load_one_anew(&mut self) {
        let load = 1 + self.dice.index(60);
        self.load_one(load);
    }

    /// Redis cannot be reached for so long, and for a little longer by some; it forgets all.
    fn cut(&mut self, time: Duration) {
        self.lender = LenderModel::default();
        let now = self.now;
        for replica in &mut self.replicas {
            let exchange = std::mem::replace(&mut replica.exchange, Exchange::None);
            if let Exchange::Question(questions, ..)
            | Exchange::Answer(Some((questions, _)), ..)
            | Exchange::Answer(None, questions, _) = exchange
            {
                replica.table.take_back(&questions);
            }
            replica.work(now + STEP * 3, self.answer, &mut self.dice);
            replica.lane.keep_share(standing(true, now), now);
            replica.note(now);
            replica.cut = now + time + self.dice.millis(0, 500);
        }
    }

    fn step(&mut self) {
        self.dice.step();
        self.now += STEP;
        for n in 0..self.replicas.len() {
            self.ask(n);
            let (now, answer) = (self.now, self.answer);
            let replica = &mut self.replicas[n];
            if replica.stalls > now {
                continue;
            }
            if self.lost > 0 && self.dice.once_in(STALL) {
                replica.stalls = now + self.dice.millis(5, 400);
            }
            for at in replica.work(now, answer, &mut self.dice) {
                self.starts.push_back(at);
            }
        }
        let now = self.now;
        while self.starts.front().is_some_and(|at| now - *at >= WINDOW) {
            self.starts.pop_front();
        }
        self.check();
    }

    fn ask(&mut self, n: usize) {
        let (now, dice) = (self.now, &mut self.dice);
        let replica = &mut self.replicas[n];
        replica.exchange = match std::mem::replace(&mut replica.exchange, Exchange::None) {
            Exchange::None if replica.cut > now => Exchange::None,
            Exchange::None => match replica.table.take_due(now, 64) {
                due if due.is_empty() => Exchange::None,
                due => Exchange::Question(due, now, now + dice.millis(0, 15)),
            },
            Exchange::Question(questions, asked, at) if at <= now => {
                let us = (now - self.begun).as_micros() as u64 + 1_000_000_000_000;
                let answered = now + dice.millis(0, 15);
                let lend = |(_, claim): &Question| {
                    let lent = self.lender.ask(&replica.name, *claim, us);
                    let (held, goal, replicas, starts, wait) = lent;
                    Grant {
                        asked,
                        answered,
                        held,
                        goal,
                        replicas,
                        starts,
                        wait: Duration::from_micros(wait as u64),
                    }
                };
                match dice.below(100) < self.lost {
                    // It did not even get there, or only its answer did not.
                    true => {
                        if dice.once_in(2) {
                            questions.iter().map(lend).for_each(drop);
                        }
                        Exchange::Answer(None, questions, now + dice.millis(10, 2500))
                    }
                    false => {
                        let grants = questions.iter().map(lend).collect();
                        Exchange::Answer(Some((questions, grants)), Vec::new(), answered)
                    }
                }
            }
            Exchange::Answer(answer, questions, at) if at <= now => {
                match answer {
                    Some((questions, grants)) => {
                        let grants = replica.table.take_answers(questions, grants);
                        replica
                            .commands
                            .push_back((now + dice.millis(0, 5), grants));
                    }
                    None => replica.table.take_back(&questions),
                }
                Exchange::None
            }
            exchange => exchange,
        };
    }

    fn check(&self) {
        let places: u32 = self.replicas.iter().map(|r| r.lane.places(self.now)).sum();
        if let Some(limit) = self.rule.max_in_flight {
            assert!(places <= limit as u32, "{places} places of {limit}");
        }
        if let Some(pace) = self.rule.pace {
            let most = WINDOW.as_nanos().div_ceil(pace.as_nanos()) + self.slack;
            let starts = self.starts.len();
            assert!(
                starts as u128 <= most,
                "{starts} starts in ten seconds, not {most}"
            );
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }
}

impl Replica {
    /// All that its timer does in a moment. Answers what began.
    fn work(&mut self, now: Instant, answer: Duration, dice: &mut Dice) -> Vec<Instant> {
        if self.cut <= now {
            self.lane.share_again(standing(false, now + CALM), now);
        }
        while self.commands.front().is_some_and(|(at, _)| *at <= now) {
            for (key, grant) in self.commands.pop_front().unwrap().1 {
                self.lane.grant(&grant, now);
                let claim = self.lane.claim(true, now).unwrap_or_default();
                self.table.note(key, claim, true);
            }
        }
        let before = self.in_flight.len();
        self.in_flight.retain(|ends| *ends > now);
        for _ in self.in_flight.len()..before {
            let took = answer;
            self.lane
                .release(HealthSignal::Alive { took }, &LIMITS, now);
            self.note(now);
        }
        while self.queued < self.load {
            self.queued += 1;
            self.lane.queue.push(Job::example());
            self.note(now);
        }
        self.note(now);
        let mut began = Vec::new();
        let has_places = self.has_places;
        while self.lane.take(now).is_some() {
            self.queued -= 1;
            self.began += 1;
            began.push(now);
            assert!(!has_places || self.lane.places(now) > 0, "it has no loan");
            self.in_flight
                .push(now + answer / 2 + dice.millis(0, answer.as_millis() as u64));
            self.note(now);
        }
        began
    }

    fn note(&mut self, now: Instant) {
        if let Some(claim) = self.lane.claim(false, now) {
            self.table.note("h".into(), claim, false);
        }
    }
}

#[test]
fn replicas_that_come_go_and_lose_answers_never_have_more_than_the_limits() {
    for seed in seeds(1..41) {
        let limit = Some(1 + seed as usize % 7);
        let rule = match seed % 3 {
            0 => rule(limit, None),
            1 => rule(None, Some(100.0)),
            _ => rule(limit, Some(1.0 + seed as f64 * 10.0)),
        };
        let mut world = World::new(seed, rule, 5);
        world.add(50);
        for _ in 0..40 {
            let time = world.dice.millis(1, 800);
            world.run(time);
            world.dice.draw(TURNS)(&mut world);
        }
    }
}

#[test]
fn whoever_has_as_much_to_do_gets_as_much() {
    for (limit, rate, count) in [
        (None, Some(100.0), 3),
        (Some(4), None, 3),
        (Some(2), None, 5),
        (None, Some(200.0 / 60.0), 3),
    ] {
        let mut world = World::new(7, rule(limit, rate), 0);
        world.add(50);
        world.run(Duration::from_secs(3));
        (1..count).for_each(|_| world.add(50));
        world.run(Duration::from_secs(2));
        world.replicas.iter_mut().for_each(|r| r.began = 0);
        world.run(Duration::from_secs(60));
        let began: Vec<u64> = world.replicas.iter().map(|r| r.began).collect();
        let (least, most) = (began.iter().min().unwrap(), began.iter().max().unwrap());
        assert!(2 * most <= 5 * least, "{limit:?} {rate:?}: {began:?}");
    }
}

#[test]
fn the_rate_is_used_when_one_of_three_is_killed() {
    for seed in seeds(1..6) {
        let mut world = World::new(seed, rule(None, Some(100.0)), 0);
        (0..3).for_each(|_| world.add(50));
        world.run(Duration::from_secs(5));
        world.replicas.remove(1);
        world.run(Duration::from_secs(6));
        let starts = world.starts.len();
        assert!(starts >= 960, "{starts}");
    }
}

#[test]
fn stalls_of_replicas_that_are_all_busy_do_not_add_up() {
    for seed in seeds(1..9) {
        let mut world = World::new(seed, rule(None, Some(100.0)), 1);
        (0..3).for_each(|_| world.add(50));
        world.run(Duration::from_secs(30));
    }
}

#[test]
fn an_outage_of_redis_leaves_to_each_what_it_has() {
    for seed in seeds(1..21) {
        let rule = match seed % 2 {
            0 => rule(Some(7), None),
            _ => rule(None, Some(100.0)),
        };
        let mut world = World::new(seed, rule, 0);
        (0..3).for_each(|_| world.add(50));
        world.run(Duration::from_secs(11));
        // One has nothing to do until Redis is back, and then as much as the others.
        if seed % 4 == 0 {
            world.replicas[2].load = 0;
            world.run(Duration::from_secs(3));
        }
        // The lender does not know what was begun without it.
        world.slack = 6;
        let time = world.dice.millis(200, 5000);
        world.cut(time);
        // It is back before the others.
        world.replicas[2].cut = world.now + time;
        world.run(time + 2 * STEP);
        world.replicas[2].load = 50;
        world.replicas.iter_mut().for_each(|r| r.began = 0);
        world.run(Duration::from_secs(11));
        let most = world.replicas.iter().map(|r| r.began).max().unwrap();
        assert!(world.replicas.iter().all(|r| r.began * 5 >= most * 2));
    }
}
