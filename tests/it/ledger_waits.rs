//! A ledger that waits for Redis: for how long at the end, and what an answer that comes late is
//! still good for.

use std::time::Duration;

use crate::chaos::path::{Path, Weather};
use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{MESSAGES, Redis};
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{DEADLINE, DRAIN_MARGIN, Gate, MS, message, until};

fn entries(redis: &Redis) -> usize {
    redis.command(&["XLEN", MESSAGES])
}

#[test]
fn at_the_end_redis_gets_all_of_the_time_to_come_back() {
    let redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let mut service = serve(&redis, &["--drain-timeout", "4s"]);
    redis.add(message(&receiver.url("/"), "m", "1"));
    receiver.wait_for(1);
    redis.stop();
    gate.open();
    // The next try begins now, and waits for three seconds.
    service.log.wait("redis: trouble (ledger)");
    // It is time itself that is on trial here: the drain begins late in that try.
    std::thread::sleep(2500 * MS);
    service.signal(Signal::TERM);
    std::thread::sleep(2000 * MS);
    redis.cont();
    assert_eq!(service.wait_exit(DEADLINE), 0);
    assert_eq!(entries(&redis), 0, "it was delivered, and must be settled");
}

/// Four messages of which each leaves something else to write, with Redis stopped before any of
/// it is written.
fn with_all_kinds_unwritten(redis: &Redis, args: &[&str]) -> (Service, Receiver) {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |request, _| {
        held.pass();
        match request.id() {
            "settled" => status(200).into(),
            "noted" => status(500).into(),
            "parked" => status(503).header("retry-after", "3600").into(),
            _ => Reply::from(status(410)),
        }
    });
    let service = serve(redis, args);
    for id in ["settled", "noted", "parked", "buried"] {
        redis.add(message(&receiver.url(&format!("/{id}")), id, "1"));
    }
    receiver.wait_for(4);
    redis.stop();
    gate.open();
    service.log.wait("redis: trouble (ledger)");
    (service, receiver)
}

#[test]
fn a_redis_that_hangs_is_waited_for_once_and_not_for_each_kind_of_write() {
    let redis = Redis::start();
    let (mut service, _receiver) = with_all_kinds_unwritten(&redis, &["--drain-timeout", "2s"]);
    let (code, took) = service.terminate();
    redis.cont();
    assert_eq!(code, 0, "all are entries of the stream");
    assert!(took < Duration::from_secs(2) + DRAIN_MARGIN, "{took:?}");
    assert_eq!(entries(&redis), 4);
}

#[test]
fn leave_to_begin_that_comes_when_the_lease_is_over_begins_nothing() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, n| status(if n == 0 { 500 } else { 200 }));
    let path = Path::new(false);
    let socket = redis.socket();
    let connect = move || Ok((std::os::unix::net::UnixStream::connect(&socket)?, ()));
    let address = path.listen(connect, |_, ()| ()).to_string();
    let lease = ["--lease", "3s", "--timeout", "1s"];
    let start = |address: &str, more: &[&str]| {
        let own = ["serve", "--redis-address", address];
        Outhook::new(&[&own[..], &lease, more].concat()).spawn()
    };
    let mut first = start(&address, &["--backoff-base", "1200ms", "--jitter", "0"]);
    first.log.wait("ready: subscribed");
    redis.add(message(&receiver.url("/"), "m", "1"));
    first.log.wait("failed id=m");
    // The failure is noted; the next note is the leave to begin, of which the answer waits.
    until("the failure to be noted", || {
        (attempts(&redis) == 2).then_some(())
    });
    path.set(Weather {
        holds_down: true,
        ..Weather::default()
    });
    let mut second = start(&redis.address(), &[]);
    until("the other to deliver it", || {
        (entries(&redis) == 0).then_some(())
    });
    path.set(Weather::default());
    // It writes what comes next when it is through with that.
    redis.add(message(&receiver.url("/"), "after", "1"));
    until("all to be settled", || (entries(&redis) == 0).then_some(()));
    first.end_well();
    second.end_well();
    let requests = receiver.requests();
    let again = requests.iter().filter(|r| r.id() == "m").count();
    assert_eq!(again, 2, "one that failed, and that of the other");
}

/// How often the one entry was given out and tried, as its group counts.
fn attempts(redis: &Redis) -> u64 {
    let rows: Vec<(String, String, u64, u64)> =
        redis.command(&["XPENDING", MESSAGES, "outhook", "-", "+", "1"]);
    rows.first().map_or(0, |row| row.3)
}
