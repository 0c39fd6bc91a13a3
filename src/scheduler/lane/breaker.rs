//! A lane's health: whether its endpoint is healthy, failing or probing, and how long nothing is sent
//! to it while it fails. Pure.
//!
//! An answer is a sign of life, whatever it says of its message. The exceptions are 429, 502, 503 and 504,
//! which say that the endpoint is in trouble: they are faults, like a failure to reach it. The endpoint is
//! failing after a whole window of faults without a sign of life between them, after one fault with a
//! `Retry-After`, or after one that took long if there has never been an answer. When the back-off is over
//! the endpoint is probing: one delivery at a time is the probe. If it fails, the next back-off is twice as
//! long.

use std::time::{Duration, Instant};

use super::LaneLimits;

/// An endpoint that takes longer to answer is not trusted with more than its part of the workers.
const SLOW: Duration = Duration::from_secs(1);

/// How far an endpoint is trusted with workers that others need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It answers, and soon.
    Trusted,
    /// Nothing was ever sent to it.
    Untried,
    /// It is slow, or has not answered yet.
    Unproven,
    /// It is failing, or probing.
    Failing,
}

/// What an endpoint is now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Health {
    Healthy,
    /// Nothing is sent to it until then.
    Failing {
        until: Instant,
    },
    Probing,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Breaker {
    /// It is failing until then, and probing from then on, until an answer comes.
    until: Option<Instant>,
    /// Faults since the last sign of life, each weighed by the window of its time.
    faults: f64,
    /// Back-offs since then.
    backoffs: u32,
    trusted: bool,
    /// Seconds that it takes to answer, of late.
    response_secs: Option<f64>,
}

impl Breaker {
    /// For an endpoint that has failed, for other replicas or in an earlier life: it begins with a probe.
    pub fn on_probation(now: Instant) -> Breaker {
        Breaker {
            until: Some(now),
            ..Breaker::default()
        }
    }

    /// An answer came. True if the endpoint was not healthy. An answer to an attempt that was under way when
    /// it began to fail makes it healthy too.
    pub fn answer(&mut self, took: Duration) -> bool {
        let secs = took.as_secs_f64();
        let average = self.response_secs.get_or_insert(secs);
        *average += (secs - *average) / 8.0;
        self.faults = 0.0;
        self.backoffs = 0;
        self.trusted = took < SLOW;
        self.until.take().is_some()
    }

    /// An attempt failed while `window` attempts were allowed at a time. Answers how long the back-off is, if
    /// one begins now.
    pub fn fault(
        &mut self,
        retry_after: Option<Duration>,
        took: Duration,
        window: usize,
        limits: &LaneLimits,
        now: Instant,
    ) -> Option<Duration> {
        self.trusted = false;
        let is_hopeless = self.response_secs.is_none() && took >= SLOW;
        self.faults += match is_hopeless {
            true => 1.0,
            false => 1.0 / window as f64,
        };
        match self.until {
            None if retry_after.is_none() && self.faults < 1.0 - 1e-6 => None,
            // It was under way when the back-off began. A longer `Retry-After` still counts.
            Some(until) if now < until => {
                self.until = Some(until.max(now + retry_after.unwrap_or_default()));
                None
            }
            _ => Some(self.back_off(retry_after, limits, now)),
        }
    }

    /// Begins a back-off that is at least as long as `retry_after`. Answers how long.
    pub fn back_off(
        &mut self,
        retry_after: Option<Duration>,
        limits: &LaneLimits,
        now: Instant,
    ) -> Duration {
        let doubled = limits
            .backoff_base
            .saturating_mul(2u32.saturating_pow(self.backoffs));
        let pause = doubled
            .min(limits.backoff_max)
            .max(retry_after.unwrap_or_default());
        self.backoffs += 1;
        self.until = self.until.max(Some(now + pause));
        pause
    }

    /// An operator says that the endpoint is well: if it was failing, it is probing now.
    pub fn end_back_off(&mut self, now: Instant) {
        if self.until.is_some() {
            self.until = Some(now);
            self.backoffs = 0;
        }
    }

    pub fn health(&self, now: Instant) -> Health {
        match self.until {
            None => Health::Healthy,
            Some(until) if until > now => Health::Failing { until },
            Some(_) => Health::Probing,
        }
    }

    /// When it may be tried again, if nothing is sent to it now.
    pub fn failing_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// For how long nothing is sent to it: no time at all if it is probing.
    pub fn failing_for(&self, now: Instant) -> Option<Duration> {
        Some(self.until?.saturating_duration_since(now))
    }

    /// Whether it is failing or probing.
    pub fn is_failing(&self) -> bool {
        self.until.is_some()
    }

    /// Whether anything ever came from it.
    pub fn has_answered(&self) -> bool {
        self.response_secs.is_some()
    }

    /// Attempts that it may have at a time, of the `window` of a healthy one.
    pub fn limit(&self, window: usize, now: Instant) -> usize {
        match self.health(now) {
            Health::Healthy => window,
            Health::Failing { .. } => 0,
            Health::Probing => 1,
        }
    }

    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// With so many attempts in flight.
    pub fn class(&self, in_flight: usize) -> Class {
        let is_untried = !self.has_answered() && self.faults == 0.0 && in_flight == 0;
        match self.until {
            Some(_) => Class::Failing,
            None if self.trusted => Class::Trusted,
            None if is_untried => Class::Untried,
            None => Class::Unproven,
        }
    }

    /// Seconds that it takes to answer; nothing before its first answer.
    pub fn response_secs(&self) -> Option<f64> {
        self.response_secs
    }
}
