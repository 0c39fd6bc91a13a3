//! What the operator's tools share: how to reach Redis, how to print, and which messages are meant.

use std::time::{Duration, SystemTime};

use clap::Args;

use super::redis::RedisArgs;
use super::values::{duration, number};
use crate::delivery::DeadReason;
use crate::message::timestamp;
use crate::message::timestamp::unix_ms;

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
