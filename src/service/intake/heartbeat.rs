//! Lets Redis hear of this replica every few seconds, so that the others do not take it for dead.
//!
//! The consumer does so between its reads. But it blocks while there is no room for more, and it
//! ends when the drain begins, while entries are still in this process's hands. Then this thread
//! speaks for it, on a connection of its own that it opens only for that. Blocks in Redis alone.

use std::time::Duration;

use crate::service::clock::boot_time;
use crate::service::drain::Drain;
use crate::service::pulse::Pulse;
use crate::store::{Beats, Keys, Redis};

/// How often it looks whether Redis has heard of us.
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
    /// Beats where it is needed, until all that this replica held is settled or kept. What fails is
    /// told by those who need Redis for more.
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
