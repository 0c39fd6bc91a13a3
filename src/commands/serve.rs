//! `outhook serve`: Redis Pub/Sub and the stream in, HTTP out.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::process::ExitCode;
use std::time::Duration;

use log::info;

use super::{endpoints, exit_code};
use crate::cli::ServeArgs;
use crate::intake::pubsub;
use crate::intake::stream::Consumer;
use crate::pipeline::{Control, Keeper, Pipeline, Source, SourceKind};
use crate::rules_file::Bounds;
use crate::signals;
use crate::store::{Appointment, LedgerConfig, RedisLedger, forget_consumer};
use crate::timer::Snapshots;
use crate::trouble::Trouble;

/// How long saying goodbye to Redis may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// The error is a bad configuration, in one line.
pub fn run(args: &ServeArgs) -> Result<ExitCode, String> {
    let lease = args.lease()?;
    let (redis, keys) = (args.redis.open()?, args.redis.keys()?);
    let config = args.delivery.config();
    let (snapshots, requests) = Snapshots::channel();
    let bounds = Bounds {
        schedule: config.schedule.clone(),
        timeout: lease / 3,
        workers: config.workers,
    };
    let watch = endpoints::watch(args.delivery.endpoints.as_deref(), bounds)?;
    let drain = signals::listen(snapshots, watch.reload).map_err(|e| format!("signals: {e}"))?;
    info!(
        "outhook {} starts: {} workers, Redis at {redis}",
        env!("CARGO_PKG_VERSION"),
        config.workers
    );
    let name = args.consumer.clone().unwrap_or_else(fresh_name);
    let trouble = Trouble::new("ledger");
    let appointment = Appointment::default();
    let consumer = Consumer {
        redis: redis.clone(),
        keys: keys.clone(),
        name: name.clone(),
        stable: args.consumer.is_some(),
        lease,
        appointment: appointment.clone(),
        trouble: trouble.of("consumer"),
    };
    let (subscriber, channels) = (redis.clone(), args.channels.clone());
    let subscriber_trouble = trouble.of("subscriber");
    let sources = vec![
        Source {
            name: "pubsub".into(),
            kind: SourceKind::Eager,
            run: Box::new(move |intake, drain| {
                pubsub::run(&subscriber, &channels, subscriber_trouble, intake, drain);
            }),
        },
        Source {
            name: "stream".into(),
            kind: SourceKind::Patient,
            run: Box::new(move |intake, drain| consumer.run(intake, drain)),
        },
    ];
    let ledger = LedgerConfig {
        consumer: name.clone(),
        dedup: args.bridge_dedup,
        status_ttl: args.status_ttl,
        outcomes: args.outcomes,
        appointment,
    };
    let store = RedisLedger::new(redis.clone(), keys.clone(), ledger);
    let keeper = Keeper {
        store: Box::new(store),
        // What would wait for longer than this is parked.
        near: Some(lease / 2),
        tells: args.status_ttl.is_some() || args.outcomes.is_some(),
        bridge: args.bridge,
        trouble,
    };
    let pipeline = Pipeline::start(
        &config,
        sources,
        keeper,
        drain,
        Control {
            requests,
            rules: watch.rules,
            changes: watch.changes,
        },
    )
    .map_err(|e| format!("threads cannot be started: {e}; --workers asks for fewer"))?;
    let summary = pipeline.wait();
    if args.consumer.is_none() && summary.nothing_lost() {
        forget_consumer(&redis, &keys, &name, GOODBYE);
    }
    Ok(exit_code(summary.nothing_lost()))
}

/// A consumer name that no other process has, and that tells an operator which one it was.
fn fresh_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = RandomState::new().hash_one(0) as u32;
    format!("{}-{}-{random:08x}", host.trim(), std::process::id())
}
