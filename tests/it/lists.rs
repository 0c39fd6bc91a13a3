//! What an operator reads at night: lists on a terminal and in a pipe, how many messages are meant
//! before anything is changed, and what was done.

use serde_json::Value;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{DEAD, ORDERED, PARKED, Redis};
use crate::support::service::{Outhook, serve};
use crate::support::{Gate, message, unix_ms, until};

fn tool(redis: &Redis, args: &[&str]) -> Outhook {
    Outhook::tool(redis, args)
}

fn rows(redis: &Redis, args: &[&str]) -> Vec<Value> {
    let run = tool(redis, &[args, &["--json"]].concat()).run("");
    let row = |line: &String| serde_json::from_str(line).expect("a line of JSON");
    run.out.iter().map(row).collect()
}

/// Waits until so many wait for a time.
fn wait_parked(redis: &Redis, n: usize) {
    until("messages to be parked", || {
        (redis.command::<usize>(&["ZCARD", PARKED]) == n).then_some(())
    });
}

/// A dead letter of so long ago.
fn bury(redis: &Redis, id: &str, reason: &str, ago_ms: u64) {
    let entry = format!("{}-*", unix_ms() - ago_ms);
    let url = format!("http://{reason}.example/hook");
    let mut add = vec![
        "XADD", DEAD, &entry, "reason", reason, "id", id, "url", &url,
    ];
    add.extend([
        "attempts",
        "5",
        "status",
        "500",
        "received_ms",
        "1795693122682",
    ]);
    add.extend(["source", "stream", "message", r#"{"data":1}"#]);
    redis.command::<String>(&add);
}

/// A Redis with 60 dead letters, m0 the oldest, and a letter that is no JSON.
fn with_letters() -> Redis {
    let redis = Redis::start();
    for n in 0..60 {
        let reason = if n % 3 == 0 { "gone" } else { "exhausted" };
        bury(&redis, &format!("m{n}"), reason, (61 - n) * 60_000);
    }
    redis
}

#[test]
fn dead_letters_come_newest_first_below_their_names_and_fit_the_terminal() {
    let redis = with_letters();
    for columns in [40, 80, 120] {
        let shown = tool(&redis, &["dead", "list"]).on_terminal(columns, "");
        assert_eq!(shown.code, 0, "{shown:#?}");
        assert!(shown.lines[0].starts_with("DIED"), "{shown:#?}");
        let list = &shown.lines[1..51];
        assert!(
            list[0].contains("m59") && list[1].contains("m58"),
            "{list:#?}"
        );
        let widest = shown.lines[..51]
            .iter()
            .map(|line| line.chars().count())
            .max();
        assert!(widest <= Some(columns.into()), "{shown:#?}");
        // More than a screen or two is nobody's wish.
        assert_eq!(
            shown.lines[51..]
                .join(" ")
                .matches("the 50 newest of 60")
                .count(),
            1
        );
        let age = if columns == 120 {
            "Z (2m ago)"
        } else {
            "2m ago"
        };
        assert!(list[0].contains(age), "{list:#?}");
    }
    let shown = tool(&redis, &["dead", "list", "--all"]).on_terminal(80, "");
    assert_eq!(shown.lines.len(), 61);
    let shown = tool(&redis, &["dead", "list", "--oldest", "--limit", "2"]).on_terminal(80, "");
    assert!(
        shown.lines[1].contains("m0 ") && shown.lines[2].contains("m1 "),
        "{shown:#?}"
    );
    // COLUMNS says another width; nobody asked for colours.
    let shown = tool(&redis, &["dead", "list"])
        .env("COLUMNS", "30")
        .env("NO_COLOR", "1")
        .on_terminal(120, "");
    assert!(
        shown.lines[..51]
            .iter()
            .all(|line| line.chars().count() <= 30),
        "{shown:#?}"
    );
    assert!(!shown.raw.contains('\x1b'), "{shown:#?}");
}

#[test]
fn a_pipe_gets_all_of_it_uncut_with_tabs_and_json_has_keys_that_stay() {
    let redis = with_letters();
    let run = tool(&redis, &["dead", "list"]).env("COLUMNS", "20").run("");
    assert_eq!(
        (run.code, run.out.len(), run.err.len()),
        (0, 60, 0),
        "{run:?}"
    );
    let cells: Vec<&str> = run.out[0].split('\t').collect();
    assert!(
        cells[0].starts_with("20") && cells[0].ends_with('Z'),
        "{cells:?}"
    );
    let rest = [
        "exhausted",
        "5",
        "m59",
        "http://exhausted.example/hook",
        "500",
    ];
    assert_eq!(cells[1..], rest);
    let row = &rows(&redis, &["dead", "list"])[0];
    assert_eq!(
        (&row["id"], &row["status"], &row["attempts"]),
        (&"m59".into(), &500.into(), &5.into())
    );
    for key in [
        "entry",
        "time",
        "reason",
        "url",
        "received_ms",
        "source",
        "message",
    ] {
        assert!(!row[key].is_null(), "{key}: {row}");
    }
}

#[test]
fn a_dead_letter_is_shown_with_times_as_people_write_them_and_the_message_last() {
    let redis = with_letters();
    let run = tool(&redis, &["dead", "show", "--id", "m59"]).run("");
    let names: Vec<&str> = run
        .out
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let order = [
        "id", "entry", "url", "reason", "attempts", "status", "received", "dead", "source",
        "message", "",
    ];
    assert_eq!(names, order, "{run:?}");
    assert!(run.out[6].contains("2026-11-26T11:38:42Z ("), "{run:?}");
    assert!(run.out[7].contains(" ago)"), "{run:?}");
}

#[test]
fn dead_letters_are_counted_by_what_they_have_in_common() {
    let redis = with_letters();
    let run = tool(&redis, &["dead", "count"]).run("");
    let counts: Vec<&str> = run
        .out
        .iter()
        .map(|l| l.rsplitn(3, '\t').last().unwrap())
        .collect();
    assert_eq!(counts, ["40\texhausted", "20\tgone"], "{run:?}");
    let by = ["dead", "count", "--by", "endpoint,status"];
    let rows = rows(&redis, &by);
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["count"], &rows[0]["endpoint"], &rows[0]["status"]),
        (
            &40.into(),
            &"http://exhausted.example".into(),
            &"500".into()
        )
    );
    assert!(rows[0]["oldest_ms"].as_u64() < rows[0]["newest_ms"].as_u64());
    let shown = tool(&redis, &["dead", "count", "--since", "10m"]).on_terminal(80, "");
    assert!(shown.lines[0].starts_with("COUNT  REASON"), "{shown:#?}");
}

