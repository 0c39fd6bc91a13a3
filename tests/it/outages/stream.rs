//! Outages while messages come from the stream, where Redis keeps them: none is lost, and none is sent
//! twice but what was in flight.

use std::time::Duration;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{MESSAGES, Redis, is_7};
use crate::support::service::{Service, serve};
use crate::support::{MS, message, until};

/// A hundred more, once outhook listens to the stream again.
fn assert_delivers_a_hundred_more(redis: &Redis, receiver: &Receiver, name: &str) {
    let before = receiver.distinct().len();
    for n in 0..100 {
        redis.add(message(&receiver.url("/"), &format!("{name}-{n}"), "1"));
    }
    until("the hundred", || {
        (receiver.distinct().len() == before + 100).then_some(())
    });
    redis.wait_settled();
}

fn assert_told_once(service: &Service, line: &str) {
    assert_eq!(
        service.log.count(line),
        1,
        "{line}: {:#?}",
        service.log.all()
    );
}

#[test]
fn a_deleted_group_or_stream_is_made_anew_and_told_once() {
    for act in [
        &["DEL", MESSAGES][..],
        &["XGROUP", "DESTROY", MESSAGES, "outhook"],
        &["FLUSHALL"],
    ] {
        let (redis, receiver) = (Redis::start(), Receiver::ok());
        let mut service = serve(&redis, &[]);
        assert_delivers_a_hundred_more(&redis, &receiver, "before");
        redis.command::<redis::Value>(act);
        assert_delivers_a_hundred_more(&redis, &receiver, "after");
        assert_told_once(&service, "made anew");
        assert_eq!(receiver.count(), 200, "none twice");
        service.end_well();
    }
}

#[test]
fn a_redis_that_is_killed_again_and_again_loses_nothing() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let receiver = Receiver::answering(|_, _| status(200).after(2 * MS));
    let mut service = serve(&redis, &["--workers", "8"]);
    for round in 0..5 {
        for n in 0..200 {
            redis.add(message(&receiver.url("/"), &format!("m{round}-{n}"), "1"));
        }
        until("some of them", || {
            (receiver.distinct().len() > round * 200 + 20).then_some(())
        });
        redis.kill();
        service.log.wait_times("redis: trouble", round + 1);
        redis.up();
        service.log.wait_times("redis: back after", round + 1);
    }
    until("all of them", || {
        (receiver.distinct().len() == 1000).then_some(())
    });
    redis.wait_settled();
    service.end_well();
    assert!(redis.dead().is_empty());
    // What was in flight when Redis went is settled when it is back, not repeated.
    let repeated = receiver.count() - 1000;
    assert!(repeated <= 5 * 8, "{repeated} were sent twice");
}

#[test]
fn cut_connections_lose_nothing_and_leave_nothing_pending() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    for round in 0..20 {
        for n in 0..20 {
            redis.add(message(&receiver.url("/"), &format!("m{round}-{n}"), "1"));
        }
        redis.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    until("all of them", || {
        (receiver.distinct().len() == 400).then_some(())
    });
    redis.wait_settled();
    service.end_well();
    assert!(receiver.count() <= 400 + 20, "{}", receiver.count());
}

#[test]
fn a_redis_that_stands_still_is_waited_for() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    assert_delivers_a_hundred_more(&redis, &receiver, "before");
    redis.stop();
    std::thread::sleep(Duration::from_secs(3));
    redis.cont();
    assert_delivers_a_hundred_more(&redis, &receiver, "after");
    redis.command::<()>(&["CLIENT", "PAUSE", "2000", "ALL"]);
    assert_delivers_a_hundred_more(&redis, &receiver, "paused");
    redis.command::<()>(&["SCRIPT", "FLUSH"]);
    redis.add("junk");
    redis.wait_dead(1);
    assert_eq!(receiver.count(), 300, "none twice");
    service.end_well();
}

#[test]
fn a_master_that_becomes_a_replica_is_left_as_soon_as_it_is_one_no_longer() {
    let (redis, other, receiver) = (Redis::start(), Redis::on_tcp(&[]), Receiver::ok());
    let mut service = serve(&redis, &[]);
    assert_delivers_a_hundred_more(&redis, &receiver, "before");
    let port = other.tcp().split_once(':').unwrap().1.to_owned();
    redis.command::<()>(&["REPLICAOF", "127.0.0.1", &port]);
    service.log.wait("outhook needs the master");
    redis.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    service.log.wait("redis: back after");
    assert_delivers_a_hundred_more(&redis, &receiver, "after");
    assert_told_once(&service, "outhook needs the master");
    assert_eq!(receiver.count(), 200, "none twice");
    service.end_well();
}

#[test]
fn a_redis_that_is_loading_is_waited_for() {
    if !is_7("cannot be made to load slowly") {
        return;
    }
    let mut redis = Redis::with(&[
        "--appendonly",
        "yes",
        "--rdbcompression",
        "no",
        "--key-load-delay",
        "20000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    let receiver = Receiver::ok();
    redis.add(message(&receiver.url("/"), "kept", "1"));
    // 100 keys of 20 ms each, in a snapshot: it answers while it reads that.
    let filler = "x".repeat(2000);
    for n in 0..100 {
        redis.command::<()>(&["SET", &format!("filler:{n}"), &filler]);
    }
    redis.command::<redis::Value>(&["BGREWRITEAOF"]);
    until("the log to be rewritten", || {
        let info: String = redis.command(&["INFO", "persistence"]);
        let done = info.contains("aof_rewrite_in_progress:0") && !info.contains("aof_base_size:0");
        done.then_some(())
    });
    redis.kill();
    redis.spawn();
    let mut service = serve(&redis, &[]);
    service.log.wait("redis: back after");
    redis.reconnect().expect("it has loaded");
    assert_eq!(receiver.wait_for(1)[0].id(), "kept");
    assert_told_once(&service, "redis: trouble");
    service.end_well();
}
