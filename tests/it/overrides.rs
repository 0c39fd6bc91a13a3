//! What a message may ask for itself: timeout, maxAttempts, expiresAt, orderKey.

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::{unix_ms, until};

/// A message with more fields, as `"name":value`.
fn with(url: &str, id: &str, more: &str) -> String {
    format!(r#"{{"url":"{url}","webhookId":"{id}","data":1,{more}}}"#)
}

#[test]
fn a_message_may_ask_for_less_time_and_other_attempts() {
    let (redis, hangs) = (Redis::start(), Receiver::script([Reply::Hang]));
    let bad = Receiver::script([status(500)]);
    let args = [
        "--backoff-base",
        "10ms",
        "--max-attempts",
        "2",
        "--timeout",
        "15s",
    ];
    let mut service = serve(&redis, &args);
    redis.send(with(
        &hangs.url("/"),
        "quick",
        r#""timeout":"200ms","maxAttempts":1"#,
    ));
    redis.send(with(&bad.url("/"), "more", r#""maxAttempts":4"#));
    let dead = redis.wait_dead(2);
    let of = |id: &str| dead.iter().find(|d| d.text("id") == id).unwrap();
    assert!(of("quick").text("error").starts_with("timeout"));
    assert_eq!(
        (
            of("quick").number("attempts"),
            of("more").number("attempts")
        ),
        (1, 4)
    );
    service.end_well();
}

#[test]
fn an_expired_message_is_a_dead_letter_and_not_sent() {
    let (redis, receiver) = (Redis::start(), Receiver::script([status(500)]));
    let mut service = serve(&redis, &["--backoff-base", "300ms", "--jitter", "0"]);
    let at = |ms: u64| format!(r#""expiresAt":{ms}"#);
    redis.send(with(&receiver.url("/"), "late", &at(unix_ms() - 1)));
    redis.add(with(&receiver.url("/"), "soon", &at(unix_ms() + 500)));
    let dead = redis.wait_dead(2);
    for letter in &dead {
        assert_eq!(letter.text("reason"), "expired");
        assert!(letter.text("detail").contains("expiresAt"), "{letter:?}");
    }
    let tried = receiver.requests();
    assert!(tried.iter().all(|r| r.id() == "soon") && tried.len() <= 2);
    service.end_well();
}

#[test]
fn messages_of_one_key_go_one_after_another_and_others_pass() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, n| match (r.id(), n) {
        ("k1", 0..3) => status(500),
        _ => status(200),
    });
    let mut service = serve(&redis, &["--backoff-base", "200ms", "--jitter", "0"]);
    for (id, key) in [("k1", "k"), ("k2", "k"), ("other", "o"), ("k3", "k")] {
        redis.add(with(
            &receiver.url("/"),
            id,
            &format!(r#""orderKey":"{key}""#),
        ));
    }
    until("k3", || {
        receiver
            .requests()
            .iter()
            .any(|r| r.id() == "k3")
            .then_some(())
    });
    let ids = receiver.ids();
    let place = |id: &str| ids.iter().rposition(|i| i == id).unwrap();
    assert!(
        place("k1") < place("k2") && place("k2") < place("k3"),
        "{ids:?}"
    );
    assert!(place("other") < place("k1"), "{ids:?}");
    service.end_well();
}

#[test]
fn a_message_that_is_published_twice_does_not_hold_up_its_key() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut replicas = [serve(&redis, &["--bridge"]), serve(&redis, &["--bridge"])];
    for n in 0..20 {
        let message = with(&receiver.url("/"), &format!("m{n}"), r#""orderKey":"k""#);
        redis.publish("payments", &message);
        redis.publish("payments", &message);
    }
    receiver.wait_for(20);
    replicas.iter_mut().for_each(Service::end_well);
    assert_eq!((receiver.distinct().len(), receiver.count()), (20, 20));
}

#[test]
fn a_wrong_wish_is_refused_with_its_name() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let cases = [
        (r#""timeout":"soon""#, "bad_timeout"),
        (r#""timeout":0"#, "bad_timeout"),
        (r#""maxAttempts":0"#, "bad_max_attempts"),
        (r#""maxAttempts":"3""#, "bad_max_attempts"),
        (r#""expiresAt":"tomorrow""#, "bad_expires_at"),
        (r#""orderKey":"""#, "bad_order_key"),
        (r#""orderKey":7"#, "bad_order_key"),
        (r#""deliverAt":"later""#, "bad_deliver_at"),
    ];
    for (n, (more, _)) in cases.iter().enumerate() {
        redis.send(with(&receiver.url("/"), &format!("m{n}"), more));
    }
    for (letter, (more, reason)) in redis.wait_dead(cases.len()).iter().zip(cases) {
        let name = more.split('"').nth(1).unwrap();
        assert_eq!(letter.text("reason"), reason, "{more}");
        assert!(letter.text("detail").contains(name), "{more}: {letter:?}");
    }
    service.end_well();
    assert_eq!(receiver.count(), 0);
}

#[test]
fn keys_go_on_where_several_replicas_share_their_messages() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut replicas: Vec<Service> = (0..3).map(|_| serve(&redis, &[])).collect();
    let origin = receiver.url("");
    let endpoints = |act: &str| {
        let tool = [
            "endpoints",
            act,
            &origin,
            "--redis-address",
            &redis.address(),
        ];
        assert_eq!(Outhook::new(&tool).run("").code, 0);
    };
    endpoints("pause");
    for n in 0..300 {
        let key = format!(r#""orderKey":"k{}""#, n % 6);
        redis.add(with(&receiver.url("/"), &format!("m{n}"), &key));
    }
    let origin = receiver.url("");
    until("all to wait", || {
        let lists = (0..6).map(|n| format!("{{outhook}}:key:{origin} k{n}"));
        let follow: usize = lists.map(|l| redis.command::<usize>(&["LLEN", &l])).sum();
        (follow + redis.deferred() == 300).then_some(())
    });
    endpoints("resume");
    receiver.wait_for(300);
    replicas.iter_mut().for_each(Service::end_well);
    assert_eq!((receiver.distinct().len(), receiver.count()), (300, 300));
}
