//! Entries that a replica has lost to another: it leaves them alone.

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::proxy::Proxy;
use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{DEAD, MESSAGES, PARKED, Redis};
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{Gate, MS, message, until};

const LEASE: [&str; 4] = ["--lease", "3s", "--timeout", "1s"];

/// A replica whose requests can be told from those of others.
struct Replica {
    file: TempDir,
    name: &'static str,
}

impl Replica {
    fn new(name: &'static str) -> Replica {
        let file = tempfile::tempdir().expect("a folder");
        let text = format!("[[endpoint]]\nhost = \"127.0.0.1\"\nuser_agent = \"{name}\"\n");
        std::fs::write(file.path().join("e.toml"), text).expect("to write");
        Replica { file, name }
    }

    fn serve(&self, address: &str, args: &[&str]) -> Service {
        let file = self.file.path().join("e.toml");
        let own = ["serve", "--redis-address", address];
        let file = ["--endpoints", file.to_str().expect("a plain path")];
        let service = Outhook::new(&[&own[..], &file, &LEASE, args].concat()).spawn();
        service.log.wait("ready: subscribed");
        service
    }

    fn requests(&self, receiver: &Receiver) -> Vec<String> {
        let requests = receiver.requests().into_iter();
        let own = requests.filter(|r| r.header("user-agent") == Some(self.name));
        own.map(|r| r.id().to_owned()).collect()
    }
}

/// Entry, consumer, idle time and count of all that is pending.
fn pending(redis: &Redis) -> Vec<(String, String, u64, u64)> {
    redis.command(&["XPENDING", MESSAGES, "outhook", "-", "+", "10000"])
}

fn entries(redis: &Redis) -> usize {
    redis.command(&["XLEN", MESSAGES])
}

fn wait_until_idle(service: &mut Service) {
    until("nothing to be in flight or queued", || {
        let busy = ["in_flight", "queued", "scheduled"].map(|name| service.snapshot(name));
        (busy == [0; 3]).then_some(())
    });
}

fn arrivals(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for request in receiver.requests() {
        *times.entry(request.id().to_owned()).or_default() += 1;
    }
    times
}

#[test]
fn who_was_stopped_for_longer_than_its_lease_sends_nothing_that_others_took_over() {
    const ALL: usize = 400;
    const WORKERS: usize = 4;
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(20 * MS));
    let (a, b) = (Replica::new("a"), Replica::new("b"));
    let address = redis.address();
    let mut first = a.serve(&address, &["--workers", &WORKERS.to_string()]);
    // It answers, so what comes for it is held.
    redis.add(message(&receiver.url("/"), "first", "1"));
    redis.wait_settled();
    for n in 1..ALL {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    until("all to be in hand", || {
        let in_hand = pending(&redis).len();
        (in_hand > 50 && in_hand == entries(&redis)).then_some(())
    });
    first.signal(Signal::STOP);
    let mut second = b.serve(&address, &[]);
    until("the second to deliver all", || {
        (entries(&redis) == 0).then_some(())
    });
    let before = a.requests(&receiver).len();
    first.signal(Signal::CONT);
    first.log.wait("outhook was not running for");
    wait_until_idle(&mut first);
    let after = a.requests(&receiver).len() - before;
    assert!(after <= WORKERS, "{after} were sent again");
    let arrived = arrivals(&receiver);
    assert_eq!(arrived.len(), ALL);
    let twice = arrived.values().filter(|n| **n > 1).count();
    // In flight, or answered and not settled.
    assert!(twice <= 2 * WORKERS, "{twice} came twice");
    assert!(first.snapshot("lapsed") > 0);
    first.end_well();
    second.end_well();
    assert_eq!(redis.command::<usize>(&["ZCARD", PARKED]), 0);
}

#[test]
fn who_was_cut_off_for_longer_than_its_lease_begins_no_retry_of_what_others_delivered() {
    const ALL: usize = 100;
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| match r.header("user-agent") {
        Some("a") => status(500),
        _ => status(200),
    });
    let (a, b) = (Replica::new("a"), Replica::new("b"));
    let proxy = Proxy::before(&redis.socket());
    let mut first = a.serve(
        &proxy.addr.to_string(),
        &["--backoff-base", "1200ms", "--jitter", "0"],
    );
    for n in 0..ALL {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    receiver.wait_for(ALL);
    proxy.black_hole();
    // Its second attempt may have been noted before.
    let begun = pending(&redis).iter().filter(|row| row.3 > 2).count();
    let mut second = b.serve(&redis.address(), &[]);
    until("the second to deliver all", || {
        (entries(&redis) == 0).then_some(())
    });
    proxy.pass();
    first.log.wait("redis: back");
    wait_until_idle(&mut first);
    assert_eq!(b.requests(&receiver).len(), ALL);
    let again = a.requests(&receiver).len() - ALL;
    assert!(again <= begun, "{again} begun though another had them");
    assert!(first.snapshot("lapsed") > 0);
    first.end_well();
    second.end_well();
    assert_eq!(redis.command::<usize>(&["ZCARD", PARKED]), 0);
}

