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
    /// Where to; without it, messages are read from standard input, one JSON object a line
    #[arg(long, value_name = "URL", requires = "data")]
    pub url: Option<String>,
    /// Any JSON, or @FILE
    #[arg(long, value_name = "JSON", requires = "url")]
    pub data: Option<String>,
    /// Id of the message; one is made if it is missing
    #[arg(long, value_name = "ID", requires = "url")]
    pub webhook_id: Option<String>,
    /// Extra request header, as name=value; may be given more than once
    #[arg(long = "header", value_name = "NAME=VALUE", requires = "url")]
    pub headers: Vec<String>,
    /// Not before this time: RFC 3339, or Unix milliseconds
    #[arg(long, value_name = "TIME", requires = "url")]
    pub deliver_at: Option<String>,
    /// Not after this time, likewise
    #[arg(long, value_name = "TIME", requires = "url")]
    pub expires_at: Option<String>,
    /// For an attempt, as 5s
    #[arg(long, value_name = "DURATION", requires = "url")]
    pub timeout: Option<String>,
    /// Attempts, in place of the configured number
    #[arg(long, value_name = "N", requires = "url")]
    pub max_attempts: Option<u32>,
    /// After the messages of this key that were sent before
    #[arg(long, value_name = "KEY", requires = "url")]
    pub order_key: Option<String>,
    /// Name of the secret that signs it
    #[arg(long, value_name = "NAME", requires = "url")]
    pub secret: Option<String>,
    /// PUBLISH to a channel, and do not add to the stream
    #[arg(long)]
    pub publish: bool,
    /// The channel for --publish
    #[arg(long, env = "OUTHOOK_CHANNEL", value_name = "NAME", default_value = "payments", value_parser = nonempty)]
    pub channel: String,
    /// One JSON object a message
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
    /// One line a dead letter, oldest first
    List(SelectArgs),
    /// All that is known of each
    Show(SelectArgs),
    /// Put the messages back on the stream, with all their attempts before them
    Replay(SelectArgs),
    /// Delete
    Purge(SelectArgs),
}

#[derive(Debug, Args)]
pub struct ParkedArgs {
    #[command(subcommand)]
    pub act: ParkedAct,
}

#[derive(Debug, Subcommand)]
pub enum ParkedAct {
    /// One line a message: those that wait for a time, in the order in which they are due, then
    /// those that wait for their endpoint
    List(SelectArgs),
    /// Make due now what waits for a time
    Flush(SelectArgs),
    /// Delete
    Purge(SelectArgs),
}

#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    pub act: KeyAct,
}

#[derive(Debug, Subcommand)]
pub enum KeyAct {
    /// One line a key: where its head is (an entry, parked, or in a backlog), and how many follow
    List {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// All that is known of the messages of one, in their order
    Show {
        /// Origin and orderKey, as keys list names it
        #[arg(value_name = "KEY", value_parser = nonempty)]
        key: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Wait no longer for the head of one, wherever it is: the next goes
    Skip {
        /// Origin and orderKey, as keys list names it
        #[arg(value_name = "KEY", value_parser = nonempty)]
        key: String,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The message's webhookId
    #[arg(value_name = "WEBHOOK_ID", value_parser = nonempty)]
    pub id: String,
    /// As a JSON object
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
    /// A table of endpoints, those with the most to do first
    List {
        /// Those that begin so
        #[arg(long, value_name = "PREFIX")]
        url: Option<String>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// All that is known of one
    Show {
        /// A URL, or scheme://host for all URLs there
        #[arg(value_name = "URL")]
        url: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Send nothing there; messages for it wait in Redis
    Pause {
        /// A URL, or scheme://host for all URLs there
        #[arg(value_name = "URL")]
        url: String,
        /// And resume by itself after so long [default: until resume]
        #[arg(long = "for", value_name = "DURATION", value_parser = keep)]
        length: Option<Duration>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Send there again, at once: lifts a pause, or what an answer of 410 has set
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
    /// As JSON objects
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

/// Which ones.
#[derive(Debug, Args)]
pub struct SelectArgs {
    /// Of this webhookId, or this entry of the stream; may be given more than once
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    /// To URLs that begin so
    #[arg(long, value_name = "PREFIX")]
    pub url: Option<String>,
    /// With this reason
    #[arg(long, value_name = "WORD", value_parser = reason)]
    pub reason: Option<String>,
    /// Not before: RFC 3339, or so long ago as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<u64>,
    /// Not after, likewise
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<u64>,
    /// The first so many
    #[arg(long, value_name = "N", value_parser = number::<u64>(1, 1_000_000_000))]
    pub limit: Option<u64>,
    /// All there are; asked for where a selection would be dangerous to forget
    #[arg(long)]
    pub all: bool,
    /// One JSON object a line
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
        "it must be a time as 2027-01-31T12:00:00Z, or so long ago as 2h".to_owned()
    })?;
    let now = unix_ms(SystemTime::now());
    Ok(now.saturating_sub(ago.as_millis() as u64))
}
