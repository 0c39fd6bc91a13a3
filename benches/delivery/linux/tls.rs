//! What HTTPS costs: over connections that are kept, over new ones, and while they rest.
//!
//! One outhook sends everything, in the clear and with TLS by turns, so that the machine's load
//! falls on both. Its own CPU is counted, and not that of the receivers.

use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde_json::{Map, Value, json};

use super::certificates::Authority;
use super::figures::{at_least, at_most, median, round};
use super::process::{self, Process};
use super::publisher::Publisher;
use super::scenarios::Bench;
use super::sink::{HOSTS, Manner};
use super::{Plan, Result};

/// Each kind of receiver is measured so often, by turns; the median counts.
const ROUNDS: usize = 5;

const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("tls12", &TLS12), ("tls13", &TLS13)];

/// HTTPS costs so many times what HTTP does on a kept connection, and so many times that on a new
/// connection with a resumed session (250 us on a machine on which that is 40 us).
const RATIO: f64 = 1.7;
const RESUMED_RATIO: f64 = 6.25;

/// Of deliveries to endpoints that get a message every ten seconds so many percent go over kept
/// connections; one that rests takes so many KiB.
const KEPT_PERCENT: f64 = 90.0;
const TLS_KIB: f64 = 32.0;
const CLEAR_KIB: f64 = 12.0;

/// How many endpoints get a message in each period, and for how many periods.
#[derive(Debug)]
pub struct Resting {
    pub endpoints: usize,
    pub period: Duration,
    pub periods: usize,
}

/// Receivers of one kind, and what a delivery to them costs.
struct Kind {
    urls: Vec<String>,
    /// Microseconds, of each round.
    cpu: Vec<f64>,
    /// Percent of the connections of the last round.
    resumed: f64,
}

pub fn measure(bench: &Bench) -> Result<Value> {
    let authority = Authority::new(bench.dir.path())?;
    let mut figures = Map::new();
    let http = measure_kept(bench, &authority, &mut figures)?;
    measure_new(bench, &authority, http, &mut figures)?;
    measure_resting(bench, &authority, &mut figures)?;
    Ok(Value::Object(figures))
}

fn start(bench: &Bench, authority: &Authority) -> Result<Process> {
    let file = authority.file.to_string_lossy();
    Ok(process::outhook(bench.port, &["--ca-file", &file])?.0)
}

/// Answers what a delivery costs over a kept connection in the clear, in microseconds.
fn measure_kept(
    bench: &Bench,
    authority: &Authority,
    figures: &mut Map<String, Value>,
) -> Result<f64> {
    let outhook = start(bench, authority)?;
    let mut kinds = vec![Kind::new(bench.urls())];
    for (_, version) in VERSIONS {
        let server = authority.server(version, true)?;
        kinds.push(Kind::open(bench, Some(server), false)?);
    }
    let count = bench.plan.count / 10;
    for kind in &mut kinds {
        // Connections are opened.
        kind.flood(bench, &outhook, count / 4)?;
        kind.cpu.clear();
    }
    for _ in 0..ROUNDS {
        for kind in &mut kinds {
            kind.flood(bench, &outhook, count)?;
        }
    }
    let http = median(&kinds[0].cpu);
    figures.insert("kept_http_cpu_us".into(), json!(round(http)));
    for ((name, _), kind) in VERSIONS.iter().zip(&kinds[1..]) {
        let ratios: Vec<f64> = kind
            .cpu
            .iter()
            .zip(&kinds[0].cpu)
            .map(|(tls, http)| tls / http)
            .collect();
        let cpu = json!(round(median(&kind.cpu)));
        figures.insert(format!("kept_{name}_cpu_us"), cpu);
        let ratio = at_most(median(&ratios), RATIO);
        figures.insert(format!("kept_{name}_to_http"), ratio);
    }
    Ok(http)
}

fn measure_new(
    bench: &Bench,
    authority: &Authority,
    kept_http: f64,
    figures: &mut Map<String, Value>,
) -> Result<()> {
    let outhook = start(bench, authority)?;
    let count = bench.plan.count / 50;
    let mut kinds = vec![("http".to_owned(), Kind::open(bench, None, true)?)];
    for (name, version) in VERSIONS {
        for (what, resumption) in [("full", false), ("resumed", true)] {
            let server = authority.server(version, resumption)?;
            let kind = Kind::open(bench, Some(server), true)?;
            kinds.push((format!("{name}_{what}"), kind));
        }
    }
    for _ in 0..ROUNDS {
        for (_, kind) in &mut kinds {
            kind.flood(bench, &outhook, count)?;
        }
    }
    for (name, kind) in &kinds {
        let cpu = median(&kind.cpu);
        figures.insert(format!("new_{name}_cpu_us"), json!(round(cpu)));
        if name.ends_with("resumed") {
            let ratio = at_most(cpu / kept_http, RESUMED_RATIO);
            figures.insert(format!("new_{name}_to_kept_http"), ratio);
            figures.insert(format!("new_{name}_percent"), json!(round(kind.resumed)));
        }
    }
    Ok(())
}

