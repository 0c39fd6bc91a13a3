//! One bad receiver does not hold up the others.

use std::time::Duration;

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{PARKED, Redis};
use crate::support::service::serve;
use crate::support::{MS, free_port, message, until};

#[test]
fn a_good_receiver_is_served_while_another_hangs() {
    let (redis, good) = (Redis::start(), Receiver::ok());
    let hangs = Receiver::script([Reply::Hang]);
    let _service = serve(&redis, &["--workers", "8", "--timeout", "60s"]);
    for n in 0..50 {
        redis.send(message(&hangs.url("/"), &format!("bad-{n}"), "1"));
    }
    hangs.wait_connected(1);
    for n in 0..50 {
        redis.send(message(&good.url("/"), &format!("good-{n}"), "1"));
    }
    good.wait_for(50);
}

#[test]
fn a_slow_receiver_with_a_backlog_does_not_slow_a_quick_one() {
    let (redis, quick) = (Redis::start(), Receiver::ok());
    let slow = Receiver::answering(|_, _| status(200).after(Duration::from_millis(100)));
    let mut service = serve(&redis, &["--workers", "8", "--drain-timeout", "20s"]);
    let backlog: Vec<String> = (0..100)
        .map(|n| message(&slow.url("/"), &format!("s{n}"), "1"))
        .collect();
    assert_eq!(redis.send_all(&backlog), 100);
    slow.wait_for(1);
    for n in 0..50 {
        redis.send(message(&quick.url("/"), &format!("q{n}"), "1"));
    }
    quick.wait_for(50);
    assert!(slow.count() < 100, "the backlog was not there any more");
    service.end_well();
    // What waited for it in Redis is for the next start.
    assert_eq!(slow.count() + redis.kept().len(), 100);
    assert_eq!(quick.count(), 50);
}

/// `count` messages for an endpoint that nobody listens at.
fn pile(redis: &Redis, count: usize, more: &str) {
    let url = format!("http://127.0.0.1:{}/", free_port());
    for n in 0..count {
        redis.add(format!(
            r#"{{"url":"{url}","webhookId":"dead-{n}","data":1{more}}}"#
        ));
    }
}

fn put_away_at_least(redis: &Redis, n: usize) {
    until("the pile to be put away", || {
        let parked: usize = redis.command(&["ZCARD", PARKED]);
        (parked + redis.deferred() >= n).then_some(())
    });
}

#[test]
fn a_dead_endpoint_s_pile_of_large_messages_does_not_fill_the_memory_for_others() {
    let (redis, good) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--endpoint-backoff-base", "30s"]);
    pile(&redis, 60, &format!(r#","pad":"{}""#, "x".repeat(900_000)));
    redis.add(message(&good.url("/"), "good", "1"));
    good.wait_for(1);
    put_away_at_least(&redis, 40);
    service.end_well();
}

#[test]
fn a_dead_endpoint_s_pile_of_one_order_key_does_not_either() {
    let (redis, good) = (Redis::start(), Receiver::ok());
    let mut service = serve(
        &redis,
        &["--endpoint-backoff-base", "30s", "--max-active", "400"],
    );
    pile(&redis, 1000, r#","orderKey":"k""#);
    redis.add(message(&good.url("/"), "good", "1"));
    good.wait_for(1);
    until("the others of the key to follow", || {
        let keys: Vec<String> = redis.command(&["KEYS", "{outhook}:key:*"]);
        let list = keys.first()?;
        (redis.command::<usize>(&["LLEN", list]) == 999).then_some(())
    });
    service.end_well();
}

#[test]
fn a_host_that_comes_back_to_a_pile_is_never_sent_more_than_its_window() {
    let (redis, port) = (Redis::start(), free_port());
    let args = [
        "--endpoint-backoff-base",
        "200ms",
        "--endpoint-backoff-max",
        "300ms",
        "--max-active",
        "800",
    ];
    let mut service = serve(&redis, &args);
    let url = format!("http://127.0.0.1:{port}/");
    for n in 0..2000 {
        redis.add(message(&url, &format!("m{n}"), "1"));
    }
    put_away_at_least(&redis, 1500);
    let back = Receiver::slow_at(&format!("127.0.0.1:{port}"), 5 * MS);
    until("all to be caught up", || {
        (back.count() == 2000).then_some(())
    });
    // What --max-in-flight allows, each on a connection of its own.
    assert!(back.connected() <= 32, "{} connections", back.connected());
    service.end_well();
    assert_eq!((back.count(), redis.dead().len()), (2000, 0), "none twice");
}

#[test]
fn an_endpoint_with_a_low_rate_does_not_keep_others_from_being_taken_in() {
    let (redis, slow, quick) = (Redis::start(), Receiver::ok(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("endpoints.toml");
    let rule = format!(
        "[[endpoint]]\nurl = \"{}\"\nrate = \"1/m\"\n",
        slow.url("/")
    );
    std::fs::write(&file, rule).unwrap();
    let file = ["--endpoints", file.to_str().unwrap()];
    let limits = ["--max-active", "10", "--lease", "6s", "--timeout", "1s"];
    let mut service = serve(&redis, &[&file[..], &limits].concat());
    for n in 0..11 {
        redis.add(message(&slow.url("/"), &format!("slow{n}"), "1"));
    }
    for n in 0..20 {
        redis.add(message(&quick.url("/"), &format!("quick{n}"), "1"));
    }
    quick.wait_for(20);
    service.end_well();
}

#[test]
fn a_pile_of_one_key_is_delivered_in_order_and_without_rest() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--max-active", "400"]);
    let id = |n: usize| format!("k{n:04}");
    for n in 0..1000 {
        let (url, id) = (receiver.url("/"), id(n));
        redis.add(format!(
            r#"{{"url":"{url}","webhookId":"{id}","orderKey":"k","data":1}}"#
        ));
    }
    receiver.wait_for(1000);
    service.end_well();
    let came = receiver.requests();
    let in_order = came.iter().enumerate().all(|(n, r)| r.id() == id(n));
    assert!(in_order, "each once, in order");
}

/// Sends those that cannot be signed, and one that can for the same origin.
fn assert_not_stopped_by(names: impl Fn(usize) -> String, count: usize, is_proven: bool) {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let service = serve(&redis, &["--secrets-dir", dir.path().to_str().unwrap()]);
    let url = receiver.url("/");
    if is_proven {
        redis.add(message(&url, "first", "1"));
        receiver.wait_for(1);
    }
    let all: Vec<String> = (0..count)
        .map(|n| {
            let name = names(n);
            format!(r#"{{"url":"{url}","webhookId":"s-{n}","data":1,"secret":"{name}"}}"#)
        })
        .collect();
    redis.add_all(&all);
    service.log.wait("there is no such file");
    redis.add(message(&url, "good", "1"));
    receiver.wait_for(1 + usize::from(is_proven));
    put_away_at_least(&redis, count);
}

#[test]
fn messages_whose_secret_is_missing_do_not_stop_others_of_their_origin() {
    assert_not_stopped_by(|_| "none".into(), 100, false);
    assert_not_stopped_by(|_| "none".into(), 8000, true);
    assert_not_stopped_by(|_| "none".into(), 8000, false);
    assert_not_stopped_by(|n| format!("n{n}"), 8000, true);
    assert_not_stopped_by(|n| format!("n{n}"), 8000, false);
}
