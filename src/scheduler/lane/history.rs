//! Recent results of an endpoint, in little memory, because each lane has one. Pure.

use std::time::{Duration, Instant};

use crate::delivery::{Attempt, AttemptResult};

/// Response times are counted in steps of half an octave, from half a millisecond on.
const STEPS: usize = 36;
const FIRST_STEP_US: f64 = 500.0;

/// At this many attempts all counts are halved, so that old attempts weigh little.
const MOST: u32 = 1000;

/// When this many attempts have all failed, the endpoint is to blame.
const ENOUGH: u32 = 8;

/// Longer errors are cut.
const MAX_ERROR: usize = 200;

/// See the module's header.
#[derive(Debug)]
pub struct History {
    attempts: u32,
    failed: u32,
    /// How many responses took how long.
    steps: [u16; STEPS],
    /// `None` until an attempt fails: most endpoints never need it.
    failures: Option<Box<Failures>>,
}

#[derive(Debug)]
struct Failures {
    last: Instant,
    error: Box<str>,
    /// The first since the last attempt that delivered.
    since: Option<Instant>,
}

impl Default for History {
    fn default() -> Self {
        History {
            attempts: 0,
            failed: 0,
            steps: [0; STEPS],
            failures: None,
        }
    }
}

impl History {
    pub fn note(&mut self, attempt: &Attempt, now: Instant) {
        if self.attempts >= MOST {
            self.attempts /= 2;
            self.failed /= 2;
            self.steps.iter_mut().for_each(|n| *n /= 2);
        }
        self.attempts += 1;
        let good = matches!(
            attempt.result,
            AttemptResult::Response {
                status: 200..=299,
                ..
            }
        );
        self.failed += u32::from(!good);
        if matches!(attempt.result, AttemptResult::Response { .. }) {
            self.steps[step(attempt.took)] += 1;
        }
        let since = self.failing_since();
        if !good {
            let text = attempt.result.to_string();
            let text: String = text.chars().take(MAX_ERROR).collect();
            self.failures = Some(Box::new(Failures {
                last: now,
                error: text.into(),
                since: since.or(Some(now)),
            }));
        } else if let Some(failures) = &mut self.failures {
            failures.since = None;
        }
    }

    /// The share of the attempts that delivered; `None` before the first attempt.
    pub fn success(&self) -> Option<f64> {
        (self.attempts > 0).then(|| 1.0 - f64::from(self.failed) / f64::from(self.attempts))
    }

    /// Whether many attempts were made, and none delivered.
    pub fn is_hopeless(&self) -> bool {
        self.attempts >= ENOUGH && self.failed == self.attempts
    }

    /// The time within which the share `share` of the responses came, rounded up to half an octave.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u32 = self.steps.iter().map(|n| u32::from(*n)).sum();
        let rank = (f64::from(all) * share).ceil().max(1.0) as u32;
        let mut sum = 0;
        let at = self.steps.iter().position(|n| {
            sum += u32::from(*n);
            sum >= rank
        });
        at.map(|step| Duration::from_micros((FIRST_STEP_US * 2f64.powf(step as f64 / 2.0)) as u64))
    }

    /// Since when no attempt has delivered, if the last one did not.
    pub fn failing_since(&self) -> Option<Instant> {
        self.failures.as_ref()?.since
    }

    /// The last attempt that did not deliver, and when it ended.
    pub fn error(&self) -> Option<(Instant, &str)> {
        let failures = self.failures.as_ref();
        failures.map(|failures| (failures.last, &*failures.error))
    }
}

/// The first step that is not shorter.
fn step(took: Duration) -> usize {
    let octaves = (took.as_micros() as f64 / FIRST_STEP_US).max(1.0).log2();
    ((octaves * 2.0).ceil() as usize).min(STEPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, ms: u64) -> Attempt {
        Attempt {
            at: 0,
            took: Duration::from_millis(ms),
            result: AttemptResult::Response {
                status,
                retry_after: None,
                body: Box::default(),
            },
        }
    }

    #[test]
    fn tells_rate_times_and_the_last_error_and_forgets_what_is_old() {
        let now = Instant::now();
        let mut h = History::default();
        assert_eq!((h.success(), h.quantile(0.5)), (None, None));
        for n in 0..100 {
            h.note(&answer(if n < 10 { 500 } else { 200 }, n + 1), now);
        }
        assert_eq!(h.success(), Some(0.9));
        let ms = |share| h.quantile(share).unwrap().as_millis();
        assert!((50..=71).contains(&ms(0.5)), "{}", ms(0.5));
        assert!((99..=141).contains(&ms(0.99)), "{}", ms(0.99));
        assert_eq!(h.error().unwrap().1, "status=500");
        for _ in 0..20_000 {
            h.note(&answer(200, 1), now);
        }
        assert!(h.success() > Some(0.999));
        assert!(h.quantile(0.999).unwrap() < Duration::from_millis(2));
        assert!(std::mem::size_of::<History>() <= 128);
        h.note(&answer(200, u64::MAX / 2_000_000), now);
        assert!(h.quantile(1.0).unwrap() > Duration::from_secs(60));
    }
    #[test]
    fn it_fails_from_the_first_failure_until_the_next_delivery() {
        let begun = Instant::now();
        let at = |s| begun + Duration::from_secs(s);
        let mut h = History::default();
        let mut since = |status, s| {
            h.note(&answer(status, 1), at(s));
            h.failing_since()
        };
        assert_eq!(since(204, 0), None);
        assert_eq!(since(500, 1), Some(at(1)));
        assert_eq!(since(404, 2), Some(at(1)));
        assert_eq!(since(200, 3), None);
        assert_eq!(since(500, 4), Some(at(4)));
    }
}
