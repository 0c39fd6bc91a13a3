//! The stream: what is added is delivered, or parked, or a dead letter, and then gone; whoever
//! dies in between, another goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{MESSAGES, Redis};
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{DRAIN_MARGIN, MS, message, unix_ms, until};

/// With the log of a durable server.
fn appending() -> Redis {
    Redis::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

fn add_all(redis: &Redis, receiver: &Receiver, ids: std::ops::Range<usize>) {
    for n in ids {
        redis.add(message(&receiver.url("/"), &format!("m{n:04}"), "1"));
    }
}

#[test]
fn what_was_added_before_anyone_listened_is_delivered_and_settled() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    add_all(&redis, &receiver, 0..200);
    let mut service = serve(&redis, &[]);
    receiver.wait_for(200);
    redis.wait_settled();
    assert_eq!((receiver.distinct().len(), receiver.count()), (200, 200));
    service.end_well();
    // A clean end leaves no consumer behind.
    let consumers: Vec<redis::Value> = redis.command(&["XINFO", "CONSUMERS", MESSAGES, "outhook"]);
    assert!(consumers.is_empty(), "{consumers:?}");
}

#[test]
fn an_entry_without_an_id_gets_one_that_stays_over_retries_and_restarts() {
    let (redis, receiver) = (
        Redis::start(),
        Receiver::script([status(500), status(500), status(200)]),
    );
    let args = ["--backoff-base", "300ms", "--jitter", "0"];
    let mut service = serve(&redis, &args);
    let entry = redis.add(format!(r#"{{"url":"{}","data":1}}"#, receiver.url("/")));
    receiver.wait_for(1);
    service.end_well();
    let mut service = serve(&redis, &args);
    receiver.wait_for(3);
    service.end_well();
    let expected = format!("msg_{entry}");
    assert_eq!(receiver.distinct(), BTreeSet::from([expected]));
}

#[test]
fn odd_entries_are_dead_letters_and_their_neighbours_arrive() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    add_all(&redis, &receiver, 0..1);
    redis.command::<String>(&["XADD", MESSAGES, "*", "payload", "x"]);
    redis.command::<String>(&["XADD", MESSAGES, "*", "message", "a", "message", "b"]);
    redis.command::<String>(&["XADD", MESSAGES, "*", "message", "no JSON", "attempts", "x"]);
    redis.command::<String>(&["XADD", MESSAGES, "*", "message", "[1]"]);
    add_all(&redis, &receiver, 1..2);
    receiver.wait_for(2);
    let reasons: Vec<String> = redis
        .wait_dead(4)
        .iter()
        .map(|d| d.text("reason"))
        .collect();
    assert_eq!(reasons, ["bad_entry", "bad_entry", "bad_json", "bad_json"]);
    redis.wait_settled();
    service.end_well();
}

#[test]
fn deliver_at_is_kept_near_and_far_and_wrong_ones_are_refused() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--lease", "3s", "--timeout", "1s"]);
    let begun = unix_ms();
    let at = |id: &str, at: String| {
        let url = receiver.url("/");
        redis.add(format!(
            r#"{{"url":"{url}","webhookId":"{id}","deliverAt":{at},"data":1}}"#
        ));
    };
    at("past", "1600000000000".into());
    at("near", (begun + 700).to_string());
    at("far", (begun + 3000).to_string());
    at("text", "\"2020-01-01T00:00:00+02:00\"".into());
    at("wrong", "\"soon\"".into());
    at("wrong2", "-5".into());
    receiver.wait_for(4);
    let took = unix_ms() - begun;
    assert!((2990..4500).contains(&took), "{took}");
    let ids = receiver.ids();
    assert_eq!(ids[2..], ["near", "far"], "{ids:?}");
    let reasons: Vec<String> = redis
        .wait_dead(2)
        .iter()
        .map(|d| d.text("reason"))
        .collect();
    assert_eq!(reasons, ["bad_deliver_at", "bad_deliver_at"]);
    redis.wait_settled();
    service.end_well();
}

#[test]
fn a_killed_replica_s_entries_are_taken_over_with_their_attempts() {
    let redis = appending();
    let receiver = Receiver::script([status(500).into(), status(500).into(), Reply::Hang]);
    let args = [
        "--lease",
        "3s",
        "--timeout",
        "1s",
        "--backoff-base",
        "200ms",
        "--jitter",
        "0",
        "--max-attempts",
        "4",
    ];
    let mut first = serve(&redis, &args);
    redis.add(message(&receiver.url("/"), "a", "1"));
    // In its third attempt, which counts as begun.
    receiver.wait_for(3);
    first.signal(Signal::KILL);
    drop(first);
    let mut second = serve(&redis, &args);
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(
        (dead.text("reason"), dead.number("attempts")),
        ("exhausted".into(), 4)
    );
    assert_eq!(receiver.count(), 4);
    second.log.wait("took over 1 entries");
    redis.wait_settled();
    second.end_well();
}

