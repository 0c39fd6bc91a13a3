//! Dead letters when Redis does not take them: they are held, and written when it does; at
//! the end, what it never took is named in the log.

use std::time::Duration;

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{DEAD, Redis};
use crate::support::service::{Service, serve};
use crate::support::{DRAIN_MARGIN, Gate, message};

/// A message that is dead after its first attempt.
fn dies(redis: &Redis, receiver: &Receiver, id: &str) {
    // A URL of its own, as one that answers 410 gets nothing more.
    redis.send(message(&receiver.url(&format!("/{id}")), id, "1"));
    // Redis may answer before it has passed it on; by the next answer it has.
    redis.command::<String>(&["PING"]);
}

fn gone() -> Receiver {
    Receiver::answering(|r, _| status(if r.id().starts_with("dead") { 410 } else { 200 }))
}

/// While Redis refuses writes, bad messages must hold up nothing; then all are written.
fn held_until(redis: &Redis, refuse: impl FnOnce(&Redis), relent: impl FnOnce(&Redis)) {
    let receiver = gone();
    let mut service = serve(redis, &["--drain-timeout", "1s"]);
    refuse(redis);
    for n in 0..20 {
        dies(redis, &receiver, &format!("dead-{n:02}"));
        redis.send(format!("junk {n:02}"));
        redis.send(message(&receiver.url("/"), &format!("good-{n}"), "1"));
    }
    receiver.wait_for(40);
    assert!(service.is_running());
    let lines = service.log.all();
    let complaints = lines
        .iter()
        .filter(|l| l.contains("WARN") || l.contains("ERROR"))
        .count();
    assert!(
        complaints < 60,
        "{complaints} complaints about 40 dead letters"
    );
    relent(redis);
    let dead = redis.wait_dead(40);
    for n in 0..20 {
        let count = |name: &str, value: String| {
            dead.iter()
                .filter(|d| d.get(name) == Some(value.as_bytes()))
                .count()
        };
        assert_eq!(count("id", format!("dead-{n:02}")), 1);
        assert_eq!(count("message", format!("junk {n:02}")), 1);
    }
    service.end_well();
}

#[test]
fn a_dead_stream_of_the_wrong_type_is_waited_out() {
    let redis = Redis::start();
    held_until(
        &redis,
        |r| r.command::<()>(&["SET", DEAD, "not a stream"]),
        |r| r.command::<()>(&["DEL", DEAD]),
    );
}

#[test]
fn a_redis_out_of_memory_is_waited_out() {
    let redis = Redis::start();
    held_until(
        &redis,
        |r| r.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]),
        |r| r.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]),
    );
}

#[test]
fn a_missing_permission_is_waited_out() {
    let redis = Redis::start();
    held_until(
        &redis,
        |r| r.command::<()>(&["ACL", "SETUSER", "default", "-xadd"]),
        |r| r.command::<()>(&["ACL", "SETUSER", "default", "+xadd"]),
    );
}

#[test]
fn a_read_only_redis_is_waited_out() {
    let redis = Redis::start();
    held_until(
        &redis,
        |r| r.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
        |r| r.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
    );
}

#[test]
fn what_died_while_redis_was_away_is_written_when_it_is_back() {
    let (mut redis, gate) = (Redis::start(), Gate::default());
    let held = gate.clone();
    let receiver = Receiver::answering(move |_, _| {
        held.pass();
        status(410)
    });
    let mut service = serve(&redis, &["--drain-timeout", "1s"]);
    for n in 0..5 {
        dies(&redis, &receiver, &format!("dead-{n}"));
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

/// SIGTERM with dead letters that Redis does not take: exit 1, in time, the ids in the log.
fn lost_at_the_end(service: &mut Service, ids: &[&str]) {
    let (code, took) = service.terminate();
    assert_eq!(code, 1);
    assert!(took < Duration::from_secs(1) + DRAIN_MARGIN, "{took:?}");
    let lines = service.log.all();
    let drain = lines
        .iter()
        .position(|l| l.contains("drain: begins"))
        .expect("a drain");
    for id in ids {
        assert!(
            lines[drain..].iter().any(|l| l.contains(id)),
            "{id} is not named at the end"
        );
    }
}

#[test]
fn what_redis_never_took_is_named_at_the_end() {
    let redis = Redis::start();
    let receiver = gone();
    let mut service = serve(&redis, &["--drain-timeout", "1s"]);
    redis.command::<()>(&["SET", DEAD, "not a stream"]);
    dies(&redis, &receiver, "dead-1");
    dies(&redis, &receiver, "dead-2");
    receiver.wait_for(2);
    lost_at_the_end(&mut service, &["dead-1", "dead-2"]);
}

#[test]
fn a_stopped_redis_at_the_end_does_not_hold_up_and_what_is_left_is_named() {
    let redis = Redis::start();
    let receiver = Receiver::script([Reply::Hang]);
    let mut service = serve(&redis, &["--drain-timeout", "1s", "--timeout", "60s"]);
    dies(&redis, &receiver, "left-1");
    dies(&redis, &receiver, "left-2");
    receiver.wait_for(1);
    redis.stop();
    lost_at_the_end(&mut service, &["left-1", "left-2"]);
    redis.cont();
}

#[test]
fn what_cannot_be_told_holds_up_no_delivery() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let args = ["--status-ttl", "1h", "--attempt-log", "1000"];
    let mut service = serve(&redis, &args);
    redis.command::<()>(&["SET", "{outhook}:status:m7", "x"]);
    redis.command::<()>(&["SET", "{outhook}:attempt-log", "x"]);
    for n in 0..1000 {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    receiver.wait_for(1000);
    let line = service.log.wait("refuses to keep what became of messages");
    assert!(line.contains("WRONGTYPE"), "{line}");
    service.end_well();
    assert_eq!(service.log.count("refuses to keep"), 1);
    assert!(redis.command::<bool>(&["EXISTS", "{outhook}:status:m8"]));
}
