//! What is measured.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::figures::{at, rate, round};
use super::process::{self, Process};
use super::publisher::Publisher;
use super::sink::Sink;
use super::{Intake, Plan, Result};

/// outhook's default.
const WORKERS: usize = 512;

const RATE: u32 = 500;

/// Endpoints that never answer, and endpoints that are kept apart.
const DEAD: usize = 1000;
const MANY: usize = 10_000;

/// Redis, the sink, and what they need.
pub struct Bench {
    pub plan: Plan,
    pub intake: Intake,
    pub sink: Sink,
    /// Redis's.
    pub port: u16,
    _redis: Process,
    /// For files.
    pub dir: TempDir,
}

impl Bench {
    pub fn start(plan: Plan, intake: Intake) -> Result<Bench> {
        let dir = tempfile::tempdir()?;
        let (redis, port) = process::redis(dir.path())?;
        Ok(Bench {
            sink: Sink::start(plan.most())?,
            plan,
            intake,
            port,
            _redis: redis,
            dir,
        })
    }

    pub fn urls(&self) -> Vec<String> {
        let origins = self.sink.origins.iter();
        origins.map(|o| format!("http://{o}/hook")).collect()
    }

    /// As fast as it goes, and the same requests by a client that only posts.
    pub fn throughput(&self) -> Result<Value> {
        let (count, tally) = (self.plan.count, &self.sink.tally);
        tally.reset();
        let (outhook, _) = process::outhook(self.port, &[])?;
        let mut publisher = Publisher::new(self.port, self.intake, &self.urls())?;
        let before = outhook.usage()?;
        let begun = Instant::now();
        publisher.flood(count, tally)?;
        let took = begun.elapsed();
        let after = outhook.usage()?;
        tally.check(count)?;
        let connections = tally.connections();
        drop(outhook);

        let reference = self.reference(count)?;
        let per = |d: Duration| d.as_secs_f64() * 1e6 / count as f64;
        let (cpu, raw) = (per(after.cpu - before.cpu), per(reference.1));
        let (rate, raw_rate) = (rate(count, took), rate(count, reference.0));
        Ok(json!({
            "deliveries_per_s": rate.round(),
            "cpu_us_per_delivery": round(cpu),
            "peak_rss_mb": round(after.peak_kb as f64 / 1024.0),
            "connections": connections,
            "reference_posts_per_s": raw_rate.round(),
            "reference_cpu_us_per_post": round(raw),
            "cpu_ratio": round(cpu / raw),
            "rate_ratio": round(rate / raw_rate),
        }))
    }

    /// Wall time and CPU of the client that only posts.
    fn reference(&self, count: usize) -> Result<(Duration, Duration)> {
        let tally = &self.sink.tally;
        tally.reset();
        let mut args = vec![count.to_string(), WORKERS.to_string()];
        args.extend(self.sink.origins.iter().cloned());
        // Its CPU is that of all children that have ended, less what that was before.
        let before = children();
        let begun = Instant::now();
        process::reference(&args)?.wait()?;
        let took = begun.elapsed();
        tally.check(count)?;
        Ok((took, children() - before))
    }

    /// A steady trickle: from just before it is sent to its arrival.
    pub fn latency(&self) -> Result<Value> {
        let (outhook, _) = process::outhook(self.port, &[])?;
        let count = self.plan.latency_for.as_secs() as usize * RATE as usize;
        let before = outhook.usage()?;
        let latencies = self.trickle(&self.urls(), count)?;
        let cpu = outhook.usage()?.cpu - before.cpu;
        Ok(json!({
            "p50_ms": at(&latencies, 0.5),
            "p99_ms": at(&latencies, 0.99),
            "max_ms": at(&latencies, 1.0),
            "cpu_us_per_delivery": round(cpu.as_secs_f64() * 1e6 / count as f64),
        }))
    }

    /// The same, alone and while half of all messages go to endpoints that never answer.
    pub fn slow_neighbour(&self) -> Result<Value> {
        let count = self.plan.latency_for.as_secs() as usize * RATE as usize;
        let (outhook, _) = process::outhook(self.port, &[])?;
        let alone = self.trickle(&self.urls(), count)?;
        // Connections are taken by the kernel, and that is all.
        let hanging = (0..self.sink.origins.len())
            .map(|n| TcpListener::bind(format!("127.0.1.{}:0", n + 1)))
            .collect::<std::io::Result<Vec<_>>>()?;
        let mut urls = self.urls();
        for listener in &hanging {
            urls.push(format!("http://{}/hook", listener.local_addr()?));
        }
        let beside = self.trickle(&urls, count)?;
        drop(outhook);
        let (before, after) = (at(&alone, 0.99), at(&beside, 0.99));
        Ok(json!({
            "p99_ms_alone": before,
            "p99_ms_with_half_hanging": after,
            "ratio": round(after / before),
        }))
    }

