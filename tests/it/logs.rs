//! The log: what machines read, what an operator sees at night, and what nobody is to see.

use serde_json::Value;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{message, until};

fn serve_with_log(redis: &Redis, filter: &str, args: &[&str]) -> Service {
    let address = redis.address();
    let args = [&["serve", "--redis-address", &address], args].concat();
    Outhook::new(&args).env("OUTHOOK_LOG", filter).spawn()
}

/// All lines so far as objects, each with what all have.
fn objects(service: &Service) -> Vec<Value> {
    let lines = service.log.all();
    let lines = lines.iter().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        for key in ["time", "level", "message", "module"] {
            assert!(object[key].is_string(), "{key}: {line}");
        }
        object
    });
    lines.collect()
}

#[test]
fn as_json_each_line_is_an_object_with_the_keys_of_its_event() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--log-format", "json"]);
    redis.add(message(&receiver.url("/"), "m1", "1"));
    receiver.wait_for(1);
    service.signal(Signal::USR1);
    service.log.wait("\"snapshot\"");
    service.end_well();
    let objects = objects(&service);
    let of = |event: &str| {
        let found = objects.iter().find(|o| o["event"] == event);
        found.unwrap_or_else(|| panic!("no {event}"))
    };
    assert_eq!(of("start")["workers"], 512);
    assert_eq!(of("snapshot")["accepted"], 1);
    assert_eq!(of("drain_done")["delivered"], 1);
    assert_eq!(of("drain_done")["lost"], 0);
}

#[test]
fn the_log_is_made_verbose_and_usual_again_while_it_runs() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve_with_log(&redis, "info", &[]);
    service.log.wait("ready: subscribed");
    let deliver = |id: &str| {
        redis.add(message(&receiver.url("/"), id, "1"));
        redis.wait_settled();
    };
    deliver("before");
    service.signal(Signal::USR2);
    service
        .log
        .wait("the log's filter is \"info,outhook=debug\" now");
    deliver("verbose");
    service.log.wait("delivered id=verbose");
    service.signal(Signal::USR2);
    service.log.wait("the log's filter is \"info\" now");
    deliver("after");
    service.end_well();
    assert_eq!(service.log.count("delivered id="), 1);
    assert_eq!(receiver.count(), 3);
}

/// Whatever a message holds that is refused, or whose delivery fails, its log has ids, origins and
/// sentences of ours.
#[test]
fn nothing_of_a_message_stands_in_the_log_at_its_most() {
    let redis = Redis::start();
    let (good, bad) = (Receiver::ok(), Receiver::script([status(400)]));
    let mut service = serve_with_log(&redis, "trace", &["--max-attempts", "1"]);
    service.log.wait("ready: subscribed");
    let (good, bad) = (
        good.url("/hunter2?a=hunter2"),
        bad.url("/hunter2?a=hunter2"),
    );
    let with = |more: &str| format!(r#"{{"data":"hunter2","webhookId":"m",{more}}}"#);
    let to_good = |more: &str| with(&format!(r#""url":"{good}",{more}"#));
    let messages = [
        to_good(r#""headers":{"x-a":"hunter2"}"#),
        with(&format!(r#""url":"{bad}""#)),
        with(r#""url":"http://hunter2:hunter2@h/hunter2""#),
        with(r#""url":"hunter2.example/hunter2?hunter2""#),
        with(r#""url":"http://[::hunter2/""#),
        with(r#""url":["hunter2"]"#),
        to_good(r#""headers":{"hunter2 ":"x"}"#),
        to_good(r#""deliverAt":"hunter2""#),
        to_good(r#""orderKey":["hunter2"]"#),
        format!(r#"{{"url":"{good}","webhookId":"hunter2 ","data":1}}"#),
        r#"{"hunter2" hunter2"#.to_owned(),
        "hunter2".to_owned(),
    ];
    redis.add_all(&messages);
    redis.send("hunter2");
    redis.command::<()>(&["XADD", "{outhook}:messages", "*", "hunter2", "hunter2"]);
    redis.command::<()>(&["ZADD", "{outhook}:parked", "1", "hunter2"]);
    redis.command::<()>(&["PUBLISH", "{outhook}:control", "hunter2"]);
    redis.wait_dead(messages.len() + 1);
    service.log.wait("delivered id=m ");
    service.end_well();
    let shown: Vec<_> = service.log.all();
    let shown: Vec<_> = shown.iter().filter(|l| l.contains("hunter2")).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    service.log.wait("dead (bad_url): m from stream");
    service.log.wait("dead (exhausted): m to http://127.0.0.1:");
}

#[test]
fn a_flood_of_dead_letters_makes_few_lines_that_count_all_of_them() {
    let redis = Redis::start();
    let refused = Receiver::answering(|_, _| status(400));
    let args = ["--max-attempts", "1", "--log-format", "json"];
    let mut service = serve_with_log(&redis, "info", &args);
    service.log.wait("ready");
    let junk: Vec<_> = (0..3000).map(|n| format!("junk {n}")).collect();
    let failing = (0..500).map(|n| message(&refused.url("/"), &format!("m{n}"), "1"));
    redis.add_all(&junk);
    redis.add_all(&failing.collect::<Vec<_>>());
    until("all to be kept", || {
        (redis.command::<usize>(&["XLEN", "{outhook}:dead"]) == 3500).then_some(())
    });
    service.end_well();
    let objects = objects(&service);
    let lines: Vec<_> = objects.iter().filter(|o| o["event"] == "dead").collect();
    assert!((4..20).contains(&lines.len()), "{} lines", lines.len());
    let count = |reason: &str| -> u64 {
        let of = lines.iter().filter(|o| o["reason"] == reason);
        of.map(|o| o["count"].as_u64().unwrap()).sum()
    };
    assert_eq!((count("bad_json"), count("exhausted")), (3000, 500));
    let first = lines.iter().find(|o| o["reason"] == "exhausted").unwrap();
    assert_eq!(first["status"], 400);
    assert!(
        first["endpoint"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
}
