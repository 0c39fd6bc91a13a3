//! The operator's tools: send, dead, parked, status. How they print stands in `lists.rs`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{DEAD, MESSAGES, ORDERED, PARKED, Redis};
use crate::support::service::{Finished, Outhook, serve};
use crate::support::{free_port, message, unix_ms, until};

/// Runs a tool at this Redis.
fn tool(redis: &Redis, args: &[&str], input: &str) -> Finished {
    Outhook::tool(redis, args).run(input)
}

/// Dead letters as outhook writes them.
fn bury(redis: &Redis, id: &str, reason: &str, message: &str) -> String {
    let mut add = vec!["XADD", DEAD, "*", "reason", reason, "detail", "because"];
    add.extend([
        "id",
        id,
        "url",
        "http://h/x",
        "attempts",
        "5",
        "received_ms",
        "7",
    ]);
    add.extend(["message", message]);
    redis.command(&add)
}

#[test]
fn send_adds_to_the_stream_and_serve_delivers_it() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let url = receiver.url("/");
    let args = ["send", "--url", &url, "--data", r#"{"b":1.10,"a":[ ]}"#];
    let run = tool(
        &redis,
        &[&args[..], &["--webhook-id", "s1", "--header", "x-a=b=c"]].concat(),
        "",
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.out, ["s1"], "what other commands take");
    let mut service = serve(&redis, &[]);
    let request = &receiver.wait_for(1)[0];
    assert_eq!(
        (request.id(), request.text()),
        ("s1", r#"{"b":1.10,"a":[ ]}"#)
    );
    assert_eq!(request.header("x-a"), Some("b=c"));
    service.end_well();
    assert_eq!(redis.command::<usize>(&["XLEN", MESSAGES]), 0, "settled");
}

#[test]
fn send_reads_lines_refuses_the_bad_ones_by_number_and_sends_the_others() {
    let redis = Redis::start();
    let lines = format!(
        "{}\n\njunk\n{}\n",
        message("http://h/", "a", "1"),
        message("http://h/", "b", "2")
    );
    let run = tool(&redis, &["send", "--json"], &lines);
    assert_eq!((run.code, run.out.len()), (1, 2), "{run:?}");
    assert!(run.out[0].starts_with(r#"{"entry":""#), "{run:?}");
    assert!(
        run.err[0].contains("line 3") && run.err[0].contains("JSON"),
        "{run:?}"
    );
    assert_eq!(redis.command::<usize>(&["XLEN", MESSAGES]), 2);
}

#[test]
fn send_checks_what_it_is_told() {
    let redis = Redis::start();
    for (args, word) in [
        (
            &["send", "--url", "http://h/", "--data", "text"][..],
            "--data",
        ),
        (&["send", "--url", "nowhere", "--data", "1"], "url"),
        (
            &["send", "--url", "http://h/", "--data", "1", "--header", "x"],
            "--header",
        ),
        (
            &[
                "send",
                "--url",
                "http://h/",
                "--data",
                "1",
                "--deliver-at",
                "soon",
            ],
            "deliverAt",
        ),
        (
            &["send", "--url", "http://h/", "--data", "@/no/such/file"],
            "--data",
        ),
        (&["send", "--url", "http://h/"], "--data"),
    ] {
        let run = tool(&redis, args, "");
        assert_eq!(run.code, 2, "{args:?} {run:?}");
        assert!(run.err[0].contains(word), "{args:?} {run:?}");
    }
    assert_eq!(redis.command::<usize>(&["XLEN", MESSAGES]), 0);
}

#[test]
fn publishing_to_nobody_is_told() {
    let redis = Redis::start();
    let args = ["send", "--publish", "--url", "http://h/", "--data", "1"];
    let run = tool(&redis, &args, "");
    assert_eq!((run.code, run.out.len()), (1, 1));
    assert!(run.out[0].starts_with("msg_"), "{:?}", run.out);
    assert!(run.err[0].contains("nobody"), "{:?}", run.err);
}

#[test]
fn dead_letters_are_listed_by_what_is_asked_for() {
    let redis = Redis::start();
    let first = bury(&redis, "a", "exhausted", "{}");
    bury(&redis, "b", "gone", "\x1b[31mred");
    bury(&redis, "c", "exhausted", "{}");
    let list = |args: &[&str]| tool(&redis, &[&["dead", "list"], args].concat(), "");
    assert_eq!(list(&[]).out.len(), 3);
    assert_eq!(list(&["--reason", "exhausted"]).out.len(), 2);
    assert_eq!(list(&["--limit", "1"]).out.len(), 1);
    assert_eq!(list(&["--id", "b"]).out.len(), 1);
    assert_eq!(list(&["--id", &first]).out.len(), 1);
    assert_eq!(list(&["--url", "http://h/"]).out.len(), 3);
    assert_eq!(list(&["--url", "http://other/"]).out.len(), 0);
    assert_eq!(list(&["--since", "1h"]).out.len(), 3);
    assert_eq!(list(&["--until", "2020-01-01T00:00:00Z"]).out.len(), 0);
    assert_eq!(list(&["--since", "soon"]).code, 2);
    let run = list(&["--id", "nobody"]);
    assert_eq!((run.code, run.out.len()), (1, 0));
    let shown = tool(&redis, &["dead", "show", "--id", "b"], "");
    let text = shown.out.join("\n");
    assert!(
        text.contains("\\u{1b}[31mred") && !text.contains('\x1b'),
        "{text:?}"
    );
}

#[test]
fn bytes_that_are_no_text_come_as_base64() {
    let redis = Redis::start();
    let mut service = serve(&redis, &[]);
    redis.publish("payments", b"\xff\xfe");
    redis.wait_dead(1);
    service.end_well();
    let run = tool(&redis, &["dead", "list", "--json"], "");
    assert!(run.out[0].contains(r#""message_base64":"//4=""#), "{run:?}");
}

#[test]
fn a_replay_starts_anew_and_happens_once() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let text = format!(r#"{{"url":"{}","data":1}}"#, receiver.url("/"));
    for n in 0..300 {
        bury(&redis, &format!("msg_{n}"), "exhausted", &text);
    }
    assert_eq!(tool(&redis, &["dead", "replay"], "").code, 2, "which ones?");
    let args = ["dead", "replay", "--reason", "exhausted", "--json"];
    let counts = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| tool(&redis, &args, "")));
        both.map(|run| {
            let told: Value = serde_json::from_str(&run.join().unwrap().out[0]).unwrap();
            told["replayed"].as_u64().unwrap()
        })
    });
    assert_eq!(counts.iter().sum::<u64>(), 300, "each by one of the two");
    let mut service = serve(&redis, &[]);
    let mut ids: Vec<String> = receiver
        .wait_for(300)
        .iter()
        .map(|r| r.id().into())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 300, "with the ids that they had");
    assert!(ids.contains(&"msg_7".to_owned()));
    service.end_well();
    assert_eq!((redis.dead().len(), redis.kept().len()), (0, 0));
}

