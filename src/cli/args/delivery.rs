//! How messages are delivered.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::egress::EgressArgs;
use super::guard::GuardArgs;
use super::keyring::KeyringArgs;
use super::signing::SigningArgs;
use super::values::{delay, dns_server, drain, keep, number, read_authorities, share, timeout};
use crate::delivery::config::{DeliveryConfig, default_max_in_flight};
use crate::delivery::retry_schedule::{Delays, RetrySchedule};
use crate::message::MAX_ATTEMPTS;
use crate::trust::authorities::Authorities;

/// Where --connect-timeout is not set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How messages are delivered.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
pub struct DeliveryArgs {
    #[command(flatten)]
    workers: WorkersArgs,
    /// Attempts that one endpoint may have at the same time; the endpoints file can change it for an
    /// endpoint [default: 32, or a quarter of the workers if that is less]
    #[arg(long, env = "OUTHOOK_MAX_IN_FLIGHT", value_name = "N", value_parser = number::<u16>(1, 4096))]
    max_in_flight: Option<u16>,
    /// Time limit of an attempt: connect, TLS, request, and the head of the answer. Looking up a new
    /// name has the same time before that
    #[arg(long, env = "OUTHOOK_TIMEOUT", value_name = "DURATION", default_value = "15s", value_parser = timeout)]
    pub timeout: Duration,
    /// Time limit for connecting, within --timeout [default: 5s, or --timeout if that is less]
    #[arg(long, env = "OUTHOOK_CONNECT_TIMEOUT", value_name = "DURATION", value_parser = timeout)]
    connect_timeout: Option<Duration>,
    /// PEM file of certificates to trust for https:// endpoints, in addition to Mozilla's
    #[arg(long, env = "OUTHOOK_CA_FILE", value_name = "FILE", value_parser = read_authorities)]
    ca_file: Option<Authorities>,
    /// Trust only the certificates of --ca-file
    #[arg(long, env = "OUTHOOK_CA_ONLY")]
    ca_only: bool,
    /// Idle connections that are kept, for all endpoints together [default: 4096, or as many as the
    /// limit of open files leaves]
    #[arg(long, env = "OUTHOOK_MAX_IDLE_CONNECTIONS", value_name = "N", value_parser = number::<u32>(0, 1_000_000))]
    max_idle_connections: Option<u32>,
    /// Name server to ask instead of those in /etc/resolv.conf: an IP address, with a port if it is
    /// not 53; repeatable
    #[arg(long = "dns-server", env = "OUTHOOK_DNS_SERVER", value_name = "ADDR", value_delimiter = ',', value_parser = dns_server)]
    dns_servers: Vec<SocketAddr>,
    /// How names are looked up
    #[arg(long, env = "OUTHOOK_RESOLVER", value_enum, default_value_t = Resolver::Builtin)]
    resolver: Resolver,
    #[command(flatten)]
    egress: EgressArgs,
    #[command(flatten)]
    guard: GuardArgs,
    /// Attempts for each message, including the first
    #[arg(long, env = "OUTHOOK_MAX_ATTEMPTS", value_name = "N", default_value = "5", value_parser = number(1, MAX_ATTEMPTS))]
    max_attempts: u32,
    /// Pause after the first failed attempt; it doubles after each further one
    #[arg(long, env = "OUTHOOK_BACKOFF_BASE", value_name = "DURATION", default_value = "1s", value_parser = delay)]
    backoff_base: Duration,
    /// The longest pause between two attempts
    #[arg(long, env = "OUTHOOK_BACKOFF_MAX", value_name = "DURATION", default_value = "1h", value_parser = delay)]
    backoff_max: Duration,
    /// The pauses one by one instead: a list such as 5s,5m,30m, or "standard" (Standard Webhooks: 10
    /// attempts in 3 days)
    #[arg(long, env = "OUTHOOK_RETRY_SCHEDULE", value_name = "LIST", value_parser = schedule,
          conflicts_with_all = ["max_attempts", "backoff_base", "backoff_max"])]
    retry_schedule: Option<DelayList>,
    /// Give up a message that has waited for longer than this. It is raised to the time that all
    /// attempts take, if that is longer
    #[arg(long, env = "OUTHOOK_MAX_AGE", value_name = "DURATION", default_value = "3d", value_parser = keep)]
    max_age: Duration,
    /// Share of a pause, 0 to 1: up to this much is added to it at random
    #[arg(long, env = "OUTHOOK_JITTER", value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    jitter: f64,
    /// File with settings for single endpoints, TOML or JSON; read again on SIGHUP
    #[arg(long, env = "OUTHOOK_ENDPOINTS", value_name = "FILE")]
    pub endpoints: Option<PathBuf>,
    #[command(flatten)]
    pub signing: SigningArgs,
    #[command(flatten)]
    pub keyring: KeyringArgs,
    /// Refuse messages that are larger than this
    #[arg(long, env = "OUTHOOK_MAX_MESSAGE_BYTES", value_name = "N", default_value = "1048576", value_parser = number::<u32>(64, 512 << 20))]
    max_message_bytes: u32,
    /// Messages held in memory; further ones wait in Redis (in the demo they become dead letters)
    #[arg(long, env = "OUTHOOK_MAX_ACTIVE", value_name = "N", default_value = "20000", value_parser = number::<u32>(1, 100_000_000))]
    max_active: u32,
    /// Bytes of the messages held in memory; further ones wait in Redis
    #[arg(long, env = "OUTHOOK_MAX_ACTIVE_BYTES", value_name = "N", default_value = "33554432", value_parser = number::<u64>(1, 1 << 40))]
    max_active_bytes: u64,
    /// What counts as one endpoint
    #[arg(long, env = "OUTHOOK_ENDPOINT_BY", value_enum, default_value_t = EndpointBy::Origin)]
    endpoint_by: EndpointBy,
    /// How long a failing endpoint is left alone at first; the pause doubles while it fails
    #[arg(long, env = "OUTHOOK_ENDPOINT_BACKOFF_BASE", value_name = "DURATION", default_value = "1s", value_parser = delay)]
    endpoint_backoff_base: Duration,
    /// The longest pause of a failing endpoint, unless its Retry-After asks for more
    #[arg(long, env = "OUTHOOK_ENDPOINT_BACKOFF_MAX", value_name = "DURATION", default_value = "1m", value_parser = delay)]
    endpoint_backoff_max: Duration,
    /// How long deliveries go on after the first SIGTERM or SIGINT
    #[arg(long, env = "OUTHOOK_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "8s", value_parser = drain)]
    drain_timeout: Duration,
}

