//! The settings of the scheduler, and what follows from them for one delivery. Pure.

use std::time::Duration;

use crate::delivery::retry_schedule::RetrySchedule;
use crate::delivery::{Delivery, Job};
use crate::scheduler::Now;
use crate::scheduler::lane::LaneLimits;

/// Endpoints that are not healthy may hold this part of the memory together.
const UNPROVEN_PART: usize = 8;

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Deliveries in flight at a time.
    pub workers: usize,
    /// The settings of each lane.
    pub lanes: LaneLimits,
    /// Each URL has its own lane, and not each origin.
    pub lane_by_url: bool,
    /// Active deliveries that one lane may have, where the store can park the rest.
    pub share: usize,
    /// The bytes of these.
    pub share_bytes: usize,
    /// Deliveries held in memory: queued, in flight and waiting.
    pub max_active: usize,
    /// Bytes of messages held in memory.
    pub max_active_bytes: usize,
    pub schedule: RetrySchedule,
    /// How long an attempt takes at most, unless a rule allows more.
    pub timeout: Duration,
    /// A message that has waited for longer is given up, unless a rule says otherwise.
    pub max_age: Duration,
    pub parking: Parking,
    /// Whether the store is told of every attempt.
    pub tells: bool,
    /// How long nothing is sent to a URL that answered 410, where the store can park.
    pub gone: Duration,
    /// Messages that memory alone holds go to the stream first, and are delivered from there.
    pub bridge: bool,
}

impl Limits {
    pub fn schedule<'a>(&'a self, job: &'a Job) -> &'a RetrySchedule {
        let rule = job.rule.as_ref();
        rule.and_then(|rule| rule.schedule.as_ref())
            .unwrap_or(&self.schedule)
    }

    /// How many attempts it gets.
    pub fn attempts(&self, job: &Job) -> u32 {
        let own = job.delivery.message.overrides.max_attempts;
        own.unwrap_or(self.schedule(job).attempts)
    }

    /// Workers that all endpoints together may hold that are not trusted.
    pub fn untrusted_share(&self) -> usize {
        self.workers.div_ceil(2)
    }

    /// Workers of these that failing endpoints may hold together.
    pub fn failing_share(&self) -> usize {
        self.workers.div_ceil(4)
    }

    /// Workers besides these that are kept for endpoints that were never tried.
    pub fn reserved_workers(&self) -> usize {
        self.workers / 8
    }

    /// Deliveries that all endpoints together may have in memory that are not healthy.
    pub fn unproven_share(&self) -> usize {
        (self.max_active / UNPROVEN_PART).max(1)
    }

    /// The bytes of these.
    pub fn unproven_share_bytes(&self) -> usize {
        (self.max_active_bytes / UNPROVEN_PART).max(1)
    }
}

#[cfg(test)]
impl Limits {
    /// One attempt for each message, no pauses, nothing parked, and room for a thousand.
    pub fn of_one_attempt(workers: usize, window: usize) -> Limits {
        Limits {
            workers,
            lanes: LaneLimits {
                window,
                backoff_base: Duration::ZERO,
                backoff_max: Duration::ZERO,
            },
            lane_by_url: false,
            share: 1000,
            share_bytes: 1 << 20,
            max_active: 1000,
            max_active_bytes: 1 << 20,
            schedule: RetrySchedule::list(vec![], 0.0),
            timeout: Duration::from_secs(15),
            max_age: Duration::MAX,
            parking: Parking::Nowhere,
            tells: false,
            gone: Duration::ZERO,
            bridge: false,
        }
    }
}

/// Where messages wait whose attempt is not due soon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parking {
    /// In Redis, if they wait for longer than this half of a lease; otherwise in memory.
    InRedis { near_window: Duration },
    /// In memory only: the store keeps nothing but dead letters.
    Nowhere,
}

impl Parking {
    pub fn is_possible(self) -> bool {
        self != Parking::Nowhere
    }

    pub fn near_window(self) -> Option<Duration> {
        match self {
            Parking::InRedis { near_window } => Some(near_window),
            Parking::Nowhere => None,
        }
    }

    /// The age of a lease at which an attempt may still begin. It ends before the lease does, because it
    /// takes a third of a lease at most.
    pub fn begin_within(self) -> Duration {
        self.near_window()
            .map_or(Duration::MAX, |near| near + near / 3)
    }

    /// How long ago its entry was certainly ours. Zero if it has no entry, or if nobody else can take it.
    pub fn age(self, delivery: &Delivery, now: Now) -> Duration {
        match (delivery.entry, self) {
            (Some(_), Parking::InRedis { .. }) => now.boot.since(delivery.lease_renewed_at),
            _ => Duration::ZERO,
        }
    }

    /// Whether it should wait in the store by now, and not in memory.
    pub fn is_past_near_window(self, delivery: &Delivery, now: Now) -> bool {
        let near = self.near_window();
        near.is_some_and(|near| self.age(delivery, now) > near)
    }

    /// Whether another replica may have taken it over.
    pub fn has_lapsed(self, delivery: &Delivery, now: Now) -> bool {
        let lease = self.near_window().map(|near| near * 2);
        lease.is_some_and(|lease| self.age(delivery, now) >= lease)
    }

    /// Whether an attempt that begins now may still be under way when its lease ends.
    pub fn is_too_old_to_begin(self, delivery: &Delivery, now: Now) -> bool {
        // A delivery that asks the store first gets a new lease.
        !delivery.notes_first() && self.age(delivery, now) > self.begin_within()
    }
}
