//! `--endpoints`: what an operator has set for some endpoints holds, from the first message on.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{Gate, MS, message, until};

/// A file of rules, in a folder of its own.
struct Rules(TempDir);

impl Rules {
    fn new(text: &str) -> Rules {
        let rules = Rules(tempfile::tempdir().expect("a folder"));
        rules.write(text);
        rules
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("to write");
    }

    fn path(&self) -> String {
        let path = self.0.path().join("endpoints.toml");
        path.to_str().expect("a plain path").to_owned()
    }
}

/// A rule for all URLs of this receiver.
fn rule(receiver: &Receiver, settings: &str) -> String {
    format!(
        "[[endpoint]]\nurl = \"{}\"\n{settings}\n",
        receiver.url("/")
    )
}

fn serve_with(redis: &Redis, rules: &Rules, args: &[&str]) -> Service {
    serve(redis, &[&["--endpoints", &*rules.path()], args].concat())
}

fn reload(service: &mut Service, times: usize) {
    service.signal(Signal::HUP);
    service.log.wait_times("SIGHUP: ", times);
}

#[test]
fn rules_hold_for_the_very_first_message() {
    let receiver = Receiver::ok();
    let rules = Rules::new(&rule(&receiver, "method = \"PUT\""));
    // A new process each time, as only its first message can be too early.
    for n in 0..30 {
        let line = message(&receiver.url("/"), &format!("m{n}"), "1");
        let run = Outhook::new(&["deliver", "--workers", "2", "--endpoints", &*rules.path()]);
        assert_eq!(run.run(line).code, 0);
    }
    let methods = receiver.wait_for(30);
    assert!(methods.iter().all(|r| r.method == "PUT"));
}

#[test]
fn headers_user_agent_and_timeout_are_as_the_rule_says() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| match r.path.as_str() {
        "/hangs" => Reply::Hang,
        _ => status(200).into(),
    });
    let rules = Rules::new(&rule(
        &receiver,
        "headers = { x-version = \"2\", x-from = \"rule\" }\nuser_agent = \"acme/1\"\n\
         timeout = \"300ms\"\nmax_attempts = 1",
    ));
    let mut service = serve_with(&redis, &rules, &[]);
    let url = receiver.url("/");
    redis.send(format!(
        r#"{{"url":"{url}","webhookId":"a","data":1,"headers":{{"x-from":"message"}}}}"#
    ));
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.header("x-version"), Some("2"));
    assert_eq!(
        request.header("x-from"),
        Some("message"),
        "its own comes first"
    );
    assert_eq!(request.header("user-agent"), Some("acme/1"));
    redis.send(message(&receiver.url("/hangs"), "b", "1"));
    let dead = &redis.wait_dead(1)[0];
    assert!(dead.text("error").starts_with("timeout"), "{dead:?}");
    assert_eq!(dead.number("attempts"), 1);
    service.end_well();
}

#[test]
fn a_schedule_is_the_rule_s_and_a_host_pattern_covers_its_hosts() {
    let redis = Redis::start();
    let (bad, other) = (
        Receiver::script([status(500)]),
        Receiver::script([status(500)]),
    );
    let rules = Rules::new("[[endpoint]]\nhost = \"127.0.0.1\"\nretry_schedule = \"50ms,60ms\"\n");
    let mut service = serve_with(&redis, &rules, &["--max-attempts", "1"]);
    redis.send(message(&bad.url("/"), "ruled", "1"));
    let elsewhere = other.url("/").replace("127.0.0.1", "localhost");
    redis.send(message(&elsewhere, "not", "1"));
    let dead = redis.wait_dead(2);
    let attempts = |id: &str| {
        dead.iter()
            .find(|d| d.text("id") == id)
            .unwrap()
            .number("attempts")
    };
    assert_eq!((attempts("ruled"), attempts("not")), (3, 1));
    service.end_well();
}

