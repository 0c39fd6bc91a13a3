//! Tables for [`Health`], and a model: proxies and targets that come and go at random.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const SEC: Duration = Duration::from_secs(1);

fn fault(text: &str) -> Fault<'_> {
    Fault {
        text,
        is_login: false,
    }
}

#[test]
fn an_outage_is_tried_by_one_at_a_time_and_ends_with_the_first_success() {
    let (mut health, start) = (Health::default(), Instant::now());
    let at = |s: u32| start + s * SEC;
    let refused = |s: u32| Err((s * SEC, "refused".to_owned()));
    assert_eq!(health.ask("a", at(0), at(9)), Ok(false));
    assert_eq!(health.ask("a", at(0), at(9)), Ok(false));
    let advice = health.fail("refused", false, at(0), at(0));
    assert_eq!((advice.again, advice.tell), (SEC, true));
    // One that was under way is no second fault, and no news.
    let advice = health.fail("refused", false, at(0) - SEC, at(0));
    assert_eq!((advice.again, advice.tell), (SEC, false));
    assert_eq!(health.ask("a", at(0), at(9)), refused(1));
    assert_eq!(health.ask("a", at(1), at(9)), Ok(true), "the pause is over");
    for now in 1..9 {
        assert_eq!(health.ask("b", at(now), at(20)), refused(1), "it is tried");
    }
    assert_eq!(
        health.ask("b", at(9), at(20)),
        Ok(true),
        "that took too long"
    );
    let advice = health.fail("no name", false, at(9), at(11));
    assert_eq!((advice.again, advice.tell), (2 * SEC, true));
    assert_eq!(health.ask("a", at(13), at(20)), Ok(true));
    health.abandon("a");
    assert_eq!(health.ask("b", at(13), at(20)), Ok(true));
    assert_eq!(health.succeed("b", at(14)), Some(14 * SEC));
    assert_eq!(health.succeed("b", at(15)), None);
    assert_eq!(health.ask("a", at(70), at(79)), Ok(false));
    let advice = health.fail("refused", false, at(70), at(70));
    assert!(advice.tell, "a new outage");
}

#[test]
fn an_outage_is_over_for_all_as_soon_as_the_proxy_is_reached() {
    let (mut health, start) = (Health::default(), Instant::now());
    let at = |s: u32| start + s * SEC;
    for (reached, is_open) in [(false, true), (true, false)] {
        health.fail("x", reached, at(0), at(0));
        assert_eq!(health.ask("odd", at(1), at(9)), Ok(true));
        health.reached();
        assert_eq!(health.ask("good", at(1), at(9)).is_ok(), is_open);
        health.succeed("good", at(2));
    }
    // Or when it turns out that something else is wrong.
    health.fail("x", true, at(10), at(10));
    let begun = at(11);
    assert_eq!(health.ask("odd", begun, at(20)), Ok(true));
    health.doubt(&"odd".into(), fault("y"), begun, at(20));
    assert_eq!(health.ask("good", at(20), at(30)), Ok(false));
}

/// With however many messages: at most one try in each pause, pauses grow to their bound, and
/// nobody is told to come back later than that, or at once.
#[test]
fn however_many_ask_few_try() {
    let (mut dice, mut health, start) = (Dice(3), Health::default(), Instant::now());
    let (mut now, mut tries) = (start, 0);
    health.fail("x", false, now, now);
    while now < start + 600 * SEC {
        now += Duration::from_millis(dice.below(40));
        match health.ask("a", now, now + SEC) {
            Ok(_) => {
                tries += 1;
                let advice = health.fail("x", false, now, now);
                assert!(!advice.tell && advice.again <= LONGEST_PAUSE);
            }
            Err((again, _)) => assert!(!again.is_zero() && again <= LONGEST_PAUSE),
        }
    }
    assert!((35..=46).contains(&tries), "{tries}");
}

#[test]
fn a_doubt_holds_back_one_origin_until_it_is_known_whose_fault_it_is() {
    let start = Instant::now();
    let at = |s: u32| start + s * SEC;
    let odd: Arc<str> = "odd".into();
    let target = |leads| Verdict::Target { leads };
    let mut health = Health::default();
    let waits = |s: u32, tell| {
        let again = s * SEC;
        Verdict::Proxy(Advice { again, tell })
    };
    assert_eq!(
        health.doubt(&odd, fault("hangs"), at(0), at(5)),
        waits(1, true)
    );
    assert_eq!(health.ask("odd", at(5), at(9)), Err((SEC, "hangs".into())));
    assert_eq!(health.ask("good", at(5), at(9)), Ok(false));
    assert_eq!(health.ask("odd", at(6), at(11)), Ok(false));
    assert!(health.ask("odd", at(10), at(20)).is_err(), "one at a time");
    assert_eq!(
        health.doubt(&odd, fault("hangs"), at(6), at(11)),
        waits(2, false)
    );
    // Others are led: from then on it is the target's, at once.
    assert_eq!(health.succeed("good", at(12)), Some(7 * SEC));
    for now in [12, 40, 400] {
        assert_eq!(health.ask("odd", at(now), at(now + 5)), Ok(false));
        let verdict = health.doubt(&odd, fault("hangs"), at(now), at(now + 5));
        assert_eq!(verdict, target(true), "{now}");
    }
    // It was led to, or long ago: a new doubt. Nothing proves anything: the target's in the end.
    health.succeed("odd", at(500));
    for begin in [600, 2000] {
        let mut counted = None;
        for now in (begin..begin + 100).step_by(20) {
            match health.doubt(&odd, fault("hangs"), at(now), at(now + 5)) {
                Verdict::Proxy(_) => assert_eq!(counted, None),
                verdict => {
                    assert_eq!(verdict, target(false));
                    counted = counted.or(Some(now - begin));
                }
            }
        }
        assert_eq!(counted, Some(60), "{begin}");
        assert_eq!(
            health.ask("odd", at(begin + 100), at(begin + 105)),
            Ok(false)
        );
        assert_eq!(
            health.ask("odd", at(begin + 100), at(begin + 105)),
            Ok(false)
        );
    }
    // Whoever was led to somebody in the meantime, or just before, works.
    health.succeed("good", at(4000));
    let other: Arc<str> = "other".into();
    for (begun, now, leads) in [(4001, 4004, true), (3990, 4100, true), (4001, 4006, false)] {
        let verdict = health.doubt(&other, fault("hangs"), at(begun), at(now));
        assert_eq!(verdict == target(true), leads, "{begun} {now}");
    }
}

