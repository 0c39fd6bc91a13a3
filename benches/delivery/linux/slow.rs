//! Receivers that take their time. Throughput then is workers over answer time, if a worker that
//! waits costs next to nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Result;
use super::figures::{at_least, at_most, rate, round};
use super::process;
use super::publisher::Publisher;
use super::scenarios::Bench;
use super::sink::Manner;

const WORKERS: usize = 4096;
const DELAY: Duration = Duration::from_millis(200);

/// More than one endpoint may get of the workers is asked of none of them.
const ENDPOINTS: usize = 512;

const RATE: f64 = 15_000.0;
const PEAK_MB: f64 = 200.0;
const ATTEMPT_KIB: f64 = 40.0;

/// A sink that has less than this left of its core may be what is slow.
const SINK_PERCENT: f64 = 70.0;

pub fn measure(bench: &Bench) -> Result<Value> {
    let (count, tally) = (bench.plan.count, &bench.sink.tally);
    let manner = Manner {
        delay: DELAY,
        ..Manner::default()
    };
    let origins = bench.sink.open(&["127.0.0.1"; ENDPOINTS], manner, 1)?;
    let urls: Vec<String> = origins.iter().map(|o| format!("http://{o}/hook")).collect();
    let workers = WORKERS.to_string();
    let (outhook, _) = process::outhook(bench.port, &["--workers", &workers])?;
    tally.reset();
    let mut publisher = Publisher::new(bench.port, bench.intake, &urls)?;
    let (before, sink, begun) = (outhook.usage()?, process::threads("sink-")?, Instant::now());
    publisher.flood(count, tally)?;
    let (after, took) = (outhook.usage()?, begun.elapsed());
    let sink = (process::threads("sink-")? - sink).as_secs_f64() / took.as_secs_f64();
    tally.check(count)?;
    let mut arrivals = tally.arrivals(count);
    arrivals.sort();
    // Without the time in which the windows of the endpoints grow.
    let half = &arrivals[count / 2..];
    let took = half[half.len() - 1] - half[0];
    let cpu = (after.cpu - before.cpu).as_secs_f64() * 1e6 / count as f64;
    let in_flight = (after.peak_kb - before.rss_kb) as f64 / WORKERS as f64;
    Ok(json!({
        "deliveries_per_s": at_least(rate(half.len(), took).round(), RATE),
        "cpu_us_per_delivery": round(cpu),
        "idle_rss_mb": round(before.rss_kb as f64 / 1024.0),
        "peak_rss_mb": at_most(after.peak_kb as f64 / 1024.0, PEAK_MB),
        "kib_per_attempt_in_flight": at_most(in_flight, ATTEMPT_KIB),
        "connections": tally.connections(),
        // Where nothing else runs and many are late, the machine is too small for both.
        "late_answers_percent": round(100.0 * tally.late()),
        "sink_percent_of_a_core": at_most(100.0 * sink, SINK_PERCENT),
    }))
}