#[test]
fn no_more_are_in_flight_than_the_rule_says() {
    let (redis, gate) = (Redis::start(), Gate::default());
    let held = gate.clone();
    let receiver = Receiver::answering(move |_, n| {
        if n < 2 {
            held.pass();
        }
        status(200)
    });
    let rules = Rules::new(&rule(&receiver, "max_in_flight = 2"));
    let mut service = serve_with(&redis, &rules, &[]);
    for n in 0..20 {
        redis.send(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    receiver.wait_for(2);
    // Another endpoint's delivery shows that all have been taken in.
    let other = Receiver::ok();
    redis.send(message(&other.url("/"), "other", "1"));
    other.wait_for(1);
    assert_eq!(receiver.count(), 2);
    gate.open();
    receiver.wait_for(20);
    assert_eq!(
        receiver.connected(),
        2,
        "as many connections as were used at a time"
    );
    service.end_well();
}

#[test]
fn a_rate_is_kept_whatever_the_load() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let rules = Rules::new(&rule(&receiver, "rate = \"50/s\""));
    let mut service = serve_with(&redis, &rules, &["--drain-timeout", "20s"]);
    let messages: Vec<String> = (0..101)
        .map(|n| message(&receiver.url("/"), &format!("m{n}"), "1"))
        .collect();
    redis.send_all(&messages);
    let requests = receiver.wait_for(101);
    // Up to 20 ms late ones may be made up for.
    for pair in requests.windows(21) {
        assert!(
            pair[20].at - pair[0].at > 350 * MS,
            "{:?}",
            pair[20].at - pair[0].at
        );
    }
    let all = requests[100].at - requests[0].at;
    assert!(all > Duration::from_millis(1900), "{all:?}");
    service.end_well();
}

#[test]
fn a_disabled_endpoint_s_messages_wait_in_redis_until_it_is_enabled() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let rules = Rules::new(&rule(&receiver, "disabled = true"));
    let mut service = serve_with(&redis, &rules, &[]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    redis.add(message(&receiver.url("/"), "b", "1"));
    redis.wait_deferred(2);
    rules.write("");
    reload(&mut service, 1);
    receiver.wait_for(2);
    service.end_well();
    assert_eq!((receiver.count(), redis.kept().len()), (2, 0));
}

#[test]
fn what_stands_in_a_queue_when_its_endpoint_is_disabled_is_not_sent() {
    let redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let rules = Rules::new("");
    let mut service = serve_with(&redis, &rules, &[]);
    for n in 0..30 {
        redis.send(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    receiver.wait_for(4);
    rules.write(&rule(&receiver, "disabled = true"));
    reload(&mut service, 1);
    redis.wait_deferred(26);
    gate.open();
    service.end_well();
    assert_eq!(receiver.count(), 4);
}

#[test]
fn sighup_takes_new_rules_and_refuses_bad_ones() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let rules = Rules::new(&rule(&receiver, "method = \"PUT\""));
    let mut service = serve_with(&redis, &rules, &[]);
    let sent = |n: usize| {
        redis.send(message(&receiver.url("/"), &format!("m{n}"), "1"));
        receiver.wait_for(n)[n - 1].method.clone()
    };
    assert_eq!(sent(1), "PUT");
    rules.write(&rule(&receiver, "method = \"PATCH\""));
    reload(&mut service, 1);
    // The timer takes the rules a moment after the log line.
    let mut n = 1;
    until("the new method", || {
        n += 1;
        (sent(n) == "PATCH").then_some(())
    });
    rules.write(&rule(&receiver, "method = \"GET\""));
    reload(&mut service, 2);
    let line = service.log.wait("the old rules stay");
    assert!(
        line.contains("line 3") && line.contains("POST, PUT or PATCH"),
        "{line}"
    );
    assert_eq!(sent(n + 1), "PATCH");
    service.end_well();
}

#[test]
fn a_bad_file_at_start_is_refused_with_its_line() {
    let rules = Rules::new("[[endpoint]]\nhost = \"h\"\nrate = \"fast\"\n");
    for command in ["serve", "deliver"] {
        let run = Outhook::new(&[command, "--endpoints", &*rules.path()]).run("");
        assert_eq!((run.code, run.err.len()), (2, 1), "{run:?}");
        assert!(
            run.err[0].contains("line 3") && run.err[0].contains("100/s"),
            "{run:?}"
        );
    }
    let run = Outhook::new(&["serve", "--endpoints", "/nowhere"]).run("");
    assert!(
        run.code == 2 && run.err[0].contains("--endpoints /nowhere"),
        "{run:?}"
    );
}

#[test]
fn without_redis_a_disabled_endpoint_s_messages_are_dead_letters() {
    let receiver = Receiver::ok();
    let rules = Rules::new(&rule(&receiver, "disabled = true"));
    let run = Outhook::new(&["deliver", "--endpoints", &*rules.path()]);
    let run = run.run(message(&receiver.url("/"), "a", "1"));
    assert_eq!((run.code, receiver.count()), (1, 0));
    assert!(
        run.err.iter().any(|l| l.contains(r#""reason":"disabled""#)),
        "{run:?}"
    );
}
