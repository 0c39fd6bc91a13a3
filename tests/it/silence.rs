//! A replica that dies is noticed by its silence, long before its leases are over; one that is
//! only busy, full or draining is not taken for dead.

use std::time::{Duration, Instant};

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{MESSAGES, Redis};
use crate::support::service::serve;
use crate::support::sys::Signal;
use crate::support::{message, until};

/// Longer than it takes to be taken for dead.
const LONG: Duration = Duration::from_secs(12);

fn add_all(redis: &Redis, receiver: &Receiver, count: usize) {
    for n in 0..count {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
}

#[test]
fn what_a_killed_replica_held_is_taken_over_within_seconds() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, n| match n {
        0..3 => Reply::Hang,
        _ => status(200).into(),
    });
    let mut first = serve(&redis, &[]);
    add_all(&redis, &receiver, 3);
    receiver.wait_for(3);
    first.signal(Signal::KILL);
    let killed = Instant::now();
    drop(first);
    let mut second = serve(&redis, &[]);
    let said = second.log.wait("if it stays so");
    assert!(
        said.contains("3 entries of {outhook}:messages are in the hands of"),
        "{said}"
    );
    second.log.wait("took over 3 entries of");
    redis.wait_settled();
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(40), "{took:?}: by their leases");
    assert_eq!((receiver.distinct().len(), receiver.count()), (3, 6));
    second.end_well();
}

fn wait_pending(redis: &Redis, count: usize) {
    until("all to be in somebody's hands", || {
        let pending: Vec<redis::Value> =
            redis.command(&["XPENDING", MESSAGES, "outhook", "-", "+", "99"]);
        (pending.len() == count).then_some(())
    });
}

#[test]
fn a_replica_without_room_is_not_taken_for_dead() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|request, _| match request.id() {
        "short" => status(200),
        _ => status(200).after(LONG),
    });
    let one = ["--max-active", "1", "--workers", "1", "--timeout", "20s"];
    let mut full = serve(&redis, &one);
    // One is in flight, and the other is read and finds no room.
    redis.add(message(&receiver.url("/"), "long", "1"));
    receiver.wait_for(1);
    redis.add(message(&receiver.url("/"), "short", "1"));
    wait_pending(&redis, 2);
    let mut other = serve(&redis, &[]);
    redis.wait_settled();
    assert_eq!((receiver.distinct().len(), receiver.count()), (2, 2));
    assert_eq!(other.log.count("took over"), 0);
    other.end_well();
    full.end_well();
}

#[test]
fn a_replica_that_drains_is_not_taken_for_dead() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(LONG));
    let mut draining = serve(&redis, &["--timeout", "20s", "--drain-timeout", "30s"]);
    redis.add(message(&receiver.url("/"), "long", "1"));
    receiver.wait_for(1);
    draining.signal(Signal::TERM);
    draining.log.wait("drain: begins");
    let mut other = serve(&redis, &[]);
    redis.wait_settled();
    assert_eq!(receiver.count(), 1);
    assert_eq!(other.log.count("took over"), 0);
    assert_eq!(draining.wait_exit(LONG), 0);
    other.end_well();
}

#[test]
fn a_suspended_replica_leaves_alone_what_it_has_lost() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, n| match n {
        1 => Reply::Hang,
        _ => status(200).into(),
    });
    let mut first = serve(&redis, &["--workers", "2", "--timeout", "5s"]);
    // It answers, so what comes for it is held.
    redis.add(message(&receiver.url("/"), "first", "1"));
    redis.wait_settled();
    add_all(&redis, &receiver, 20);
    receiver.wait_for(2);
    wait_pending(&redis, 20);
    first.signal(Signal::STOP);
    let mut second = serve(&redis, &[]);
    second.log.wait("took over 20 entries of");
    redis.wait_settled();
    first.signal(Signal::CONT);
    // One was in flight. Of the others it asks, and hears that they are gone.
    first.log.wait("taken over by others");
    first.end_well();
    second.end_well();
    assert_eq!((receiver.distinct().len(), receiver.count()), (21, 22));
}