/// One message whose attempt is answered when another replica has taken its entry over.
fn taken_over_meanwhile(reply: fn() -> Reply, more: &str) -> (Redis, Service, Receiver) {
    let redis = Redis::start();
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |_, n| {
        if n == 0 {
            held.pass();
        }
        reply()
    });
    let service = serve(&redis, &["--status-ttl", "1h", "--timeout", "20s"]);
    let raw = format!(
        r#"{{"url":"{}","webhookId":"m","data":1{more}}}"#,
        receiver.url("/")
    );
    let entry = redis.add(raw);
    receiver.wait_for(1);
    let claim = [
        "XCLAIM", MESSAGES, "outhook", "another", "0", &entry, "JUSTID",
    ];
    redis.command::<Vec<String>>(&claim);
    gate.open();
    (redis, service, receiver)
}

#[test]
fn what_another_has_is_neither_parked_nor_buried_nor_noted_nor_told_of() {
    type Case = (fn() -> Reply, &'static str);
    let cases: [Case; 4] = [
        // Parked; a dead letter; a dead letter; noted, to be tried again here.
        (|| status(503).header("retry-after", "3600").into(), ""),
        (|| status(500).into(), r#","maxAttempts":1"#),
        (|| status(410).into(), ""),
        (|| status(500).into(), ""),
    ];
    for (n, (reply, more)) in cases.into_iter().enumerate() {
        let (redis, mut service, receiver) = taken_over_meanwhile(reply, more);
        until("it to be dropped", || {
            (service.snapshot("lapsed") == 1).then_some(())
        });
        let rows = pending(&redis);
        assert_eq!((rows.len(), &*rows[0].1), (1, "another"), "case {n}");
        assert_eq!(rows[0].3, 1, "case {n}: its count is another's to change");
        assert_eq!(entries(&redis), 1);
        for key in [PARKED, DEAD, "{outhook}:status:m"] {
            assert!(!redis.command::<bool>(&["EXISTS", key]), "case {n}: {key}");
        }
        for (name, value) in [
            ("accepted", 1),
            ("dead", 0),
            ("parked", 0),
            ("scheduled", 0),
        ] {
            assert_eq!(service.snapshot(name), value, "case {n}: {name}");
        }
        service.end_well();
        assert_eq!(receiver.count(), 1);
        assert_eq!(entries(&redis), 1);
    }
}

#[test]
fn what_was_delivered_is_settled_whoever_has_it() {
    let (redis, mut service, _receiver) = taken_over_meanwhile(|| status(200).into(), "");
    until("it to be settled", || (entries(&redis) == 0).then_some(()));
    assert!(pending(&redis).is_empty());
    service.end_well();
}

#[test]
fn a_pause_that_is_renewed_again_and_again_loses_no_entry_to_another_replica() {
    const ALL: usize = 40;
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let args = ["--lease", "6s", "--timeout", "2s"];
    let mut replicas = [serve(&redis, &args), serve(&redis, &args)];
    let address = redis.address();
    let pause = || {
        let origin = format!("http://{}", receiver.addr);
        let pause = ["endpoints", "pause", &origin, "--for", "2500ms"];
        let run = Outhook::new(&[&pause[..], &["--redis-address", &address]].concat()).run("");
        assert_eq!(run.code, 0, "{run:?}");
    };
    pause();
    let begun = std::time::Instant::now();
    for n in 0..ALL {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    // It is time itself that is on trial here: two leases of it.
    while begun.elapsed() < Duration::from_secs(12) {
        pause();
        assert_eq!(receiver.count(), 0, "it is paused");
    }
    receiver.wait_for(ALL);
    redis.wait_settled();
    for replica in &mut replicas {
        replica.end_well();
        assert_eq!(replica.log.count("took over"), 0);
    }
    assert!(arrivals(&receiver).values().all(|n| *n == 1));
    assert_eq!(arrivals(&receiver).len(), ALL);
}
