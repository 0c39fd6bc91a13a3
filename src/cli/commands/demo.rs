//! `outhook demo`: the product at work in one process, with no Redis and no Docker.
//!
//! Four receivers with tempers of their own, a stream of payments to them, and a table of
//! what happens. The pipeline is the real one; only its source and its store are the demo's.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::SIGINT;

use crate::cli::args::delivery::DeliveryArgs;
use crate::cli::args::values::{duration, number};
use crate::cli::exit::exit_code;
use crate::cli::settings::Settings;
use crate::cli::startup::{LONGEST, Start, descriptors};
use crate::service::control::{Commands, Snapshot};
use crate::service::drain::Drain;
use crate::service::intake::Intake;
use crate::service::outage::OutageTracker;
use crate::service::pipeline::{Persistence, Pipeline, Source, SourceKind};
use crate::service::receiver::{self, Behaviour, Received};
use crate::store::Ndjson;
use crate::trust::guard::{Changes, Cidr, PortRule, Ports};

#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    /// Payments a second
    #[arg(long, env = "OUTHOOK_RATE", value_name = "N", default_value_t = 20, value_parser = number::<u32>(1, 10_000))]
    pub rate: u32,
    /// Publish for this long, and end when all is settled [default: until Ctrl-C]
    #[arg(long = "for", env = "OUTHOOK_FOR", value_name = "DURATION", value_parser = duration)]
    pub length: Option<Duration>,
}

const REFRESH: Duration = Duration::from_millis(250);

/// How often a line is printed where there is no terminal to draw on.
const REFRESH_LINES: Duration = Duration::from_secs(1);

const EVENTS: [&str; 3] = ["accepted", "completed", "canceled"];

/// A customer's server, and what it saw.
struct Customer {
    name: &'static str,
    temper: &'static str,
    url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: u64,
    accepted: u64,
    last: String,
}

/// The error is a bad configuration, in one line.
pub fn run(args: &DemoArgs, settings: &Settings) -> Result<ExitCode, String> {
    let mut config = args.delivery.config()?;
    // Its receivers are on this machine, where nothing may lead as a rule, and where the system
    // likes.
    config.guard = Arc::new(config.guard.with(Changes {
        allow: vec![Cidr::v4([127, 0, 0, 0], 8)],
        ports: Some(Ports::new([PortRule::Span(1, u16::MAX)])),
        ..Changes::default()
    }));
    descriptors::prepare(Some(config.workers));
    let outage = OutageTracker::new("secrets");
    let start = Start::new(settings, &args.delivery, &config, LONGEST, None, outage)?;
    let commands = start.commands.clone();
    let (drain, control) = start.control("demo");
    let customers = customers().map_err(|e| format!("the demo's receivers: {e}"))?;
    let urls = customers.iter().map(|c| c.url.clone()).collect();
    let (rate, length) = (args.rate, args.length);
    let source = Source {
        name: "demo".into(),
        kind: SourceKind::Eager,
        run: Box::new(move |intake, ends| publish(urls, rate, length, intake, &ends.drain)),
    };
    let persistence = Persistence::of_letters(Box::new(Ndjson::new(io::sink(), "this table")));
    let pipeline = Pipeline::start(&config, vec![source], persistence, drain, control)?;
    let customers = Arc::new(customers);
    let shown = customers.clone();
    let board = thread::spawn(move || show(&shown, &commands));
    let summary = pipeline.wait();
    // A drawing that panicked has told so.
    let drawn = board.join().unwrap_or_default();
    draw(&customers, &summary.last, drawn);
    println!("ended: {}", summary.last);
    Ok(exit_code(summary.nothing_lost()))
}

