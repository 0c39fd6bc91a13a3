//! What the user typed: flags, environment variables, and what they mean.
//!
//! Every option is a flag `--some-name`, a variable `OUTHOOK_SOME_NAME`, a default and a
//! line of help. What is wrong ends the program with [`BAD_CONFIG`] and one line that names
//! the option, the value and what is allowed.

mod admin;
pub mod commands;
mod delivery;
mod egress;
mod guard;
mod keyring;
mod redis;
mod secrets;
mod signing;
mod values;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::delivery::config::Budget;
use crate::service::logging::LogFormat;
pub use admin::{
    DeadAct, DeadArgs, EndpointAct, EndpointsArgs, KeyAct, KeysArgs, ParkedAct, ParkedArgs,
    SelectArgs, SendArgs, StatusArgs,
};
pub use delivery::{DeliveryArgs, WorkersArgs};
pub use keyring::{KeyringArgs, SecretAct, SecretPlace, SecretsArgs};
pub use redis::RedisArgs;
pub use secrets::{read_secret, read_secret_again};
pub use signing::SigningArgs;
pub use values::read_authorities;
use values::{address, budget, duration, keep, lease, nonempty, number, share};
pub use verify::{KeygenArgs, SecretArgs, VerifyArgs};

/// The exit code for a configuration that cannot be run with.
pub const BAD_CONFIG: u8 = 2;

/// The lease where none is set.
const LEASE: Duration = Duration::from_secs(60);

/// Sends webhooks: takes messages from Redis and POSTs each one until it is accepted.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// What to log to standard error: a level, or env_logger's syntax such as info,outhook=debug
    /// [default: info]
    #[arg(long, global = true, env = "OUTHOOK_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to write the log
    #[arg(
        long,
        global = true,
        env = "OUTHOOK_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// One a file in `commands`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take messages from a Redis stream and from Pub/Sub, and deliver them
    Serve(Box<ServeArgs>),
    /// Receive webhooks and print them, for development
    Listen(ListenArgs),
    /// Make a key that signs deliveries
    Keygen(KeygenArgs),
    /// Verify the signature of a request, and say why it is wrong
    Verify(Box<VerifyArgs>),
    /// Check that Redis answers and allows all that deliveries need
    Check(CheckArgs),
    /// Deliver messages from standard input, one JSON object a line, without Redis
    Deliver(DeliverArgs),
    /// Show everything at work in one process, without Redis
    Demo(DemoArgs),
    /// Send messages through Redis, from the command line or standard input
    Send(SendArgs),
    /// List, show, replay or purge dead letters
    Dead(DeadArgs),
    /// List messages that wait in Redis, make them due now, or delete them
    Parked(ParkedArgs),
    /// List keys (orderKey) that have messages, show the messages of a key, or skip its first one
    Keys(KeysArgs),
    /// Store secrets in Redis, list their names, or delete them
    Secrets(SecretsArgs),
    /// Show what happened to a message
    Status(StatusArgs),
    /// List endpoints as the running replicas see them; pause or resume an endpoint
    Endpoints(EndpointsArgs),
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub channels: ChannelArgs,
    /// Consumer name in the group. A replica with a fixed name takes back its own entries at its
    /// start. Two running replicas must not have the same name [default: a new name at each start]
    #[arg(long, env = "OUTHOOK_CONSUMER", value_name = "NAME", value_parser = nonempty)]
    pub consumer: Option<String>,
    /// Time after which an entry that no replica has renewed is taken over
    /// [default: 60s, or three times --timeout if that is longer]
    #[arg(long, env = "OUTHOOK_LEASE", value_name = "DURATION", value_parser = lease)]
    lease: Option<Duration>,
    /// Append Pub/Sub messages to the stream, once for each webhookId and URL, and deliver them from
    /// the stream
    #[arg(long, env = "OUTHOOK_BRIDGE")]
    pub bridge: bool,
    /// How long --bridge remembers a webhookId and URL
    #[arg(long, env = "OUTHOOK_BRIDGE_DEDUP", value_name = "DURATION", default_value = "10m", value_parser = keep)]
    pub bridge_dedup: Duration,
    /// Drop copies of a message in the stream (same webhookId, URL and bytes) for this long after the
    /// first one. Without this option copies are delivered
    #[arg(long, env = "OUTHOOK_DEDUP", value_name = "DURATION", value_parser = keep)]
    pub dedup: Option<Duration>,
    /// Keep the result of each message for this long (see outhook status)
    #[arg(long, env = "OUTHOOK_STATUS_TTL", value_name = "DURATION", value_parser = keep)]
    pub status_ttl: Option<Duration>,
    /// Keep the results of about this many recent attempts in the stream {PREFIX}:attempt-log
    #[arg(long, env = "OUTHOOK_ATTEMPT_LOG", value_name = "N", value_parser = number::<u64>(1, 1_000_000_000))]
    pub attempt_log: Option<u64>,
    /// Delete dead letters that are older than this [default: keep them]
    #[arg(long, env = "OUTHOOK_DEAD_MAX_AGE", value_name = "DURATION", value_parser = keep)]
    pub dead_max_age: Option<Duration>,
    /// Delete the oldest dead letters when there are more than this many [default: keep them]
    #[arg(long, env = "OUTHOOK_DEAD_MAX", value_name = "N", value_parser = number::<u64>(0, 1_000_000_000))]
    pub dead_max: Option<u64>,
    /// Limit of Redis's memory above which no more messages are kept for failing endpoints: bytes
    /// (512mb), a share of Redis's maxmemory (80%), or none
    #[arg(long, env = "OUTHOOK_REDIS_BUDGET", value_name = "SIZE", default_value = "80%", value_parser = budget)]
    pub redis_budget: Budget,
    /// How long nothing is sent to a URL that answered 410 (Gone); outhook endpoints resume ends
    /// this earlier
    #[arg(long, env = "OUTHOOK_GONE_TTL", value_name = "DURATION", default_value = "1d", value_parser = keep)]
    pub gone_ttl: Duration,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub workers: WorkersArgs,
    #[command(flatten)]
    pub channels: ChannelArgs,
}

