//! What the program runs with, after what the user typed has been understood.

use std::net::SocketAddr;
use std::time::Duration;

use crate::authorities::Authorities;
use crate::backoff::RetrySchedule;

/// How messages are delivered, wherever they come from.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Threads, and so attempts at a time.
    pub workers: usize,
    /// For a whole attempt.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// Certificates that the operator trusts, and whether Mozilla's are trusted too.
    pub authorities: Option<Authorities>,
    pub public_authorities: bool,
    /// Idle connections kept, to all endpoints together.
    pub max_idle_connections: usize,
    /// Asked for names, in place of the servers of resolv.conf; none: those.
    pub dns_servers: Vec<SocketAddr>,
    /// Names are looked up by getaddrinfo.
    pub system_resolver: bool,
    pub schedule: RetrySchedule,
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

impl DeliveryConfig {
    /// Workers that one origin may hold at a time: a quarter, so that a customer who hangs
    /// leaves most of them to the others.
    pub fn window(&self) -> usize {
        (self.workers / 4).max(1)
    }

    /// Workers that may wait for long for names that do not answer: an eighth, so that a crowd
    /// of silent names leaves most of them to others.
    pub fn patient_look_ups(&self) -> usize {
        (self.workers / 8).max(1)
    }
}
