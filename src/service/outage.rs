//! Outages of Redis: logged once when one begins and once when it ends, with growing delays between
//! the tries. Each thread that talks to Redis has an [`OutageTracker`]. All of them log as one,
//! because an outage that three threads notice is one outage.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::store::StoreError;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A connection that lasted this long was a good one: after its end the first try is without a
/// delay.
const GOOD: Duration = Duration::from_millis(100);

/// Kinds of errors that are remembered, so that two that alternate are logged once each.
const MAX_LOGGED: usize = 8;

/// The knowledge that all threads share.
#[derive(Default)]
struct Common {
    since: Option<Instant>,
    /// The threads that have not recovered yet.
    ill: Vec<&'static str>,
    logged: Vec<String>,
}

/// The outages of one thread.
pub struct OutageTracker {
    /// The server or service that is away.
    what: &'static str,
    who: &'static str,
    common: Arc<Mutex<Common>>,
    /// When its own last outage ended.
    well_since: Option<Instant>,
    failures: u32,
}

impl OutageTracker {
    /// `who` is the thread's part, for the log.
    pub fn new(who: &'static str) -> Self {
        OutageTracker {
            what: "redis",
            who,
            common: Arc::default(),
            well_since: None,
            failures: 0,
        }
    }

    /// Tracks this instead of Redis.
    pub fn with(self, what: &'static str) -> Self {
        OutageTracker { what, ..self }
    }

    /// For another thread, which logs together with this one.
    pub fn of(&self, who: &'static str) -> Self {
        OutageTracker {
            common: self.common.clone(),
            ..OutageTracker::new(who)
        }
    }

    /// A try failed. Returns how long to wait before the next one.
    pub fn begin(&mut self, error: &StoreError) -> Duration {
        let was_good = self.well_since.take().is_some_and(|t| t.elapsed() >= GOOD);
        if was_good {
            self.failures = 0;
        }
        let mut common = self.common();
        common.since.get_or_insert_with(Instant::now);
        if !common.ill.contains(&self.who) {
            common.ill.push(self.who);
        }
        // One server may refuse several things, and each has its own remedy.
        let kind = match error.is_refusal() {
            true => error.to_string(),
            false => error.code().to_owned(),
        };
        if !common.logged.contains(&kind) && common.logged.len() < MAX_LOGGED {
            let says = error.to_string();
            warn!(
                event = "trouble", with = self.what, part = self.who, error = says.as_str();
                "{}: trouble ({}): {says}; trying again",
                self.what, self.who
            );
            common.logged.push(kind);
        }
        drop(common);
        let delay = self.delay();
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// It works again, or for the first time.
    pub fn end(&mut self) {
        self.well_since = Some(Instant::now());
        let mut common = self.common();
        common.ill.retain(|who| *who != self.who);
        if !common.ill.is_empty() {
            return;
        }
        if let Some(since) = common.since.take() {
            common.logged.clear();
            let length = Duration::from_millis(since.elapsed().as_millis() as u64);
            let seconds = length.as_secs_f64();
            let length = humantime::format_duration(length);
            info!(
                event = "trouble_over", with = self.what, seconds = seconds;
                "{}: back after {length}",
                self.what
            );
        }
    }

    fn common(&self) -> MutexGuard<'_, Common> {
        self.common.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No delay at first, then doubling, each between half and the whole of it, so that many
    /// processes do not come back at once.
    fn delay(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let whole = FIRST_DELAY
            .saturating_mul(2u32.saturating_pow(doublings))
            .min(LONGEST_DELAY);
        // The keys of a new hasher are random: a random number without a generator.
        let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
        whole.mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_begin_at_none() {
        let mut t = OutageTracker::new("test");
        let error = StoreError::new("x");
        assert_eq!(t.begin(&error), Duration::ZERO);
        for n in 0..10 {
            let whole = Duration::from_millis(100 << n).min(LONGEST_DELAY);
            let delay = t.begin(&error);
            assert!(delay >= whole / 2 && delay <= whole, "{n}: {delay:?}");
        }
        // A connection that did not last does not reset the delays: no hot loop.
        t.end();
        assert!(t.begin(&error) >= LONGEST_DELAY / 2);
    }
}
