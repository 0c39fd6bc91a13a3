//! What the program runs with, after what the user typed has been understood.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::retry_schedule::RetrySchedule;
use crate::trust::authorities::Authorities;
use crate::trust::egress::Egress;
use crate::trust::guard::Guard;

/// How messages are delivered, wherever they come from.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Threads, and so attempts at a time.
    pub workers: usize,
    /// Workers that one endpoint may have at a time.
    pub max_in_flight: usize,
    /// The longest that a whole attempt may take.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// Certificates that the operator trusts, and whether Mozilla's are trusted too.
    pub authorities: Option<Authorities>,
    pub public_authorities: bool,
    /// Idle connections that are kept, to all endpoints together. `None`: as many as descriptors
    /// allow.
    pub max_idle_connections: Option<usize>,
    /// The name servers. If there are none, those of resolv.conf are asked.
    pub dns_servers: Vec<SocketAddr>,
    /// Names are looked up by getaddrinfo.
    pub system_resolver: bool,
    pub egress: Egress,
    /// Where no message may lead.
    pub guard: Arc<Guard>,
    pub schedule: RetrySchedule,
    /// A message that has waited for longer is given up.
    pub max_age: Duration,
    /// It was raised from the configured value, because all attempts take that long.
    pub max_age_raised: bool,
    /// Larger messages are refused.
    pub max_message_bytes: usize,
    /// Messages that may be in memory, and their bytes.
    pub max_active: usize,
    pub max_active_bytes: usize,
    /// Each URL is an endpoint of its own, not each origin.
    pub lane_by_url: bool,
    /// How long an endpoint that fails is left alone at first, and at most.
    pub endpoint_backoff_base: Duration,
    pub endpoint_backoff_max: Duration,
    /// How long deliveries go on after the first signal.
    pub drain_timeout: Duration,
}

impl DeliveryConfig {
    /// Sentences for the log, at each start.
    pub fn notes(&self) -> Vec<String> {
        let raised = self.max_age_raised.then(|| {
            let age = humantime::format_duration(self.max_age);
            format!("--max-age is raised to {age}: all attempts take so long")
        });
        let guard = self.guard.describe_off();
        let guard = guard.map(|off| format!("--allow-cidr: the address guard is {off}"));
        raised.into_iter().chain(guard).collect()
    }
}

/// How much Redis may hold before outhook parks nothing more for endpoints that fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    None,
    Bytes(u64),
    /// A share of maxmemory, if Redis has one.
    Percent(f64),
}

/// Attempts at a time that one endpoint may have where nothing is set.
const MAX_IN_FLIGHT: usize = 32;

/// The default of `--max-in-flight`. Never more than a quarter of the workers, so that a customer
/// who hangs leaves most of them to the others.
pub fn default_max_in_flight(workers: usize) -> usize {
    MAX_IN_FLIGHT.min(workers / 4).max(1)
}

/// Attempts a second, with `at_a_time` at the same time, if each takes `answer`.
pub fn attempts_per_second(at_a_time: usize, answer: Duration) -> u64 {
    (at_a_time as f64 / answer.as_secs_f64()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_gets_32_workers_or_a_quarter_and_always_one() {
        let cases = [(1, 1), (4, 1), (8, 2), (128, 32), (512, 32), (4096, 32)];
        for (workers, expected) in cases {
            assert_eq!(default_max_in_flight(workers), expected, "{workers}");
        }
    }

    #[test]
    fn throughput_is_workers_over_answer_time() {
        let ms = Duration::from_millis;
        assert_eq!(attempts_per_second(512, ms(200)), 2560);
        assert_eq!(attempts_per_second(128, ms(300)), 426);
        assert_eq!(attempts_per_second(1, ms(15_000)), 0);
    }
}
