//! `outhook deliver`: the same pipeline from standard input, without Redis.

use std::fs::OpenOptions;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use super::{descriptors, exit_code, rules, secrets};
use crate::cli::DeliverArgs;
use crate::delivery::rules_file::Bounds;
use crate::service::control::Commands;
use crate::service::intake::stdin;
use crate::service::outage::OutageTracker;
use crate::service::pipeline::{Control, Persistence, Pipeline, Source, SourceKind};
use crate::service::pulse::Pulse;
use crate::service::signals;
use crate::store::{Ndjson, Store};

/// The longest timeout of a rule.
const LONGEST: Duration = Duration::from_secs(3600);

/// The error is a bad configuration, in one line.
pub fn run(args: &DeliverArgs) -> Result<ExitCode, String> {
    let config = args.delivery.config()?;
    let store: Box<dyn Store> = match &args.dead_file {
        None => Box::new(Ndjson::new(io::stderr(), "standard error")),
        Some(path) => {
            let place = path.display().to_string();
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|e| {
                format!("--dead-file {place}: {e}; it must be a file that can be written")
            })?;
            Box::new(Ndjson::new(file, place))
        }
    };
    descriptors::prepare(Some(config.workers));
    let (orders, inbox) = Commands::channel();
    let bounds = Bounds {
        schedule: config.schedule.clone(),
        usual_timeout: config.timeout,
        max_age: config.max_age,
        timeout: LONGEST,
        workers: config.workers,
        guard: config.guard.clone(),
    };
    let file = args.delivery.endpoints.as_deref();
    let (rules, reload) = rules::watch(file, bounds, &args.delivery.signing, orders.clone())?;
    let keyring = secrets::keyring(&args.delivery.keyring, None, OutageTracker::new("secrets"))?;
    let reload = rules::and_secrets(reload, keyring.clone());
    let drain = signals::listen(orders, reload).map_err(|e| format!("signals: {e}"))?;
    let max_bytes = config.max_message_bytes;
    let source = Source {
        name: "stdin".into(),
        kind: SourceKind::Patient,
        run: Box::new(move |intake, ends| stdin::run(max_bytes, intake, &ends.drain)),
    };
    let persistence = Persistence::of_letters(store);
    let pipeline = Pipeline::start(
        &config,
        vec![source],
        persistence,
        drain,
        Control {
            rules,
            inbox,
            replica: "deliver".into(),
            pulse: Pulse::default(),
            wants: None,
            lender: None,
            keyring,
        },
    )?;
    let summary = pipeline.wait();
    let stats = &summary.last.stats;
    let all_delivered = stats.dead + stats.rejected == 0;
    Ok(exit_code(all_delivered && summary.nothing_lost()))
}
