//! Sends Redis a sign of life every few seconds, so that other replicas do not take this one for
//! dead.
//!
//! The consumer does so between its reads. But it blocks while there is no room for more, and it
//! ends when the drain begins, while this process still has entries. Then this thread beats in its
//! place, on a connection of its own that it opens only for that. It blocks only in Redis.

use std::time::Duration;

use crate::service::boot_clock::boot_time;
use crate::service::drain::Drain;
use crate::service::pulse::Pulse;
use crate::store::{Beats, Keys, Redis};

/// How often it checks when Redis last heard of us.
const PERIOD: Duration = Duration::from_millis(500);

/// Redis has one second to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// The consumer has let Redis hear of us by then, if it can.
const OVERDUE: Duration = Duration::from_millis(2300);

/// See the module's header.
pub struct Heartbeat {
    pub redis: Redis,
    pub keys: Keys,
    /// Among the group's consumers.
    pub name: String,
    pub pulse: Pulse,
}

impl Heartbeat {
    /// Beats when it is needed, until all messages of this replica are settled or kept. It logs no
    /// failures: the threads that read from Redis do.
    pub fn run(self, last: &Drain) {
        let mut beats = None;
        while !last.wait(PERIOD) {
            let asked = boot_time();
            if self.pulse.age(asked) < OVERDUE {
                beats = None;
                continue;
            }
            if beats.is_none() {
                beats = Beats::open(&self.redis, LIMIT).ok();
            }
            match beats.as_mut().map(|b| b.beat(&self.keys, &self.name)) {
                Some(Ok(())) => self.pulse.beat(asked, boot_time()),
                _ => beats = None,
            }
        }
    }
}
