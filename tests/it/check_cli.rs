//! `outhook check`: is the configuration good, and does Redis answer?

use std::time::{Duration, Instant};

use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook};

fn check(args: &[&str]) -> Finished {
    Outhook::new(&[&["check"], args].concat()).run("")
}

#[test]
fn a_redis_that_answers_is_0() {
    let redis = Redis::on_tcp(&["--requirepass", "pw"]);
    for address in [
        redis.tcp(),
        redis.address(),
        format!("redis://{}", redis.tcp()),
    ] {
        let run = check(&["--redis-address", &address, "--redis-password", "pw"]);
        assert_eq!(run.code, 0, "{run:?}");
    }
    let run = Outhook::new(&["check"])
        .env("REDIS_ADDRESS", format!("redis://:pw@{}", redis.tcp()))
        .run("");
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn a_redis_that_is_away_or_refuses_us_is_1_and_says_why() {
    let redis = Redis::with(&["--requirepass", "pw"]);
    for args in [
        &["--redis-address", &Redis::absent().address()][..],
        &["--redis-address", "127.0.0.1:1"],
        &["--redis-address", &redis.address()],
        &[
            "--redis-address",
            &redis.address(),
            "--redis-password",
            "wrong",
        ],
    ] {
        let run = check(args);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(!run.err.is_empty(), "{run:?}");
    }
}

#[test]
fn a_redis_that_is_stopped_or_silent_is_1_after_some_seconds() {
    let redis = Redis::start();
    redis.stop();
    let silent = Receiver::connections(|mut stream, _| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    for address in [redis.address(), silent.addr.to_string()] {
        let begun = Instant::now();
        assert_eq!(check(&["--redis-address", &address]).code, 1);
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
    }
    redis.cont();
}

#[test]
fn bad_configuration_is_2() {
    assert_eq!(check(&["--redis-address", "http://h/"]).code, 2);
    assert_eq!(check(&["--nope"]).code, 2);
}
