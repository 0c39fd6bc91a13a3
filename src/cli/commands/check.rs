//! `outhook check`: for health checks of containers, which have no shell.
//!
//! It changes nothing in Redis, and is to say yes only where `outhook serve` could deliver.

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::args::channels::ChannelArgs;
use crate::cli::args::delivery::WorkersArgs;
use crate::cli::args::redis::RedisArgs;
use crate::cli::exit::exit_code;
use crate::cli::settings::Settings;
use crate::cli::startup::descriptors;
use crate::store::{
    Condition, Keys, Part, Redis, StoreError, Subscription, advice, find_lacks, find_wrong_types,
};
use clap::Args;

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub workers: WorkersArgs,
    #[command(flatten)]
    pub channels: ChannelArgs,
}

const ANSWER: Duration = Duration::from_secs(3);

/// The error is a bad configuration, in one line.
pub fn run(args: &CheckArgs, settings: &Settings) -> Result<ExitCode, String> {
    let (redis, keys) = (args.redis.open()?, args.redis.keys()?);
    for sentence in settings.unknown_variables() {
        eprintln!("outhook: {sentence}");
    }
    if let Some(sentence) = descriptors::look_for_shortage(args.workers.count()) {
        eprintln!("outhook: {sentence}");
    }
    let checked = match check_server(&redis, &keys) {
        Ok(faults) => check_channels(&redis, &keys, &args.channels.names).map(|more| faults + more),
        Err(e) => Err(e),
    };
    match checked {
        Ok(0) => {
            println!("ok: Redis answers at {redis}");
            Ok(exit_code(true))
        }
        Ok(_) => Ok(exit_code(false)),
        Err(e) => {
            eprintln!("outhook: {e}");
            Ok(exit_code(false))
        }
    }
}

/// Answers how many faults there are, after it has told of each.
fn check_server(redis: &Redis, keys: &Keys) -> Result<usize, StoreError> {
    let mut connection = redis.connect(ANSWER)?;
    for sentence in advice(&mut connection) {
        eprintln!("outhook: {sentence}");
    }
    let parts = [Part::Deliveries, Part::Operators, Part::Subscriptions];
    let lacks = find_lacks(&mut connection, redis, keys, &parts)?;
    for lack in &lacks {
        eprintln!("outhook: {}", lack.text);
    }
    // Without the others messages are delivered all the same.
    let faults = lacks.iter().filter(|l| l.part == Part::Deliveries).count();
    if faults > 0 {
        return Ok(faults);
    }
    let wrong = find_wrong_types(&mut connection, redis, keys)?;
    for sentence in &wrong {
        eprintln!("outhook: {sentence}");
    }
    if wrong.is_empty()
        && let Some(condition) = Condition::ask(&mut connection, redis, keys)?
    {
        let passing = condition.passing_advice(keys);
        for sentence in condition.advice(keys).iter().chain(&passing) {
            eprintln!("outhook: {sentence}");
        }
    }
    Ok(wrong.len())
}

/// The same of the channels, by subscribing to each.
fn check_channels(redis: &Redis, keys: &Keys, names: &[String]) -> Result<usize, StoreError> {
    let mut subscription = Subscription::open(redis, ANSWER)?;
    let mut faults = 0;
    for channel in names.iter().chain([&keys.control]) {
        match subscription.subscribe(channel, ANSWER) {
            Ok(()) => {}
            Err(e) if e.is_refusal() => {
                eprintln!("outhook: {}", redis.refused_channel(&e, channel));
                faults += 1;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(faults)
}
