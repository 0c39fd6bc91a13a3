//! `outhook status`: where one message is.

use std::process::ExitCode;

use crate::cli::args::redis::RedisArgs;
use crate::cli::args::values::nonempty;
use crate::cli::output::{Out, Stop, ended};
use crate::cli::state::find::find;
use crate::store::Admin;
use clap::Args;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// webhookId of the message
    #[arg(value_name = "WEBHOOK_ID", value_parser = nonempty)]
    pub id: String,
    /// Print a JSON object; one a line if there are several
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub redis: RedisArgs,
}

/// The error is a bad configuration, in one line.
pub fn run(args: &StatusArgs) -> Result<ExitCode, String> {
    let (redis, keys) = (args.redis.open()?, args.redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        let fields = admin.status(&args.id)?;
        let all = match fields.is_empty() {
            true => find(&mut admin, &args.id)?,
            false => vec![fields],
        };
        if all.is_empty() {
            return Err(Stop::Failed(format!(
                "{}: it is no dead letter, and waits nowhere in Redis. If it was delivered, outhook \
                 serve --status-ttl 1d would have kept that for a day",
                args.id
            )));
        }
        let mut out = Out::new(args.json);
        all.iter().try_for_each(|fields| out.block(fields))?;
        out.flush()?;
        Ok(true)
    };
    Ok(ended(work()))
}
