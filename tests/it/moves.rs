//! A message that moves between the stream, the parked set and the dead letters is in one of
//! them, whatever the other refuses.

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{DEAD, MESSAGES, PARKED, Redis};
use crate::support::service::{Finished, Outhook, Service, serve};
use crate::support::{message, unix_ms, until};

const FAR: &str = "2100-01-01T00:00:00Z";

/// A lease so short that what is refused is looked for every second or two.
const SHORT: [&str; 4] = ["--lease", "6s", "--timeout", "2s"];

/// One that is refused, one that fails, one that is to be parked.
fn add_three(redis: &Redis, receiver: &Receiver) {
    redis.add("junk");
    let url = receiver.url("/404");
    let with =
        |id: &str, more: &str| format!(r#"{{"url":"{url}","webhookId":"{id}","data":1,{more}}}"#);
    redis.add(with("fails", r#""maxAttempts":1"#));
    redis.add(with("later", &format!(r#""deliverAt":"{FAR}""#)));
}

fn count(redis: &Redis, command: &str, key: &str) -> usize {
    redis.command(&[command, key])
}

fn all_kept(redis: &Redis) {
    redis.wait_dead(2);
    until("the third to be parked", || {
        (count(redis, "ZCARD", PARKED) == 1).then_some(())
    });
    until("the stream to be empty", || {
        (count(redis, "XLEN", MESSAGES) == 0).then_some(())
    });
}

fn receiver() -> Receiver {
    Receiver::answering(|r, _| status(if r.path == "/404" { 404 } else { 200 }))
}

/// What the service cannot move stays on the stream until it can.
fn stays_until(service: &Service, redis: &Redis, trouble: &str, relent: impl FnOnce(&Redis)) {
    service.log.wait(trouble);
    // More than one try.
    until("tries", || {
        let tries: usize = redis
            .command::<String>(&["INFO", "commandstats"])
            .lines()
            .filter(|l| l.starts_with("cmdstat_evalsha"))
            .map(|l| {
                l.split(['=', ','])
                    .nth(1)
                    .unwrap()
                    .parse::<usize>()
                    .unwrap()
            })
            .sum();
        (tries > 4).then_some(())
    });
    relent(redis);
}

#[test]
fn what_the_dead_letters_key_does_not_take_stays_on_the_stream() {
    let (redis, receiver) = (Redis::start(), receiver());
    redis.command::<()>(&["SET", DEAD, "x"]);
    let mut service = serve(&redis, &[]);
    add_three(&redis, &receiver);
    stays_until(&service, &redis, "WRONGTYPE", |redis| {
        assert!(count(redis, "XLEN", MESSAGES) >= 2);
        redis.command::<()>(&["DEL", DEAD]);
    });
    all_kept(&redis);
    service.end_well();
}

#[test]
fn what_the_parked_key_does_not_take_stays_on_the_stream() {
    let (redis, receiver) = (Redis::start(), receiver());
    redis.command::<()>(&["SET", PARKED, "x"]);
    let mut service = serve(&redis, &[]);
    add_three(&redis, &receiver);
    stays_until(&service, &redis, "WRONGTYPE", |redis| {
        assert!(count(redis, "XLEN", MESSAGES) >= 1);
        redis.command::<()>(&["DEL", PARKED]);
    });
    all_kept(&redis);
    service.end_well();
}

#[test]
fn a_permission_that_is_missing_moves_nothing() {
    for (denied, kept) in [("-xadd", 2), ("-zadd", 1), ("-xdel", 3), ("-xack", 3)] {
        let (redis, receiver) = (Redis::start(), receiver());
        add_three(&redis, &receiver);
        redis.command::<()>(&["ACL", "SETUSER", "default", denied]);
        let mut service = serve(&redis, &SHORT);
        let rule = format!("ACL SETUSER default {}", denied.replace('-', "+"));
        stays_until(&service, &redis, &rule, |redis| {
            assert!(count(redis, "XLEN", MESSAGES) >= kept, "{denied}");
            assert!(count(redis, "XLEN", DEAD) <= 2, "{denied}: not doubled");
            redis.command::<()>(&["ACL", "SETUSER", "default", "+@all"]);
        });
        all_kept(&redis);
        service.end_well();
    }
}

#[test]
fn a_bridge_forgets_the_id_of_what_it_could_not_append() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[&["--bridge"], &SHORT[..]].concat());
    redis.command::<()>(&["ACL", "SETUSER", "default", "-xadd"]);
    redis.send(message(&receiver.url("/"), "m", "1"));
    // Servers word it differently, and some not as a lack of permission, where a script is refused.
    stays_until(&service, &redis, "ACL SETUSER default +xadd", |redis| {
        redis.command::<()>(&["ACL", "SETUSER", "default", "+@all"]);
    });
    receiver.wait_for(1);
    service.end_well();
}

fn tool(redis: &Redis, args: &[&str]) -> Finished {
    Outhook::new(&[args, &["--redis-address", &redis.address()]].concat()).run("")
}

#[test]
fn what_cannot_be_parked_stays_a_dead_letter_and_is_due_when_it_is() {
    let (redis, receiver) = (Redis::start(), receiver());
    let mut service = serve(&redis, &[]);
    add_three(&redis, &receiver);
    all_kept(&redis);
    service.end_well();
    // One that may go at any time.
    let member = format!(
        "1 5 retry stream\n{}",
        message(&receiver.url("/"), "retry", "1")
    );
    redis.command::<()>(&["RENAME", PARKED, "elsewhere"]);
    redis.command::<()>(&["SET", PARKED, "x"]);
    for act in [["parked", "flush", "--all"], ["dead", "replay", "--all"]] {
        let run = tool(&redis, &act);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.join(" ").contains("WRONGTYPE"), "{run:?}");
    }
    assert_eq!(count(&redis, "XLEN", DEAD), 2);
    redis.command::<()>(&["RENAME", "elsewhere", PARKED]);
    redis.command::<()>(&["ZADD", PARKED, "4e12", &member]);
    assert_eq!(tool(&redis, &["dead", "replay", "--all"]).code, 0);
    assert_eq!(tool(&redis, &["parked", "flush", "--all"]).code, 0);
    assert_eq!(count(&redis, "XLEN", DEAD), 0);
    let due: usize = redis.command(&["ZCOUNT", PARKED, "-inf", &unix_ms().to_string()]);
    assert_eq!(
        (due, count(&redis, "ZCARD", PARKED)),
        (3, 4),
        "one has its time to come"
    );
}
