//! `outhook deliver`: the same pipeline from standard input, without Redis.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::args::delivery::DeliveryArgs;
use crate::cli::exit::exit_code;
use crate::cli::output::terminal::print_reading;
use crate::cli::settings::Settings;
use crate::cli::startup::{LONGEST, Start, descriptors};
use crate::service::intake::stdin;
use crate::service::outage::OutageTracker;
use crate::service::pipeline::{Persistence, Pipeline, Source, SourceKind};
use crate::store::{Ndjson, Store};
use clap::Args;

#[derive(Debug, Args)]
pub struct DeliverArgs {
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    /// Append dead letters to this file, one JSON object a line [default: standard error]
    #[arg(long, env = "OUTHOOK_DEAD_FILE", value_name = "FILE")]
    pub dead_file: Option<PathBuf>,
}

/// The error is a bad configuration, in one line.
pub fn run(args: &DeliverArgs, settings: &Settings) -> Result<ExitCode, String> {
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
    let outage = OutageTracker::new("secrets");
    let start = Start::new(settings, &args.delivery, &config, LONGEST, None, outage)?;
    let (drain, control) = start.control("deliver");
    let max_bytes = config.max_message_bytes;
    let source = Source {
        name: "stdin".into(),
        kind: SourceKind::Patient,
        run: Box::new(move |intake, ends| stdin::run(max_bytes, intake, &ends.drain)),
    };
    let persistence = Persistence::of_letters(store);
    print_reading("delivers messages from standard input, one JSON object a line");
    let pipeline = Pipeline::start(&config, vec![source], persistence, drain, control)?;
    let summary = pipeline.wait();
    let stats = &summary.last.stats;
    let all_delivered = stats.dead + stats.rejected == 0;
    Ok(exit_code(all_delivered && summary.nothing_lost()))
}
