//! What is published arrives, as it was published.

use crate::support::receiver::{Receiver, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, serve};
use crate::support::{free_port, message, until};

#[test]
fn a_request_carries_the_headers_of_the_contract_once_each() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    redis.send(message(
        &receiver.url("/hook?a=b&c=%20d#frag"),
        "id-1:a_B",
        r#"{"a": 1}"#,
    ));
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/hook?a=b&c=%20d");
    let agent = format!("outhook/{}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", &agent),
        ("webhook-id", "id-1:a_B"),
        ("content-length", "8"),
        ("host", &receiver.addr.to_string()),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.body, br#"{"a": 1}"#);
    service.end_well();
    assert_eq!(receiver.count(), 1);
    assert!(redis.dead().is_empty());
}

#[test]
fn the_path_and_query_arrive_as_published() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let targets = [
        ("/o?sig=a'b", "/o?sig=a'b"),
        ("/a/%2e%2e/b%2fc", "/a/%2e%2e/b%2fc"),
        ("/a/../b", "/a/../b"),
        ("/bucket/./key", "/bucket/./key"),
        ("//x//;y?", "//x//;y?"),
        ("?q[]=%zz&s", "/?q[]=%zz&s"),
        ("/a b<ü>", "/a%20b%3C%C3%BC%3E"),
    ];
    for (n, (target, _)) in targets.iter().enumerate() {
        let url = format!("http://{}{target}", receiver.addr);
        redis.send(message(&url, &format!("m{n}"), "1"));
    }
    let requests = receiver.wait_for(targets.len());
    for (n, (target, sent)) in targets.iter().enumerate() {
        let id = format!("m{n}");
        let request = requests.iter().find(|r| r.id() == id).unwrap();
        assert_eq!(request.path, *sent, "{target}");
    }
    service.end_well();
}

#[test]
fn extra_headers_are_sent_and_take_the_place_of_the_default() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let _service = serve(&redis, &[]);
    let url = receiver.url("/");
    redis.send(format!(
        r#"{{"url":"{url}","data":[],"headers":{{"X-Shop":"one two","authorization":"Bearer t","Content-Type":"application/x+json"}}}}"#
    ));
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.header("x-shop"), Some("one two"));
    assert_eq!(request.header("authorization"), Some("Bearer t"));
    assert_eq!(request.header("content-type"), Some("application/x+json"));
}

#[test]
fn an_id_is_made_when_missing_and_stays_over_retries() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, n| status(if n < 2 { 500 } else { 200 }));
    let _service = serve(&redis, &["--backoff-base", "20ms"]);
    for path in ["/a", "/b"] {
        redis.send(format!(r#"{{"url":"{}","data":1}}"#, receiver.url(path)));
    }
    let requests = receiver.wait_for(4);
    let ids = |path: &str| -> Vec<String> {
        requests
            .iter()
            .filter(|r| r.path == path)
            .map(|r| r.id().to_owned())
            .collect()
    };
    let (a, b) = (ids("/a"), ids("/b"));
    assert_eq!(a[0], a[1], "the same over a retry");
    assert_eq!(b[0], b[1], "the same over a retry");
    assert_ne!(a[0], b[0], "one each");
    let plain = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
    assert!(!a[0].is_empty() && a[0].chars().all(plain), "{}", a[0]);
}

/// What the tutorial's Flask producer publishes, with its variable and nothing else.
#[test]
fn the_tutorials_message_arrives_unchanged_with_its_address_variable_alone() {
    let (redis, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    let no_args = ["serve"];
    let service = Outhook::new(&no_args)
        .env("REDIS_ADDRESS", redis.tcp())
        .spawn();
    service.log.wait("ready: subscribed to payments");
    let url = receiver.url("/webhook");
    let data = r#"{"id": "fc9b3a8e", "payment": "PY-7Q2", "event": "accepted", "created": "2024-03-01, 09:30:00"}"#;
    redis.send(format!(
        r#"{{"url": "{url}", "webhookId": "52d2fc21d1fa4e0e8a37ea3a1eafd2f5", "data": {data}}}"#
    ));
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.text(), data);
    assert_eq!(request.id(), "52d2fc21d1fa4e0e8a37ea3a1eafd2f5");
}

#[test]
fn every_channel_is_listened_to_and_named_in_dead_letters() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let _service = serve(&redis, &["--channel", "a,b", "--channel", "c d"]);
    let channels = ["a", "b", "c d"];
    for channel in channels {
        let heard = redis.publish(
            channel,
            message(&receiver.url("/"), "x", &format!("\"{channel}\"")),
        );
        assert_eq!(heard, 1, "{channel}");
        redis.publish(channel, "junk");
    }
    assert_eq!(
        redis.publish("payments", "x"),
        0,
        "the default was replaced"
    );
    let mut bodies: Vec<String> = receiver
        .wait_for(3)
        .iter()
        .map(|r| r.text().to_owned())
        .collect();
    bodies.sort();
    assert_eq!(bodies, ["\"a\"", "\"b\"", "\"c d\""]);
    let mut sources: Vec<String> = redis
        .wait_dead(3)
        .iter()
        .map(|d| d.text("source"))
        .collect();
    sources.sort();
    assert_eq!(sources, channels.map(|c| format!("pubsub:{c}")));
}