#[test]
fn how_many_are_meant_is_said_before_anything_is_changed() {
    let redis = with_letters();
    let count = || redis.command::<usize>(&["XLEN", DEAD]);
    for act in ["purge", "replay"] {
        let done = if act == "purge" {
            "deleted"
        } else {
            "replayed"
        };
        let run = tool(&redis, &["dead", act, "--all", "--dry-run"]).run("");
        let text = "60 dead letters: 40 exhausted, 20 gone; the oldest is of ";
        assert!(run.out[0].starts_with(text), "{run:?}");
        assert!(
            run.out[0].ends_with(&format!("nothing is {done} (--dry-run)")),
            "{run:?}"
        );
        assert_eq!((run.code, count()), (0, 60));
        let args = ["dead", act, "--reason", "gone"];
        let no = tool(&redis, &args).on_terminal(80, "n\n");
        assert!(no.has("20 dead letters: 20 gone"), "{no:#?}");
        assert!(no.has(&format!("nothing is {done}")), "{no:#?}");
        assert_eq!((no.code, count()), (1, 60));
    }
    let yes = tool(&redis, &["dead", "purge", "--reason", "gone"]).on_terminal(80, "y\n");
    assert!(yes.has("20 dead letters deleted"), "{yes:#?}");
    let yes = tool(&redis, &["dead", "purge", "--all", "--yes"]).on_terminal(80, "");
    assert!(
        yes.has("40 dead letters deleted") && !yes.has("[y/N]"),
        "{yes:#?}"
    );
    assert_eq!(count(), 0);
}

