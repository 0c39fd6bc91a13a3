//! Replicas, endpoints and Redis all fail, again and again and at random, under a steady load;
//! in the end every message that was added has been accepted by its endpoint, and each that was
//! accepted twice is explained by a fault in between.
//!
//! A seed gives the plan of faults, and is printed. `scripts/torture.sh` runs it for longer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{MESSAGES, PARKED, Redis};
use crate::support::service::{Outhook, Service};
use crate::support::sys::Signal;
use crate::support::{DEADLINE, MS};

const ENDPOINTS: usize = 4;

/// How long after the last fault all must be settled: the lease, the sweep, and retries.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// A cut attempt may have been answered shortly before the fault that is noted, and one of
/// before a kill is seen again when its lease is over.
const SLACK: Duration = Duration::from_secs(2);

const ARGS: [&str; 18] = [
    "--workers",
    "16",
    "--lease",
    "3s",
    "--timeout",
    "1s",
    "--backoff-base",
    "100ms",
    "--backoff-max",
    "1s",
    "--max-attempts",
    "100",
    "--pause-base",
    "50ms",
    "--pause-max",
    "500ms",
    "--drain-timeout",
    "1s",
];

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// When each message was accepted.
type Accepted = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

fn env(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |v| v.parse().expect(name))
}

/// One that is well, one that fails now and then, one that hangs and one that is overloaded,
/// each for the middle third.
fn endpoints(begun: Instant, length: Duration, accepted: &Accepted) -> Vec<Receiver> {
    let endpoint = |kind: usize| {
        let accepted = accepted.clone();
        Receiver::answering(move |request, n| {
            let ill = begun.elapsed() > length / 3 && begun.elapsed() < length * 2 / 3;
            match kind {
                1 if n % 3 == 0 => return Reply::from(status(500)),
                2 if ill => return Reply::Hang,
                3 if ill => return status(503).header("retry-after", "1").into(),
                _ => {}
            }
            let mut accepted = accepted.lock().unwrap();
            let times = accepted.entry(request.id().to_owned()).or_default();
            times.push(Instant::now());
            status(200).after(3 * MS).into()
        })
    };
    (0..ENDPOINTS).map(endpoint).collect()
}

fn replica(redis: &Redis) -> Service {
    let address = redis.address();
    let args = [&["serve", "--redis-address", &address], &ARGS[..]].concat();
    Outhook::new(&args).env("OUTHOOK_LOG", "info").spawn()
}

/// Adds a message every few milliseconds, and keeps at each until Redis has it. Answers how
/// many there are.
fn produce(address: &str, urls: &[String], over: &AtomicBool) -> usize {
    let client = redis::Client::open(address).expect("an address");
    let mut connection = None;
    let mut count = 0;
    while !over.load(Ordering::SeqCst) {
        let url = &urls[count % urls.len()];
        let message = format!(r#"{{"url":"{url}","webhookId":"m{count}","data":{count}}}"#);
        let open = connection.take().or_else(|| client.get_connection().ok());
        if let Some(mut open) = open {
            let mut add = redis::cmd("XADD");
            add.arg(MESSAGES).arg("*").arg("message").arg(message);
            if add.query::<String>(&mut open).is_ok() {
                count += 1;
                connection = Some(open);
            }
        }
        std::thread::sleep(3 * MS);
    }
    count
}

/// Makes one fault. Answers what it was.
fn fault(rng: &mut Rng, redis: &mut Redis, replicas: &mut [Service]) -> &'static str {
    let victim = rng.below(replicas.len() as u64) as usize;
    match rng.below(10) {
        0..=2 => {
            replicas[victim].signal(Signal::KILL);
            replicas[victim].wait_exit(DEADLINE);
            replicas[victim] = replica(redis);
            "kill -9 of a replica"
        }
        3..=5 => {
            let (code, took) = replicas[victim].terminate();
            assert!(took < Duration::from_secs(12), "SIGTERM took {took:?}");
            assert_eq!(code, 0, "an entry of the stream is never lost");
            replicas[victim] = replica(redis);
            "SIGTERM of a replica"
        }
        6..=7 => {
            redis.kill();
            redis.up();
            "kill -9 of Redis"
        }
        8 => {
            redis.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            "CLIENT KILL"
        }
        _ => {
            redis.command::<()>(&["CLIENT", "PAUSE", "500", "ALL"]);
            "CLIENT PAUSE"
        }
    }
}

fn left(redis: &Redis) -> usize {
    let stream: usize = redis.command(&["XLEN", MESSAGES]);
    let parked: usize = redis.command(&["ZCARD", PARKED]);
    stream + parked
}

#[test]
fn nothing_is_lost_while_everything_fails() {
    let seed = env("OUTHOOK_TORTURE_SEED", 1);
    let length = Duration::from_secs(env("OUTHOOK_TORTURE_SECONDS", 15));
    let count = env("OUTHOOK_TORTURE_REPLICAS", 3) as usize;
    println!("torture: OUTHOOK_TORTURE_SEED={seed} for {length:?}, {count} replicas");
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (begun, accepted) = (Instant::now(), Accepted::default());
    let receivers = endpoints(begun, length, &accepted);
    let urls: Vec<String> = receivers.iter().map(|r| r.url("/")).collect();
    let mut replicas: Vec<Service> = (0..count).map(|_| replica(&redis)).collect();
    let (over, address) = (Arc::new(AtomicBool::new(false)), redis.address());
    let until = over.clone();
    let producer = std::thread::spawn(move || produce(&address, &urls, &until));
    let mut faults = Vec::new();
    while begun.elapsed() < length {
        std::thread::sleep(Duration::from_millis(200 + rng.below(1200)));
        let at = Instant::now();
        let what = fault(&mut rng, &mut redis, &mut replicas);
        println!("{:>7.2} s  {what}", (at - begun).as_secs_f64());
        faults.push((at, Instant::now(), what));
    }
    over.store(true, Ordering::SeqCst);
    let sent = producer.join().expect("the producer");
    let last = Instant::now();
    while left(&redis) > 0 {
        let waits = last.elapsed();
        assert!(waits < SETTLED_WITHIN, "seed {seed}: {} left", left(&redis));
        std::thread::sleep(20 * MS);
    }
    for replica in &mut replicas {
        replica.end_well();
    }
    let dead: Vec<String> = redis.dead().iter().map(|d| d.text("id")).collect();
    let accepted = accepted.lock().unwrap();
    let lost: Vec<usize> = (0..sent)
        .filter(|n| !accepted.contains_key(&format!("m{n}")))
        .collect();
    assert!(
        lost.is_empty(),
        "seed {seed}: lost {lost:?}, dead letters {dead:?}"
    );
    assert!(
        dead.is_empty(),
        "seed {seed}: none had 100 attempts: {dead:?}"
    );
    let mut doubled = 0;
    for (id, times) in accepted.iter() {
        for pair in times.windows(2) {
            doubled += 1;
            let explains = |(from, to, _): &(Instant, Instant, &str)| {
                *from <= pair[1] && *to + SLACK >= pair[0]
            };
            assert!(
                faults.iter().any(explains),
                "seed {seed}: {id} came twice, and nothing had failed"
            );
        }
    }
    println!(
        "torture: {sent} messages, {} faults, lost 0, {doubled} twice",
        faults.len()
    );
}
