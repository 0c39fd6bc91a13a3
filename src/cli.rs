//! What the user typed: flags, environment variables, and what they mean.
//!
//! Every option is a flag `--some-name`, a variable `OUTHOOK_SOME_NAME`, a default and a
//! line of help. What is wrong ends the program with [`BAD_CONFIG`] and one line that names
//! the option, the value and what is allowed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::backoff::{DELAY_MAX, Delays, RetrySchedule};
use crate::config::DeliveryConfig;
use crate::store::{Keys, Redis, RedisConfig};

/// The exit code for a configuration that cannot be run with.
pub const BAD_CONFIG: u8 = 2;

/// Sends webhooks: takes messages from Redis and POSTs each until it is accepted.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// What to log to standard error, in env_logger's syntax [default: info]
    #[arg(long, global = true, env = "OUTHOOK_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// One a file in `commands`.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Command {
    /// Take messages from Redis Pub/Sub and deliver them
    Serve(ServeArgs),
    /// Receive webhooks and print them, for development
    Listen(ListenArgs),
    /// Check the configuration, and that Redis answers
    Check(CheckArgs),
    /// Deliver messages from standard input, one JSON object a line, without Redis
    Deliver(DeliverArgs),
    /// Show it all at work in one process, without Redis
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    /// Pub/Sub channel to subscribe to; may be given more than once
    #[arg(long = "channel", env = "OUTHOOK_CHANNEL", value_name = "NAME", default_value = "payments",
          value_delimiter = ',', value_parser = nonempty)]
    pub channels: Vec<String>,
    /// Name among the consumers of the group; one that is given takes back its own entries at
    /// start, and must not be used twice at a time [default: one of its own]
    #[arg(long, env = "OUTHOOK_CONSUMER", value_name = "NAME", value_parser = nonempty)]
    pub consumer: Option<String>,
    /// Entries of the stream that no one has renewed for so long are taken over
    #[arg(long, env = "OUTHOOK_LEASE", value_name = "DURATION", default_value = "60s", value_parser = lease)]
    pub lease: Duration,
    /// Append Pub/Sub messages to the stream, once for each webhookId, and deliver from there
    #[arg(long, env = "OUTHOOK_BRIDGE")]
    pub bridge: bool,
    /// How long a webhookId is remembered for --bridge
    #[arg(long, env = "OUTHOOK_BRIDGE_DEDUP", value_name = "DURATION", default_value = "10m", value_parser = keep)]
    pub bridge_dedup: Duration,
    /// Keep for so long, for each message, what its last attempt came to (see outhook status)
    #[arg(long, env = "OUTHOOK_STATUS_TTL", value_name = "DURATION", value_parser = keep)]
    pub status_ttl: Option<Duration>,
    /// Keep about so many of the last attempts' results in the stream {PREFIX}:outcomes
    #[arg(long, env = "OUTHOOK_OUTCOMES", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub outcomes: Option<u64>,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
}

#[derive(Debug, Args)]
pub struct DeliverArgs {
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    /// Append dead letters to this file, one JSON object a line [default: standard error]
    #[arg(long, env = "OUTHOOK_DEAD_FILE", value_name = "FILE")]
    pub dead_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    /// Payments a second
    #[arg(long, env = "OUTHOOK_RATE", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// End by itself after this long [default: at Ctrl-C]
    #[arg(long = "for", env = "OUTHOOK_FOR", value_name = "DURATION", value_parser = duration)]
    pub length: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Address to listen at; port 0 takes a free one
    #[arg(
        long,
        env = "OUTHOOK_BIND",
        value_name = "ADDR",
        default_value = "127.0.0.1:9000"
    )]
    pub bind: SocketAddr,
    /// Status to answer
    #[arg(long, env = "OUTHOOK_STATUS", value_name = "CODE", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: u16,
    /// Share of requests to answer with 500 instead, 0 to 1
    #[arg(long, env = "OUTHOOK_FAIL_RATE", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub fail_rate: f64,
    /// Wait so long before each answer
    #[arg(long, env = "OUTHOOK_DELAY", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub delay: Duration,
    /// Take requests and never answer
    #[arg(long, env = "OUTHOOK_HANG")]
    pub hang: bool,
    /// Send Retry-After with every answer that is not 2xx
    #[arg(long, env = "OUTHOOK_RETRY_AFTER", value_name = "SECONDS")]
    pub retry_after: Option<u32>,
}