fn measure_resting(
    bench: &Bench,
    authority: &Authority,
    figures: &mut Map<String, Value>,
) -> Result<()> {
    let server = authority.server(&TLS13, true)?;
    let tls = rest(bench, authority, Some(server), bench.plan.resting.periods)?;
    // In the clear one period says what a connection takes.
    let clear = rest(bench, authority, None, 1)?;
    figures.insert("rest_kept_percent".into(), at_least(tls.kept, KEPT_PERCENT));
    figures.insert("rest_tls_rss_mb".into(), json!(round(tls.rss_kb / 1024.0)));
    figures.insert("rest_tls_kib".into(), at_most(tls.kib, TLS_KIB));
    figures.insert("rest_clear_kib".into(), at_most(clear.kib, CLEAR_KIB));
    Ok(())
}

struct Rested {
    /// Percent of the deliveries behind each endpoint's first that needed no new connection.
    kept: f64,
    rss_kb: f64,
    /// What an endpoint with one connection that rests takes.
    kib: f64,
}

/// Sends to many endpoints, seldom to each. They differ in their ports.
fn rest(
    bench: &Bench,
    authority: &Authority,
    tls: Option<Arc<ServerConfig>>,
    periods: usize,
) -> Result<Rested> {
    let Plan { resting, .. } = &bench.plan;
    let (endpoints, tally) = (resting.endpoints, &bench.sink.tally);
    let rate = (endpoints as f64 / resting.period.as_secs_f64()) as u32;
    let outhook = start(bench, authority)?;
    // What the process takes to work at all is not the connections'.
    let scheme = Scheme::of(tls.is_some());
    let warm = open(bench, &HOSTS, tls.clone(), false)?;
    tally.reset();
    Publisher::new(bench.port, bench.intake, &scheme.urls(&warm))?.drip(
        rate as usize * 2,
        rate,
        tally,
    )?;
    tally.finish(rate as usize * 2)?;
    let before = outhook.usage()?.rss_kb as f64;

    tally.reset();
    let origins = open(bench, &vec![HOSTS[0]; endpoints], tls, false)?;
    let mut publisher = Publisher::new(bench.port, bench.intake, &scheme.urls(&origins))?;
    let count = endpoints * periods;
    publisher.drip(count, rate, tally)?;
    tally.finish(count)?;
    let rss_kb = outhook.usage()?.rss_kb as f64;
    let again = (count - endpoints).max(1) as f64;
    let new = tally.connections().saturating_sub(endpoints) as f64;
    Ok(Rested {
        kept: 100.0 * (1.0 - new / again),
        rss_kb,
        kib: (rss_kb - before) / endpoints as f64,
    })
}

#[derive(Clone, Copy)]
struct Scheme(&'static str);

impl Scheme {
    fn of(is_tls: bool) -> Scheme {
        Scheme(if is_tls { "https" } else { "http" })
    }

    fn urls(self, origins: &[String]) -> Vec<String> {
        let url = |origin| format!("{}://{origin}/hook", self.0);
        origins.iter().map(url).collect()
    }
}

/// Opens ports at `hosts`, and answers their `host:port`.
fn open(
    bench: &Bench,
    hosts: &[&str],
    tls: Option<Arc<ServerConfig>>,
    closes: bool,
) -> Result<Vec<String>> {
    let manner = Manner {
        tls,
        closes,
        delay: Duration::ZERO,
    };
    Ok(bench.sink.open(hosts, manner, 1)?)
}

impl Kind {
    fn new(urls: Vec<String>) -> Kind {
        Kind {
            urls,
            cpu: Vec::new(),
            resumed: 0.0,
        }
    }

    fn open(bench: &Bench, tls: Option<Arc<ServerConfig>>, closes: bool) -> Result<Kind> {
        let scheme = Scheme::of(tls.is_some());
        Ok(Kind::new(scheme.urls(&open(bench, &HOSTS, tls, closes)?)))
    }

    /// One round.
    fn flood(&mut self, bench: &Bench, outhook: &Process, count: usize) -> Result<()> {
        let tally = &bench.sink.tally;
        tally.reset();
        let mut publisher = Publisher::new(bench.port, bench.intake, &self.urls)?;
        let before = outhook.usage()?.cpu;
        publisher.flood(count, tally)?;
        let cpu = outhook.usage()?.cpu - before;
        tally.check(count)?;
        self.cpu.push(cpu.as_secs_f64() * 1e6 / count as f64);
        let connections = tally.connections().max(1) as f64;
        self.resumed = 100.0 * tally.resumptions() as f64 / connections;
        Ok(())
    }
}