fn customers() -> io::Result<Vec<Customer>> {
    let calm = Behaviour {
        status: 200,
        fail_rate: 0.0,
        delay: Duration::from_millis(5),
        hang: false,
        retry_after: None,
        takes_get: false,
    };
    let flaky = Behaviour {
        fail_rate: 0.3,
        ..calm.clone()
    };
    let slow = Behaviour {
        delay: Duration::from_secs(1),
        ..calm.clone()
    };
    let down = Behaviour {
        status: 503,
        retry_after: Some(2),
        ..calm.clone()
    };
    [
        ("steady", "answers 200", calm),
        ("flaky", "30 % are a 500", flaky),
        ("slow", "takes a second", slow),
        ("down", "always 503", down),
    ]
    .into_iter()
    .map(|(name, temper, behaviour)| {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let note = seen.clone();
        let bind = ([127, 0, 0, 1], 0).into();
        let address = receiver::start(bind, behaviour, move |r| notice(&note, r))?;
        Ok(Customer {
            name,
            temper,
            url: format!("http://{address}/{name}"),
            seen,
        })
    })
    .collect()
}

fn notice(seen: &Mutex<Seen>, r: &Received) {
    let mut seen = seen.lock().expect("never poisoned");
    seen.requests += 1;
    seen.accepted += u64::from((200..300).contains(&r.status));
    seen.last = String::from_utf8_lossy(&r.body).into_owned();
}

/// The application's part: one payment after another, to each customer in turn.
fn publish(
    urls: Vec<String>,
    rate: u32,
    length: Option<Duration>,
    intake: &mut Intake,
    drain: &Drain,
) {
    let begun = Instant::now();
    let pause = Duration::from_secs(1) / rate;
    let mut number = 0u32;
    while length.is_none_or(|length| begun.elapsed() < length) {
        let url = &urls[number as usize % urls.len()];
        let event = EVENTS[number as usize % EVENTS.len()];
        let message = format!(
            r#"{{"url":"{url}","webhookId":"payment-{number}","data":{{"payment":"PY-{number:05}","event":"{event}"}}}}"#
        );
        number += 1;
        let next = (pause * number).saturating_sub(begun.elapsed());
        if intake.offer(message.into_bytes()).is_err() || drain.wait(next) {
            return;
        }
    }
    // The end is Ctrl-C's: without a drain the retries of "down" would go on for a minute.
    let _ = signal_hook::low_level::raise(SIGINT);
}

/// Draws until the pipeline has ended. Answers how many lines the last drawing has.
fn show(customers: &[Customer], commands: &Commands) -> usize {
    let mut drawn = 0;
    while let Some(snapshot) = commands.snapshot() {
        drawn = draw(customers, &snapshot, drawn);
        let on_terminal = io::stdout().is_terminal();
        thread::sleep(if on_terminal { REFRESH } else { REFRESH_LINES });
    }
    drawn
}

/// Draws over what was `drawn` before.
fn draw(customers: &[Customer], snapshot: &Snapshot, drawn: usize) -> usize {
    let mut out = io::stdout().lock();
    let mut lines = 0;
    let _ = if io::stdout().is_terminal() {
        // Back to where the last table began.
        let up = if drawn > 0 {
            format!("\x1b[{drawn}A")
        } else {
            String::new()
        };
        let table = table(customers, snapshot);
        lines = table.lines().count();
        write!(out, "{up}{}", table.replace('\n', "\x1b[K\n"))
    } else {
        writeln!(out, "{snapshot}")
    };
    let _ = out.flush();
    lines
}

fn table(customers: &[Customer], snapshot: &Snapshot) -> String {
    let (s, l) = (&snapshot.stats, &snapshot.levels);
    let mut t = String::new();
    let state = if snapshot.draining {
        "draining"
    } else {
        "Ctrl-C drains"
    };
    let _ = writeln!(t, "outhook demo ({state})\n");
    let _ = writeln!(
        t,
        "{:<8} {:<15} {:>8} {:>8}  last",
        "endpoint", "", "requests", "accepted"
    );
    for c in customers {
        let seen = c.seen.lock().expect("never poisoned");
        let _ = writeln!(
            t,
            "{:<8} {:<15} {:>8} {:>8}  {}",
            c.name, c.temper, seen.requests, seen.accepted, seen.last
        );
    }
    let _ = writeln!(
        t,
        "\npublished {:>6}   delivered {:>6}   dead letters {:>4}\n\
         queued    {:>6}   in flight {:>6}   to be retried {:>3}",
        s.accepted, s.delivered, s.dead, l.queued, l.in_flight, l.scheduled
    );
    t
}