/// How to reach Redis.
#[derive(Debug, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisArgs {
    /// host:port, or a redis://, rediss:// or unix:// URL; REDIS_ADDRESS is read too
    /// [default: 127.0.0.1:6379]
    #[arg(
        long,
        env = "OUTHOOK_REDIS_ADDRESS",
        value_name = "ADDR",
        hide_env_values = true
    )]
    redis_address: Option<String>,
    /// Read the address from a file, as it may hold a password
    #[arg(long, env = "OUTHOOK_REDIS_ADDRESS_FILE", value_name = "FILE")]
    redis_address_file: Option<PathBuf>,
    /// User (ACL) to log in as
    #[arg(long, env = "OUTHOOK_REDIS_USERNAME", value_name = "NAME")]
    redis_username: Option<String>,
    /// Password to log in with
    #[arg(
        long,
        env = "OUTHOOK_REDIS_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    redis_password: Option<String>,
    /// Read the password from a file
    #[arg(long, env = "OUTHOOK_REDIS_PASSWORD_FILE", value_name = "FILE")]
    redis_password_file: Option<PathBuf>,
    /// Namespace: keys are named {PREFIX}:messages and so on
    #[arg(long, env = "OUTHOOK_REDIS_PREFIX", value_name = "PREFIX", default_value = "outhook", value_parser = prefix)]
    redis_prefix: String,
    /// Stream to take messages from [default: {PREFIX}:messages]
    #[arg(long, env = "OUTHOOK_STREAM", value_name = "KEY", value_parser = nonempty)]
    stream: Option<String>,
    /// Consumer group of the stream
    #[arg(long, env = "OUTHOOK_GROUP", value_name = "NAME", default_value = "outhook", value_parser = nonempty)]
    group: String,
}