#[test]
fn a_login_that_is_not_taken_is_the_proxys_affair_until_others_are_led() {
    let start = Instant::now();
    let at = |s: u32| start + s * SEC;
    let (mut health, odd) = (Health::default(), "odd".into());
    let fault = Fault {
        text: "407",
        is_login: true,
    };
    for now in (0..7200).step_by(15) {
        let verdict = health.doubt(&odd, fault, at(now), at(now));
        assert!(matches!(verdict, Verdict::Proxy(_)), "{now}");
    }
    health.succeed("good", at(7201));
    let verdict = health.doubt(&odd, fault, at(7300), at(7300));
    assert_eq!(verdict, Verdict::Target { leads: true });
}

#[test]
fn what_is_remembered_of_odd_targets_is_bounded() {
    let (mut health, now) = (Health::default(), Instant::now());
    for n in 0..=MAX_DOUBTS {
        let verdict = health.doubt(&format!("o{n}").into(), fault("x"), now, now);
        assert_eq!(matches!(verdict, Verdict::Proxy(_)), n < MAX_DOUBTS, "{n}");
    }
    let later = now + FORGOTTEN;
    let verdict = health.doubt(&"new".into(), fault("x"), later, later);
    assert!(matches!(verdict, Verdict::Proxy(_)));
    assert_eq!(health.doubts.len(), 1);
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

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
    fn new(seed: u64, manners: &[(u64, Manner)], odd: Vec<Option<Duration>>) -> Model {
        let (start, n, mut dice) = (Instant::now(), odd.len(), Dice(seed));
        let at = |s: u64| start + Duration::from_secs(s);
        let mut events = BinaryHeap::new();
        for target in 0..n {
            for _ in 0..=dice.below(3) {
                let begun = start + Duration::from_millis(dice.below(3000));
                events.push(Reverse((begun, target, None)));
            }
        }
        Model {
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

/// Odd targets, which keep the proxy waiting for as long as they may or are told off at once.
fn odd_ones(dice: &mut Dice, n: u64) -> Vec<Option<Duration>> {
    let takes = [20, 500, 3000, 5000];
    let one = |_| Some(Duration::from_millis(takes[dice.below(4) as usize]));
    (0..n).map(one).collect()
}

#[test]
fn no_number_of_odd_targets_stops_a_good_one_and_they_end_by_attempts() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let n = 1 + dice.below(80);
        let mut odd = odd_ones(&mut dice, n);
        let has_good = seed % 3 > 0;
        odd.extend(has_good.then_some(None));
        // Sometimes the proxy was away before.
        let away = [(0, Manner::Away), (4 * (seed % 2), Manner::Leads)];
        let mut model = Model::new(seed, &away, odd);
        model.run(300);
        for (target, odd) in model.odd.iter().enumerate() {
            // Where nobody is led to, the proxy gets the benefit of the doubt for a while.
            let (moments, most) = match (odd, has_good) {
                (None, _) => (&model.led[target], 8 * SEC),
                (Some(_), true) => (&model.counted[target], 30 * SEC),
                (Some(_), false) => (&model.counted[target], PATIENCE + 30 * SEC),
            };
            let gap = model.longest_gap(moments, 0, 300);
            assert!(gap <= most, "seed {seed}, {n} odd, {target}: {gap:?}");
        }
    }
}

#[test]
fn an_outage_costs_no_attempts_or_few_and_all_go_on_after_it() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let begin = dice.below(2) * 40;
        let length = 10 + dice.below(40);
        let manner = match seed % 3 {
            0 => Manner::Away,
            1 => Manner::Mute(LIMIT),
            _ => Manner::Mute(Duration::from_millis(20)),
        };
        let phases = [(begin, manner), (begin + length, Manner::Leads)];
        let n = 1 + dice.below(40) as usize;
        let mut model = Model::new(seed, &phases, vec![None; n]);
        model.run(begin + length);
        assert!(
            model.trying.iter().all(|n| begin == 0 || *n <= 3),
            "seed {seed}"
        );
        model.run(200);
        for target in 0..n {
            let counted = model.counted[target].len();
            // What is under way as it begins and ends cannot be told from one target's fault.
            let most = match (manner, begin) {
                (Manner::Away, _) => 0,
                (_, 0) => 3,
                _ => 3 * 6,
            };
            assert!(counted <= most, "seed {seed}: {counted} of {target}");
            let gap = model.longest_gap(&model.led[target], begin + length, 200);
            assert!(gap <= 25 * SEC, "seed {seed}, {target}: {gap:?}");
        }
    }
}