#[test]
fn a_stable_name_takes_back_its_own_at_once() {
    let redis = appending();
    let receiver = Receiver::answering(|_, n| {
        if n < 5 {
            Reply::Hang
        } else {
            status(200).into()
        }
    });
    let mut first = serve(&redis, &["--consumer", "pod-0"]);
    add_all(&redis, &receiver, 0..5);
    // The lane of an endpoint that has not answered yet has a window of four.
    receiver.wait_for(4);
    first.signal(Signal::KILL);
    drop(first);
    let begun = Instant::now();
    let mut second = serve(&redis, &["--consumer", "pod-0"]);
    until("all five", || {
        (receiver.distinct().len() == 5).then_some(())
    });
    redis.wait_settled();
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "long before the lease of a minute"
    );
    second.end_well();
}

#[test]
fn twenty_kills_lose_nothing_and_repeat_no_more_than_was_in_flight() {
    let redis = appending();
    let receiver = Receiver::answering(|_, _| status(200).after(5 * MS));
    add_all(&redis, &receiver, 0..2000);
    let args = [
        "--workers",
        "8",
        "--consumer",
        "a",
        "--lease",
        "3s",
        "--timeout",
        "1s",
    ];
    for round in 1..=20 {
        let mut service = serve(&redis, &args);
        let wanted = receiver.distinct().len().max(round * 60).min(1900);
        until("some deliveries", || {
            (receiver.distinct().len() >= wanted).then_some(())
        });
        service.signal(Signal::KILL);
    }
    let mut service = serve(&redis, &args);
    redis.wait_settled();
    service.end_well();
    assert_eq!(receiver.distinct().len(), 2000, "lost none");
    let repeated = receiver.count() - 2000;
    // In flight, or answered and not settled yet: the last batch of the ledger.
    assert!(repeated <= 20 * (8 + 8), "{repeated} were sent twice");
    assert!(
        redis.dead().is_empty(),
        "none ran out of attempts by being killed"
    );
}

#[test]
fn sigterm_hands_over_and_nothing_that_was_answered_is_repeated() {
    let redis = appending();
    let receiver = Receiver::answering(|_, _| status(200).after(20 * MS));
    add_all(&redis, &receiver, 0..600);
    let mut other = serve(&redis, &["--workers", "8"]);
    for _ in 0..3 {
        let mut service = serve(&redis, &["--workers", "8", "--drain-timeout", "500ms"]);
        let seen = receiver.count();
        receiver.wait_for(seen + 30);
        let (code, took) = service.terminate();
        assert_eq!(code, 0);
        assert!(took < Duration::from_secs(2) + DRAIN_MARGIN, "{took:?}");
    }
    redis.wait_settled();
    other.end_well();
    assert_eq!(receiver.distinct().len(), 600);
    // A cut attempt may have been answered all the same.
    assert!(receiver.count() <= 600 + 3 * 8, "{}", receiver.count());
}

#[test]
fn a_bridge_makes_of_many_listeners_one_delivery() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut replicas: Vec<Service> = (0..3).map(|_| serve(&redis, &["--bridge"])).collect();
    for n in 0..100 {
        let heard = redis.publish(
            "payments",
            message(&receiver.url("/"), &format!("b{n}"), "1"),
        );
        assert_eq!(heard, 3);
    }
    receiver.wait_for(100);
    redis.wait_settled();
    for replica in &mut replicas {
        replica.end_well();
    }
    assert_eq!((receiver.distinct().len(), receiver.count()), (100, 100));
}

#[test]
fn an_idle_service_leaves_redis_alone() {
    let redis = Redis::start();
    let mut service = serve(&redis, &[]);
    let commands = || -> u64 {
        let info: String = redis.command(&["INFO", "stats"]);
        let line = info
            .lines()
            .find_map(|l| l.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse().unwrap()
    };
    std::thread::sleep(Duration::from_secs(1));
    let before = commands();
    std::thread::sleep(Duration::from_secs(10));
    let rate = (commands() - before) as f64 / 10.0;
    // A read a second, a sign of life, a look at the others and at what is to be dealt, and what keeps
    // subscriptions alive.
    assert!(rate < 3.3, "{rate} commands a second");
    service.end_well();
}

#[test]
fn a_timeout_longer_than_the_lease_allows_is_refused() {
    let run = Outhook::new(&["serve", "--timeout", "30s", "--lease", "60s"]).run("");
    assert_eq!((run.code, run.err.len()), (2, 1), "{run:?}");
    assert!(
        run.err[0].contains("--timeout") && run.err[0].contains("--lease"),
        "{run:?}"
    );
}

#[test]
fn a_crowd_that_waits_to_be_taken_in_is_not_taken_for_a_dead_consumer_s() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(600 * MS));
    let limits = ["--max-active", "16", "--workers", "8"];
    let lease = ["--lease", "3s", "--timeout", "900ms"];
    let mut service = serve(&redis, &[limits, lease].concat());
    add_all(&redis, &receiver, 0..60);
    receiver.wait_for(60);
    redis.wait_settled();
    assert_eq!((receiver.count(), receiver.distinct().len()), (60, 60));
    assert_eq!(service.log.count("took over"), 0);
    service.end_well();
}
