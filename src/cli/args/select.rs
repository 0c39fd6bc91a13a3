//! What the operator's tools share: how to reach Redis, how to print, which messages are meant, and
//! whether they are changed at once.

use std::time::{Duration, SystemTime};

use clap::Args;

use super::redis::RedisArgs;
use super::values::{duration, number};
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

/// Which ones, and how they are shown.
#[derive(Debug, Args)]
pub struct SelectArgs {
    #[command(flatten)]
    pub choice: Choice,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

/// Which ones.
#[derive(Debug, Default, Clone, Args)]
pub struct Choice {
    /// Only this webhookId, or this entry of the stream; repeatable
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    /// Only this URL prefix
    #[arg(long, value_name = "PREFIX")]
    pub url: Option<String>,
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
}

/// In which order.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// The oldest first; with --limit, only the oldest
    #[arg(long)]
    pub oldest: bool,
}

/// Whether it is done.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Change nothing; say how many messages are meant
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; without a terminal nobody is asked anyway
    #[arg(long, short)]
    pub yes: bool,
}

impl Choice {
    pub fn of_ids(ids: &[String]) -> Choice {
        Choice {
            ids: ids.to_vec(),
            ..Choice::default()
        }
    }

    /// The same, however many there are.
    pub fn without_limit(&self) -> Choice {
        Choice {
            limit: None,
            ..self.clone()
        }
    }

    /// Refuses to act on everything by accident. The error is one line. `others`: options of this
    /// command that are a choice too.
    pub fn check_chosen(&self, others: &[(&str, bool)]) -> Result<(), String> {
        let times = self.since.or(self.until).or(self.limit).is_some();
        let is_chosen = self.all || times || !self.ids.is_empty() || self.url.is_some();
        if is_chosen || others.iter().any(|(_, is_given)| *is_given) {
            return Ok(());
        }
        let others: String = others.iter().map(|(name, _)| format!(", {name}")).collect();
        Err(format!(
            "which ones? --id, --url, --since, --until{others} or --all"
        ))
    }

    /// Messages are named one by one: finding none of them is worth an exit code, and nobody has
    /// to be asked again.
    pub fn is_narrow(&self) -> bool {
        !self.ids.is_empty()
    }

    pub fn has_id(&self, id: &[u8], entry: &str) -> bool {
        let is = |wanted: &String| wanted.as_bytes() == id || wanted == entry;
        self.ids.is_empty() || self.ids.iter().any(is)
    }

    pub fn has_url(&self, url: &[u8]) -> bool {
        let is = |prefix: &String| url.starts_with(prefix.as_bytes());
        self.url.as_ref().is_none_or(is)
    }

    /// `at`: Unix milliseconds.
    pub fn has_time(&self, at: u64) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }
}

/// Answers Unix milliseconds.
fn moment(text: &str) -> Result<u64, String> {
    if let Some(ms) = timestamp::parse_rfc3339(text.trim()) {
        return Ok(ms);
    }
    let ago: Duration = duration(text).map_err(|_| {
        "it must be a time as 2027-01-31T12:00:00Z, or a time ago such as 2h".to_owned()
    })?;
    let now = unix_ms(SystemTime::now());
    Ok(now.saturating_sub(ago.as_millis() as u64))
}