#[test]
fn every_2xx_counts_as_delivered() {
    let codes = [200, 201, 202, 204, 206, 299];
    let redis = Redis::start();
    let receiver =
        Receiver::answering(|request, _| status(request.path[1..].parse().expect("a status")));
    let mut service = serve(&redis, &["--max-attempts", "1"]);
    for code in codes {
        redis.send(message(
            &receiver.url(&format!("/{code}")),
            &format!("m{code}"),
            "1",
        ));
    }
    for code in codes {
        service.log.wait(&format!("delivered id=m{code}"));
    }
    service.end_well();
    assert_eq!(receiver.count(), codes.len());
    assert!(redis.dead().is_empty());
}

/// The tutorial's worst bug: its one decoded value is used again for every message.
#[test]
fn a_message_never_borrows_a_field_from_another() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let _service = serve(&redis, &["--workers", "4"]);
    let full = |n: usize| format!(r#","webhookId":"id-{n}","headers":{{"x-n":"{n}"}}"#);
    let payloads: Vec<String> = (0..200)
        .map(|n| {
            let more = if n % 2 == 0 { full(n) } else { String::new() };
            format!(
                r#"{{"url":"{}","data":{{"n":{n}}}{more}}}"#,
                receiver.url(&format!("/{n}"))
            )
        })
        .collect();
    assert_eq!(redis.send_all(&payloads), 200);
    let mut ids = Vec::new();
    for request in receiver.wait_for(200) {
        let n: usize = request.path[1..].parse().unwrap();
        assert_eq!(request.text(), format!(r#"{{"n":{n}}}"#));
        ids.push(request.id().to_owned());
        if n.is_multiple_of(2) {
            assert_eq!(request.id(), format!("id-{n}"));
            assert_eq!(request.header("x-n"), Some(n.to_string().as_str()));
        } else {
            assert!(
                !request.id().starts_with("id-"),
                "{n} has the id {}",
                request.id()
            );
            assert_eq!(request.header("x-n"), None, "{n}");
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200, "no id was given twice");
}

#[test]
fn thousands_at_once_arrive_once_each() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--log", "info"]);
    let payloads: Vec<String> = (0..3000)
        .map(|n| message(&receiver.url("/"), &format!("m{n:04}"), "1"))
        .collect();
    assert_eq!(redis.send_all(&payloads), 3000);
    receiver.wait_for(3000);
    service.end_well();
    let mut ids = receiver.ids();
    ids.sort();
    assert_eq!(
        ids,
        (0..3000).map(|n| format!("m{n:04}")).collect::<Vec<_>>()
    );
    assert!(redis.dead().is_empty());
}

/// Redis cuts off a subscriber that does not read, so what is too much cannot wait there.
#[test]
fn what_is_too_much_to_hold_goes_to_the_stream_and_comes_back_from_there() {
    let redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let mut service = serve(
        &redis,
        &["--max-active", "10", "--workers", "4", "--log", "info"],
    );
    let payloads: Vec<String> = (0..400)
        .map(|n| message(&receiver.url("/"), &format!("m{n:04}"), "1"))
        .collect();
    assert_eq!(redis.send_all(&payloads), 400);
    receiver.wait_for(1);
    until("the rest to be in Redis", || {
        (redis.kept().len() > 200).then_some(())
    });
    gate.open();
    receiver.wait_for(400);
    service.end_well();
    let requests = receiver.requests();
    let mut ids: Vec<&str> = requests.iter().map(|r| r.id()).collect();
    ids.sort();
    let all: Vec<String> = (0..400).map(|n| format!("m{n:04}")).collect();
    assert_eq!(ids, all, "each once");
    assert!(redis.dead().is_empty() && redis.kept().is_empty());
}

#[test]
fn a_host_name_is_tried_at_all_its_addresses() {
    // `localhost` is ::1 as well on most machines, and there nobody listens.
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let _service = serve(&redis, &["--max-attempts", "1"]);
    redis.send(message(
        &format!("http://localhost:{}/", receiver.addr.port()),
        "a",
        "1",
    ));
    assert_eq!(receiver.wait_for(1)[0].id(), "a");
}

#[test]
fn an_ipv6_address_is_delivered_to() {
    let port = free_port();
    if std::net::TcpListener::bind(("::1", port)).is_err() {
        eprintln!("NOT TESTED: this machine has no IPv6 on loopback");
        return;
    }
    let (redis, receiver) = (Redis::start(), Receiver::ok_at("[::1]:0"));
    let _service = serve(&redis, &[]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    let request = &receiver.wait_for(1)[0];
    assert_eq!(
        request.header("host"),
        Some(receiver.addr.to_string().as_str())
    );
}
