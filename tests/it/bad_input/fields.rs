//! One field is wrong: its name is in the detail.

use super::{Case, assert_refuses, case, refuses_all};
use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::serve;

#[test]
fn a_bad_url_is_named() {
    let mut cases: Vec<Case> = [
        "5",
        "null",
        "true",
        "{}",
        "[]",
        r#"["http://h/"]"#,
        r#""\ud800""#,
    ]
    .map(|json| case(format!(r#"{{"url":{json},"data":1}}"#), "bad_url", "url"))
    .into();
    let long = format!("http://127.0.0.1:1/{}", "a".repeat(9000));
    let texts = [
        "",
        " ",
        "/x",
        "//h/x",
        "h/x",
        "h",
        "127.0.0.1:1",
        "ftp://h/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ws://h/",
        "unix:///x",
        "http:",
        "http://",
        "http:///",
        "http://?x",
        "http://:80/",
        "http://h:0/",
        "https://h:0/",
        "http://h:65536/",
        "http://h:-1/",
        "http://h:x/",
        "http://[::1/",
        "http://[x]/",
        "http://1.2.3.256/",
        "http://1.2.3.4.5/",
        "http://a..b/",
        "http://.a/",
        "http://a b/",
        "http://a%00b/",
        "http://<h>/",
        "http://user@h/",
        "http://user:password@h/",
        "http://:password@h/",
        "http://h@127.0.0.1:1/",
        "data:,x",
        "http://xn--a/",
        r"http://127.0.0.1:1/a\tb",
        r"http://127.0.0.1:1/a\nb",
        r"http://127.0.0.1:1/a\u0000b",
        r"http://127.0.0.1:1/\n",
        r" http://127.0.0.1:1/",
        r"http://127.0.0.1:1\\a",
        r"http:\\\\127.0.0.1:1\\a",
        "http:127.0.0.1:1/",
        "http:///127.0.0.1:1/",
        &long,
    ];
    for text in texts {
        cases.push(case(
            format!(r#"{{"url":"{text}","data":1}}"#),
            "bad_url",
            "url",
        ));
    }
    cases.push(case(
        format!(r#"{{"url":"http://{}/","data":1}}"#, "a".repeat(64)),
        "bad_url",
        "url",
    ));
    cases.push(case(
        format!(r#"{{"url":"http://{}/","data":1}}"#, "a.".repeat(128)),
        "bad_url",
        "url",
    ));
    refuses_all(cases);
}

#[test]
fn a_url_of_three_megabytes_is_refused_and_not_repeated() {
    let redis = Redis::start();
    let long = "a".repeat(3_000_000);
    let raw = format!(r#"{{"url":"http://127.0.0.1:1/{long}","data":1}}"#);
    let dead = assert_refuses(
        &redis,
        &Receiver::ok(),
        &["--max-message-bytes", "5000000"],
        vec![case(raw, "bad_url", "url")],
    );
    assert!(dead[0].get("url").is_none_or(|u| u.len() <= 8192));
}

#[test]
fn a_bad_webhook_id_is_named() {
    let mut cases: Vec<Case> = ["7.5", "1e3", "true", "{}", "[]", r#"["a"]"#, r#""\ud800""#]
        .map(|json| {
            case(
                format!(r#"{{"url":"http://127.0.0.1:1/","data":1,"webhookId":{json}}}"#),
                "bad_id",
                "webhookId",
            )
        })
        .into();
    let long = "a".repeat(257);
    for text in [
        "",
        " ",
        " a",
        "a ",
        "a b",
        "a\\tb",
        "é",
        "日本",
        "a\\r\\nX: 1",
        "a\\nb",
        "a\\u0000",
        "\\u007f",
        "a.b",
        ".",
        "a/b",
        "a,b",
        "a=b",
        "a\\\"b",
        "{}",
        "a+b",
        "a%20",
        &long,
    ] {
        let raw = format!(r#"{{"url":"http://127.0.0.1:1/","data":1,"webhookId":"{text}"}}"#);
        cases.push(case(raw, "bad_id", "webhookId"));
    }
    refuses_all(cases);
}

#[test]
fn the_longest_id_and_every_allowed_character_are_delivered() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let _service = serve(&redis, &[]);
    let long = "a".repeat(256);
    let all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:-";
    for id in [&long, all, "-", "_", ":", "0"] {
        redis.send(message(&receiver.url("/"), id, "1"));
    }
    let mut ids: Vec<String> = receiver
        .wait_for(6)
        .iter()
        .map(|r| r.id().to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, ["-", "0", ":", all, "_", &long]);
}

#[test]
fn bad_headers_are_named() {
    let mut cases = Vec::new();
    let many: Vec<String> = (0..2000).map(|n| format!("\"x-{n}\":\"v\"")).collect();
    let many = format!("{{{}}}", many.join(","));
    let wide = format!(r#"{{"x":"{}"}}"#, "v".repeat(100_000));
    let named = format!(r#"{{"{}":"v"}}"#, "n".repeat(100_000));
    for json in [
        "5",
        "true",
        "[]",
        "\"x\"",
        r#"[["x","y"]]"#,
        r#"{"x":1}"#,
        r#"{"x":null}"#,
        r#"{"x":["y"]}"#,
        r#"{"x":{}}"#,
        &many,
        &wide,
        &named,
    ] {
        cases.push(json.to_owned());
    }
    for name in [
        "Host",
        "host",
        "Content-Length",
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "webhook-id",
        "Webhook-Signature",
        "webhook-timestamp",
        "WEBHOOK-ANYTHING",
        "",
        " ",
        "a b",
        "a:b",
        "a\\r\\nb",
        "é",
        "a\\u0000",
        "(x)",
        "x\\t",
        ":path",
    ] {
        cases.push(format!(r#"{{"{name}":"v"}}"#));
    }
    for value in [
        "a\\r\\nX: y",
        "a\\nb",
        "a\\rb",
        "a\\u0000b",
        "\\u007f",
        " a",
        "a ",
        "\\ta",
        "é",
    ] {
        cases.push(format!(r#"{{"x":"{value}"}}"#));
    }
    let cases = cases.into_iter().map(|json| {
        let raw = format!(r#"{{"url":"http://127.0.0.1:1/","data":1,"headers":{json}}}"#);
        case(raw, "bad_headers", "headers")
    });
    refuses_all(cases);
}
