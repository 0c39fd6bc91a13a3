//! `outhook endpoints`: what the replicas know of the endpoints, and holding some of them.

mod rows;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::parked::{flush_those, url};
use crate::cli::args::select::CommonArgs;
use crate::cli::args::values::keep;
use crate::cli::output::{Out, Stop, ended};
use crate::delivery::hold;
use crate::message::endpoint::Endpoint;
use crate::store::{Admin, Fields};
use rows::{Row, backlogs, field, reports, rows};

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

/// The same where it is waited for that they have obeyed.
const APPLY_PATIENCE: Duration = Duration::from_secs(8);

const COLUMNS: [&str; 11] = [
    "endpoint",
    "state",
    "in_flight",
    "waiting",
    "backlog",
    "parked",
    "success",
    "p50",
    "p99",
    "last_error",
    "replica",
];

/// The error is a bad configuration, in one line.
pub fn run(args: &EndpointsArgs) -> Result<ExitCode, String> {
    let wrong = |url: &str, e: String| format!("{url}: {e}; it must be a URL, or scheme://host");
    let key = |url: &str| hold::key(url).map_err(|e| wrong(url, e));
    let common = match &args.act {
        EndpointAct::List { common, .. } | EndpointAct::Show { common, .. } => common,
        EndpointAct::Pause { common, .. } | EndpointAct::Resume { common, .. } => common,
    };
    let named = match &args.act {
        EndpointAct::List { url, .. } => url.as_deref().unwrap_or_default().into(),
        EndpointAct::Show { url, .. } | EndpointAct::Pause { url, .. } => key(url)?,
        EndpointAct::Resume { url, .. } => key(url)?,
    };
    let (redis, keys) = (common.redis.open()?, common.redis.keys()?);
    let mut out = Out::new(common.json);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        let good = match &args.act {
            EndpointAct::List { .. } => {
                let rows = rows(&mut admin, &named)?;
                match common.json {
                    true => rows.iter().try_for_each(|row| out.object(row.object()))?,
                    false => {
                        let rows: Vec<Fields> = rows.iter().map(Row::fields).collect();
                        out.table(&rows, &COLUMNS)?;
                    }
                }
                true
            }
            EndpointAct::Show { .. } => {
                let rows = rows(&mut admin, &named)?;
                rows.iter().try_for_each(|row| match common.json {
                    true => out.object(row.object()),
                    false => out.block(&row.fields()),
                })?;
                if rows.is_empty() {
                    eprintln!(
                        "outhook: {named}: no replica knows it; an endpoint that was quiet for a minute \
                         is forgotten"
                    );
                }
                !rows.is_empty()
            }
            EndpointAct::Pause { length, .. } => pause(&mut admin, &mut out, &named, *length)?,
            EndpointAct::Resume { .. } => resume(&mut admin, &mut out, &named)?,
        };
        out.flush()?;
        Ok(good)
    };
    Ok(ended(work()))
}

fn pause(
    admin: &mut Admin,
    out: &mut Out,
    named: &str,
    length: Option<Duration>,
) -> Result<bool, Stop> {
    let held = admin.holds()?.iter().any(|(key, _)| **key == *named);
    admin.pause(named, length)?;
    // Whoever answers has obeyed. The hold is kept for those that do not.
    let have_all_applied = wait_until_applied(admin, named)?;
    out.line(&[field("paused", named)], &["paused"])?;
    if named.ends_with('/') && named.matches('/').count() == 3 {
        eprintln!(
            "outhook: this URL alone is paused; leave out the / at the end to pause the whole host"
        );
    }
    if held {
        // What is parked may be so for longer than the new pause.
        flush(admin, named)?;
    }
    Ok(have_all_applied)
}

fn resume(admin: &mut Admin, out: &mut Out, named: &str) -> Result<bool, Stop> {
    let waiting = backlogs(admin, named)?;
    let waiting = waiting.iter().filter(|(name, _)| hold::covers(named, name));
    let waiting: u64 = waiting.map(|(_, count)| count).sum();
    let lifted = admin.resume(named)?;
    // Those that have not obeyed would park it as before.
    wait_until_applied(admin, named)?;
    let flushed = flush(admin, named)?;
    for (key, hold) in admin.holds()? {
        if hold::covers(&key, named) {
            let cause = hold.cause;
            eprintln!("outhook: {key} is still {cause}, and so is {named}");
        }
    }
    let result = [
        field("resumed", named),
        field("lifted", lifted.to_string()),
        field("flushed", flushed.to_string()),
        field("backlog", waiting.to_string()),
    ];
    out.block(&result)?;
    Ok(true)
}

/// Waits until all replicas have obeyed what was ordered: a question that they answer comes behind
/// it. False when one does not answer in time.
fn wait_until_applied(admin: &mut Admin, key: &str) -> Result<bool, Stop> {
    let (_, are_all) = reports(admin, key, APPLY_PATIENCE)?;
    Ok(are_all)
}

/// Makes due what is parked for it. Answers how many.
fn flush(admin: &mut Admin, key: &str) -> Result<u64, Stop> {
    flush_those(admin, |message| {
        let to = url(&message.fields).and_then(|url| Endpoint::parse(&url).ok());
        to.is_some_and(|to| hold::covers(key, &to.url))
    })
}