/// How many workers there are: `check` looks whether so many fit.
#[derive(Debug, Args)]
pub struct WorkersArgs {
    /// Attempts at the same time; each has a thread
    #[arg(long, env = "OUTHOOK_WORKERS", value_name = "N", default_value = "512", value_parser = number::<u16>(1, 4096))]
    workers: u16,
}

impl WorkersArgs {
    pub fn count(&self) -> usize {
        self.workers.into()
    }
}

/// What counts as one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum EndpointBy {
    /// Scheme, host and port
    Origin,
    /// The whole URL
    Url,
}

/// How names are looked up.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Resolver {
    /// outhook asks DNS itself, and reads /etc/hosts
    Builtin,
    /// The system looks up (getaddrinfo, four names at a time): for LDAP, mDNS and others
    System,
}

impl DeliveryArgs {
    /// What no single option can be blamed for. The error is one line.
    fn check(&self) -> Result<(), String> {
        if let (Resolver::System, Some(server)) = (self.resolver, self.dns_servers.first()) {
            return Err(format!(
                "--dns-server {server}: the system's resolver (--resolver system) asks servers of its own; \
                 leave one of the two away"
            ));
        }
        if self.ca_only && self.ca_file.is_none() {
            return Err("--ca-only: it needs --ca-file, or nothing would be trusted".into());
        }
        let connect = self.connect_timeout.unwrap_or_default();
        at_most(("--connect-timeout", connect), ("--timeout", self.timeout))?;
        at_most(
            ("--backoff-base", self.backoff_base),
            ("--backoff-max", self.backoff_max),
        )?;
        at_most(
            ("--endpoint-backoff-base", self.endpoint_backoff_base),
            ("--endpoint-backoff-max", self.endpoint_backoff_max),
        )
    }