    /// Sends `count` messages, those to the sink's own URLs being the first of `urls`. Answers
    /// the latencies of the latter, sorted.
    fn trickle(&self, urls: &[String], count: usize) -> Result<Vec<Duration>> {
        let tally = &self.sink.tally;
        tally.reset();
        let mut publisher = Publisher::new(self.port, self.intake, urls)?;
        let sent = publisher.drip(count, RATE, tally)?;
        let good = |n: &usize| n % urls.len() < self.sink.origins.len();
        let expected = (0..count).filter(good).count();
        if !tally.wait_for(expected) {
            return Err(format!("fewer than {expected} messages arrived").into());
        }
        let arrived = tally.arrivals(count);
        let pairs = (0..count)
            .filter(good)
            .map(|n| arrived[n].saturating_sub(sent[n]));
        let mut latencies: Vec<Duration> = pairs.collect();
        latencies.sort();
        Ok(latencies)
    }

    /// The same, alone and while a thousand endpoints that never answer are met for the first
    /// time, all at once.
    pub fn dead_endpoints(&self) -> Result<Value> {
        let count = self.plan.latency_for.as_secs() as usize * RATE as usize;
        let (outhook, _) = process::outhook(self.port, &[])?;
        let alone = self.trickle(&self.urls(), count)?;
        // Connections are taken by the kernel, and that is all.
        let hanging = TcpListener::bind("0.0.0.0:0")?;
        let port = hanging.local_addr()?.port();
        let url = |n: usize| format!("http://127.1.{}.{}:{port}/hook", n / 250, n % 250 + 1);
        let dead: Vec<String> = (0..DEAD).map(url).collect();
        Publisher::new(self.port, self.intake, &dead)?.send(0, DEAD)?;
        let beside = self.trickle(&self.urls(), count)?;
        drop(outhook);
        Ok(json!({
            "p99_ms_alone": at(&alone, 0.99),
            "p99_ms_with_1000_dead": at(&beside, 0.99),
            "max_ms_with_1000_dead": at(&beside, 1.0),
        }))
    }

    /// What keeping endpoints apart costs: ten thousand that share the connections of a few.
    pub fn many_endpoints(&self) -> Result<Value> {
        let few = self.cpu_of(&self.urls())?;
        let many: Vec<String> = (0..MANY / self.sink.origins.len())
            .flat_map(|n| self.urls().into_iter().map(move |url| format!("{url}/{n}")))
            .collect();
        let many = self.cpu_of(&many)?;
        Ok(json!({
            "cpu_us_with_8_endpoints": round(few.0),
            "cpu_us_with_10000_endpoints": round(many.0),
            "ratio": round(many.0 / few.0),
            "bytes_an_endpoint": ((many.1 - few.1) * 1024.0 / MANY as f64).round(),
        }))
    }

    /// CPU a delivery in microseconds, and KiB of memory at the end.
    fn cpu_of(&self, urls: &[String]) -> Result<(f64, f64)> {
        let (count, tally) = (self.plan.count, &self.sink.tally);
        tally.reset();
        let (outhook, _) = process::outhook(self.port, &["--endpoint-by", "url"])?;
        let mut publisher = Publisher::new(self.port, self.intake, urls)?;
        let before = outhook.usage()?;
        publisher.flood(count, tally)?;
        let after = outhook.usage()?;
        let cpu = (after.cpu - before.cpu).as_secs_f64() * 1e6 / count as f64;
        Ok((cpu, after.rss_kb as f64))
    }

    /// Start, and then nothing to do.
    pub fn idle(&self) -> Result<Value> {
        let mut ready = Vec::new();
        for _ in 0..self.plan.starts {
            ready.push(process::outhook(self.port, &[])?.1);
        }
        ready.sort();
        let (outhook, _) = process::outhook(self.port, &[])?;
        let before = outhook.usage()?;
        std::thread::sleep(self.plan.idle_for);
        let after = outhook.usage()?;
        let share = (after.cpu - before.cpu).as_secs_f64() / self.plan.idle_for.as_secs_f64();
        Ok(json!({
            "ready_ms": at(&ready, 0.5),
            "cpu_percent": round(share * 100.0),
            "rss_mb": round(after.rss_kb as f64 / 1024.0),
        }))
    }
}

/// CPU of all children that have ended.
fn children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    let ticks = numbers.split_whitespace().skip(13).take(2);
    Duration::from_millis(ticks.filter_map(|t| t.parse::<u64>().ok()).sum::<u64>() * 10)
}
