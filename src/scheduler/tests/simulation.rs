//! A small world around the scheduler, for what users see over time.
//!
//! **In it are** a store, which brings back what is parked when it is due, keeps the backlogs and
//! says whose turn it is among messages with one order key; four endpoints, each of which fails for
//! a while and then answers, and one of which has a rule with a rate and a limit; an operator who
//! pauses another one now and then; and a clock that goes on by [`STEP`].
//!
//! **It does** what the real ones do, always in the same order: what is due comes back, the scheduler
//! looks at the time, workers take what they get, attempts that have lasted as long as dice say are
//! answered, the ledger writes. Messages come as dice decide, half of them with a key.
//!
//! **It checks** as attempts begin that each message with a key has its turn and nothing goes to a
//! paused endpoint; and at the end that all are delivered, each key in the order in which its messages
//! came, within the rate, the limit and the window.
//!
//! Where each message is after each step is for `model`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::delivery::hold::{Cause, Hold};
use crate::delivery::parked::{Parked, Until, Want};
use crate::delivery::receipt::{Receipt, Turn};
use crate::delivery::rules::{EndpointRule, Match};
use crate::delivery::{AttemptResult, Attempts, FailureKind};
use crate::dice::{Dice, seeds};
use crate::message::Message;
use crate::message::endpoint::Endpoint;
use crate::message::entry::EntryId;
use crate::scheduler::*;

const STEP: Duration = Duration::from_millis(2);
/// Fewer than so many steps lie between two messages.
const STEPS_BETWEEN: u64 = 8;
/// Once in so many messages an operator pauses an endpoint, or resumes it.
const PAUSED: u64 = 20;

struct World {
    dice: Dice,
    scheduler: Scheduler,
    start: Instant,
    elapsed: Duration,
    /// When each attempt in flight is answered.
    flying: Vec<(Duration, Job)>,
    parked: BTreeMap<(u64, usize), Parked>,
    backlogs: HashMap<Arc<str>, VecDeque<Parked>>,
    /// The heads of keys, and those that follow each.
    followers: HashMap<Arc<str>, VecDeque<Parked>>,
    parkings: usize,
    entries: u64,
    /// Keys, in the order in which their messages came.
    order: HashMap<String, Vec<String>>,
    settled: HashMap<String, Vec<String>>,
    /// When attempts to the endpoint with a rate began.
    begun: Vec<Duration>,
    /// Whether an operator has paused endpoint 2.
    held: bool,
    /// Until when each endpoint fails.
    sick: Vec<Duration>,
    most_in_flight: Vec<usize>,
}

fn limits(dice: &mut Dice) -> Limits {
    let limits = super::model::limits(dice.below(1000));
    Limits {
        workers: 12,
        lanes: crate::scheduler::lane::LaneLimits {
            window: 3,
            backoff_base: Duration::from_millis(20),
            backoff_max: Duration::from_millis(200),
        },
        schedule: crate::delivery::retry_schedule::RetrySchedule {
            attempts: 1000,
            ..limits.schedule
        },
        share: 10,
        share_bytes: 1 << 20,
        max_active: 100,
        max_active_bytes: 1 << 20,
        timeout: Duration::from_secs(15),
        max_age: Duration::MAX,
        parking: Parking::InRedis {
            near_window: Duration::from_millis(150),
        },
        bridge: false,
        tells: false,
        gone: Duration::ZERO,
        lane_by_url: false,
    }
}

