//! Messages as producers really write them.

use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::redis::{MESSAGES, Redis};
use crate::support::service::{Outhook, serve};

#[test]
fn an_entry_may_carry_the_fields_of_the_message_itself() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--status-ttl", "1h"]);
    let url = receiver.url("/");
    let data = "{\"b\" : 1.10,  \"a\":[]}";
    let add =
        |fields: &[&str]| -> String { redis.command(&[&["XADD", MESSAGES, "*"], fields].concat()) };
    add(&[
        "url",
        &url,
        "data",
        data,
        "webhook_id",
        "w1",
        "x",
        "y",
        "timeout",
        "5s",
    ]);
    let headers = r#"{"x-a":"b"}"#;
    add(&[
        "data",
        "\"text\"",
        "url",
        &url,
        "webhookId",
        "12",
        "headers",
        headers,
    ]);
    add(&["url", &url, "data", "no json", "webhookId", "w3"]);
    add(&["url", &url, "webhookId", "w4"]);
    add(&["payload", "{}"]);
    let mut requests = receiver.wait_for(2);
    requests.sort_by_key(|r| r.id().to_owned());
    assert_eq!((requests[0].id(), requests[1].id()), ("12", "w1"));
    assert_eq!((requests[0].text(), requests[1].text()), ("\"text\"", data));
    assert_eq!(requests[0].header("x-a"), Some("b"));
    let dead = redis.wait_dead(3);
    let mut reasons: Vec<String> = dead.iter().map(|d| d.text("reason")).collect();
    reasons.sort();
    assert_eq!(reasons, ["bad_data", "bad_data", "bad_entry"]);
    let other = dead
        .iter()
        .find(|d| d.text("reason") == "bad_entry")
        .expect("one");
    assert!(other.text("detail").contains("payload"), "{other:?}");
    service.end_well();
    assert_eq!(redis.command::<usize>(&["XLEN", MESSAGES]), 0);
}

#[test]
fn another_spelling_of_a_field_is_told_once_a_source() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let url = receiver.url("/");
    for n in 0..5 {
        redis.send(format!(r#"{{"url":"{url}","webhook_id":"p{n}","data":1}}"#));
        redis.add(format!(
            r#"{{"url":"{url}","webhook_id":"s{n}","webhookID":null,"data":1}}"#
        ));
        redis.add(format!(r#"{{"URL":"{url}","webhook_id":"t{n}","data":1}}"#));
    }
    receiver.wait_for(10);
    redis.wait_dead(5);
    service.end_well();
    let told = |part: &str| service.log.count(part);
    assert_eq!(
        told(r#"pubsub:payments: messages have the field "webhook_id""#),
        1
    );
    assert_eq!(told(r#"stream: messages have the field "webhook_id""#), 1);
    assert_eq!(
        told(r#"stream: messages have the field "URL": it is taken for "url""#),
        1
    );
    let ids = receiver.distinct();
    assert!(
        ids.contains("p0") && ids.contains("t4") && ids.len() == 10,
        "{ids:?}"
    );
}

#[test]
fn what_serialisers_write_is_understood_and_what_is_meant_otherwise_is_named() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let url = receiver.url("/");
    let nulls = r#""headers":null,"deliverAt":null,"expiresAt":null,"orderKey":null"#;
    redis.send(format!(
        r#"{{"url":"{url}","webhookId":77,"data":null,{nulls}}}"#
    ));
    redis.send(format!("\u{feff}{}", message(&url, "bom", "2")));
    let requests = receiver.wait_for(2);
    let mut seen: Vec<(&str, &str)> = requests.iter().map(|r| (r.id(), r.text())).collect();
    seen.sort();
    assert_eq!(seen, [("77", "null"), ("bom", "2")]);
    redis.send(format!("{:?}", message(&url, "twice", "1")));
    redis.send(format!(
        r#"{{"url":"{url}","webhookId":"pay-日","data":1}}"#
    ));
    redis.send(format!(
        r#"{{"url":"{url}","webhookId":"s","data":1,"deliverAt":1795696800}}"#
    ));
    let dead = redis.wait_dead(3);
    for (letter, word) in dead.iter().zip([
        "encoded twice?",
        "'日'",
        "looks like seconds; milliseconds are meant: 1795696800",
    ]) {
        assert!(letter.text("detail").contains(word), "{letter:?}");
    }
    service.end_well();
}

#[test]
fn send_tells_what_it_takes_for_what() {
    let redis = Redis::start();
    let line = r#"{"url":"http://h/","webhook_id":"a","data":1}"#;
    let tool = ["send", "--redis-address", &redis.address()];
    let run = Outhook::new(&tool).run(format!("{line}\n{line}\n"));
    assert_eq!(
        (run.code, run.out.len(), run.err.len()),
        (0, 2, 1),
        "{run:?}"
    );
    assert!(
        run.err[0].contains(r#"line 1: "webhook_id" is taken for "webhookId""#),
        "{run:?}"
    );
}
