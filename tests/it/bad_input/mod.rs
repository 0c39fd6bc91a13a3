//! A message that cannot be delivered is exactly one dead letter, with the reason, the
//! field and the raw bytes; nothing happens to the process or to the neighbours.

mod fields;
mod shape;

use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::redis::{Dead, Redis};
use crate::support::service::serve;

/// Bytes as published, the reason they are refused for, and a word its detail must hold.
struct Case {
    raw: Vec<u8>,
    reason: &'static str,
    word: &'static str,
}

fn case(raw: impl Into<Vec<u8>>, reason: &'static str, word: &'static str) -> Case {
    Case {
        raw: raw.into(),
        reason,
        word,
    }
}

/// Publishes each case between good neighbours and checks all of what becomes of them.
fn assert_refuses(
    redis: &Redis,
    receiver: &Receiver,
    args: &[&str],
    cases: Vec<Case>,
) -> Vec<Dead> {
    let mut service = serve(redis, args);
    let good = |n: usize| message(&receiver.url("/good"), &format!("good-{n}"), "true");
    redis.send(good(0));
    for (n, case) in cases.iter().enumerate() {
        redis.send(&case.raw);
        redis.send(good(n + 1));
    }
    let mut dead = redis.wait_dead(cases.len());
    // Different things may be refused at different places, so the order is not promised.
    let sorted = cases.iter().map(|case| {
        let at = dead
            .iter()
            .position(|d| d.get("message") == Some(&case.raw[..]));
        dead.swap_remove(
            at.unwrap_or_else(|| panic!("{} is no dead letter: {dead:#?}", shown(&case.raw))),
        )
    });
    let sorted: Vec<Dead> = sorted.collect();
    for (case, dead) in cases.iter().zip(&sorted) {
        let what = shown(&case.raw);
        assert_eq!(dead.text("reason"), case.reason, "{what}: {dead:?}");
        let detail = dead.text("detail");
        assert!(
            detail.contains(case.word),
            "{what}: {:?} is not in {detail:?}",
            case.word
        );
        assert!(
            detail.len() < 600,
            "{what}: {} bytes of detail",
            detail.len()
        );
        assert!(!detail.contains(['\r', '\n']), "{what}: {detail:?}");
        assert_eq!(dead.number("attempts"), 0, "{what}");
        assert_eq!(dead.text("source"), "pubsub:payments", "{what}");
        assert!(
            dead.number("received_ms") <= dead.number("dead_ms"),
            "{what}"
        );
        for name in ["status", "error", "answer", "last_attempt_ms"] {
            assert_eq!(dead.get(name), None, "{what}: {name}");
        }
    }
    receiver.wait_for(cases.len() + 1);
    service.end_well();
    assert_eq!(
        receiver.count(),
        cases.len() + 1,
        "good neighbours and nothing else"
    );
    assert!(receiver.requests().iter().all(|r| r.path == "/good"));
    sorted
}

fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(200)]).into_owned()
}

fn refuses_all(cases: impl IntoIterator<Item = Case>) -> Vec<Dead> {
    assert_refuses(
        &Redis::start(),
        &Receiver::ok(),
        &[],
        cases.into_iter().collect(),
    )
}

#[test]
fn what_others_send_stands_in_no_line_of_the_log() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    redis.send(message(
        r"x\n[2026] ERROR: lost: everything\u001b[31m",
        "a",
        "1",
    ));
    redis.wait_dead(1);
    redis.send(message(&receiver.url("/"), "b", "1"));
    receiver.wait_for(1);
    service.log.wait("dead (bad_url): a from pubsub:payments");
    service.end_well();
    assert_eq!(service.log.count("lost: everything"), 0);
}
