//! Chaos: replicas, Redis, endpoints and all that is between them fail at once, from a seed, under
//! a steady load. In the end nothing is lost, each repetition has a cause that is proved from the
//! records of the run (`judge.rs`), and nothing is left in Redis.
//!
//! A short run is one of the tests; `scripts/chaos.sh` makes longer ones. Read `actors.rs` for what
//! fails, `path.rs` for how it is recorded, and `judge.rs` for what counts as a cause.

mod actors;
pub mod clock;
mod endpoint;
mod faults;
mod judge;
pub mod path;
mod producer;
mod replica;
mod story;
mod trace;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::MS;
use crate::support::dice::seeds;
use crate::support::redis::{AGAIN, DEAD, MESSAGES, PARKED, Redis};
use actors::Stage;
use clock::{At, now};
use endpoint::{Arrival, Endpoint};
use faults::{Faults, On};
use judge::{Cause, IN_FLIGHT, Judge};
use producer::{Sent, produce};
use replica::{Lives, Replica, WATCH, WORKERS, watch_waits};

const REPLICAS: usize = 3;
const ENDPOINTS: usize = 3;

/// How long after the last fault all must be settled: leases, sweeps, and retries, on a machine
/// that may be busy.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);

/// What the ledger holds at most and has not written yet.
const BATCH: usize = 256;

/// What a run has left behind.
struct Outcome {
    sent: HashMap<String, Sent>,
    /// As they were sent.
    arrivals: Vec<Arrival>,
    dead: Vec<(String, String)>,
    judge: Judge,
}

fn env(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |v| v.parse().expect(name))
}

#[test]
fn nothing_is_lost_and_each_repetition_has_its_cause_while_everything_fails() {
    let seed = seeds(1..2).start;
    let length = Duration::from_secs(env("OUTHOOK_CHAOS_SECONDS", 20));
    println!("chaos: OUTHOOK_SEED={seed} for {length:?}");
    let outcome = run(seed, length);
    let lost = lost(&outcome);
    let (causes, unexplained) = causes(&outcome);
    report(seed, &outcome, &lost, &causes, unexplained.len());
    if let Ok(folder) = std::env::var("OUTHOOK_CHAOS_LOGS") {
        keep_logs(&outcome, &causes, &folder);
    }
    let tell = |id: &str| story::tell(&outcome.judge, id, outcome.sent.get(id), &outcome.arrivals);
    for id in lost.iter().chain(&unexplained).take(5) {
        println!("{}", tell(id));
    }
    assert!(lost.is_empty(), "lost {lost:?}");
    assert!(
        unexplained.is_empty(),
        "without a cause came again: {unexplained:?}"
    );
    assert_dead_letters(&outcome);
    for (cause, ids) in &causes {
        let most = match IN_FLIGHT.contains(&cause.name) {
            true => WORKERS,
            false => WORKERS + BATCH,
        };
        assert!(ids.len() <= most, "{} repetitions by {cause:?}", ids.len());
    }
}

