//! `outhook status`: where one message is.

use std::process::ExitCode;

use crate::cli::args::redis::RedisArgs;
use crate::cli::args::values::nonempty;
use crate::cli::output::{Out, Stop, ended};
use crate::store::Admin;
use clap::Args;

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

/// The error is a bad configuration, in one line.
pub fn run(args: &StatusArgs) -> Result<ExitCode, String> {
    let (redis, keys) = (args.redis.open()?, args.redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let fields = Admin::open(redis, keys)?.status(&args.id)?;
        if fields.is_empty() {
            return Err(Stop::Failed(format!(
                "{}: nothing is known of it; outhook serve keeps results only with --status-ttl, \
                 and for that long",
                args.id
            )));
        }
        let mut out = Out::new(args.json);
        out.block(&fields)?;
        out.flush()?;
        Ok(true)
    };
    Ok(ended(work()))
}