#[test]
fn a_purge_deletes_what_is_chosen_and_nothing_else() {
    let redis = Redis::start();
    for n in 0..250 {
        bury(&redis, &format!("m{n}"), ["gone", "exhausted"][n % 2], "{}");
    }
    assert_eq!(tool(&redis, &["dead", "purge"], "").code, 2);
    let run = tool(&redis, &["dead", "purge", "--reason", "gone"], "");
    assert_eq!((run.code, &*run.out[0]), (0, "125 dead letters deleted"));
    assert!(redis.dead().iter().all(|d| d.text("reason") == "exhausted"));
    let run = tool(&redis, &["dead", "purge", "--all"], "");
    assert_eq!(run.out[0], "125 dead letters deleted");
    assert_eq!(
        tool(&redis, &["dead", "purge", "--all"], "").code,
        1,
        "none left"
    );
}

#[test]
fn what_is_meant_by_mistake_is_told() {
    let redis = Redis::start();
    bury(&redis, "m", "gone", "{}");
    let told = |args: &[&str], code: i32, text: &str| {
        let run = tool(&redis, args, "");
        assert_eq!(run.code, code, "{run:?}");
        assert!(run.err.join(" ").contains(text), "{run:?}");
    };
    told(&["dead", "replay", "--reason", "nonsense"], 2, "bad_json");
    told(&["dead", "list", "--limit", "0"], 2, "--limit");
    told(&["dead", "show", "--id", "x"], 1, "no dead letter");
    told(&["dead", "purge", "--reason", "expired"], 1, "matches");
    told(&["parked", "flush", "--all"], 1, "matches");
    told(&["endpoints", "show", "http://h"], 1, "nobody knows");
    told(&["send"], 0, "");
    let run = tool(&redis, &["send"], "junk\n");
    assert_eq!((run.code, run.err.len()), (1, 1), "{run:?}");
    let run = tool(&redis, &["dead", "purge", "--all", "--json"], "");
    assert_eq!(run.out, [r#"{"deleted":1}"#]);
}

#[test]
fn a_redis_that_does_not_answer_is_not_waited_for_long() {
    let redis = Redis::start();
    redis.stop();
    let begun = Instant::now();
    let run = tool(&redis, &["dead", "list"], "");
    redis.cont();
    assert_eq!(run.code, 1);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_list_nobody_reads_to_its_end_is_no_error() {
    let redis = Redis::start();
    for n in 0..3000 {
        bury(&redis, &format!("m{n}"), "gone", "{}");
    }
    let script = format!(
        "set -o pipefail; {} dead list --redis-address {} | head -n 2",
        env!("CARGO_BIN_EXE_outhook"),
        redis.address()
    );
    let out = std::process::Command::new("bash")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 2);
}

#[test]
fn parked_messages_are_listed_in_order_and_stay_until_their_time() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let service = serve(&redis, &[]);
    for (id, hours) in [("later", 2), ("soon", 1)] {
        let at = unix_ms() + hours * 3_600_000;
        redis.add(format!(
            r#"{{"url":"{}","webhookId":"{id}","deliverAt":{at},"data":1}}"#,
            receiver.url("/")
        ));
    }
    until("both to be parked", || {
        (redis.command::<usize>(&["ZCARD", PARKED]) == 2).then_some(())
    });
    let list = tool(&redis, &["parked", "list"], "");
    assert!(
        list.out[0].contains("soon") && list.out[1].contains("later"),
        "{list:?}"
    );
    assert!(list.out[0].contains(&receiver.url("/")), "{list:?}");
    assert_eq!(tool(&redis, &["parked", "flush"], "").code, 2);
    // Its deliverAt holds.
    let run = tool(&redis, &["parked", "flush", "--id", "soon"], "");
    assert_eq!((run.code, &*run.out[0]), (1, "0 messages flushed"));
    drop(service);
}

#[test]
fn a_retry_that_waits_for_an_hour_can_be_flushed() {
    let (redis, receiver) = (Redis::start(), Receiver::script([status(500), status(200)]));
    let mut service = serve(&redis, &["--backoff-base", "1h"]);
    redis.add(message(&receiver.url("/"), "a", "1"));
    until("it to be parked", || {
        (redis.command::<usize>(&["ZCARD", PARKED]) == 1).then_some(())
    });
    assert_eq!(redis.kept()[0].attempts, 1);
    let run = tool(&redis, &["parked", "flush", "--all"], "");
    assert_eq!(run.out[0], "1 message flushed");
    receiver.wait_for(2);
    service.end_well();
    assert_eq!(redis.kept().len(), 0);
}

#[test]
fn a_status_tells_what_became_of_a_message() {
    let (redis, receiver) = (Redis::start(), Receiver::script([status(500), status(204)]));
    let mut service = serve(
        &redis,
        &[
            "--status-ttl",
            "1h",
            "--attempt-log",
            "100",
            "--backoff-base",
            "50ms",
        ],
    );
    assert_eq!(tool(&redis, &["status", "a"], "").code, 1);
    redis.add(message(&receiver.url("/"), "a", "1"));
    let known = until("it to be delivered", || {
        let run = tool(&redis, &["status", "a", "--json"], "");
        run.out
            .first()
            .filter(|l| l.contains(r#""state":"delivered""#))
            .cloned()
    });
    assert!(
        known.contains(r#""attempts":2,"#) && known.contains(r#""status":204,"#),
        "{known}"
    );
    let ttl: i64 = redis.command(&["TTL", "{outhook}:status:a"]);
    assert!((3500..=3600).contains(&ttl));
    assert_eq!(
        redis.command::<usize>(&["XLEN", "{outhook}:attempt-log"]),
        2
    );
    service.end_well();
}

#[test]
fn a_redis_that_is_away_is_1_and_one_line() {
    let redis = Redis::absent();
    let port = free_port();
    for args in [
        &["dead", "list"][..],
        &["parked", "list"],
        &["status", "a"],
        &["send"],
    ] {
        let run = tool(&redis, args, "");
        assert_eq!((run.code, run.err.len()), (1, 1), "{args:?} {run:?}");
    }
    let run = Outhook::new(&[
        "dead",
        "list",
        "--redis-address",
        &format!("127.0.0.1:{port}"),
    ])
    .run("");
    assert_eq!(run.code, 1);
}

#[test]
fn a_flush_takes_what_is_there_and_leaves_what_is_not_to_be_delivered_yet() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--status-ttl", "1h", "--attempt-log", "10"]);
    let url = receiver.url("/");
    for n in 0..200 {
        let at = r#""deliverAt":"2100-01-01T00:00:00Z""#;
        redis.add(format!(
            r#"{{"url":"{url}","webhookId":"far{n}","data":1,{at}}}"#
        ));
    }
    redis.wait_kept(200);
    let run = tool(&redis, &["parked", "flush", "--all"], "");
    assert_eq!(
        (run.code, &*run.out[0]),
        (1, "0 messages flushed"),
        "{run:?}"
    );
    let status = |id: &str| tool(&redis, &["status", id, "--json"], "").out.join("");
    let far = status("far7");
    assert!(
        far.contains(r#""state":"parked""#) && far.contains("4102444"),
        "{far}"
    );
    // Dead without an attempt.
    redis.add(r#"{"url":"ftp://h/","webhookId":"bad","data":1}"#);
    let past = r#""expiresAt":"2020-01-01T00:00:00Z""#;
    redis.add(format!(
        r#"{{"url":"{url}","webhookId":"late","data":1,{past}}}"#
    ));
    redis.wait_dead(2);
    for (id, reason) in [("bad", "bad_url"), ("late", "expired")] {
        until("its status", || {
            let known = status(id);
            let dead = known.contains(r#""state":"dead""#);
            (dead && known.contains(&format!(r#""reason":"{reason}""#))).then_some(())
        });
    }
    service.end_well();
    let outcomes: usize = redis.command(&["XLEN", "{outhook}:attempt-log"]);
    assert_eq!(outcomes, 0, "none was attempted");
}

#[test]
fn all_that_a_producer_may_set_can_be_sent() {
    let redis = Redis::start();
    let options = [
        ["--url", "http://h/"],
        ["--data", "1.50"],
        ["--webhook-id", "a"],
        ["--deliver-at", "1800000000000"],
        ["--expires-at", "2100-01-01T00:00:00Z"],
        ["--timeout", "3s"],
        ["--max-attempts", "7"],
        ["--order-key", "k\"1"],
        ["--header", "x-a=b"],
    ];
    let args = [&["send"], &options.concat()[..]].concat();
    let run = tool(&redis, &args, "");
    assert_eq!(run.code, 0, "{run:?}");
    let sent: Vec<(String, Vec<(String, String)>)> = redis.command(&["XRANGE", ORDERED, "-", "+"]);
    let sent: serde_json::Value = serde_json::from_str(&sent[0].1[0].1).unwrap();
    let expected = r#"{"url":"http://h/","webhookId":"a","deliverAt":1800000000000,"timeout":"3s",
        "expiresAt":"2100-01-01T00:00:00Z","maxAttempts":7,"orderKey":"k\"1",
        "headers":{"x-a":"b"},"data":1.50}"#;
    assert_eq!(
        sent,
        serde_json::from_str::<serde_json::Value>(expected).unwrap()
    );
}

#[test]
fn a_flush_gives_each_message_one_attempt_and_not_all() {
    let (redis, receiver) = (Redis::start(), Receiver::script([status(500)]));
    let mut service = serve(&redis, &["--backoff-base", "1h", "--max-attempts", "9"]);
    for n in 0..300 {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    let parked_after = |attempts: u64| {
        until("all to be parked again", || {
            let kept = redis.kept();
            let again = kept
                .iter()
                .all(|k| k.attempts == attempts && k.due.is_some());
            (kept.len() == 300 && again).then_some(())
        });
    };
    parked_after(1);
    let run = tool(&redis, &["parked", "flush", "--all"], "");
    assert_eq!((run.code, &*run.out[0]), (0, "300 messages flushed"));
    parked_after(2);
    service.end_well();
    assert_eq!(receiver.count(), 600);
}
