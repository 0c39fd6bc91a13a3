//! What the operator's tools are told.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::RedisArgs;
use super::values::{duration, keep, nonempty, number};
use crate::delivery::DeadReason;
use crate::message::timestamp;
use crate::message::timestamp::unix_ms;

#[derive(Debug, Args)]
pub struct SendArgs {
    /// URL to send to. Without it, messages are read from standard input, one JSON object a line
    #[arg(long, value_name = "URL", requires = "data")]
    pub url: Option<String>,
    /// Body: any JSON, or @FILE
    #[arg(long, value_name = "JSON", requires = "url")]
    pub data: Option<String>,
    /// Id of the message [default: one is made]
    #[arg(long, value_name = "ID", requires = "url")]
    pub webhook_id: Option<String>,
    /// Extra request header, as name=value; repeatable
    #[arg(long = "header", value_name = "NAME=VALUE", requires = "url")]
    pub headers: Vec<String>,
    /// Deliver not before this time: RFC 3339, or Unix milliseconds
    #[arg(long, value_name = "TIME", requires = "url")]
    pub deliver_at: Option<String>,
    /// Deliver not after this time: RFC 3339, or Unix milliseconds
    #[arg(long, value_name = "TIME", requires = "url")]
    pub expires_at: Option<String>,
    /// Time limit of an attempt, such as 5s
    #[arg(long, value_name = "DURATION", requires = "url")]
    pub timeout: Option<String>,
    /// Number of attempts, in place of the configured number
    #[arg(long, value_name = "N", requires = "url")]
    pub max_attempts: Option<u32>,
    /// Deliver after the earlier messages with this key
    #[arg(long, value_name = "KEY", requires = "url")]
    pub order_key: Option<String>,
    /// Name of the secret that signs the message
    #[arg(long, value_name = "NAME", requires = "url")]
    pub secret: Option<String>,
    /// PUBLISH to a channel instead of adding to the stream
    #[arg(long)]
    pub publish: bool,
    /// Channel for --publish
    #[arg(long, env = "OUTHOOK_CHANNEL", value_name = "NAME", default_value = "payments", value_parser = nonempty)]
    pub channel: String,
    /// Print one JSON object a message
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

#[derive(Debug, Args)]
pub struct DeadArgs {
    #[command(subcommand)]
    pub act: DeadAct,
}

#[derive(Debug, Subcommand)]
pub enum DeadAct {
    /// List dead letters, one a line, oldest first
    List(SelectArgs),
    /// Show all fields of each dead letter
    Show(SelectArgs),
    /// Send the messages again, with all their attempts before them
    Replay(SelectArgs),
    /// Delete dead letters
    Purge(SelectArgs),
}

#[derive(Debug, Args)]
pub struct ParkedArgs {
    #[command(subcommand)]
    pub act: ParkedAct,
}

#[derive(Debug, Subcommand)]
pub enum ParkedAct {
    /// List messages, one a line: first those that wait for a time, in the order of that time, then
    /// those that wait for their endpoint
    List(SelectArgs),
    /// Make messages that wait for a time due now
    Flush(SelectArgs),
    /// Delete messages
    Purge(SelectArgs),
}

#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    pub act: KeyAct,
}

#[derive(Debug, Subcommand)]
pub enum KeyAct {
    /// List keys, one a line: where the first message is (an entry, parked or backlog), and how many
    /// follow it
    List {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show the messages of a key, in their order
    Show {
        /// Origin and orderKey, as outhook keys list prints them
        #[arg(value_name = "KEY", value_parser = nonempty)]
        key: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Stop waiting for the first message of a key: the next one goes
    Skip {
        /// Origin and orderKey, as outhook keys list prints them
        #[arg(value_name = "KEY", value_parser = nonempty)]
        key: String,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// webhookId of the message
    #[arg(value_name = "WEBHOOK_ID", value_parser = nonempty)]
    pub id: String,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

#[derive(Debug, Args)]
pub struct EndpointsArgs {
    #[command(subcommand)]
    pub act: EndpointAct,
}

#[derive(Debug, Subcommand)]
pub enum EndpointAct {
    /// List endpoints, the busiest first
    List {
        /// Only endpoints with this URL prefix
        #[arg(long, value_name = "PREFIX")]
        url: Option<String>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show all that the replicas know of an endpoint
    Show {
        /// A URL, or scheme://host for all URLs there
        #[arg(value_name = "URL")]
        url: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Send nothing to an endpoint; its messages wait in Redis
    Pause {
        /// A URL, or scheme://host for all URLs there
        #[arg(value_name = "URL")]
        url: String,
        /// Resume after this long [default: when outhook endpoints resume is called]
        #[arg(long = "for", value_name = "DURATION", value_parser = keep)]
        length: Option<Duration>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Send to an endpoint again, at once: ends a pause, or the hold after an answer of 410
    Resume {
        /// A URL, or scheme://host for all URLs there
        #[arg(value_name = "URL")]
        url: String,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Print JSON objects
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

/// Which ones.
#[derive(Debug, Args)]
pub struct SelectArgs {
    /// Only this webhookId, or this entry of the stream; repeatable
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    /// Only this URL prefix
    #[arg(long, value_name = "PREFIX")]
    pub url: Option<String>,
    /// Only dead letters with this reason
    #[arg(long, value_name = "WORD", value_parser = reason)]
    pub reason: Option<String>,
    /// From this time on: RFC 3339, or a time ago such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<u64>,
    /// Until this time: RFC 3339, or a time ago such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<u64>,
    /// At most this many
    #[arg(long, value_name = "N", value_parser = number::<u64>(1, 1_000_000_000))]
    pub limit: Option<u64>,
    /// All of them. Commands that change something need this or a selection
    #[arg(long)]
    pub all: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

impl SelectArgs {
    /// Refuses to act on everything by accident. The error is one line.
    pub fn check_chosen(&self) -> Result<(), String> {
        let times = self.since.or(self.until).or(self.limit).is_some();
        match self.all
            || times
            || !self.ids.is_empty()
            || self.url.is_some()
            || self.reason.is_some()
        {
            true => Ok(()),
            false => Err(
                "which ones? --id, --url, --since, --until or --all (or, of dead \
                          letters, --reason)"
                    .into(),
            ),
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    let all: Vec<String> = DeadReason::all().map(|r| r.to_string()).collect();
    match all.iter().any(|known| known == text) {
        true => Ok(text.to_owned()),
        false => Err(format!("it must be one of {}", all.join(" "))),
    }
}

/// Answers Unix milliseconds.
fn moment(text: &str) -> Result<u64, String> {
    if let Some(ms) = timestamp::parse_rfc3339(text.trim()) {
        return Ok(ms);
    }
    let ago: Duration = duration(text).map_err(|_| {
        "it must be a time such as 2027-01-31T12:00:00Z, or a time ago such as 2h".to_owned()
    })?;
    let now = unix_ms(SystemTime::now());
    Ok(now.saturating_sub(ago.as_millis() as u64))
}
