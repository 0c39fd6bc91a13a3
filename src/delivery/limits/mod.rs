//! Limits of an endpoint that hold for all replicas together: what a replica asks for, and what it
//! is granted. Pure.
//!
//! The lender is a script in Redis (`store/lua/share.lua`). It lends *places* for attempts at a
//! time, for as long as a loan lasts; and *starts*, beginnings of attempts that have their place in
//! time and that no other replica gets, a few at a time. `scheduler/lane/share.rs` keeps what one replica has.

#[cfg(test)]
pub mod lender_model;

use std::time::{Duration, Instant};

/// A loan of places lasts so long. A replica that was killed keeps them from others until then.
pub const LOAN: Duration = Duration::from_millis(1500);

/// A loan is lent anew so often. More than one answer may be lost, or late.
pub const RENEW: Duration = Duration::from_millis(400);

/// Whoever has no place asks for one so often.
pub const RETRY: Duration = Duration::from_millis(100);

/// The starts that are given to all replicas in one round last so long. A replica that was killed
/// takes its part of them with it. Its part follows each other as fast as the rate of all allows, so
/// a long round would need more places for as many attempts.
pub const SLICE: Duration = Duration::from_millis(120);

/// The next starts are asked for so long before the last ones are over.
pub const LEAD: Duration = Duration::from_millis(80);

/// Starts are given so far ahead: a slice, and what comes of asking early.
pub const AHEAD: Duration = Duration::from_millis(220);

/// What is to be asked so soon is asked with what is to be asked now.
pub const TOGETHER: Duration = Duration::from_millis(10);

/// After Redis was away nobody gets more than before for so long, as the others may still be about
/// to come back, and use what they had.
pub const CALM: Duration = Duration::from_secs(1);

/// What is asked for at one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Claim {
    /// Attempts that all replicas may have at a time; 0: no such limit.
    pub limit: u32,
    /// Places held. No more attempts begin until the answer than these have room for.
    pub held: u32,
    /// Places that there is work for.
    pub wanted: u32,
    /// When to ask for these.
    pub renew_at: Option<Instant>,
    /// The least time between two starts of all replicas; zero: no such limit.
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
    /// Places lent, and what of them may be kept, as others lack some.
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
    /// It cannot be reached: each replica keeps the part that it has.
    pub is_away: bool,
    /// Nothing grows until then.
    pub calm_until: Instant,
    /// The most replicas that it has told of, for whoever has no part yet.
    pub replicas: u32,
}

impl Claim {
    /// When there is something to ask.
    pub fn due(&self) -> Option<Instant> {
        self.renew_at.into_iter().chain(self.starts_at).min()
    }

    /// What is to be asked at `now`: starts not before their time.
    pub fn at(self, now: Instant) -> Claim {
        match self.starts_at {
            Some(at) if at <= now => self,
            _ => Claim { starts: 0, ..self },
        }
    }

    /// Nothing is wanted or held.
    pub fn is_idle(&self) -> bool {
        self.held == 0 && self.wanted == 0 && self.starts == 0
    }
}

/// The time between two starts that is asked for: an eightieth more than the rule says, so that what
/// comes a little late or early makes it no more than that over a few seconds.
pub fn careful(pace: Duration) -> Duration {
    pace + pace / 80
}
