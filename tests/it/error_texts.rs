//! Errors name what was tried, what answered, and the setting or act that helps; each in one line.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::free_port;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::Outhook;

/// The one line that it ends with.
fn error(args: &[&str]) -> String {
    let run = Outhook::new(args).run("");
    assert_ne!(run.code, 0, "{args:?} {run:?}");
    assert_eq!(run.err.len(), 1, "{args:?} {run:?}");
    run.err[0].clone()
}

fn at(address: &str) -> String {
    error(&["dead", "list", "--redis-address", address])
}

/// Whoever connects there is told this, and nothing else.
fn server(answer: &'static [u8]) -> Receiver {
    Receiver::connections(move |mut stream: TcpStream, _| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(answer);
    })
}

#[test]
fn a_redis_that_is_not_there_or_something_else_is_told_with_what_helps() {
    let http = server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let mail = server(b"220 mail.example ESMTP\r\n");
    let tls = server(b"\x15\x03\x01\x00\x02\x02\x28");
    let closes = server(b"");
    let redis = Redis::on_tcp(&[]);
    let nobody = format!("127.0.0.1:{}", free_port());
    let plain = redis.tcp();
    for (address, parts) in [
        (
            nobody.clone(),
            &[
                "nothing listens there",
                "Connection refused",
                "REDIS_ADDRESS",
            ][..],
        ),
        (
            http.addr.to_string(),
            &["is not Redis, but an HTTP server", "--redis-address"],
        ),
        (
            mail.addr.to_string(),
            &["is not Redis", "220 mail.example", "--redis-address"],
        ),
        (tls.addr.to_string(), &["speaks TLS: write rediss://"]),
        (
            closes.addr.to_string(),
            &[
                "hung up without an answer",
                "if it speaks TLS, write rediss://",
            ],
        ),
        (
            format!("rediss://{}", http.addr),
            &["speaks no TLS", "write redis://"],
        ),
        (
            format!("rediss://{plain}"),
            &["if it speaks no TLS, write redis://"],
        ),
        (
            "unix:///no/such.sock".into(),
            &["nothing listens there", "--redis-address"],
        ),
        ("http://h/".into(), &["--redis-address", "redis://"]),
    ] {
        let text = at(&address);
        for part in parts {
            assert!(text.contains(part), "{address} {part}: {text}");
        }
    }
}

#[test]
fn a_redis_that_refuses_us_says_what_it_refuses_and_what_would_allow_it() {
    let redis = Redis::on_tcp(&["--requirepass", "pw"]);
    let plain = Redis::on_tcp(&[]);
    let tool = |args: &[&str]| {
        let address = redis.tcp();
        error(&[&["dead", "list", "--redis-address", &address], args].concat())
    };
    assert!(tool(&[]).contains("NOAUTH") && tool(&[]).contains("--redis-password"));
    let wrong = tool(&["--redis-password", "no"]);
    assert!(
        wrong.contains("WRONGPASS") && wrong.contains("--redis-password"),
        "{wrong}"
    );
    let address = plain.tcp();
    let unasked = [
        "dead",
        "list",
        "--redis-address",
        &address,
        "--redis-password",
        "pw",
    ];
    let unasked = error(&unasked);
    assert!(unasked.contains("does not take the password"), "{unasked}");
    assert!(unasked.contains("--redis-password"), "{unasked}");
    for (rules, rule) in [
        ("+@all -xrevrange ~*", "ACL SETUSER reader +xrevrange"),
        ("+@all ~other", "ACL SETUSER reader ~{outhook}:*"),
    ] {
        let user = ["ACL", "SETUSER", "reader", "reset", "on", ">pw"].into_iter();
        let words: Vec<&str> = user.chain(rules.split(' ')).collect();
        plain.command::<()>(&words);
        let login = ["--redis-username", "reader", "--redis-password", "pw"];
        let refused = error(&[&["dead", "list", "--redis-address", &address], &login[..]].concat());
        assert!(
            refused.contains("NOPERM") && refused.ends_with(rule),
            "{refused}"
        );
    }
}

#[test]
fn a_url_that_is_none_is_told_with_how_one_begins() {
    for (url, part) in [
        ("", "it is empty; it must begin with http:// or https://"),
        ("webhook.site/abc", "such as https://webhook.site/abc"),
        ("customer.example", "such as https://customer.example"),
        ("127.0.0.1:9000", "such as https://127.0.0.1:9000"),
        ("//h/x", "such as https://h/x"),
        ("mailto:a@b", "it must begin with http:// or https://"),
        ("http:/h", "http:// or https://, with both slashes"),
        ("ftp://h/", "scheme \"ftp\" is not http or https"),
    ] {
        let text = error(&["send", "--dry-run", "--data", "1", "--url", url]);
        assert!(text.contains(part), "{url}: {text}");
        let text = error(&["endpoints", "pause", url]);
        assert!(text.contains(part), "{url}: {text}");
    }
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = Receiver::ok();
    let text = error(&["listen", "--bind", &taken.addr.to_string()]);
    assert!(text.contains("Address already in use"), "{text}");
    assert!(
        text.contains("another process listens there: stop it, or choose another port"),
        "{text}"
    );
}
