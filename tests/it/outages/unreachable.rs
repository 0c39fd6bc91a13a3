//! A Redis that is not there yet, does not let us in, or is none: no hot loop, and delivery as soon as it
//! can be.

use std::time::Duration;

use super::{assert_delivers_again, assert_ends_in_time, assert_said_once, serve_at};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Service, serve};
use crate::support::{MS, sys};

/// For some seconds, it hardly uses the processor and hardly logs.
fn assert_stays_calm(service: &mut Service) {
    let (lines, cpu) = (service.log.all().len(), sys::cpu_time(service.pid()));
    std::thread::sleep(Duration::from_secs(3));
    assert!(service.is_running());
    let used = sys::cpu_time(service.pid()) - cpu;
    assert!(used < 300 * MS, "{used:?} of CPU in 3 s");
    let more = service.log.all().len() - lines;
    assert!(more < 20, "{more} lines of log in 3 s");
}

#[test]
fn a_redis_that_accepts_and_never_answers_does_not_keep_the_service_from_ending() {
    let silent = Receiver::connections(|mut stream, _| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut service = serve_at(&silent.addr.to_string(), &[]);
    silent.wait_connected(1);
    assert_ends_in_time(&mut service);
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
    assert_stays_calm(&mut service);
    assert!(web.connected() < 40, "{} connections", web.connected());
    assert_ends_in_time(&mut service);
}

#[test]
fn tls_to_a_plain_redis_is_trouble_and_no_hot_loop() {
    let redis = Redis::on_tcp(&[]);
    let mut service = serve_at(&format!("rediss://{}", redis.tcp()), &[]);
    service.log.wait("redis: trouble");
    assert_stays_calm(&mut service);
    assert_ends_in_time(&mut service);
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
    assert_stays_calm(&mut service);
    redis.command::<()>(&["CONFIG", "SET", "requirepass", "wr0ng-s3cret"]);
    assert_delivers_again(&redis, &receiver, "a");
    service.log.wait("redis: back after");
    assert_said_once(&service, 1);
    assert_eq!(service.log.count("s3cret"), 0, "the password was logged");
    assert_ends_in_time(&mut service);
}

#[test]
fn no_password_where_one_is_needed_is_said_once_and_ends_in_time() {
    let redis = Redis::with(&["--requirepass", "right"]);
    let mut service = serve_at(&redis.address(), &[]);
    let line = service.log.wait("redis: trouble").to_lowercase();
    assert!(line.contains("password") || line.contains("auth"), "{line}");
    assert_stays_calm(&mut service);
    assert_eq!(service.log.count("redis: trouble"), 1);
    assert_ends_in_time(&mut service);
}

#[test]
fn an_address_that_nobody_has_is_no_hot_loop() {
    let mut service = serve_at(&Redis::absent().address(), &[]);
    service.log.wait("redis: trouble");
    assert_stays_calm(&mut service);
    assert_eq!(service.log.count("redis: trouble"), 1);
    assert_ends_in_time(&mut service);
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
    assert_ends_in_time(&mut service);
}

#[test]
fn redis_may_come_after_the_service() {
    let (mut redis, receiver) = (Redis::absent(), Receiver::ok());
    let mut service = serve_at(&redis.address(), &[]);
    service.log.wait("redis: trouble");
    redis.up();
    assert_delivers_again(&redis, &receiver, "a");
    service.log.wait("redis: back after");
    assert_said_once(&service, 1);
    assert_ends_in_time(&mut service);
}