/// How messages are delivered.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
pub struct DeliveryArgs {
    /// Attempts at a time; each has a thread
    #[arg(long, env = "OUTHOOK_WORKERS", value_name = "N", default_value = "128", value_parser = clap::value_parser!(u16).range(1..=4096))]
    workers: u16,
    /// For a whole attempt: DNS, connect, TLS, sending, status and body
    #[arg(long, env = "OUTHOOK_TIMEOUT", value_name = "DURATION", default_value = "15s", value_parser = timeout)]
    timeout: Duration,
    /// For connecting, within the timeout
    #[arg(long, env = "OUTHOOK_CONNECT_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = timeout)]
    connect_timeout: Duration,
    /// Attempts for each message, the first included
    #[arg(long, env = "OUTHOOK_MAX_ATTEMPTS", value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: u32,
    /// Pause after the first failed attempt; it doubles after each
    #[arg(long, env = "OUTHOOK_BACKOFF_BASE", value_name = "DURATION", default_value = "1s", value_parser = delay)]
    backoff_base: Duration,
    /// The longest pause between two attempts
    #[arg(long, env = "OUTHOOK_BACKOFF_MAX", value_name = "DURATION", default_value = "1h", value_parser = delay)]
    backoff_max: Duration,
    /// Pauses instead: a list as 5s,5m,30m, or "standard" (Standard Webhooks: 10 attempts in 3 days)
    #[arg(long, env = "OUTHOOK_RETRY_SCHEDULE", value_name = "LIST", value_parser = schedule,
          conflicts_with_all = ["max_attempts", "backoff_base", "backoff_max"])]
    retry_schedule: Option<Pauses>,
    /// Share of each pause that is added to it at random, 0 to 1
    #[arg(long, env = "OUTHOOK_JITTER", value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    jitter: f64,
    /// Refuse larger messages
    #[arg(long, env = "OUTHOOK_MAX_MESSAGE_BYTES", value_name = "N", default_value = "1048576", value_parser = clap::value_parser!(u32).range(64..=512 << 20))]
    max_message_bytes: u32,
    /// Messages held in memory; what comes on top is a dead letter (overflow)
    #[arg(long, env = "OUTHOOK_MAX_ACTIVE", value_name = "N", default_value = "20000", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_active: u32,
    /// Bytes of messages held in memory, likewise
    #[arg(long, env = "OUTHOOK_MAX_ACTIVE_BYTES", value_name = "N", default_value = "33554432", value_parser = clap::value_parser!(u64).range(1..))]
    max_active_bytes: u64,
    /// What counts as one endpoint
    #[arg(long, env = "OUTHOOK_LANE_KEY", value_enum, default_value_t = LaneKey::Origin)]
    lane_key: LaneKey,
    /// How long an endpoint that fails is left alone at first; it doubles while it fails
    #[arg(long, env = "OUTHOOK_PAUSE_BASE", value_name = "DURATION", default_value = "1s", value_parser = delay)]
    pause_base: Duration,
    /// The longest such pause, unless a Retry-After asks for more
    #[arg(long, env = "OUTHOOK_PAUSE_MAX", value_name = "DURATION", default_value = "1m", value_parser = delay)]
    pause_max: Duration,
    /// How long deliveries go on after the first SIGTERM or SIGINT
    #[arg(long, env = "OUTHOOK_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "8s", value_parser = duration)]
    drain_timeout: Duration,
}

/// What counts as one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum LaneKey {
    /// Scheme, host and port
    Origin,
    /// The whole URL
    Url,
}

impl ServeArgs {
    /// Checks what options mean together. The error is one line.
    pub fn check(&self) -> Result<(), String> {
        // An attempt begins up to half a lease after the last renewal, and must end within it.
        match self.delivery.timeout > self.lease / 3 {
            true => Err(format!(
                "--timeout {}: it must be at most a third of --lease ({})",
                humantime::format_duration(self.delivery.timeout),
                humantime::format_duration(self.lease)
            )),
            false => Ok(()),
        }
    }

    /// What is due later than this is parked.
    pub fn near(&self) -> Duration {
        self.lease / 2
    }
}

impl DeliveryArgs {
    pub fn config(&self) -> DeliveryConfig {
        let schedule = match &self.retry_schedule {
            Some(Pauses(list)) => RetrySchedule {
                attempts: list.len() as u32 + 1,
                delays: Delays::List(list.clone()),
                jitter: self.jitter,
            },
            None => RetrySchedule {
                attempts: self.max_attempts,
                delays: Delays::Doubling {
                    base: self.backoff_base,
                    max: self.backoff_max,
                },
                jitter: self.jitter,
            },
        };
        DeliveryConfig {
            workers: self.workers.into(),
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            schedule,
            max_message_bytes: self.max_message_bytes as usize,
            max_active: self.max_active as usize,
            max_active_bytes: self.max_active_bytes as usize,
            lane_by_url: self.lane_key == LaneKey::Url,
            pause: self.pause_base,
            longest_pause: self.pause_max,
            drain_timeout: self.drain_timeout,
        }
    }
}

impl RedisArgs {
    /// Reads and checks the address; connects to nothing yet. The error is one line.
    pub fn open(&self) -> Result<Redis, String> {
        Redis::new(&self.config()?)
            .map_err(|e| format!("--redis-address (variable REDIS_ADDRESS) {e}"))
    }