/// What to listen to.
#[derive(Debug, Args)]
pub struct ChannelArgs {
    /// Pub/Sub channel to subscribe to; repeatable
    #[arg(long = "channel", env = "OUTHOOK_CHANNEL", value_name = "NAME", default_value = "payments",
          value_delimiter = ',', value_parser = nonempty)]
    pub names: Vec<String>,
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
    #[arg(long, env = "OUTHOOK_RATE", value_name = "N", default_value_t = 20, value_parser = number::<u32>(1, 10_000))]
    pub rate: u32,
    /// End after this long [default: at Ctrl-C]
    #[arg(long = "for", env = "OUTHOOK_FOR", value_name = "DURATION", value_parser = duration)]
    pub length: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Address to listen at; port 0 takes a free port
    #[arg(
        long,
        env = "OUTHOOK_BIND",
        value_name = "ADDR",
        default_value = "127.0.0.1:9000",
        value_parser = address
    )]
    pub bind: SocketAddr,
    /// Status to answer
    #[arg(long, env = "OUTHOOK_STATUS", value_name = "CODE", default_value_t = 200, value_parser = number::<u16>(200, 599))]
    pub status: u16,
    /// Share of requests that are answered with 500 instead, 0 to 1
    #[arg(long, env = "OUTHOOK_FAIL_RATE", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub fail_rate: f64,
    /// Wait this long before each answer
    #[arg(long, env = "OUTHOOK_DELAY", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub delay: Duration,
    /// Accept requests and never answer
    #[arg(long, env = "OUTHOOK_HANG")]
    pub hang: bool,
    /// Send Retry-After with every answer other than 2xx
    #[arg(long, env = "OUTHOOK_RETRY_AFTER", value_name = "SECONDS")]
    pub retry_after: Option<u32>,
    #[command(flatten)]
    pub secret: SecretArgs,
}

impl ServeArgs {
    /// How long an entry is ours without being renewed. An attempt begins up to half a lease
    /// after the last renewal, and must end within it. The error is one line.
    pub fn lease(&self) -> Result<Duration, String> {
        let timeout = self.delivery.timeout;
        match self.lease {
            Some(lease) if timeout > lease / 3 => Err(format!(
                "--timeout {}: it must be at most a third of --lease ({})",
                humantime::format_duration(timeout),
                humantime::format_duration(lease)
            )),
            Some(lease) => Ok(lease),
            None => Ok(LEASE.max(timeout * 3)),
        }
    }
}

/// Folds clap's paragraph of an error into one line, and leaves out its advice on `--help`.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let text = words.join(" ");
    text.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_option_has_a_variable_of_its_name_and_a_line_of_help() {
        Cli::command().debug_assert();
        // The operator's tools are typed, not deployed.
        let deployed = ["serve", "deliver", "demo", "listen", "check"];
        for name in deployed {
            let cli = Cli::command();
            let command = cli.find_subcommand(name).unwrap();
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
}
