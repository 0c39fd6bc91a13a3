//! What the program runs with, after what the user typed has been understood.

use std::time::Duration;

use crate::backoff::RetrySchedule;

/// How messages are delivered, wherever they come from.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Threads, and so attempts at a time.
    pub workers: usize,
    /// For a whole attempt.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub schedule: RetrySchedule,
    /// What has waited for longer is given up.
    pub max_age: Duration,
    /// That is more than what was asked for, as all attempts take so long.
    pub max_age_raised: bool,
    /// Larger messages are refused.
    pub max_message_bytes: usize,
    /// Messages held in memory, and their bytes.
    pub max_active: usize,
    pub max_active_bytes: usize,
    /// Each URL is an endpoint of its own, not each origin.
    pub lane_by_url: bool,
    /// How long an endpoint that fails is left alone at first, and at most.
    pub pause: Duration,
    pub longest_pause: Duration,
    /// How long after the first signal deliveries go on.
    pub drain_timeout: Duration,
}

/// How much Redis may hold before outhook parks nothing more for endpoints that fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    None,
    Bytes(u64),
    /// Of what Redis may hold, if that is bounded.
    Percent(f64),
}

impl DeliveryConfig {
    /// Workers that one origin may hold at a time: a quarter, so that a customer who hangs
    /// leaves most of them to the others.
    pub fn window(&self) -> usize {
        (self.workers / 4).max(1)
    }
}
