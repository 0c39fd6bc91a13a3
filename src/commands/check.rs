//! `outhook check`: for health checks of containers, which have no shell.

use std::process::ExitCode;
use std::time::Duration;

use super::exit_code;
use crate::cli::CheckArgs;
use crate::store::Redis;

const ANSWER: Duration = Duration::from_secs(3);

/// The error is a bad configuration, in one line.
pub fn run(args: &CheckArgs) -> Result<ExitCode, String> {
    let redis = Redis::new(&args.redis.config()?).map_err(|e| format!("--redis-address: {e}"))?;
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
