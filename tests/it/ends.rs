//! What waits for an endpoint that does not come back has an end.

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{DEAD, PARKED, Redis};
use crate::support::service::{Outhook, serve};
use crate::support::{free_port, message, until};

#[test]
fn what_waits_behind_a_dead_endpoint_is_a_dead_letter_in_the_end_wherever_it_waits() {
    const ALL: usize = 60;
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let retries = [
        "--max-attempts",
        "2",
        "--backoff-base",
        "100ms",
        "--timeout",
        "500ms",
    ];
    // Some wait in memory, some in Redis.
    let args = [
        "--max-age",
        "4s",
        "--max-active",
        "64",
        "--endpoint-backoff-base",
        "2s",
    ];
    let mut service = serve(&redis, &[&retries[..], &args].concat());
    for n in 0..ALL {
        redis.add(message(&nobody, &format!("m{n}"), "1"));
    }
    redis.send(message(&nobody, "published", "1"));
    redis.add(message(&receiver.url("/"), "good", "1"));
    receiver.wait_for(1);
    let dead = redis.wait_dead(ALL + 1);
    let old: Vec<_> = dead
        .iter()
        .filter(|d| d.text("reason") == "too_old")
        .collect();
    assert!(old.len() > ALL / 2, "{}", old.len());
    for letter in old {
        let detail = letter.text("detail");
        assert!(
            detail.contains("4s (--max-age): attempts made: "),
            "{detail}"
        );
        assert!(detail.contains("error=connect"), "{detail}");
        let waited = letter.number("dead_ms") - letter.number("received_ms");
        assert!(waited >= 4000, "{waited}");
    }
    service.end_well();
    assert_eq!(redis.command::<usize>(&["ZCARD", PARKED]), 0);
}

#[test]
fn a_max_age_that_all_attempts_would_not_fit_into_is_raised_and_that_is_said() {
    let run = Outhook::new(&[
        "deliver",
        "--max-age",
        "1h",
        "--retry-schedule",
        "2h",
        "--jitter",
        "0",
    ]);
    let line = run.run("").err.join(" ");
    assert!(line.contains("--max-age is raised to 2h 30s"), "{line}");
    let file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .expect("a file");
    let rule = "[[endpoint]]\nhost = \"h\"\nmax_age = \"10s\"\nmax_attempts = 2\n";
    std::fs::write(file.path(), rule).expect("to write");
    let path = file.path().to_str().expect("a plain path");
    let run = Outhook::new(&["deliver", "--endpoints", path, "--jitter", "0"]).run("");
    assert!(
        run.err.join(" ").contains("h: max_age is raised to 31s"),
        "{run:?}"
    );
    let run = Outhook::new(&["deliver"]).run("");
    assert!(!run.err.join(" ").contains("raised"), "{run:?}");
}

#[test]
fn dead_letters_are_trimmed_by_age_and_number_where_that_is_wanted() {
    let redis = Redis::start();
    for n in 1..=2500 {
        redis.command::<String>(&["XADD", DEAD, &format!("{n}-0"), "reason", "gone"]);
    }
    for _ in 0..12 {
        redis.command::<String>(&["XADD", DEAD, "*", "reason", "gone"]);
    }
    let mut service = serve(&redis, &["--dead-max-age", "1h"]);
    let length = |n: usize| {
        until("dead letters to be trimmed", || {
            (redis.command::<usize>(&["XLEN", DEAD]) == n).then_some(())
        });
    };
    length(12);
    service
        .log
        .wait("2500 dead letters that were older than --dead-max-age were deleted");
    service.end_well();
    let mut service = serve(&redis, &["--dead-max", "5"]);
    length(5);
    service
        .log
        .wait("7 dead letters that were the oldest beyond --dead-max were deleted");
    service.end_well();
}

#[test]
fn over_the_budget_a_dead_endpoint_costs_nobody_else_anything() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| status(if r.path == "/later" { 500 } else { 200 }));
    // So much that what is added here makes no difference.
    redis.command::<usize>(&["SETRANGE", "filler", "40000000", "x"]);
    let info: String = redis.command(&["INFO", "memory"]);
    let used = info.lines().find_map(|l| l.strip_prefix("used_memory:"));
    let used: u64 = used.and_then(|n| n.trim().parse().ok()).expect("a number");
    let budget = (used / 100 * 97).to_string();
    let args = [
        "--redis-budget",
        &*budget,
        "--max-active",
        "16",
        "--backoff-base",
        "2m",
    ];
    let mut service = serve(&redis, &args);
    service.log.wait("--redis-budget is");
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    for n in 0..60 {
        redis.add(message(&nobody, &format!("dead{n}"), "1"));
        redis.add(message(&receiver.url("/"), &format!("good{n}"), "1"));
    }
    redis.add(message(&receiver.url("/later"), "later", "1"));
    receiver.wait_for(61);
    until("dead letters of the dead one", || {
        let dead = redis.dead();
        let over = dead.iter().filter(|d| d.text("reason") == "over_budget");
        (over.count() > 20).then_some(())
    });
    for letter in redis.dead() {
        assert!(letter.text("id").starts_with("dead"), "{letter:?}");
        let detail = letter.text("detail");
        assert!(
            detail.contains("--redis-budget") && detail.contains("error=connect"),
            "{detail}"
        );
    }
    // It answered, so it is parked for its retry.
    until("the other to be parked", || {
        let parked: Vec<String> = redis.command(&["ZRANGE", PARKED, "0", "-1"]);
        parked.iter().any(|m| m.contains("later")).then_some(())
    });
    redis.command::<usize>(&["DEL", "filler"]);
    service.log.wait("below --redis-budget");
    service.end_well();
}