/// One of each kind of waiting, at a service that is there: paused, gone, failing, a retry, `deliverAt`.
#[test]
fn what_waits_says_why_and_for_how_long() {
    let (redis, receiver) = (
        Redis::start(),
        Receiver::answering(|r, _| {
            status(match &*r.path {
                "/gone" => 410,
                "/retry" => 500,
                _ => 503,
            })
        }),
    );
    let paused = Receiver::ok();
    let service = serve(
        &redis,
        &["--backoff-base", "1h", "--endpoint-backoff-base", "50s"],
    );
    let pause = ["endpoints", "pause", &paused.url(""), "--for", "1h"];
    assert_eq!(tool(&redis, &pause).run("").code, 0);
    let far = unix_ms() + 3_600_000;
    redis.add(message(&receiver.url("/retry"), "retry", "1"));
    wait_parked(&redis, 1);
    redis.add(message(&receiver.url("/gone"), "dead", "1"));
    redis.wait_dead(1);
    redis.add(message(&receiver.url("/gone"), "gone", "1"));
    redis.add(message(&paused.url("/"), "paused", "1"));
    let url = receiver.url("/later");
    redis.add(format!(
        r#"{{"url":"{url}","webhookId":"later","deliverAt":{far},"data":1}}"#
    ));
    redis.wait_deferred(2);
    wait_parked(&redis, 2);
    for n in 0..8 {
        redis.add(message(&receiver.url("/down"), &format!("down{n}"), "1"));
    }
    service.log.wait("failing, no attempt for");
    redis.add(message(&receiver.url("/down"), "late", "1"));
    until("the last to wait", || {
        let parked: usize = redis.command(&["ZCARD", PARKED]);
        (parked + redis.deferred() == 4 + 8 + 1).then_some(())
    });

    let rows = rows(&redis, &["parked", "list"]);
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).expect("it waits");
    for (id, word, text) in [
        (
            "retry",
            "retry",
            "for its retry after 1 attempt: status=500",
        ),
        ("gone", "gone", "its URL answered 410; held for 23h more"),
        ("paused", "paused", "paused for 59m more"),
        ("later", "deliver_at", "for its deliverAt"),
        ("late", "failing", "failing for "),
    ] {
        let row = row(id);
        assert_eq!(row["waits_for"], word, "{row}");
        assert!(row["why"].as_str().unwrap().starts_with(text), "{row}");
        assert!(row["waits_ms"].is_u64(), "{row}");
    }
    assert!(
        row("late")["why"].as_str().unwrap().ends_with("status=503"),
        "{rows:#?}"
    );
    assert_eq!(row("later")["due_ms"], far);
    let shown = tool(&redis, &["parked", "list", "--limit", "1"]).on_terminal(100, "");
    assert!(shown.lines[0].starts_with("WAITS  DUE"), "{shown:#?}");
    assert!(shown.lines[1].contains("late"), "the newest: {shown:#?}");
    let run = tool(&redis, &["parked", "show", "--id", "paused"]).run("");
    assert!(
        run.out
            .iter()
            .any(|l| l.starts_with("why") && l.contains("paused")),
        "{run:?}"
    );
    assert!(
        run.out
            .iter()
            .any(|l| l.starts_with("message") && l.contains("data")),
        "{run:?}"
    );
    let run = tool(&redis, &["parked", "count", "--by", "why"]).run("");
    assert!(run.out.iter().any(|l| l.contains("\tfailing\t")), "{run:?}");
}