/// Makes everything fail for so long, lets it settle, and ends it.
fn run(seed: u64, length: Duration) -> Outcome {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let faults = Faults::new(length > Duration::from_secs(60));
    let lives = Lives::default();
    let endpoints: Vec<Endpoint> = (0..ENDPOINTS).map(Endpoint::new).collect();
    let urls: Vec<String> = endpoints.iter().map(|e| e.url("")).collect();
    let new = |n| Replica::new(n, redis.socket(), &lives);
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(new).collect();
    for replica in &mut replicas {
        replica.start();
    }
    let stage = Stage {
        faults: &faults,
        seed,
        end: now() + length,
    };
    let is_over = AtomicBool::new(false);
    let address = redis.address();
    let sent = thread::scope(|scope| {
        // Also when an actor panics, or nobody would ever be told.
        let over = SetOnDrop(&is_over);
        let watcher = scope.spawn(|| watch(&lives, &is_over));
        let producer = scope.spawn(|| produce(&address, &urls, seed, stage.end));
        play(&stage, &mut redis, &mut replicas, &endpoints);
        let sent = producer.join().expect("the producer");
        settle(&redis);
        for replica in &mut replicas {
            replica.terminate();
        }
        drop(over);
        watcher.join().expect("the watcher");
        sent
    });
    assert_nothing_left(&redis);
    let mut arrivals: Vec<Arrival> = endpoints.iter().flat_map(|e| e.take_arrivals()).collect();
    arrivals.sort_by_key(|arrival| arrival.sent);
    let dead = redis.dead().into_iter();
    let dead = dead.map(|d| (d.text("id"), d.text("reason"))).collect();
    let lives = lives.lock().unwrap().clone();
    let judge = Judge::new(lives, faults.all());
    Outcome {
        sent,
        arrivals,
        dead,
        judge,
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// All actors at once, until the end.
fn play(stage: &Stage, redis: &mut Redis, replicas: &mut [Replica], endpoints: &[Endpoint]) {
    thread::scope(|scope| {
        for (n, replica) in replicas.iter_mut().enumerate() {
            let path = replica.path.clone();
            scope.spawn(move || actors::act_on_path(stage, On::RedisPath(n), &path, 8000));
            scope.spawn(move || actors::act_on_process(stage, n, replica));
        }
        scope.spawn(|| actors::act_on_server(stage, redis));
        for endpoint in endpoints {
            let on = On::EndpointPath(endpoint.number());
            scope.spawn(move || actors::act_on_path(stage, on, &endpoint.path, 2500));
            scope.spawn(move || actors::act_on_endpoint(stage, endpoint));
        }
    });
}

fn watch(lives: &Lives, is_over: &AtomicBool) {
    let mut last = HashMap::new();
    while !is_over.load(Ordering::SeqCst) {
        thread::sleep(WATCH);
        watch_waits(lives, &mut last);
    }
}

fn left(redis: &Redis) -> usize {
    let count = |command, key| redis.command::<usize>(&[command, key]);
    let streams = count("XLEN", MESSAGES) + count("XLEN", AGAIN);
    streams + count("ZCARD", PARKED) + redis.deferred()
}

fn settle(redis: &Redis) {
    let last: At = now();
    while left(redis) > 0 {
        assert!(
            now() - last < SETTLED_WITHIN,
            "{} left: {:?}",
            left(redis),
            redis.kept()
        );
        thread::sleep(20 * MS);
    }
}

fn assert_nothing_left(redis: &Redis) {
    assert_eq!(left(redis), 0);
    for stream in [MESSAGES, AGAIN] {
        let (pending, ..): (usize, redis::Value, redis::Value, redis::Value) =
            redis.command(&["XPENDING", stream, "outhook"]);
        assert_eq!(pending, 0, "pending entries of {stream}");
    }
    let mut keys: Vec<String> = redis.command(&["KEYS", "*"]);
    keys.sort();
    assert_eq!(keys, [AGAIN, DEAD, MESSAGES]);
}

/// Accepted by Redis, and by no endpoint, though it could be.
fn lost(outcome: &Outcome) -> Vec<String> {
    let accepted = outcome.arrivals.iter().filter(|a| a.is_accepted);
    let accepted: std::collections::HashSet<&str> = accepted.map(|a| &*a.id).collect();
    let sent = outcome.sent.iter();
    let due = sent.filter(|(_, sent)| sent.at.is_some() && sent.dies.is_none());
    let lost = due.filter(|(id, _)| !accepted.contains(&***id));
    lost.map(|(id, _)| id.clone()).collect()
}

/// Those that must die are dead letters, once each, and nobody else is.
fn assert_dead_letters(outcome: &Outcome) {
    let mut dead: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, reason) in &outcome.dead {
        dead.entry(id).or_default().push(reason);
    }
    for (id, reasons) in &dead {
        let expected = outcome.sent.get(*id).and_then(|sent| sent.dies);
        assert_eq!(
            reasons[..],
            expected.as_slice()[..],
            "{}",
            story::tell(&outcome.judge, id, outcome.sent.get(*id), &outcome.arrivals)
        );
    }
    for (id, sent) in &outcome.sent {
        let is_missing = sent.at.is_some() && sent.dies.is_some() && !dead.contains_key(&**id);
        assert!(!is_missing, "{id} is no dead letter");
    }
}

/// The ids that came again, by cause, and those without one.
fn causes(outcome: &Outcome) -> (BTreeMap<Cause, Vec<String>>, Vec<String>) {
    let mut by_id: BTreeMap<&str, Vec<&Arrival>> = BTreeMap::new();
    for arrival in &outcome.arrivals {
        by_id.entry(&arrival.id).or_default().push(arrival);
    }
    let (mut causes, mut unexplained) = (BTreeMap::new(), Vec::new());
    for (id, arrivals) in by_id {
        for pair in arrivals.windows(2).filter(|pair| pair[0].is_accepted) {
            match outcome.judge.explain(id, pair[0], pair[1]) {
                Some(cause) => causes
                    .entry(cause)
                    .or_insert_with(Vec::new)
                    .push(id.to_owned()),
                None => unexplained.push(id.to_owned()),
            }
        }
    }
    (causes, unexplained)
}

/// What each process wrote and asked of Redis, and what came again, for whoever looks into it.
fn keep_logs(outcome: &Outcome, causes: &BTreeMap<Cause, Vec<String>>, folder: &str) {
    let write = |name: &str, ending: &str, text: String| {
        let file = format!("{folder}/{name}.{ending}");
        std::fs::write(&file, text).unwrap_or_else(|e| panic!("{file}: {e}"));
    };
    let judge = &outcome.judge;
    for (number, life) in judge.lives.iter().enumerate() {
        write(
            &life.name,
            "log",
            life.record.lock().unwrap().log.join("\n"),
        );
        let mut calls: Vec<_> = judge.trace.calls.iter().collect();
        calls.retain(|call| call.life == number);
        calls.sort_by_key(|call| call.sent);
        let lines: Vec<String> = calls.iter().map(|call| story::describe(call)).collect();
        write(&life.name, "calls", lines.join("\n"));
    }
    let tell = |id: &String| story::tell(judge, id, outcome.sent.get(id), &outcome.arrivals);
    let stories = causes.iter().map(|(cause, ids)| {
        let stories: Vec<String> = ids.iter().map(tell).collect();
        format!("##### {cause:?} {ids:?}\n{}", stories.join("\n"))
    });
    write(
        "all",
        "stories",
        stories.collect::<Vec<String>>().join("\n"),
    );
}

fn report(
    seed: u64,
    outcome: &Outcome,
    lost: &[String],
    causes: &BTreeMap<Cause, Vec<String>>,
    unexplained: usize,
) {
    let (sent, arrivals) = (outcome.sent.len(), outcome.arrivals.len());
    let (faults, dead) = (outcome.judge.faults.len(), outcome.dead.len());
    let lives = outcome.judge.lives.len();
    println!(
        "chaos: seed {seed}: {sent} messages, {arrivals} requests, {faults} faults, {lives} \
         processes, {dead} dead letters as expected, lost {}, without a cause {unexplained}, \
         left in Redis 0",
        lost.len()
    );
    let ends = outcome.judge.lives.iter().filter_map(|life| {
        let record = life.record.lock().unwrap();
        Some(record.ended?.saturating_sub(record.terminated?))
    });
    println!("chaos: the longest end after SIGTERM took {:?}", ends.max());
    let mut names: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (cause, ids) in causes {
        let counts = names.entry(cause.name).or_default();
        counts.0 += ids.len();
        counts.1 = counts.1.max(ids.len());
    }
    for (name, (count, most)) in names {
        println!("{count:>7}  {name} (at most {most} by one fault)");
    }
}
