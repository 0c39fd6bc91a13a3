//! One bad receiver does not hold up the others.

use std::time::Duration;

use crate::support::message;
use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::Redis;
use crate::support::service::serve;

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
    assert_eq!((slow.count(), quick.count()), (100, 50));
}