#[test]
fn what_waits_can_be_deleted_wherever_it_waits() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let origin = receiver.url("");
    assert_eq!(
        tool(&redis, &["endpoints", "pause", &origin]).run("").code,
        0
    );
    for n in 0..300 {
        redis.add(message(&receiver.url("/"), &format!("p{n}"), "1"));
    }
    let far = unix_ms() + 3_600_000;
    let url = receiver.url("/later");
    redis.add(format!(
        r#"{{"url":"{url}","webhookId":"later","deliverAt":{far},"data":1}}"#
    ));
    redis.wait_deferred(300);
    wait_parked(&redis, 1);
    let run = tool(
        &redis,
        &["parked", "cancel", "--id", "p7", "--id", "nobody"],
    )
    .run("");
    assert_eq!((run.code, run.out.len()), (1, 1), "{run:?}");
    assert!(
        run.out[0].starts_with("p7 to ") && run.out[0].ends_with(": cancelled"),
        "{run:?}"
    );
    assert!(
        run.err[0].contains("nobody does not wait in Redis"),
        "{run:?}"
    );
    let run = tool(&redis, &["parked", "cancel", "--id", "later", "--json"]).run("");
    assert!(run.out[0].contains(r#""cancelled":true"#), "{run:?}");
    let run = tool(&redis, &["parked", "purge", "--url", &origin, "--dry-run"]).run("");
    assert!(
        run.out[0].starts_with(&format!("299 messages: 299 for {origin}; ")),
        "{run:?}"
    );
    let run = tool(&redis, &["parked", "purge", "--url", &origin]).run("");
    assert_eq!((run.code, &*run.out[0]), (0, "299 messages purged"));
    assert_eq!(
        tool(&redis, &["endpoints", "resume", &origin]).run("").code,
        0
    );
    service.end_well();
    assert_eq!(
        (receiver.count(), redis.command::<usize>(&["ZCARD", PARKED])),
        (0, 0)
    );
}

#[test]
fn the_endpoint_for_which_most_messages_wait_comes_first() {
    let (redis, quiet, good) = (Redis::start(), Receiver::ok(), Receiver::ok());
    let (bad, failing) = (
        Receiver::script([status(500)]),
        Receiver::script([status(503)]),
    );
    let mut service = serve(
        &redis,
        &["--backoff-base", "1h", "--endpoint-backoff-base", "50s"],
    );
    let pause = ["endpoints", "pause", &quiet.url(""), "--for", "1h"];
    assert_eq!(tool(&redis, &pause).run("").code, 0);
    for n in 0..30 {
        redis.add(message(&quiet.url("/"), &format!("q{n}"), "1"));
        redis.add(message(&good.url("/"), &format!("g{n}"), "1"));
    }
    for n in 0..9 {
        redis.add(message(&bad.url("/"), &format!("b{n}"), "1"));
        redis.add(message(&failing.url("/"), &format!("f{n}"), "1"));
    }
    service.log.wait("failing, no attempt for");
    let rows = until("all to wait in Redis, or to be delivered", || {
        let rows = rows(&redis, &["endpoints", "list"]);
        let sum = |name: &str| {
            rows.iter()
                .filter_map(|row| row[name].as_u64())
                .sum::<u64>()
        };
        let is_calm = sum("queued") + sum("in_flight") == 0;
        (is_calm && sum("backlog") + sum("parked") == 30 + 9 + 9).then_some(rows)
    });
    assert_eq!(rows[0]["backlog"], 30);
    assert!(
        rows[0]["oldest_ms"].is_u64() && rows[1]["failing_since_ms"].is_u64(),
        "{rows:#?}"
    );
    let shown = tool(&redis, &["endpoints", "list"]).on_terminal(160, "");
    let origins = [&quiet, &failing, &bad, &good].map(|r| r.url(""));
    let order: Vec<&str> = shown.lines[1..]
        .iter()
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    assert_eq!(order, origins, "{shown:#?}");
    let names: Vec<&str> = shown.lines[0].split_whitespace().collect();
    assert_eq!(
        names[..4],
        ["ENDPOINT", "STATE", "WAITING", "OLDEST"],
        "{shown:#?}"
    );
    assert_eq!(names.last(), Some(&"LAST_ERROR"), "{shown:#?}");
    for (receiver, part) in [
        (&quiet, "paused, 59m left"),
        (&failing, "failing "),
        (&failing, "ago: status=503"),
        (&bad, "no 2xx "),
        (&bad, "ago: status=500"),
        (&good, "healthy"),
    ] {
        assert!(
            shown.line(&receiver.url("")).contains(part),
            "{part}: {shown:#?}"
        );
    }
    let narrow = tool(&redis, &["endpoints", "list"]).on_terminal(80, "");
    assert!(
        narrow.lines.iter().all(|line| line.chars().count() <= 80),
        "{narrow:#?}"
    );
    service.end_well();
}

#[test]
fn pause_and_resume_say_what_they_did_and_a_slip_of_the_pen_is_told() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut replicas = [serve(&redis, &[]), serve(&redis, &[])];
    redis.add(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    let origin = receiver.url("");
    let run = tool(
        &redis,
        &["endpoints", "pause", &origin, "--for", "10m", "--dry-run"],
    )
    .run("");
    assert!(run.out[0].contains("would be paused until 20"), "{run:?}");
    let run = tool(&redis, &["endpoints", "pause", &origin, "--for", "10m"]).run("");
    assert!(
        run.out[0].starts_with(&format!("{origin}: paused until 20")),
        "{run:?}"
    );
    assert!(
        run.out[0].ends_with("Z on 2 replicas; nothing waits for it"),
        "{run:?}"
    );
    redis.add(message(&receiver.url("/"), "b", "1"));
    redis.wait_deferred(1);
    let run = tool(&redis, &["endpoints", "resume", &origin]).run("");
    let told = format!("{origin}: resumed on 2 replicas; 1 in its backlog go as it takes them");
    assert_eq!(run.out, [told]);
    receiver.wait_for(2);

    let slip = origin.replace("127", "172");
    let run = tool(&redis, &["endpoints", "resume", &slip]).run("");
    assert_eq!(
        (run.code, &*run.out[0]),
        (1, &*format!("{slip}: was not held")),
        "{run:?}"
    );
    assert!(
        run.err[0].contains("nobody knows")
            && run.err[0].contains(&format!("did you mean {origin}?")),
        "{run:?}"
    );
    let run = tool(&redis, &["endpoints", "pause", &slip, "--json"]).run("");
    let told: Value = serde_json::from_str(&run.out[0]).unwrap();
    assert_eq!(
        (&told["known"], &told["replicas"]),
        (&false.into(), &2.into())
    );
    assert!(run.err[0].contains("did you mean"), "{run:?}");
    replicas.iter_mut().for_each(|replica| replica.end_well());
}

#[test]
fn an_endpoint_that_fails_is_tried_at_once_when_it_is_resumed_and_that_is_said() {
    let redis = Redis::start();
    let answers = |_: &_, n: usize| status(if n < 8 { 503 } else { 200 });
    let receiver = Receiver::answering(answers);
    let hour = [
        "--endpoint-backoff-base",
        "1h",
        "--endpoint-backoff-max",
        "1h",
    ];
    let mut service = serve(&redis, &hour);
    for n in 0..8 {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    service.log.wait("failing, no attempt for");
    redis.wait_deferred(8);
    let before = receiver.count();
    let run = tool(&redis, &["endpoints", "resume", &receiver.url("")]).run("");
    assert!(
        run.out[0].contains("was failing, and is tried at once on 1 replica"),
        "{run:?}"
    );
    receiver.wait_for(before + 1);
    service.end_well();
}

#[test]
fn endpoints_are_listed_while_redis_is_full() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let _service = serve(&redis, &["--consumer", "r1"]);
    redis.add(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let run = tool(&redis, &["endpoints", "list"]).run("");
    assert_eq!((run.code, run.err.len()), (0, 0), "{run:?}");
    assert!(
        run.out[0].starts_with(&receiver.url("")) && run.out[0].contains("healthy"),
        "{run:?}"
    );
    // What is refused then says why.
    let run = tool(&redis, &["send"]).run(message(&receiver.url("/"), "b", "1"));
    assert_eq!(run.code, 1);
    assert!(
        run.err[0].contains("OOM") && run.err[0].contains("Redis is full: see maxmemory"),
        "{run:?}"
    );
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
}

#[test]
fn a_message_is_found_wherever_it_is_without_status_ttl() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let gate = Gate::default();
    let shut = gate.clone();
    let slow = Receiver::answering(move |_, _| {
        shut.pass();
        status(200)
    });
    let mut service = serve(&redis, &[]);
    let origin = receiver.url("");
    assert_eq!(
        tool(&redis, &["endpoints", "pause", &origin]).run("").code,
        0
    );
    let far = unix_ms() + 3_600_000;
    let url = receiver.url("/later");
    redis.add(format!(
        r#"{{"url":"{url}","webhookId":"later","deliverAt":{far},"data":1}}"#
    ));
    redis.add(message(&receiver.url("/"), "held", "1"));
    redis.add(r#"{"url":"ftp://h/","webhookId":"bad","data":1}"#);
    let url = slow.url("/");
    for id in ["first", "second"] {
        let keyed = format!(r#"{{"url":"{url}","webhookId":"{id}","orderKey":"k","data":1}}"#);
        redis.command::<String>(&["XADD", ORDERED, "*", "message", &keyed]);
    }
    redis.wait_dead(1);
    redis.wait_deferred(1);
    wait_parked(&redis, 1);
    slow.wait_for(1);
    for (id, state, word) in [
        ("later", "parked", "for its deliverAt"),
        ("held", "deferred", "paused until it is resumed"),
        ("bad", "dead", "bad_url"),
        ("first", "queued", "{outhook}:again"),
        ("second", "behind", "an earlier message of its key"),
    ] {
        let run = tool(&redis, &["status", id]).run("");
        let text = run.out.join("\n");
        assert_eq!(run.code, 0, "{run:?}");
        let is_state = |l: &String| l.starts_with("state") && l.ends_with(state);
        assert!(
            run.out.iter().any(is_state) && text.contains(word),
            "{id}: {text}"
        );
    }
    let none = tool(&redis, &["status", "nobody"]).run("");
    assert_eq!(none.code, 1);
    assert!(
        none.err[0].contains("waits nowhere") && none.err[0].contains("--status-ttl 1d"),
        "{none:?}"
    );
    gate.open();
    assert_eq!(
        tool(&redis, &["endpoints", "resume", &origin]).run("").code,
        0
    );
    receiver.wait_for(1);
    service.end_well();
}

#[test]
fn send_prints_the_id_that_other_commands_take_and_says_that_it_reads() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let url = receiver.url("/");
    let send = ["send", "--url", &url, "--data", "1", "--json"];
    let sent: Value = serde_json::from_str(&tool(&redis, &send).run("").out[0]).unwrap();
    let key = ["--order-key", "k"];
    let ordered = tool(&redis, &[&send[..5], &key].concat()).run("").out[0].clone();
    let entry = sent["entry"].as_str().unwrap();
    assert_eq!(sent["webhookId"], format!("msg_{entry}"));
    let mut service = serve(&redis, &[]);
    let ids: Vec<String> = receiver
        .wait_for(2)
        .iter()
        .map(|r| r.id().to_owned())
        .collect();
    assert!(
        ids.contains(&format!("msg_{entry}")) && ids.contains(&ordered),
        "{ids:?} {ordered}"
    );
    let publish = [&send[..5], &["--publish"]].concat();
    let heard = tool(&redis, &publish).run("").out[0].clone();
    assert_eq!(receiver.wait_for(3)[2].id(), heard);
    service.end_well();
    let shown = tool(&redis, &["send"]).on_terminal(80, "\x04");
    assert!(
        shown.has("reads messages from standard input"),
        "{shown:#?}"
    );
    let shown = Outhook::new(&["deliver"]).on_terminal(80, "\x04");
    assert!(
        shown.has("delivers messages from standard input"),
        "{shown:#?}"
    );
    let run = tool(&redis, &["send", "--dry-run"]).run(message(&url, "a", "1"));
    assert_eq!(run.out, ["a: would be sent"]);
    assert_eq!(
        redis.command::<usize>(&["EXISTS", "{outhook}:messages"]),
        1,
        "the group's"
    );
}
