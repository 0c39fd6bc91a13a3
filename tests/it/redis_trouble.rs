//! Redis away, back, stopped, cut off, closed to us: the service says so once, stays, does
//! not burn the processor, delivers on as soon as it can, and still ends in time.

use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::{DRAIN_MARGIN, MS, message, sys, until};

fn serve_at(address: &str, args: &[&str]) -> Service {
    Outhook::new(
        &[
            &["serve", "--redis-address", address, "--drain-timeout", "1s"],
            args,
        ]
        .concat(),
    )
    .spawn()
}

/// Delivers one more message, once somebody is subscribed again.
fn delivers_again(redis: &Redis, receiver: &Receiver, id: &str) {
    redis.send_when_heard(message(&receiver.url("/"), id, "1"));
    until(&format!("the delivery of {id}"), || {
        receiver
            .requests()
            .iter()
            .any(|r| r.id() == id)
            .then_some(())
    });
}

/// SIGTERM must end it within the drain timeout (1 s here), whatever Redis does.
fn ends_in_time(service: &mut Service) {
    ends_in_time_with(service, 0);
}

/// The same where Redis was there and we were not: what was published meanwhile is lost.
fn ends_in_time_after_a_gap(service: &mut Service) {
    ends_in_time_with(service, 1);
    service.log.wait("not subscribed to payments for");
}

fn ends_in_time_with(service: &mut Service, expected: i32) {
    let (code, took) = service.terminate();
    assert_eq!(code, expected, "whether something was lost");
    assert!(took < Duration::from_secs(1) + DRAIN_MARGIN, "{took:?}");
}

fn says_once(service: &Service, trouble: usize) {
    assert_eq!(
        service.log.count("redis: trouble"),
        trouble,
        "lines of trouble"
    );
    assert_eq!(
        service.log.count("redis: back after"),
        trouble,
        "lines of its end"
    );
}

#[test]
fn redis_may_come_after_the_service() {
    let (mut redis, receiver) = (Redis::absent(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("redis: trouble");
    redis.up();
    delivers_again(&redis, &receiver, "a");
    service.log.wait("redis: back after");
    says_once(&service, 1);
    ends_in_time(&mut service);
}

#[test]
fn redis_may_be_killed_and_started_again_and_again() {
    let (mut redis, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    let mut service = serve_at(&redis.tcp(), &[]);
    for round in 1..=3 {
        delivers_again(&redis, &receiver, &format!("before-{round}"));
        redis.kill();
        service.log.wait_times("redis: trouble", round);
        redis.up();
        service.log.wait_times("redis: back after", round);
    }
    delivers_again(&redis, &receiver, "after");
    assert_eq!(receiver.count(), 4, "each once");
    says_once(&service, 3);
    ends_in_time(&mut service);
}

#[test]
fn a_killed_subscription_is_made_again() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("ready: subscribed");
    for round in 0..10 {
        let killed: usize = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed, 1, "one subscription");
        delivers_again(&redis, &receiver, &format!("m{round}"));
    }
    service.log.wait_times("ready: subscribed", 11);
    assert!(
        service.log.all().len() < 150,
        "{} lines of log",
        service.log.all().len()
    );
    ends_in_time_after_a_gap(&mut service);
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
    delivers_again(&redis, &receiver, "after");
    receiver.wait_for(51);
    ends_in_time(&mut service);
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
    ends_in_time(&mut service);
    redis.cont();
}

#[test]
fn a_pause_of_all_clients_is_waited_out() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("ready: subscribed");
    redis.command::<()>(&["CLIENT", "PAUSE", "1500", "ALL"]);
    delivers_again(&redis, &receiver, "a");
    redis.send("junk");
    redis.wait_dead(1);
    ends_in_time(&mut service);
}

#[test]
fn a_black_hole_on_the_way_is_noticed_and_left_by_a_new_connection() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let proxy = Proxy::before(&redis.socket());
    let mut service = serve_at(&proxy.addr.to_string(), &[]);
    service.log.wait("ready: subscribed");
    delivers_again(&redis, &receiver, "before");
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
    ends_in_time_after_a_gap(&mut service);
}

#[test]
fn a_black_hole_does_not_keep_the_service_from_ending() {
    let redis = Redis::start();
    let proxy = Proxy::before(&redis.socket());
    let mut service = serve_at(&proxy.addr.to_string(), &[]);
    service.log.wait("ready: subscribed");
    proxy.black_hole();
    ends_in_time(&mut service);
}

