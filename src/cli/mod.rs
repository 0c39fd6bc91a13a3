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
pub enum Command {
    /// Take messages from a Redis stream and from Pub/Sub, and deliver them
    Serve(Box<ServeArgs>),
    /// Receive webhooks and print them, for development
    Listen(ListenArgs),
    /// Make a key that signs deliveries
    Keygen(KeygenArgs),
    /// Tell whether a request is signed as it should be, or why not
    Verify(Box<VerifyArgs>),
    /// Check the configuration, and that Redis answers
    Check(CheckArgs),
    /// Deliver messages from standard input, one JSON object a line, without Redis
    Deliver(DeliverArgs),
    /// Show it all at work in one process, without Redis
    Demo(DemoArgs),
    /// Send messages through Redis, from the command line or standard input
    Send(SendArgs),
    /// List, show, replay or purge dead letters
    Dead(DeadArgs),
    /// List messages that wait in Redis, or make them due now
    Parked(ParkedArgs),
    /// List keys (orderKey) with messages in play, show those of one, or let one go on
    Keys(KeysArgs),
    /// Put secrets into Redis, list their names, delete some
    Secrets(SecretsArgs),
    /// Tell what became of a message
    Status(StatusArgs),
    /// List endpoints as the running replicas see them; pause and resume some
    Endpoints(EndpointsArgs),
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub channels: ChannelArgs,
    /// Name among the consumers of the group; one that is given takes back its own entries at
    /// start, and must not be used twice at a time [default: one of its own]
    #[arg(long, env = "OUTHOOK_CONSUMER", value_name = "NAME", value_parser = nonempty)]
    pub consumer: Option<String>,
    /// Entries of the stream that no one has renewed for so long are taken over
    /// [default: 60s, or three times the timeout]
    #[arg(long, env = "OUTHOOK_LEASE", value_name = "DURATION", value_parser = lease)]
    lease: Option<Duration>,
    /// Append Pub/Sub messages to the stream, once for each webhookId and URL, and deliver from
    /// there
    #[arg(long, env = "OUTHOOK_BRIDGE")]
    pub bridge: bool,
    /// How long a webhookId and URL are remembered for --bridge
    #[arg(long, env = "OUTHOOK_BRIDGE_DEDUP", value_name = "DURATION", default_value = "10m", value_parser = keep)]
    pub bridge_dedup: Duration,
    /// Drop copies of messages in the stream (the same webhookId, URL and bytes) for so long after
    /// the first; otherwise they are delivered
    #[arg(long, env = "OUTHOOK_DEDUP", value_name = "DURATION", value_parser = keep)]
    pub dedup: Option<Duration>,
    /// Keep for so long, for each message, what its last attempt came to (see outhook status)
    #[arg(long, env = "OUTHOOK_STATUS_TTL", value_name = "DURATION", value_parser = keep)]
    pub status_ttl: Option<Duration>,
    /// Keep about so many of the last attempts' results in the stream {PREFIX}:attempt-log
    #[arg(long, env = "OUTHOOK_ATTEMPT_LOG", value_name = "N", value_parser = number::<u64>(1, 1_000_000_000))]
    pub attempt_log: Option<u64>,
    /// Delete dead letters that are older than this
    #[arg(long, env = "OUTHOOK_DEAD_MAX_AGE", value_name = "DURATION", value_parser = keep)]
    pub dead_max_age: Option<Duration>,
    /// Delete the oldest dead letters beyond this many
    #[arg(long, env = "OUTHOOK_DEAD_MAX", value_name = "N", value_parser = number::<u64>(0, 1_000_000_000))]
    pub dead_max: Option<u64>,
    /// How full Redis may be before nothing more is parked for endpoints that fail: bytes (as
    /// 512mb), a part of its maxmemory if that is set, or none
    #[arg(long, env = "OUTHOOK_REDIS_BUDGET", value_name = "SIZE", default_value = "80%", value_parser = budget)]
    pub redis_budget: Budget,
    /// How long nothing is sent to a URL that answered 410 (Gone); outhook endpoints resume
    /// lifts that earlier
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
    /// Pub/Sub channel to subscribe to; may be given more than once
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
        default_value = "127.0.0.1:9000",
        value_parser = address
    )]
    pub bind: SocketAddr,
    /// Status to answer
    #[arg(long, env = "OUTHOOK_STATUS", value_name = "CODE", default_value_t = 200, value_parser = number::<u16>(200, 599))]
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
