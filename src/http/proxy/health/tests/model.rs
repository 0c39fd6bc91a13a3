//! A model of a proxy's health: a proxy that comes and goes, and targets behind it, good and odd.
//!
//! **It believes** what the proxy does at each time ([`Manner`]), and of each target whether it is
//! odd, that is, whether it makes the proxy hang or break off where others are led to.
//!
//! **It does** what workers do: each message asks whether it may be tried, waits as long as it is
//! told, tries, and reports how that went, until it is led to or its attempts are used up. How many
//! targets there are, which are odd, for how long each keeps the proxy waiting, and when the first
//! messages come is up to dice; after that, time alone decides.
//!
//! **It checks** that nobody is told to come back at once, or later than the longest pause; that no
//! number of odd targets keeps a good one waiting for long; that odd targets end by their attempts,
//! so do not wait for ever; that an outage of the proxy costs no attempt, or few where it cannot be
//! told from one target's fault; and that all go on soon after it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::dice::{Dice, seeds};

/// What a proxy does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Leads,
    /// Nobody listens.
    Away,
    /// It takes connections, and says nothing or hangs up.
    Mute(Duration),
}

/// Messages of one target: some at a time, each tried until it is led to or its attempts are used up.
struct Model {
    dice: Dice,
    health: Health,
    start: Instant,
    /// From when on the proxy does what.
    manners: Vec<(Instant, Manner)>,
    /// How long a target keeps the proxy waiting, if it is odd, by its number.
    odd: Vec<Option<Duration>>,
    events: BinaryHeap<Reverse<(Instant, usize, Option<Instant>)>>,
    /// Of each target: attempts that were counted, and when it was led to.
    counted: Vec<Vec<Instant>>,
    led: Vec<Vec<Instant>>,
    /// Tries under way.
    trying: Vec<usize>,
}

const LIMIT: Duration = Duration::from_secs(5);

impl Model {
    fn new(mut dice: Dice, manners: &[(u64, Manner)], odd: Vec<Option<Duration>>) -> Model {
        let (start, n) = (Instant::now(), odd.len());
        let at = |s: u64| start + Duration::from_secs(s);
        let mut events = BinaryHeap::new();
        for target in 0..n {
            for _ in 0..=dice.below(3) {
                let begun = start + Duration::from_millis(dice.below(3000));
                events.push(Reverse((begun, target, None)));
            }
        }
        Model {
            dice,
            health: Health::default(),
            start,
            manners: manners
                .iter()
                .map(|(s, manner)| (at(*s), *manner))
                .collect(),
            odd,
            events,
            counted: vec![Vec::new(); n],
            led: vec![Vec::new(); n],
            trying: vec![0; n],
        }
    }

    fn manner(&self, now: Instant) -> Manner {
        let past = self.manners.iter().rev().find(|(from, _)| *from <= now);
        past.map_or(Manner::Leads, |(_, manner)| *manner)
    }

    fn run(&mut self, seconds: u64) {
        let end = self.start + Duration::from_secs(seconds);
        while self.events.peek().is_some_and(|event| event.0.0 < end) {
            let Reverse((now, target, begun)) = self.events.pop().expect("it was seen");
            self.dice.step();
            let origin: Arc<str> = format!("t{target}").into();
            let next = match begun {
                None => self.begin(&origin, target, now),
                Some(begun) => (now + self.end(&origin, target, begun, now), None),
            };
            self.events.push(Reverse((next.0, target, next.1)));
        }
    }

    /// When what comes next, and when this began.
    fn begin(&mut self, origin: &str, target: usize, now: Instant) -> (Instant, Option<Instant>) {
        let is_trial = match self.health.ask(origin, now, now + LIMIT) {
            Err((again, _)) => {
                assert!(!again.is_zero() && again <= LONGEST_PAUSE);
                return (now + again, None);
            }
            Ok(is_trial) => is_trial,
        };
        let manner = self.manner(now);
        if is_trial && manner != Manner::Away {
            self.health.reached();
        }
        self.trying[target] += 1;
        let takes = match (manner, self.odd[target]) {
            (Manner::Mute(takes), _) | (Manner::Leads, Some(takes)) => takes,
            (Manner::Away | Manner::Leads, _) => Duration::from_millis(20),
        };
        (now + takes, Some(now))
    }

