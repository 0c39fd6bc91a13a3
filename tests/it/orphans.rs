//! Entries that are in the stream and nowhere else, and what else befalls a stream: nothing of it
//! stays unsaid, and what can be mended is.

use crate::support::receiver::Receiver;
use crate::support::redis::{DEAD, MESSAGES, PARKED, Redis, is_7};
use crate::support::service::{Finished, Outhook, Service, serve};
use crate::support::{Gate, message, unix_ms, until};

const GROUP: &str = "outhook";

fn add(redis: &Redis, receiver: &Receiver, ids: std::ops::Range<usize>) {
    for n in ids {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
}

fn check(redis: &Redis) -> Finished {
    Outhook::new(&["check", "--redis-address", &redis.address()]).run("")
}

fn wait_empty(redis: &Redis) {
    until("the stream to be empty", || {
        (redis.command::<usize>(&["XLEN", MESSAGES]) == 0).then_some(())
    });
}

/// With a lease of three seconds.
fn start(redis: &Redis, args: &[&str]) -> Service {
    serve(
        redis,
        &[&["--lease", "3s", "--timeout", "1s"], args].concat(),
    )
}

#[test]
fn entries_of_a_deleted_consumer_are_taken_back_once_by_several_replicas() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    // Some that a consumer held, some that no one has read, some pending for another.
    redis.command::<()>(&["XGROUP", "CREATE", MESSAGES, GROUP, "0", "MKSTREAM"]);
    add(&redis, &receiver, 0..250);
    let read = |consumer: &str, count: &str| {
        let words = ["XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count];
        redis.command::<redis::Value>(&[&words[..], &["STREAMS", MESSAGES, ">"]].concat());
    };
    for n in 0..40 {
        read(if n % 4 == 3 { "kept" } else { "gone" }, "5");
    }
    let gone: usize = redis.command(&["XGROUP", "DELCONSUMER", MESSAGES, GROUP, "gone"]);
    assert_eq!(gone, 150);
    let run = check(&redis);
    assert_eq!(run.code, 0, "{run:?}");
    if is_7("tells no lag") {
        assert!(
            run.err
                .join("\n")
                .contains("150 entries of {outhook}:messages are nobody's")
        );
    }
    let mut services: Vec<Service> = (0..3).map(|_| start(&redis, &[])).collect();
    receiver.wait_for(250);
    wait_empty(&redis);
    assert_eq!(receiver.distinct().len(), 250);
    let mut told = 0;
    for service in &mut services {
        service.end_well();
        let lines = service.log.all();
        let lines = lines.iter().filter(|line| line.contains("were nobody's"));
        told += lines
            .map(|line| {
                let mut words = line.split(' ');
                let at = words.by_ref().find(|word| word.ends_with(']'));
                at.and_then(|_| words.next()?.parse::<usize>().ok())
                    .unwrap_or(0)
            })
            .sum::<usize>();
    }
    assert_eq!(told, 150, "each is told once");
    assert_eq!(receiver.count(), 250, "each once");
    let run = check(&redis);
    assert!(!run.err.join("\n").contains("nobody's"), "{run:?}");
}

#[test]
fn entries_that_a_group_was_moved_or_made_beyond_are_taken_back() {
    for made in [true, false] {
        let (redis, receiver) = (Redis::start(), Receiver::ok());
        if !made {
            redis.command::<()>(&["XGROUP", "CREATE", MESSAGES, GROUP, "0", "MKSTREAM"]);
        }
        add(&redis, &receiver, 0..5);
        match made {
            true => redis.command::<()>(&["XGROUP", "CREATE", MESSAGES, GROUP, "$"]),
            false => redis.command::<()>(&["XGROUP", "SETID", MESSAGES, GROUP, "$"]),
        }
        let mut service = start(&redis, &[]);
        service
            .log
            .wait("5 entries of {outhook}:messages were nobody's");
        receiver.wait_for(5);
        wait_empty(&redis);
        service.end_well();
        assert_eq!(receiver.count(), 5, "each once");
    }
}

#[test]
fn what_a_living_process_still_delivers_is_not_sent_again_when_its_consumer_is_deleted() {
    let gate = Gate::default();
    let pass = gate.clone();
    let receiver = Receiver::answering(move |_, _| {
        pass.pass();
        crate::support::receiver::status(200)
    });
    let redis = Redis::start();
    let mut service = serve(&redis, &["--consumer", "pod"]);
    add(&redis, &receiver, 0..3);
    receiver.wait_for(3);
    redis.command::<()>(&["XGROUP", "DELCONSUMER", MESSAGES, GROUP, "pod"]);
    // Another looks at once, and finds them.
    let mut other = serve(&redis, &[]);
    other
        .log
        .wait("3 entries of {outhook}:messages were nobody's");
    gate.open();
    wait_empty(&redis);
    other.end_well();
    service.end_well();
    assert_eq!(receiver.count(), 3, "each once");
}

#[test]
fn entries_that_a_producer_trimmed_unread_are_told_with_their_number() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    add(&redis, &receiver, 0..3);
    receiver.wait_for(3);
    wait_empty(&redis);
    service.end_well();
    for n in 0..50 {
        let text = message(&receiver.url("/"), &format!("t{n}"), "1");
        redis.command::<()>(&["XADD", MESSAGES, "MAXLEN", "10", "*", "message", &text]);
    }
    if !is_7("does not count what is added") {
        return;
    }
    let said = "40 entries of {outhook}:messages were trimmed or deleted";
    let run = check(&redis);
    assert!(
        run.code == 0 && run.err.join("\n").contains(said),
        "{run:?}"
    );
    let mut service = serve(&redis, &[]);
    service.log.wait(said);
    receiver.wait_for(13);
    service.end_well();
    assert_eq!(service.log.count("were trimmed"), 1);
}

