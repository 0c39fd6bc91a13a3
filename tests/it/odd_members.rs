//! What stands among our keys, or comes over our channel, and is not ours: it stops nothing that
//! stands beside it.

use std::thread;

use crate::support::receiver::Receiver;
use crate::support::redis::{MESSAGES, PARKED, Redis};
use crate::support::service::{serve, tool};
use crate::support::{message, unix_ms, until};

const HOLDS: &str = "{outhook}:holds";

#[test]
fn holds_that_are_not_ours_are_told_once_and_those_beside_them_obeyed() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let odd: [&[u8]; 5] = [
        b"gone \xff",
        b"",
        b"muted http://h/",
        b"paused",
        b"gone no-url",
    ];
    for member in odd {
        redis.command_bytes::<()>(&[b"ZADD", HOLDS.as_bytes(), b"+inf", member]);
    }
    let held = format!("paused {}", receiver.url("/held"));
    redis.command::<()>(&["ZADD", HOLDS, "+inf", &held]);
    let mut service = serve(&redis, &[]);
    redis.send(message(&receiver.url("/"), "m1", "1"));
    redis.send(message(&receiver.url("/held"), "m2", "1"));
    receiver.wait_for(1);
    redis.wait_deferred(1);
    // They are read again when it subscribes again.
    redis.command::<usize>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    service.log.wait_times("ready: subscribed", 2);
    redis.send_when_heard(message(&receiver.url("/"), "m3", "1"));
    receiver.wait_for(2);
    assert_eq!(service.log.count("is not a hold"), odd.len());
    assert_eq!(service.log.count(r"gone \xff"), 1);
    let list = tool(&redis, &["endpoints", "list", "--json"]);
    assert_eq!(list.code, 0, "{list:?}");
    assert!(
        list.out.iter().any(|l| l.contains("\"held\":\"paused\"")),
        "{list:?}"
    );
    let resume = tool(&redis, &["endpoints", "resume", &receiver.url("/held")]);
    assert_eq!(resume.code, 0, "{resume:?}");
    receiver.wait_for(3);
    assert_eq!(
        redis.command::<usize>(&["ZCARD", HOLDS]),
        odd.len(),
        "left alone"
    );
    // Its connection was cut while Redis was there, which counts as a gap.
    assert_eq!(service.terminate().0, 1);
}

#[test]
fn what_is_parked_and_not_ours_is_a_dead_letter_and_holds_up_nothing() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let good = format!(
        "0 {} m1 stream\n{}",
        unix_ms(),
        message(&receiver.url("/"), "m1", "1")
    );
    let junk: [(&str, &[u8]); 5] = [
        ("-inf", b"\xff\xfe"),
        ("0", b""),
        ("1", b"99999999999999999999 1 x y\nnot json"),
        ("2", b"1 2\n"),
        ("3", b"a b c d\n{}"),
    ];
    for (score, member) in junk {
        redis.command_bytes::<()>(&[b"ZADD", PARKED.as_bytes(), score.as_bytes(), member]);
    }
    redis.command::<()>(&["ZADD", PARKED, "4", &good]);
    redis.command::<()>(&["ZADD", PARKED, "+inf", "never"]);
    let list = tool(&redis, &["parked", "list"]);
    assert_eq!((list.code, list.out.len()), (0, 7), "{list:?}");
    let mut service = serve(&redis, &[]);
    receiver.wait_for(1);
    redis.wait_dead(junk.len());
    service.end_well();
    assert_eq!(redis.command::<usize>(&["ZCARD", PARKED]), 1);
    assert_eq!(redis.command::<usize>(&["XLEN", MESSAGES]), 0);
}

#[test]
fn a_status_hash_with_an_odd_field_is_shown() {
    let redis = Redis::start();
    let key = b"{outhook}:status:m";
    redis.command_bytes::<()>(&[b"HSET", key, b"\xff", b"\xfe", b"state", b"parked"]);
    for args in [&["status", "m"][..], &["status", "m", "--json"]] {
        let run = tool(&redis, args);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.out.join(" ").contains("parked"), "{run:?}");
    }
}

#[test]
fn an_answer_that_is_not_ours_hides_no_other() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    redis.send(message(&receiver.url("/"), "m1", "1"));
    receiver.wait_for(1);
    for junk in [
        &b"hold"[..],
        b"\xff",
        b"report {outhook}:messages x",
        b"stop all",
    ] {
        redis.publish("{outhook}:control", junk);
    }
    // Somebody who hears questions, and answers nonsense.
    let client = redis::Client::open(redis.address()).expect("an address");
    let mut heard = client.get_connection().expect("a connection");
    let mut answers = client.get_connection().expect("a connection");
    let joker = thread::spawn(move || {
        let mut questions = heard.as_pubsub();
        questions
            .subscribe("{outhook}:control")
            .expect("to subscribe");
        let question = questions.get_message().expect("a question");
        let text: String = question.get_payload().expect("text");
        let key = text.split(' ').nth(1).expect("a key");
        let publish = redis::cmd("PUBLISH")
            .arg(key)
            .arg(&b"\xff{"[..])
            .query::<()>(&mut answers);
        publish.expect("to answer")
    });
    until("the joker to listen", || {
        let count = ["PUBSUB", "NUMSUB", "{outhook}:control"];
        (redis.command::<(String, usize)>(&count).1 == 2).then_some(())
    });
    let list = tool(&redis, &["endpoints", "list", "--json"]);
    joker.join().expect("an answer");
    assert_eq!(list.code, 0, "{list:?}");
    assert!(
        list.out
            .iter()
            .any(|l| l.contains(&receiver.addr.to_string())),
        "{list:?}"
    );
    assert!(
        list.err.join(" ").contains("is not an answer of a replica"),
        "{list:?}"
    );
    service.end_well();
}