    /// The keys to use. The error is one line.
    pub fn keys(&self) -> Result<Keys, String> {
        let mut keys = Keys::new(&self.redis_prefix);
        if let Some(stream) = &self.stream {
            let tag = format!("{{{}}}", self.redis_prefix);
            if !stream.contains(&tag) {
                return Err(format!(
                    "--stream {stream}: it must contain {tag}, so that all keys are in one \
                     slot; see --redis-prefix"
                ));
            }
            keys.messages = stream.clone();
        }
        keys.group = self.group.clone();
        Ok(keys)
    }

    /// Puts together what flags, variables and files say. The error is one line.
    fn config(&self) -> Result<RedisConfig, String> {
        let flag = "--redis-address";
        let address = secret(
            flag,
            &self.redis_address,
            self.redis_address_file.as_deref(),
        )?;
        // The tutorial's variable; an empty one is what compose makes of an unset one.
        let inherited = || {
            std::env::var("REDIS_ADDRESS")
                .ok()
                .filter(|a| !a.is_empty())
        };
        let address = address
            .or_else(inherited)
            .unwrap_or_else(|| "127.0.0.1:6379".into());
        let file = self.redis_password_file.as_deref();
        let password = secret("--redis-password", &self.redis_password, file)?;
        Ok(RedisConfig {
            address,
            username: self.redis_username.clone(),
            password,
        })
    }
}

/// A secret, given in itself or as the name of a file that holds it, but not both.
fn secret(
    flag: &str,
    value: &Option<String>,
    file: Option<&Path>,
) -> Result<Option<String>, String> {
    match (value, file) {
        (Some(_), Some(_)) => Err(format!(
            "{flag} and {flag}-file exclude each other; set one"
        )),
        (value, None) => Ok(value.clone()),
        (None, Some(file)) => fs::read_to_string(file)
            .map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            .map_err(|e| {
                format!(
                    "{flag}-file {}: {e}; it must be a readable file",
                    file.display()
                )
            }),
    }
}

/// The pauses of `--retry-schedule`.
#[derive(Debug, Clone)]
struct Pauses(Vec<Duration>);

/// Names for schedules.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    Standard,
}

fn schedule(text: &str) -> Result<Pauses, String> {
    if let Ok(Preset::Standard) = Preset::from_str(text, false) {
        return Ok(Pauses(RetrySchedule::standard()));
    }
    let pauses: Result<Vec<_>, _> = text.split(',').map(delay).collect();
    pauses
        .map(Pauses)
        .map_err(|e| format!("{e}; it must be \"standard\" or a list as 5s,5m,30m"))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|e| format!("{e}; it must be a duration as 500ms, 15s or 1h"))
}

fn delay(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::ZERO, DELAY_MAX)
}

fn lease(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_secs(1), Duration::from_secs(24 * 3600))
}

fn keep(text: &str) -> Result<Duration, String> {
    bounded(
        text,
        Duration::from_secs(1),
        Duration::from_secs(365 * 24 * 3600),
    )
}

fn prefix(text: &str) -> Result<String, String> {
    match nonempty(text)? {
        name if name.contains(['{', '}']) => Err("it must not contain { or }".into()),
        name => Ok(name),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_millis(1), Duration::from_secs(3600))
}

fn bounded(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let d = duration(text)?;
    let shown = humantime::format_duration;
    match (least..=most).contains(&d) {
        true => Ok(d),
        false => Err(format!(
            "it must be between {} and {}",
            shown(least),
            shown(most)
        )),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}

fn nonempty(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it must not be empty".into()),
        name => Ok(name.to_owned()),
    }
}

/// Folds clap's paragraph of an error into one line, and leaves out its advice on `--help`.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_option_has_a_variable_of_its_name_and_a_line_of_help() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            for arg in command
                .get_arguments()
                .filter(|a| a.get_long() != Some("help"))
            {
                let flag = arg.get_long().expect("options only");
                let name = format!("OUTHOOK_{}", flag.replace('-', "_").to_uppercase());
                assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(&*name));
                assert!(arg.get_help().is_some(), "--{flag}");
            }
        }
    }

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