    /// How long it waits then.
    fn end(&mut self, origin: &Arc<str>, target: usize, begun: Instant, now: Instant) -> Duration {
        self.trying[target] -= 1;
        match (self.manner(begun), self.odd[target]) {
            (Manner::Away, _) => self.health.fail("away", false, begun, now).again,
            (Manner::Leads, None) => {
                self.health.succeed(origin, now);
                self.led[target].push(now);
                SEC
            }
            _ => match self.health.doubt(origin, fault("mute"), begun, now) {
                Verdict::Proxy(advice) => advice.again,
                Verdict::Target { .. } => {
                    self.counted[target].push(now);
                    SEC
                }
            },
        }
    }

    /// The longest time without one of these.
    fn longest_gap(&self, moments: &[Instant], from: u64, to: u64) -> Duration {
        let at = |s: u64| self.start + Duration::from_secs(s);
        let inner = moments.iter().filter(|m| **m > at(from) && **m < at(to));
        let all: Vec<_> = [at(from)]
            .iter()
            .chain(inner)
            .chain(&[at(to)])
            .copied()
            .collect();
        all.windows(2)
            .map(|w| w[1] - w[0])
            .max()
            .unwrap_or_default()
    }
}

/// How many of the seeds have a good target among the odd ones: all but one in so many.
const WITHOUT_A_GOOD_ONE: u64 = 3;

/// Odd targets, which keep the proxy waiting for as long as they may or are told off at once.
fn odd_ones(dice: &mut Dice, n: u64) -> Vec<Option<Duration>> {
    let takes = [20, 500, 3000, 5000];
    let one = |_| Some(Duration::from_millis(*dice.pick(&takes)));
    (0..n).map(one).collect()
}

#[test]
fn no_number_of_odd_targets_stops_a_good_one_and_they_end_by_attempts() {
    for seed in seeds(0..60) {
        let mut dice = Dice::new(seed);
        let n = 1 + dice.below(80);
        let mut odd = odd_ones(&mut dice, n);
        let has_good = seed % WITHOUT_A_GOOD_ONE > 0;
        let seconds = if has_good { 300 } else { 4000 };
        odd.extend(has_good.then_some(None));
        // Sometimes the proxy was away before.
        let away = [(0, Manner::Away), (4 * (seed % 2), Manner::Leads)];
        let mut model = Model::new(dice, &away, odd);
        model.run(seconds);
        for (target, odd) in model.odd.iter().enumerate() {
            // Where nobody is led to, the proxy gets the benefit of the doubt for a while.
            let (moments, most) = match (odd, has_good) {
                (None, _) => (&model.led[target], 8 * SEC),
                (Some(_), true) => (&model.counted[target], 30 * SEC),
                (Some(_), false) if n < 3 => (&model.counted[target], PATIENCE + 30 * SEC),
                (Some(_), false) => (&model.counted[target], LONG_PATIENCE + 30 * SEC),
            };
            let gap = model.longest_gap(moments, 0, seconds);
            assert!(gap <= most, "{n} odd, {target}: {gap:?}");
        }
    }
}

#[test]
fn an_outage_costs_no_attempts_or_few_and_all_go_on_after_it() {
    for seed in seeds(0..60) {
        let mut dice = Dice::new(seed);
        let begin = dice.below(2) * 40;
        let n = 1 + dice.below(40) as usize;
        // As long as patience lasts.
        let length = 10 + dice.below(if n < SEVERAL { 40 } else { 1000 });
        let manner = match seed % 3 {
            0 => Manner::Away,
            1 => Manner::Mute(LIMIT),
            _ => Manner::Mute(Duration::from_millis(20)),
        };
        let phases = [(begin, manner), (begin + length, Manner::Leads)];
        let mut model = Model::new(dice, &phases, vec![None; n]);
        model.run(begin + length);
        assert!(model.trying.iter().all(|n| begin == 0 || *n <= 3));
        model.run(begin + length + 100);
        for target in 0..n {
            let counted = model.counted[target].len();
            // What is under way as it begins and ends cannot be told from one target's fault.
            let most = match (manner, begin) {
                (Manner::Away, _) => 0,
                (_, 0) => 3,
                _ => 3 * 6,
            };
            assert!(counted <= most, "{counted} of {target}");
            let gap = model.longest_gap(&model.led[target], begin + length, begin + length + 100);
            assert!(gap <= 25 * SEC, "{target}: {gap:?}");
        }
    }
}
