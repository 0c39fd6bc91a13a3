//! The command line, and who is who.
//!
//! Three kinds of process: this one publishes, is the sink and measures; the measured ones
//! (outhook, or a reference) run as children, so that the kernel keeps their CPU apart from
//! ours; redis-server is a child that nobody counts.

mod certificates;
mod figures;
mod message;
mod process;
mod publisher;
mod reference;
mod scenarios;
mod sink;
mod slow;
mod tally;
mod tls;
mod wire;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use scenarios::Bench;
use tls::Resting;

/// No error here is handled but by printing it.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures outhook on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --", max_term_width = 100)]
struct Args {
    /// Measure only these
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Shorter runs, and rougher figures
    #[arg(long)]
    quick: bool,
    /// How messages come
    #[arg(long, value_enum, default_value_t = Intake::PubSub)]
    intake: Intake,
    /// One JSON object a scenario
    #[arg(long)]
    json: bool,
    /// Given by cargo. Without it this is `cargo test --all-targets`: be quick
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// As fast as it goes, and a program that only posts, for reference
    Throughput,
    /// A steady 500 messages a second
    Latency,
    /// The same while half of all endpoints hang
    SlowNeighbour,
    /// The same while a thousand that never answer come up at once
    DeadEndpoints,
    /// As fast as it goes to ten thousand endpoints, and to eight
    ManyEndpoints,
    /// HTTPS beside HTTP: kept connections, new ones, and 2,000 that rest
    Tls,
    /// 4096 workers and receivers that take 200 ms
    SlowReceivers,
    /// Start, and then nothing to do
    Idle,
}

/// How messages come to outhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Intake {
    #[value(name = "pubsub")]
    PubSub,
    Stream,
}

/// How long and how much.
#[derive(Debug)]
pub struct Plan {
    /// Messages for `throughput`.
    count: usize,
    latency_for: Duration,
    idle_for: Duration,
    starts: usize,
    resting: Resting,
}

impl Plan {
    fn new(args: &Args) -> Plan {
        let quick = args.quick || !args.bench;
        let seconds = |full, short| Duration::from_secs(if quick { short } else { full });
        Plan {
            count: if quick { 20_000 } else { 200_000 },
            latency_for: seconds(20, 2),
            idle_for: seconds(10, 2),
            starts: 5,
            resting: Resting {
                endpoints: if quick { 200 } else { 2000 },
                period: seconds(10, 1),
                periods: if quick { 3 } else { 6 },
            },
        }
    }

    /// The most messages in one scenario.
    fn most(&self) -> usize {
        let trickle = self.latency_for.as_secs() as usize * 1000;
        let resting = self.resting.endpoints * self.resting.periods;
        self.count.max(trickle).max(resting)
    }
}

pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let done = match words.next() {
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
    raise_descriptors()?;
    let all = Scenario::value_variants();
    let wanted = match args.scenarios.is_empty() {
        true => all,
        false => &args.scenarios,
    };
    let bench = Bench::start(Plan::new(args), args.intake)?;
    for scenario in wanted {
        let figures = match scenario {
            Scenario::Throughput => bench.throughput()?,
            Scenario::Latency => bench.latency()?,
            Scenario::SlowNeighbour => bench.slow_neighbour()?,
            Scenario::DeadEndpoints => bench.dead_endpoints()?,
            Scenario::ManyEndpoints => bench.many_endpoints()?,
            Scenario::Tls => tls::measure(&bench)?,
            Scenario::SlowReceivers => slow::measure(&bench)?,
            Scenario::Idle => bench.idle()?,
        };
        let name = scenario.to_possible_value().expect("none is skipped");
        match args.json {
            true => println!("{}", json!({ name.get_name(): figures })),
            false => figures::print(name.get_name(), &figures),
        }
    }
    Ok(())
}

/// As many descriptors as this user may have: each connection is one here, too. Children inherit
/// the limit.
fn raise_descriptors() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}