#[test]
fn a_stream_whose_last_id_is_used_up_is_told_and_what_is_parked_comes_back() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let last = format!("{0}-{0}", u64::MAX);
    let text = message(&receiver.url("/"), "last", "1");
    redis.command::<()>(&["XADD", MESSAGES, &last, "message", &text]);
    let now = unix_ms();
    let member = format!(
        "0 {now} p stream\n{}",
        message(&receiver.url("/"), "p", "1")
    );
    redis.command::<()>(&["ZADD", PARKED, "5", &member]);
    let said = "its last possible id is used up";
    assert!(check(&redis).err.join("\n").contains(said));
    let mut service = serve(&redis, &["--lease", "6s", "--timeout", "2s"]);
    service.log.wait(said);
    receiver.wait_for(2);
    wait_empty(&redis);
    redis.wait_settled();
    service.end_well();
}

#[test]
fn a_key_of_the_wrong_type_is_named() {
    let redis = Redis::start();
    for (key, kind) in [
        (MESSAGES, "stream"),
        (PARKED, "sorted set"),
        (DEAD, "stream"),
    ] {
        redis.command::<()>(&["SET", key, "x"]);
        let run = check(&redis);
        let said = format!("{key} is no {kind}");
        assert!(
            run.code == 1 && run.err.join("\n").contains(&said),
            "{run:?}"
        );
        let mut service = serve(&redis, &[]);
        if key == MESSAGES {
            assert!(service.log.wait("WRONGTYPE").contains(key));
        } else {
            service.log.wait(&said);
        }
        redis.command::<()>(&["DEL", key]);
        service.end_well();
    }
    assert_eq!(check(&redis).code, 0);
}

#[test]
fn another_group_on_the_stream_is_told() {
    let redis = Redis::start();
    redis.command::<()>(&["XGROUP", "CREATE", MESSAGES, "old", "0", "MKSTREAM"]);
    let mut service = serve(&redis, &[]);
    service.log.wait("has more groups than outhook: old");
    assert!(
        check(&redis)
            .err
            .join("\n")
            .contains("more groups than outhook")
    );
    service.end_well();
}
