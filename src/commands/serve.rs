//! `outhook serve`: Redis Pub/Sub in, HTTP out.

use std::process::ExitCode;

use log::info;

use super::exit_code;
use crate::cli::ServeArgs;
use crate::intake::pubsub;
use crate::pipeline::{Pipeline, Source, SourceKind};
use crate::signals;
use crate::store::DeadStream;
use crate::timer::Snapshots;

/// The error is a bad configuration, in one line.
pub fn run(args: &ServeArgs) -> Result<ExitCode, String> {
    let redis = args.redis.open()?;
    let config = args.delivery.config();
    let (snapshots, requests) = Snapshots::channel();
    let drain = signals::listen(snapshots).map_err(|e| format!("signals: {e}"))?;
    info!(
        "outhook {} starts: {} workers, Redis at {redis}",
        env!("CARGO_PKG_VERSION"),
        config.workers
    );
    let (subscriber, channels) = (redis.clone(), args.channels.clone());
    let source = Source {
        name: "pubsub".into(),
        kind: SourceKind::Eager,
        run: Box::new(move |intake, drain| pubsub::run(&subscriber, &channels, intake, drain)),
    };
    let store = Box::new(DeadStream::new(redis));
    let pipeline = Pipeline::start(&config, vec![source], store, drain, requests)
        .map_err(|e| format!("threads cannot be started: {e}; --workers asks for fewer"))?;
    Ok(exit_code(pipeline.wait().nothing_lost()))
}