    /// What can be run with, and was hardly meant: a sentence each.
    pub fn doubts(&self) -> Vec<String> {
        let (workers, active) = (self.workers.count(), self.max_active);
        let few = (active as usize) < workers;
        let few = few.then(|| {
            format!(
                "--max-active {active} is less than --workers ({workers}): at most {active} attempts \
                 are made at the same time"
            )
        });
        let (largest, bytes) = (self.max_message_bytes, self.max_active_bytes);
        let large = (u64::from(largest) > bytes).then(|| {
            format!(
                "--max-active-bytes {bytes} is less than --max-message-bytes ({largest}): a message \
                 that is larger is held alone"
            )
        });
        few.into_iter()
            .chain(large)
            .chain(self.egress.doubt())
            .collect()
    }

    /// The error is one line.
    pub fn config(&self) -> Result<DeliveryConfig, String> {
        self.check()?;
        let workers = self.workers.count();
        let max_in_flight = match self.max_in_flight.map(usize::from) {
            Some(n) if n > workers => {
                return Err(format!(
                    "--max-in-flight {n}: it must be at most --workers ({workers})"
                ));
            }
            Some(n) => n,
            None => default_max_in_flight(workers),
        };
        let schedule = match &self.retry_schedule {
            Some(DelayList(list)) => RetrySchedule::list(list.clone(), self.jitter),
            None => RetrySchedule {
                attempts: self.max_attempts,
                delays: Delays::Doubling {
                    base: self.backoff_base,
                    max: self.backoff_max,
                },
                jitter: self.jitter,
            },
        };
        let longest = schedule.longest(self.timeout);
        Ok(DeliveryConfig {
            max_age: self.max_age.max(longest),
            max_age_raised: longest > self.max_age,
            workers,
            max_in_flight,
            timeout: self.timeout,
            connect_timeout: self
                .connect_timeout
                .unwrap_or(CONNECT_TIMEOUT.min(self.timeout)),
            authorities: self.ca_file.clone(),
            public_authorities: !self.ca_only,
            max_idle_connections: self.max_idle_connections.map(|n| n as usize),
            dns_servers: self.dns_servers.clone(),
            system_resolver: self.resolver == Resolver::System,
            egress: self.egress.config()?,
            guard: self.guard.guard().into(),
            schedule,
            max_message_bytes: self.max_message_bytes as usize,
            max_active: self.max_active as usize,
            max_active_bytes: self.max_active_bytes as usize,
            lane_by_url: self.endpoint_by == EndpointBy::Url,
            endpoint_backoff_base: self.endpoint_backoff_base,
            endpoint_backoff_max: self.endpoint_backoff_max,
            drain_timeout: self.drain_timeout,
        })
    }
}

/// Two durations, of which one must not be longer than the other. The error is one line.
fn at_most((name, it): (&str, Duration), (other, most): (&str, Duration)) -> Result<(), String> {
    let shown = humantime::format_duration;
    match it <= most {
        true => Ok(()),
        false => Err(format!(
            "{name} {}: it must be at most {other} ({})",
            shown(it),
            shown(most)
        )),
    }
}

/// The pauses of `--retry-schedule`.
#[derive(Debug, Clone)]
struct DelayList(Vec<Duration>);

fn schedule(text: &str) -> Result<DelayList, String> {
    RetrySchedule::parse_list(text).map(DelayList)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_and_refused() {
        assert_eq!(schedule("standard").unwrap().0.len(), 9);
        let list = schedule("5s, 5m,30m").unwrap().0;
        assert_eq!(list, [5, 300, 1800].map(Duration::from_secs));
        for bad in ["", "5", "5s,,1m", "fast", "31days"] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
    }
}