/// Host 0 may have two attempts at a time, and begin one every 5 ms.
fn rules() -> EndpointRules {
    EndpointRules::new(vec![EndpointRule {
        matches: Match::Prefix("http://h0/".into()),
        ..EndpointRule::of_limits(Some(2), Some(Duration::from_millis(5)))
    }])
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let scheduler = Scheduler::new(limits(&mut dice), rules());
        let sick = (0..4)
            .map(|_| Duration::from_millis(dice.below(2000)))
            .collect();
        World {
            dice,
            scheduler,
            start: Instant::now(),
            elapsed: Duration::ZERO,
            flying: Vec::new(),
            parked: BTreeMap::new(),
            backlogs: HashMap::new(),
            followers: HashMap::new(),
            parkings: 0,
            entries: 0,
            order: HashMap::new(),
            settled: HashMap::new(),
            begun: Vec::new(),
            held: false,
            sick,
            most_in_flight: vec![0; 4],
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: self.start + self.elapsed,
            boot: super::model::boot(self.elapsed),
            unix_ms: 1_000_000 + self.elapsed.as_millis() as u64,
        }
    }

    fn accept(&mut self, raw: Vec<u8>) {
        self.accept_from(None, raw, None, 0);
    }

    fn accept_from(
        &mut self,
        backlog: Option<Arc<str>>,
        raw: Vec<u8>,
        head: Option<Arc<str>>,
        attempts: u32,
    ) {
        let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
        let message = Message::parse(raw, 1000, || unreachable!(), endpoint).unwrap();
        self.entries += 1;
        let delivery = Delivery {
            entry: Some(EntryId::new(self.entries, 0)),
            attempts: Attempts::of_entry(attempts, 1),
            head,
            backlog,
            ..Delivery::new(message, "test".into(), 0, self.now().boot)
        };
        self.scheduler.accept(delivery, self.now());
    }

    fn arrive(&mut self, n: usize) {
        let (host, key) = (self.dice.below(4), format!("k{}", self.dice.below(5)));
        // Every other one has no key, so that something overtakes those that have.
        let key = [Some(key), None][n % 2].clone();
        let id = match &key {
            Some(key) => format!("{key}-{host}:{n}"),
            None => format!("free:{n}"),
        };
        let key = key.map(|key| format!(r#","orderKey":"{key}""#));
        let more = key.as_deref().unwrap_or_default();
        let raw = format!(r#"{{"url":"http://h{host}/","webhookId":"{id}","data":1{more}}}"#);
        if key.is_some() {
            let group = id.split(':').next().unwrap().to_owned();
            self.order.entry(group).or_default().push(id);
        }
        self.accept(raw.into_bytes());
    }

    fn step(&mut self) {
        self.dice.step();
        self.elapsed += STEP;
        let now = self.now();
        // The store keeps those of one due time in order.
        while let Some(first) = self
            .parked
            .first_entry()
            .filter(|e| e.key().0 <= now.unix_ms)
        {
            let Parked {
                message,
                head,
                attempts,
                ..
            } = first.remove();
            self.accept_from(None, message, head, attempts);
        }
        self.scheduler.tick(now);
        while let Some(job) = self.scheduler.next(now) {
            let id = job.delivery.message.id.to_string();
            let key = id.split(':').next().unwrap();
            if let Some(order) = self.order.get(key) {
                let done = self.settled.get(key).map_or(0, Vec::len);
                assert_eq!(order[done], id, "not its turn");
            }
            let host = self.host(&job.delivery);
            assert!(!self.held || host != 2, "it is paused");
            if host == 0 {
                self.begun.push(self.elapsed);
            }
            // The one with a rate could do more.
            let longest = if host == 0 { 3 } else { 20 };
            let takes = self.dice.millis(1, 1 + longest);
            self.flying.push((self.elapsed + takes, job));
            let flying = self
                .flying
                .iter()
                .filter(|(_, job)| self.host(&job.delivery) == host);
            self.most_in_flight[host] = self.most_in_flight[host].max(flying.count());
        }
        let answered = |(at, _): &mut (Duration, Job)| *at <= self.elapsed;
        let answered: Vec<_> = self.flying.extract_if(.., answered).collect();
        for (_, job) in answered {
            self.answer(job);
        }
        self.write();
    }

    /// What the ledger does.
    fn write(&mut self) {
        let now = self.now();
        let mut receipt = Receipt::default();
        let records: Vec<Record> = self.scheduler.outbox().drain(..).collect();
        for record in records {
            let parked = match record {
                Record::Move(Move::Park(parked)) => *parked,
                Record::Move(Move::Queue(delivery)) => {
                    let turn = self.queue(&delivery);
                    receipt.turns.push((*delivery, turn));
                    continue;
                }
                Record::Move(Move::Advance(_, key)) => {
                    self.advance(key);
                    continue;
                }
                _ => continue,
            };
            receipt.moved.extend(parked.entry);
            match parked.until.clone() {
                Until::Due(due) => {
                    // What came just before this step was parked by the clock of then.
                    assert!(due + 2 >= now.unix_ms);
                    self.parkings += 1;
                    self.parked.insert((due, self.parkings), parked);
                }
                Until::Released { name, first } => {
                    let backlog = self.backlogs.entry(name).or_default();
                    match first {
                        true => backlog.push_front(parked),
                        false => backlog.push_back(parked),
                    }
                }
            }
        }
        self.scheduler.take_receipt(receipt, now);
        for want in self.scheduler.wants(self.now()) {
            self.release(want);
        }
    }

    /// Whose turn it is, as the store says.
    fn queue(&mut self, delivery: &Delivery) -> Turn {
        let Some(followers) = self.followers.get_mut(&delivery.message.group().unwrap()) else {
            let key = delivery.message.group().unwrap();
            self.followers.insert(key, VecDeque::new());
            return Turn::Head;
        };
        let raw = delivery.message.raw().to_vec();
        let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
        let message = Message::parse(raw, 1000, || unreachable!(), endpoint).unwrap();
        let copy = Delivery::new(message, "test".into(), 0, delivery.lease_renewed_at);
        followers.push_back(Parked::new(copy, Until::Due(0)));
        Turn::Follows
    }

    /// The next is parked, and due.
    fn advance(&mut self, key: Arc<str>) {
        let Some(mut next) = self.followers.get_mut(&key).unwrap().pop_front() else {
            self.followers.remove(&key);
            return;
        };
        next.head = Some(key);
        self.parkings += 1;
        self.parked.insert((0, self.parkings), next);
    }

    /// What the recaller does.
    fn release(&mut self, want: Want) {
        let Want::Release { name, count, .. } = want else {
            panic!("{want:?}");
        };
        let backlog = self.backlogs.entry(name.clone()).or_default();
        let out: Vec<Parked> = backlog.drain(..count.min(backlog.len())).collect();
        let left = backlog.len() as u64;
        let now = self.now();
        self.scheduler.released(&name, out.len(), left, None, now);
        for parked in out {
            let Parked { message, head, .. } = parked;
            self.accept_from(Some(name.clone()), message, head, parked.attempts);
        }
    }

    fn host(&self, delivery: &Delivery) -> usize {
        let host = delivery.message.endpoint.uri.host().unwrap();
        host[1..].parse().unwrap()
    }

    fn answer(&mut self, job: Job) {
        let is_sick = self.elapsed < self.sick[self.host(&job.delivery)];
        let result = match is_sick {
            true => AttemptResult::Failure {
                kind: FailureKind::Timeout,
                text: String::new(),
            },
            false => AttemptResult::Response {
                status: 200,
                retry_after: None,
                body: Box::default(),
            },
        };
        let id = job.delivery.message.id.to_string();
        let attempt = Attempt {
            at: 0,
            took: Duration::ZERO,
            result,
        };
        let fate = self.scheduler.finish(job, attempt, self.now());
        if fate == Disposition::Delivered {
            let key = id.split(':').next().unwrap().to_owned();
            if self.order.contains_key(&key) {
                self.settled.entry(key).or_default().push(id);
            }
        }
    }

    /// An operator pauses endpoint 2, or resumes it, which brings back what is parked.
    fn pause_or_resume(&mut self) {
        let (key, now) = (Arc::from("http://h2"), self.now());
        self.held = !self.held;
        if self.held {
            let (cause, until) = (Cause::Paused, None);
            self.scheduler.hold(key, Hold { cause, until }, now);
        } else {
            self.scheduler.resume(&key, now);
            // The tool waits until that has been obeyed, and all that was parked before is written.
            self.write();
            for (_, parked) in std::mem::take(&mut self.parked) {
                self.parkings += 1;
                self.parked.insert((now.unix_ms, self.parkings), parked);
            }
        }
    }
}

#[test]
fn order_rates_and_windows_hold_while_endpoints_fail_and_recover() {
    for seed in seeds(0..40) {
        let mut world = World::new(seed);
        for n in 0..200 {
            world.arrive(n);
            for _ in 0..world.dice.below(STEPS_BETWEEN) {
                world.step();
            }
            if world.dice.once_in(PAUSED) {
                world.pause_or_resume();
            }
        }
        if world.held {
            world.pause_or_resume();
        }
        let mut steps = 0;
        while world.scheduler.stats().delivered < 200 {
            world.step();
            steps += 1;
            assert!(steps < 50_000, "not all are delivered");
        }
        assert_eq!(world.settled, world.order);
        assert!(world.most_in_flight[0] <= 2, "max_in_flight");
        assert!(world.most_in_flight.iter().all(|n| *n <= 3), "window");
        // Five ms apart, but for what may be made up after a delay.
        for pair in world.begun.windows(10) {
            let least = Duration::from_millis(9 * 5).saturating_sub(Duration::from_millis(20));
            assert!(pair[9] - pair[0] >= least, "faster than the rate");
        }
        assert_eq!(world.scheduler.active(), 0);
    }
}

#[test]
fn a_rate_is_kept_and_used_up() {
    let mut world = World::new(3);
    world.scheduler.limits.share = 1000;
    world.scheduler.limits.max_active = 1000;
    world.sick = vec![Duration::ZERO; 4];
    for n in 0..400 {
        let raw = format!(r#"{{"url":"http://h0/","webhookId":"x{n}:0","data":1}}"#);
        world.accept(raw.into_bytes());
    }
    while world.scheduler.stats().delivered < 400 {
        world.step();
        assert!(world.elapsed < Duration::from_secs(10), "too slow");
    }
    // 5 ms each, and what may be made up at the end of a delay.
    let took = (world.begun[399] - world.begun[0]).as_secs_f64();
    assert!((1.9..=2.1).contains(&took), "{took} s");
}

#[test]
fn a_host_that_comes_back_is_probed_and_then_served_with_a_growing_window() {
    let mut world = World::new(1);
    world.scheduler.rules = EndpointRules::default();
    world.scheduler.limits.share = 1000;
    world.scheduler.limits.max_active = 1000;
    world.scheduler.limits.lanes.window = 8;
    world.sick = vec![Duration::from_secs(1); 4];
    for n in 0..300 {
        let raw = format!(r#"{{"url":"http://h1/","webhookId":"x{n}:0","data":1}}"#);
        world.accept(raw.into_bytes());
    }
    let mut in_flight = Vec::new();
    let mut attempts_while_sick = 0;
    while world.scheduler.stats().delivered < 300 {
        world.step();
        in_flight.push(world.flying.len());
        if world.elapsed < Duration::from_secs(1) {
            attempts_while_sick = world.scheduler.stats().attempts;
        }
        assert!(world.elapsed < Duration::from_secs(60), "it is caught up");
    }
    // Four to begin with, then one probe for each pause of 20, 40, … 200 ms.
    assert!(
        attempts_while_sick <= 4 + 12,
        "{attempts_while_sick} attempts spent"
    );
    let recovery = &in_flight[500..];
    let growing = recovery.iter().find(|n| **n > 1);
    assert_eq!(growing, Some(&2), "not run over");
    assert!(in_flight.iter().all(|n| *n <= 8));
}
