//! Whether a proxy works, as far as attempts have shown; who may try it while it does not. Pure.
//!
//! While it does not, one attempt at a time tries it, after pauses that grow; all others are told at
//! once when it is worth asking again. So an outage costs the same however many messages wait, and is told
//! once.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Whoever has led to somebody within this time is not taken for broken by what may be the fault
/// of one target.
const PROVEN: Duration = Duration::from_secs(30);

/// Kinds of trouble that are remembered, so that two that alternate are told once each.
const MAX_TOLD: usize = 8;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Health {
    outage: Option<Outage>,
    good: Option<Instant>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// When it may be tried next.
    next: Instant,
    /// What began before this has been counted.
    counted: Instant,
    pause: Duration,
    last: String,
    told: Vec<String>,
}

/// What to do after a fault of the proxy.
#[derive(Debug, PartialEq)]
pub struct Advice {
    /// When it is worth trying again.
    pub again: Duration,
    /// It is news.
    pub tell: bool,
}

impl Health {
    /// Whether it may be tried now; if not, when it is worth asking again, and what was wrong.
    pub fn ask(&mut self, now: Instant) -> Result<(), (Duration, String)> {
        let Some(outage) = &mut self.outage else {
            return Ok(());
        };
        if now < outage.next {
            return Err((outage.next - now, outage.last.clone()));
        }
        // The others wait for what comes of this.
        outage.next = now + outage.pause;
        Ok(())
    }

    /// It has led to somebody, or says why it does not. If that ends an outage, how long it was.
    pub fn succeed(&mut self, now: Instant) -> Option<Duration> {
        self.good = Some(now);
        let outage = self.outage.take()?;
        Some(now.saturating_duration_since(outage.since))
    }

    /// Whether it has led to somebody of late.
    pub fn is_proven(&self, now: Instant) -> bool {
        self.good
            .is_some_and(|good| now.saturating_duration_since(good) < PROVEN)
    }

    /// What was begun then has failed, through a fault of the proxy. `what`: in a sentence.
    pub fn fail(&mut self, what: &str, begun: Instant, now: Instant) -> Advice {
        self.good = None;
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: now,
            next: now,
            counted: begun,
            pause: Duration::ZERO,
            last: String::new(),
            told: Vec::new(),
        });
        // Those that were under way when it began are no further faults.
        if begun >= outage.counted {
            outage.pause = (outage.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            outage.next = now + outage.pause;
            outage.counted = now;
        }
        outage.last = what.to_owned();
        // How long something took is no news.
        let kind: String = what.chars().filter(|c| !c.is_ascii_digit()).collect();
        let tell = !outage.told.contains(&kind) && outage.told.len() < MAX_TOLD;
        if tell {
            outage.told.push(kind);
        }
        Advice {
            again: outage.next.saturating_duration_since(now),
            tell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_tried_by_one_at_a_time_and_ends_with_the_first_success() {
        let (mut health, start) = (Health::default(), Instant::now());
        let at = |s: u32| start + s * SEC;
        assert_eq!(health.ask(at(0)), Ok(()));
        assert_eq!(health.ask(at(0)), Ok(()));
        let advice = health.fail("refused", at(0), at(0));
        assert_eq!((advice.again, advice.tell), (SEC, true));
        // One that was under way is no second fault, and no news.
        let advice = health.fail("refused", at(0) - SEC, at(0));
        assert_eq!((advice.again, advice.tell), (SEC, false));
        assert_eq!(health.ask(at(0)), Err((SEC, "refused".into())));
        assert_eq!(health.ask(at(1)), Ok(()), "the pause is over");
        assert_eq!(health.ask(at(1)), Err((SEC, "refused".into())));
        let advice = health.fail("no name", at(1), at(1));
        assert_eq!((advice.again, advice.tell), (2 * SEC, true));
        assert_eq!(health.ask(at(2)), Err((SEC, "no name".into())));
        assert_eq!(health.ask(at(3)), Ok(()));
        assert!(!health.is_proven(at(3)));
        assert_eq!(health.succeed(at(4)), Some(4 * SEC));
        assert_eq!(health.succeed(at(5)), None);
        assert!(health.is_proven(at(34)) && !health.is_proven(at(35)));
        assert_eq!(health.ask(at(70)), Ok(()));
        assert!(health.fail("refused", at(70), at(70)).tell, "a new outage");
    }

    /// With however many messages: at most one try in each pause, pauses grow to their bound, and
    /// nobody is told to come back later than that, or at once.
    #[test]
    fn however_many_ask_few_try() {
        let seed: u64 = 3;
        let mut state = seed;
        let mut below = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % n
        };
        let (mut health, mut now, mut tries, start) =
            (Health::default(), Instant::now(), 0, Instant::now());
        health.fail("x", now, now);
        while now < start + 600 * SEC {
            now += Duration::from_millis(below(40));
            match health.ask(now) {
                Ok(()) => {
                    tries += 1;
                    let advice = health.fail("x", now, now);
                    assert!(!advice.tell && advice.again <= LONGEST_PAUSE, "seed {seed}");
                }
                Err((again, _)) => {
                    assert!(!again.is_zero() && again <= LONGEST_PAUSE, "seed {seed}");
                }
            }
        }
        assert!((35..=46).contains(&tries), "seed {seed}: {tries}");
    }
}
