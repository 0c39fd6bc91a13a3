//! Outages while messages come by Pub/Sub, of which Redis keeps nothing.

use std::time::{Duration, Instant};

use super::{
    assert_delivers_again, assert_ends_in_time, assert_ends_in_time_after_a_gap, assert_said_once,
    serve_at,
};
use crate::support::proxy::Proxy;
use crate::support::receiver::{Receiver, Reply};
use crate::support::redis::Redis;
use crate::support::service::serve;
use crate::support::{message, until};

#[test]
fn redis_may_be_killed_and_started_again_and_again() {
    let (mut redis, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    let mut service = serve_at(&redis.tcp(), &[]);
    for round in 1..=3 {
        assert_delivers_again(&redis, &receiver, &format!("before-{round}"));
        redis.kill();
        service.log.wait_times("redis: trouble", round);
        redis.up();
        service.log.wait_times("redis: back after", round);
    }
    assert_delivers_again(&redis, &receiver, "after");
    assert_eq!(receiver.count(), 4, "each once");
    assert_said_once(&service, 3);
    assert_ends_in_time(&mut service);
}

#[test]
fn a_killed_subscription_is_made_again() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("ready: subscribed");
    for round in 0..10 {
        let killed: usize = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed, 1, "one subscription");
        assert_delivers_again(&redis, &receiver, &format!("m{round}"));
    }
    service.log.wait_times("ready: subscribed", 11);
    assert!(
        service.log.all().len() < 150,
        "{} lines of log",
        service.log.all().len()
    );
    assert_ends_in_time_after_a_gap(&mut service);
}

#[test]
fn a_redis_that_is_stopped_for_three_seconds_loses_nothing_that_was_heard() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("ready: subscribed");
    let all: Vec<String> = (0..50)
        .map(|n| message(&receiver.url("/"), &format!("m{n}"), "1"))
        .collect();
    assert_eq!(redis.send_all(&all), 50);
    redis.stop();
    std::thread::sleep(Duration::from_secs(3));
    redis.cont();
    assert_delivers_again(&redis, &receiver, "after");
    receiver.wait_for(51);
    assert_ends_in_time(&mut service);
    assert_eq!(receiver.count(), 51, "each once");
}

#[test]
fn a_redis_that_is_stopped_does_not_keep_the_service_from_ending() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("ready: subscribed");
    redis.send(message(&receiver.url("/"), "a", "1"));
    service.log.wait("delivered id=a");
    redis.stop();
    assert_ends_in_time(&mut service);
    redis.cont();
}

#[test]
fn a_pause_of_all_clients_is_waited_out() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("ready: subscribed");
    redis.command::<()>(&["CLIENT", "PAUSE", "1500", "ALL"]);
    assert_delivers_again(&redis, &receiver, "a");
    redis.send("junk");
    redis.wait_dead(1);
    assert_ends_in_time(&mut service);
}

#[test]
fn a_black_hole_on_the_way_is_noticed_and_left_by_a_new_connection() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let proxy = Proxy::before(&redis.socket());
    let mut service = serve_at(&proxy.addr.to_string(), &[]);
    service.log.wait("ready: subscribed");
    assert_delivers_again(&redis, &receiver, "before");
    proxy.black_hole();
    let begun = Instant::now();
    service.log.wait("redis: trouble");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    proxy.pass();
    service.log.wait("redis: back after");
    // Redis still counts the connection in the hole as a subscriber, so wait for the arrival.
    until("a delivery over the new path", || {
        redis.publish("payments", message(&receiver.url("/"), "after", "1"));
        (receiver.count() > 1).then_some(())
    });
    assert_ends_in_time_after_a_gap(&mut service);
}

#[test]
fn a_black_hole_does_not_keep_the_service_from_ending() {
    let redis = Redis::start();
    let proxy = Proxy::before(&redis.socket());
    let mut service = serve_at(&proxy.addr.to_string(), &[]);
    service.log.wait("ready: subscribed");
    proxy.black_hole();
    assert_ends_in_time(&mut service);
}

#[test]
fn resets_on_the_way_are_survived() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let proxy = Proxy::before(&redis.socket());
    let mut service = serve_at(&proxy.addr.to_string(), &[]);
    for round in 0..5 {
        service.log.wait_times("ready: subscribed", round + 1);
        assert_delivers_again(&redis, &receiver, &format!("m{round}"));
        proxy.cut();
    }
    service.log.wait_times("ready: subscribed", 6);
    assert_ends_in_time_after_a_gap(&mut service);
    assert_eq!(receiver.count(), 5, "each once");
}

/// A message to a URL of its own, which Redis has passed on.
fn send_one(redis: &Redis, receiver: &Receiver, id: &str) {
    redis.send(message(&receiver.url(&format!("/{id}")), id, "1"));
    // Redis may answer before it has passed it on; by the next answer it has.
    redis.command::<String>(&["PING"]);
}

#[test]
fn what_died_while_redis_was_away_is_written_when_it_is_back() {
    let mut redis = Redis::start();
    let (receiver, gate) = Receiver::gated(410);
    let mut service = serve(&redis, &["--drain-timeout", "1s"]);
    for n in 0..5 {
        send_one(&redis, &receiver, &format!("dead-{n}"));
    }
    receiver.wait_for(1);
    redis.kill();
    service.log.wait("redis: trouble");
    gate.open();
    receiver.wait_for(5);
    redis.up();
    let mut ids: Vec<String> = redis.wait_dead(5).iter().map(|d| d.text("id")).collect();
    ids.sort();
    assert_eq!(ids, ["dead-0", "dead-1", "dead-2", "dead-3", "dead-4"]);
    service.end_well();
}

#[test]
fn a_stopped_redis_at_the_end_does_not_hold_up_and_what_is_left_is_named() {
    let redis = Redis::start();
    let receiver = Receiver::script([Reply::Hang]);
    let mut service = serve(&redis, &["--drain-timeout", "1s", "--timeout", "60s"]);
    send_one(&redis, &receiver, "left-1");
    send_one(&redis, &receiver, "left-2");
    receiver.wait_for(1);
    redis.stop();
    service.assert_ends_and_names(Duration::from_secs(1), &["left-1", "left-2"]);
    redis.cont();
}