#[test]
fn a_redis_that_accepts_and_never_answers_does_not_keep_the_service_from_ending() {
    let silent = Receiver::connections(|mut stream, _| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut service = serve_at(&silent.addr.to_string(), &[]);
    silent.wait_connected(1);
    ends_in_time(&mut service);
}

#[test]
fn resets_on_the_way_are_survived() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let proxy = Proxy::before(&redis.socket());
    let mut service = serve_at(&proxy.addr.to_string(), &[]);
    for round in 0..5 {
        service.log.wait_times("ready: subscribed", round + 1);
        delivers_again(&redis, &receiver, &format!("m{round}"));
        proxy.cut();
    }
    service.log.wait_times("ready: subscribed", 6);
    ends_in_time_after_a_gap(&mut service);
    assert_eq!(receiver.count(), 5, "each once");
}

#[test]
fn what_is_no_redis_is_trouble_and_no_hot_loop() {
    let web = Receiver::connections(|mut stream, _| {
        use std::io::{Read, Write};
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    let mut service = serve_at(&web.addr.to_string(), &[]);
    service.log.wait("redis: trouble");
    stays_calm(&mut service);
    assert!(web.connected() < 40, "{} connections", web.connected());
    ends_in_time(&mut service);
}

#[test]
fn tls_to_a_plain_redis_is_trouble_and_no_hot_loop() {
    let redis = Redis::on_tcp(&[]);
    let mut service = serve_at(&format!("rediss://{}", redis.tcp()), &[]);
    service.log.wait("redis: trouble");
    stays_calm(&mut service);
    ends_in_time(&mut service);
}

/// For some seconds, it hardly uses the processor and hardly logs.
fn stays_calm(service: &mut Service) {
    let (lines, cpu) = (service.log.all().len(), sys::cpu_time(service.pid()));
    std::thread::sleep(Duration::from_secs(3));
    assert!(service.is_running());
    let used = sys::cpu_time(service.pid()) - cpu;
    assert!(used < 300 * MS, "{used:?} of CPU in 3 s");
    let more = service.log.all().len() - lines;
    assert!(more < 20, "{more} lines of log in 3 s");
}

#[test]
fn a_wrong_password_is_said_once_and_works_as_soon_as_it_is_right() {
    let (redis, receiver) = (Redis::with(&["--requirepass", "right"]), Receiver::ok());
    let mut service = serve_at(&redis.address(), &["--redis-password", "wr0ng-s3cret"]);
    let line = service.log.wait("redis: trouble");
    let lower = line.to_lowercase();
    assert!(
        lower.contains("password") || lower.contains("auth"),
        "{line}"
    );
    stays_calm(&mut service);
    redis.command::<()>(&["CONFIG", "SET", "requirepass", "wr0ng-s3cret"]);
    delivers_again(&redis, &receiver, "a");
    service.log.wait("redis: back after");
    says_once(&service, 1);
    assert_eq!(service.log.count("s3cret"), 0, "the password was logged");
    ends_in_time(&mut service);
}

#[test]
fn no_password_where_one_is_needed_is_said_once_and_ends_in_time() {
    let redis = Redis::with(&["--requirepass", "right"]);
    let mut service = serve_at(&redis.address(), &[]);
    let line = service.log.wait("redis: trouble").to_lowercase();
    assert!(line.contains("password") || line.contains("auth"), "{line}");
    stays_calm(&mut service);
    assert_eq!(service.log.count("redis: trouble"), 1);
    ends_in_time(&mut service);
}

#[test]
fn an_address_that_nobody_has_is_no_hot_loop() {
    let mut service = serve_at(&Redis::absent().address(), &[]);
    service.log.wait("redis: trouble");
    stays_calm(&mut service);
    assert_eq!(service.log.count("redis: trouble"), 1);
    ends_in_time(&mut service);
}

#[test]
fn an_idle_service_uses_no_cpu() {
    let redis = Redis::start();
    let mut service = serve(&redis, &["--drain-timeout", "1s"]);
    let before = sys::cpu_time(service.pid());
    std::thread::sleep(Duration::from_secs(3));
    let used = sys::cpu_time(service.pid()) - before;
    // The target is below 0.1 %; the clock of /proc ticks in 10 ms.
    assert!(used <= 20 * MS, "{used:?} of CPU in 3 s");
    ends_in_time(&mut service);
}
