//! Limits of an endpoint for all replicas together: a replica's claim, and the lender's grant.
//! Pure.
//!
//! The lender is a script in Redis (`store/lua/share.lua`). It lends *places*: the right to have an
//! attempt in flight, for the time of a loan. And it lends *starts*: times at which an attempt may
//! begin, a few in advance, each to one replica only. `scheduler/lane/share.rs` keeps what one
//! replica has.

#[cfg(test)]
pub mod lender_model;

use std::time::{Duration, Instant};

/// How long a loan of places lasts. A replica that was killed keeps its places from the others
/// until then.
pub const LOAN: Duration = Duration::from_millis(1500);

/// How often a loan is renewed. More than one answer may be lost or late.
pub const RENEW: Duration = Duration::from_millis(400);

/// How often a replica without a place asks for one.
pub const RETRY: Duration = Duration::from_millis(100);

/// How much time the starts of one round cover. A replica that was killed takes its part of a round
/// with it. The starts of one replica follow each other at the full rate, so a longer round would
/// need more places for the same number of attempts.
pub const SLICE: Duration = Duration::from_millis(120);

/// How long before its last start a replica asks for the next ones.
pub const LEAD: Duration = Duration::from_millis(80);

/// How far ahead starts are given: a round, plus the time by which replicas ask early.
pub const AHEAD: Duration = Duration::from_millis(220);

/// A question that is due within this time is asked together with one that is due now.
pub const TOGETHER: Duration = Duration::from_millis(10);

/// For this long after Redis was away nobody gets more than before: the other replicas may not be
/// back yet, and use what they had.
pub const CALM: Duration = Duration::from_secs(1);

/// What a replica asks for at one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Claim {
    /// How many attempts all replicas together may have at a time. 0: no such limit.
    pub limit: u32,
    /// Places that it has. Until the answer it begins no more attempts than these allow.
    pub held: u32,
    /// Places that it has work for.
    pub wanted: u32,
    /// When to ask for these.
    pub renew_at: Option<Instant>,
    /// The shortest time between two starts, over all replicas. Zero: no such limit.
    pub pace: Duration,
    pub starts: u32,
    /// When to ask for these.
    pub starts_at: Option<Instant>,
}

/// What the lender answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grant {
    /// When the question was sent, and when the answer had come.
    pub asked: Instant,
    pub answered: Instant,
    /// Places that are lent, and how many of them it may keep, because others lack some.
    pub held: u32,
    pub goal: u32,
    /// Replicas that have work for the endpoint.
    pub replicas: u32,
    pub starts: u32,
    /// From the answer until the first start; or, if there is none, until it is worth asking again.
    pub wait: Duration,
}

/// How things stand with the lender.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// It cannot be reached: each replica keeps its part.
    pub is_away: bool,
    /// Nothing grows until then.
    pub calm_until: Instant,
    /// The greatest number of replicas that it has reported, for a lane that has no part yet.
    pub replicas: u32,
}

impl Claim {
    /// When there is something to ask.
    pub fn due(&self) -> Option<Instant> {
        self.renew_at.into_iter().chain(self.starts_at).min()
    }

    /// The claim to send at `now`: it asks for starts only when it is time for them.
    pub fn at(self, now: Instant) -> Claim {
        match self.starts_at {
            Some(at) if at <= now => self,
            _ => Claim { starts: 0, ..self },
        }
    }

    /// It has nothing and wants nothing.
    pub fn is_idle(&self) -> bool {
        self.held == 0 && self.wanted == 0 && self.starts == 0
    }
}

/// The time between two starts that is asked for. It is an eightieth longer than the rule says, so
/// that attempts that are a little late or early do not exceed the rate over a few seconds.
pub fn careful(pace: Duration) -> Duration {
    pace + pace / 80
}
