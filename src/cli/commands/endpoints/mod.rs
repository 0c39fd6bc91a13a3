//! `outhook endpoints`: what the replicas know of the endpoints, and holding some of them.

mod acts;
mod rows;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use crate::cli::args::select::CommonArgs;
use crate::cli::args::values::keep;
use crate::cli::output::{Out, Stop, ended};
use crate::delivery::hold;
use crate::message::timestamp::unix_ms;
use crate::store::Admin;
use rows::{COLUMNS, rows};

#[derive(Debug, Args)]
pub struct EndpointsArgs {
    #[command(subcommand)]
    pub act: EndpointAct,
}

#[derive(Debug, Subcommand)]
pub enum EndpointAct {
    /// List endpoints, those with the most trouble first
    List {
        /// Only endpoints with this URL prefix
        #[arg(long, value_name = "PREFIX")]
        url: Option<String>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show all that each replica knows of an endpoint
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
        /// Change nothing; say what waits for it
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Send to an endpoint again, at once: ends a pause, or the hold after an answer of 410
    Resume {
        /// A URL, or scheme://host for all URLs there
        #[arg(value_name = "URL")]
        url: String,
        /// Change nothing; say what would be lifted, and what waits
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
}

/// The error is a bad configuration, in one line.
pub fn run(args: &EndpointsArgs) -> Result<ExitCode, String> {
    let key = |url: &str| hold::key(url).map_err(|e| format!("{url:?}: {e}"));
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
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        match &args.act {
            EndpointAct::List { .. } => list(&mut admin, &named, common.json),
            EndpointAct::Show { .. } => show(&mut admin, &named, common.json),
            EndpointAct::Pause {
                length, dry_run, ..
            } => acts::pause(&mut admin, &named, *length, *dry_run, common.json),
            EndpointAct::Resume { dry_run, .. } => {
                acts::resume(&mut admin, &named, *dry_run, common.json)
            }
        }
    };
    Ok(ended(work()))
}

fn list(admin: &mut Admin, prefix: &str, json: bool) -> Result<bool, Stop> {
    let mut out = Out::list(json, &COLUMNS);
    for row in rows(admin, prefix, unix_ms(SystemTime::now()))? {
        match json {
            true => row.objects().into_iter().try_for_each(|o| out.object(o))?,
            false => out.row(serde_json::Map::new, || row.cells())?,
        }
    }
    out.flush()?;
    Ok(true)
}

fn show(admin: &mut Admin, named: &str, json: bool) -> Result<bool, Stop> {
    let mut out = Out::new(json);
    let rows = rows(admin, named, unix_ms(SystemTime::now()))?;
    for row in &rows {
        match json {
            true => row.objects().into_iter().try_for_each(|o| out.object(o))?,
            false => row.blocks().iter().try_for_each(|b| out.block(b))?,
        }
    }
    out.flush()?;
    if rows.is_empty() {
        acts::print_unknown(admin, named)?;
    }
    Ok(!rows.is_empty())
}
