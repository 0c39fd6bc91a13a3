//! `outhook check`: for health checks of containers, which have no shell.

use std::process::ExitCode;
use std::time::Duration;

use super::{descriptors, exit_code};
use crate::cli::CheckArgs;
use crate::store::advice;

const ANSWER: Duration = Duration::from_secs(3);

/// The error is a bad configuration, in one line.
pub fn run(args: &CheckArgs) -> Result<ExitCode, String> {
    let redis = args.redis.open()?;
    if let Some(sentence) = descriptors::look_for_shortage(args.workers.count()) {
        eprintln!("outhook: {sentence}");
    }
    let good = match redis.connect(ANSWER) {
        Ok(mut connection) => {
            println!("ok: Redis answers at {redis}");
            for sentence in advice(&mut connection) {
                eprintln!("outhook: {sentence}");
            }
            true
        }
        Err(e) => {
            eprintln!("outhook: {e}");
            false
        }
    };
    Ok(exit_code(good))
}
