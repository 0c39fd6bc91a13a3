//! Redis away, stopped, cut off, or none: each is said once when it begins and once when it ends, nothing
//! that can be kept is lost, and the service still ends in time. What Redis refuses is in `refusals`.

mod pubsub;
mod stream;
mod unreachable;

use std::time::Duration;

use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service};
use crate::support::{DRAIN_MARGIN, message, until};

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
fn assert_delivers_again(redis: &Redis, receiver: &Receiver, id: &str) {
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
fn assert_ends_in_time(service: &mut Service) {
    assert_ends_in_time_with(service, 0);
}

/// The same where Redis was there and we were not: what was published meanwhile is lost.
fn assert_ends_in_time_after_a_gap(service: &mut Service) {
    assert_ends_in_time_with(service, 1);
    service.log.wait("not subscribed to payments for");
}

fn assert_ends_in_time_with(service: &mut Service, expected: i32) {
    let (code, took) = service.terminate();
    assert_eq!(code, expected, "whether something was lost");
    assert!(took < Duration::from_secs(1) + DRAIN_MARGIN, "{took:?}");
}

fn assert_said_once(service: &Service, trouble: usize) {
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
