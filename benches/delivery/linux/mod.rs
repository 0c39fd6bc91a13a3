//! The command line, and who is who.
//!
//! Three kinds of process: this one publishes, is the sink and measures; the measured ones
//! (outhook, or a reference) run as children, so that the kernel keeps their CPU apart from
//! ours; redis-server is a child that nobody counts. Children are started from the main
//! thread only and end when it does, see [`process`].

mod message;
mod outhook;
mod process;
mod publisher;
mod redis_server;
mod reference;
mod report;
mod scenarios;
mod sink;
mod tally;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use scenarios::Bench;

/// No error here is handled but by printing it.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures outhook on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --", max_term_width = 100)]
struct Args {
    /// Measure only this
    #[arg(value_enum)]
    scenario: Option<Scenario>,
    /// Shorter runs, under 10 seconds in all, and rougher figures
    #[arg(long)]
    quick: bool,
    /// Messages for `throughput` [default: 100000, with --quick 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    count: Option<u32>,
    /// One line of JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
    /// Given by cargo. Without it this is `cargo test --all-targets`: be quick
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// As fast as it goes, and two programs that only post, for reference
    Throughput,
    /// A steady 500 messages a second
    Latency,
    /// Start, and then nothing to do
    Idle,
}

/// How long and how much.
#[derive(Debug)]
pub struct Plan {
    throughput: bool,
    latency: bool,
    idle: bool,
    /// Messages for `throughput`.
    count: usize,
    wrk: Duration,
    latency_for: Duration,
    idle_for: Duration,
    starts: usize,
}

impl Plan {
    fn new(args: &Args) -> Plan {
        let quick = args.quick || !args.bench;
        let wanted = |s| args.scenario.is_none_or(|only| only == s);
        let count = args.count.unwrap_or(if quick { 20_000 } else { 100_000 });
        let seconds = |full, short| Duration::from_secs(if quick { short } else { full });
        Plan {
            throughput: wanted(Scenario::Throughput),
            latency: wanted(Scenario::Latency),
            idle: wanted(Scenario::Idle),
            count: count as usize,
            wrk: seconds(5, 1),
            latency_for: seconds(10, 2),
            idle_for: seconds(5, 2),
            starts: 5,
        }
    }
}

pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // What this program is to itself when it starts a child.
    let done = match words.next() {
        Some(word) if word == process::CHILD => Err(process::become_child(words)),
        Some(word) if word == reference::POST => reference::post(words),
        _ => measure(&Args::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("bench: outhook is built without optimisation, the figures mean nothing");
    }
    let figures = Bench::start(Plan::new(args))?.run()?;
    if args.json {
        eprint!("{}", report::table(&figures));
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        print!("{}", report::table(&figures));
    }
    Ok(())
}
