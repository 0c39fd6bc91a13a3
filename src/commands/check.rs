//! `outhook check`: for health checks of containers, which have no shell.

use std::process::ExitCode;
use std::time::Duration;

use super::exit_code;
use crate::cli::CheckArgs;

const ANSWER: Duration = Duration::from_secs(3);

/// The error is a bad configuration, in one line.
pub fn run(args: &CheckArgs) -> Result<ExitCode, String> {
    let redis = args.redis.open()?;
    let good = match redis.connect(ANSWER) {
        Ok(_) => {
            println!("ok: Redis answers at {redis}");
            true
        }
        Err(e) => {
            eprintln!("outhook: {e}");
            false
        }
    };
    Ok(exit_code(good))
}
