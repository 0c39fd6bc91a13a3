//! What the scheduler keeps to, counts and answers.

use std::time::{Duration, Instant};

use crate::delivery::backoff::RetrySchedule;
use crate::message::timestamp::BootTime;
use crate::scheduler::lane::LaneLimits;

/// What the scheduler keeps to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Deliveries in flight at a time.
    pub workers: usize,
    /// What each endpoint's lane keeps to.
    pub lanes: LaneLimits,
    /// A lane for each URL, not for each origin.
    pub lane_by_url: bool,
    /// Deliveries that one lane may have among the active ones, where the store can park
    /// the rest.
    pub share: usize,
    /// The bytes of these.
    pub share_bytes: usize,
    /// Deliveries held in memory: queued, in flight and waiting.
    pub max_active: usize,
    /// Bytes of messages held in memory.
    pub max_active_bytes: usize,
    pub schedule: RetrySchedule,
    /// How long an attempt takes at most, for nearly all.
    pub timeout: Duration,
    /// What has waited for longer is given up, unless its endpoint's rule says otherwise.
    pub max_age: Duration,
    pub parking: Parking,
    /// Whether the store is told of every attempt.
    pub tells: bool,
    /// How long nothing is sent to a URL that answered 410, where the store can park.
    pub gone: Duration,
    /// Messages that memory alone holds go to the stream first, and are delivered from there.
    pub bridge: bool,
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

/// Where messages wait that are not to be attempted soon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parking {
    /// In Redis, if it is for longer than this, which is half of a lease; otherwise in memory.
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

    /// How long after its lease began an attempt may begin, so that it ends before the lease does:
    /// it takes a third of a lease at most.
    pub fn begin_within(self) -> Duration {
        self.near_window()
            .map_or(Duration::MAX, |near| near + near / 3)
    }
}

/// How far the end of this process is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum DrainState {
    #[default]
    Serving,
    /// What would be due later than `horizon` leaves.
    Draining { horizon: Instant },
    /// The time is over: nothing is queued any more, and whatever comes back leaves.
    Cut,
}

impl DrainState {
    pub fn has_begun(self) -> bool {
        self != DrainState::Serving
    }

    /// Whether what is due then leaves.
    pub fn leaves(self, due: Instant) -> bool {
        match self {
            DrainState::Serving => false,
            DrainState::Draining { horizon } => due > horizon,
            DrainState::Cut => true,
        }
    }
}

/// One moment on all clocks: `mono` orders and measures, `boot` measures leases, `unix_ms` is
/// written down.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub mono: Instant,
    pub boot: BootTime,
    pub unix_ms: u64,
}

/// Counters since the start.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stats {
    /// Well-formed messages taken in.
    pub accepted: u64,
    pub delivered: u64,
    /// Accepted, and given up for whatever reason.
    pub dead: u64,
    /// Accepted, and handed to the store for later, or for another replica.
    pub parked: u64,
    /// Accepted, and handed to the store to wait for their endpoints.
    pub deferred: u64,
    /// Of those parked, the ones that came while draining.
    pub appended: u64,
    /// Accepted, and dropped as others have taken over the entries meanwhile.
    pub lapsed: u64,
    /// Accepted, and dropped as copies of others that were heard before.
    pub duplicates: u64,
    /// Never accepted, as they were malformed.
    pub rejected: u64,
    /// Never accepted, as they are here already.
    pub already_active: u64,
    /// Retries scheduled.
    pub retried: u64,
    /// HTTP attempts made.
    pub attempts: u64,
}

/// Where the active deliveries stand.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Levels {
    pub queued: usize,
    pub in_flight: usize,
    pub scheduled: usize,
    pub lanes: usize,
    pub bytes: usize,
    /// Of them all, those that memory alone holds.
    pub memory_only: usize,
}
