//! `outhook deliver`: the same pipeline from standard input, without any Redis.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::ndjson::Letter;
use crate::support::receiver::{Receiver, Reply, status};
use crate::support::service::Outhook;
use crate::support::sys::Signal;
use crate::support::{DEADLINE, DRAIN_MARGIN, free_port, message};

/// `deliver` with these arguments and a file for dead letters, which it gives back.
fn deliver(args: &[&str], input: impl Into<Vec<u8>>) -> (i32, Vec<Letter>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dead.ndjson");
    let run = Outhook::new(&[&["deliver", "--dead-file", file.to_str().unwrap()], args].concat())
        .run(input);
    (run.code, letters(&file))
}

fn letters(file: &Path) -> Vec<Letter> {
    // With no dead letters there need not be a file.
    Letter::all(&fs::read_to_string(file).unwrap_or_default())
}

#[test]
fn every_line_is_delivered_and_the_exit_code_is_0() {
    let receiver = Receiver::ok();
    let lines: Vec<String> = (0..500)
        .map(|n| message(&receiver.url("/"), &format!("m{n}"), &format!("[{n}, 1.0]")))
        .collect();
    let (code, dead) = deliver(&[], lines.join("\n") + "\n");
    assert_eq!((code, dead.len()), (0, 0));
    let mut got: Vec<String> = receiver
        .requests()
        .iter()
        .map(|r| format!("{} {}", r.id(), r.text()))
        .collect();
    let mut sent: Vec<String> = (0..500).map(|n| format!("m{n} [{n}, 1.0]")).collect();
    got.sort();
    sent.sort();
    assert_eq!(got, sent);
}

#[test]
fn nothing_to_do_is_0() {
    for input in ["", "\n", "\n\n\r\n  \n"] {
        let (code, dead) = deliver(&[], input);
        assert_eq!((code, dead.len()), (0, 0), "{input:?}");
    }
}

#[test]
fn line_ends_of_both_kinds_empty_lines_and_a_last_line_without_an_end_are_taken() {
    let receiver = Receiver::ok();
    let m = |id: &str| message(&receiver.url("/"), id, "\"x\"");
    let input = format!("{}\r\n\r\n{}\n\n \t\n{}", m("crlf"), m("lf"), m("last"));
    let (code, dead) = deliver(&[], input);
    assert_eq!((code, dead.len()), (0, 0));
    let mut ids = receiver.ids();
    ids.sort();
    assert_eq!(ids, ["crlf", "last", "lf"]);
    assert!(receiver.requests().iter().all(|r| r.body == b"\"x\""));
}

#[test]
fn bad_lines_are_dead_letters_and_the_exit_code_is_1() {
    let receiver = Receiver::ok();
    let good = |id: &str| message(&receiver.url("/"), id, "1");
    let lines: [&[u8]; 8] = [
        good("g1").as_bytes(),
        b"garbage",
        br#"{"url":"ftp://h/","data":1,"webhookId":"known"}"#,
        br#"{"url":"http://h/","data":1,"webhookId":"a.b"}"#,
        br#"{"url":"http://h/x","webhookId":"no-data"}"#,
        b"\xff\xfe not UTF-8",
        br#"["http://h/","a",1]"#,
        good("g2").as_bytes(),
    ]
    .map(|l| Box::leak(l.to_vec().into_boxed_slice()) as &[u8]);
    let (code, dead) = deliver(&[], lines.join(&b'\n'));
    assert_eq!(code, 1);
    let of = |reason: &str| {
        dead.iter()
            .filter(|d| d.text("reason") == reason)
            .collect::<Vec<_>>()
    };
    assert_eq!(dead.len(), 6, "{dead:#?}");
    assert_eq!(
        (
            of("bad_json").len(),
            of("bad_url").len(),
            of("bad_id").len(),
            of("bad_data").len()
        ),
        (3, 1, 1, 1)
    );
    assert_eq!(of("bad_url")[0].text("id"), "known");
    assert_eq!(of("bad_url")[0].text("message").as_bytes(), lines[2]);
    assert_eq!(of("bad_data")[0].text("url"), "http://h/x");
    assert!(
        of("bad_json")
            .iter()
            .any(|d| d.get("message").is_some_and(|m| m == "garbage")),
        "{dead:#?}"
    );
    let binary = dead
        .iter()
        .find(|d| d.get("message_base64").is_some())
        .expect("one that is not UTF-8");
    assert_eq!(binary.text("message_base64"), "//4gbm90IFVURi04");
    assert!(binary.get("message").is_none());
    assert_eq!(receiver.count(), 2);
}

#[test]
fn an_exhausted_message_is_a_whole_dead_letter() {
    let receiver = Receiver::script([status(500).body("no \"thanks\"\n")]);
    let line = format!(
        r#" {{"url":"{}","webhookId":"a","data":{{"é":1.0}}}} "#,
        receiver.url("/p")
    );
    let (code, dead) = deliver(
        &["--max-attempts", "2", "--backoff-base", "20ms"],
        line.clone() + "\n",
    );
    assert_eq!((code, dead.len(), receiver.count()), (1, 1, 2));
    let dead = &dead[0];
    assert_eq!(dead.text("reason"), "exhausted");
    assert_eq!(dead.text("message"), line);
    assert_eq!(
        (dead.text("id"), dead.text("url")),
        ("a", receiver.url("/p").as_str())
    );
    assert_eq!((dead.number("attempts"), dead.number("status")), (2, 500));
    assert_eq!(dead.text("answer"), "no \"thanks\"\n");
    assert!(dead.text("source").contains("stdin"), "{dead:?}");
    assert!(dead.number("received_ms") <= dead.number("last_attempt_ms"));
    assert!(dead.number("last_attempt_ms") <= dead.number("dead_ms"));
    assert!(dead.get("error").is_none(), "{dead:?}");
}

#[test]
fn without_a_file_dead_letters_go_to_standard_error() {
    let refused = message(&format!("http://127.0.0.1:{}/", free_port()), "a", "1");
    let run = Outhook::new(&["deliver", "--max-attempts", "1"]).run(refused + "\njunk\n");
    assert_eq!(run.code, 1);
    let mut reasons: Vec<String> = Letter::among(&run.err)
        .iter()
        .map(|l| l.text("reason").to_owned())
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["bad_json", "exhausted"], "{run:#?}");
}

#[test]
fn a_retry_that_succeeds_is_no_dead_letter() {
    let receiver = Receiver::script([status(500), status(200)]);
    let (code, dead) = deliver(
        &["--backoff-base", "30ms"],
        message(&receiver.url("/"), "a", "1"),
    );
    assert_eq!((code, dead.len(), receiver.count()), (0, 0, 2));
}

#[test]
fn a_huge_line_is_too_large_and_kept_whole_and_its_neighbours_arrive() {
    let receiver = Receiver::ok();
    let good = |id: &str| message(&receiver.url("/"), id, "1");
    let huge = message(
        &receiver.url("/"),
        "huge",
        &format!("\"{}\"", "x".repeat(3 << 20)),
    );
    let (code, dead) = deliver(&[], format!("{}\n{huge}\n{}\n", good("a"), good("b")));
    assert_eq!((code, dead.len()), (1, 1));
    assert_eq!(dead[0].text("reason"), "too_large");
    let kept = dead[0].text("message");
    assert!(
        kept == huge,
        "{} of {} bytes were kept",
        kept.len(),
        huge.len()
    );
    assert_eq!(receiver.count(), 2);
    // Just below the limit it is delivered.
    let big = message(
        &receiver.url("/"),
        "big",
        &format!("\"{}\"", "x".repeat(1_000_000)),
    );
    assert_eq!(deliver(&[], big).0, 0);
}

#[test]
fn lines_are_delivered_as_they_come_and_not_only_at_the_end() {
    let receiver = Receiver::ok();
    let mut service = Outhook::new(&["deliver"]).spawn();
    for n in 0..3 {
        service.write(message(&receiver.url("/"), &format!("m{n}"), "1") + "\n");
        receiver.wait_for(n + 1);
    }
    service.close_stdin();
    assert_eq!(service.wait_exit(DEADLINE), 0);
}

#[test]
fn a_signal_ends_the_input_and_what_was_taken_is_delivered() {
    for signal in [Signal::INT, Signal::TERM] {
        let receiver = Receiver::answering(|_, _| status(200).after(Duration::from_millis(300)));
        let mut service = Outhook::new(&["deliver"]).spawn();
        let lines: Vec<String> = (0..5)
            .map(|n| message(&receiver.url("/"), &format!("m{n}"), "1") + "\n")
            .collect();
        service.write(lines.concat());
        receiver.wait_for(1);
        // Standard input stays open, so only the signal can end it.
        let asked = Instant::now();
        service.signal(signal);
        assert_eq!(service.wait_exit(DEADLINE), 0);
        assert!(
            asked.elapsed() < Duration::from_secs(8),
            "{:?}",
            asked.elapsed()
        );
        let mut ids = receiver.ids();
        ids.dedup();
        assert_eq!(ids.len(), receiver.count());
        assert!(service.log.count("delivered id=") >= 1);
        assert_eq!(service.log.count("delivered id="), receiver.count());
    }
}

#[test]
fn what_cannot_be_delivered_before_the_drain_timeout_is_a_dead_letter() {
    let receiver = Receiver::script([Reply::Hang]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dead.ndjson");
    let args = [
        "deliver",
        "--drain-timeout",
        "1s",
        "--timeout",
        "60s",
        "--dead-file",
        file.to_str().unwrap(),
    ];
    let mut service = Outhook::new(&args).spawn();
    service.write(message(&receiver.url("/"), "a", "1") + "\n");
    receiver.wait_for(1);
    let (code, took) = service.terminate();
    assert_eq!(code, 1);
    assert!(took < Duration::from_secs(1) + DRAIN_MARGIN, "{took:?}");
    let dead = letters(&file);
    assert_eq!(
        (dead.len(), dead[0].text("reason"), dead[0].text("id")),
        (1, "drained", "a")
    );
}

#[test]
fn a_second_signal_exits_at_once() {
    let receiver = Receiver::script([Reply::Hang]);
    let mut service =
        Outhook::new(&["deliver", "--drain-timeout", "60s", "--timeout", "60s"]).spawn();
    service.write(message(&receiver.url("/"), "a", "1") + "\n");
    receiver.wait_for(1);
    service.signal(Signal::INT);
    service.log.wait("drain: begins");
    service.signal(Signal::INT);
    assert_eq!(service.wait_exit(Duration::from_secs(5)), 130);
}

#[test]
fn the_end_of_input_waits_for_retries_and_not_only_for_the_drain_timeout() {
    let receiver = Receiver::script([status(500), status(200)]);
    let args = [
        "--backoff-base",
        "1500ms",
        "--jitter",
        "0",
        "--drain-timeout",
        "200ms",
    ];
    let (code, dead) = deliver(&args, message(&receiver.url("/"), "a", "1"));
    assert_eq!((code, dead.len(), receiver.count()), (0, 0, 2));
}

#[test]
fn a_full_disk_does_not_keep_it_from_ending_and_names_what_is_lost() {
    // As many as the ledger holds, so that it cannot find its channel closed by reading on.
    for count in [3, 256, 300] {
        let args = [
            "deliver",
            "--dead-file",
            "/dev/full",
            "--drain-timeout",
            "1s",
        ];
        let run = Outhook::new(&args).run("bad\n".repeat(count));
        assert_eq!(run.code, 1, "{run:?}");
        let lost = run.err.iter().filter(|line| line.contains("lost: "));
        let named: usize = lost
            .map(|line| line.matches("message of 3 bytes").count())
            .sum();
        assert_eq!(named, count, "{run:?}");
    }
}

#[test]
fn a_dead_file_that_cannot_be_written_is_refused_before_anything_is_sent() {
    let receiver = Receiver::ok();
    let run = Outhook::new(&["deliver", "--dead-file", "/no/such/folder/x"]).run(message(
        &receiver.url("/"),
        "a",
        "1",
    ));
    assert_eq!(run.code, 2);
    assert!(
        run.err.len() == 1
            && run.err[0].contains("--dead-file")
            && run.err[0].contains("/no/such/folder/x"),
        "{run:?}"
    );
    assert_eq!(receiver.count(), 0);
}

#[test]
fn what_was_taken_from_the_pipe_when_the_signal_came_is_a_dead_letter_at_least() {
    let receiver = Receiver::script([Reply::Hang]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dead.ndjson");
    let file = file.to_str().unwrap();
    let args = ["deliver", "--max-active", "10", "--drain-timeout", "0s"];
    let mut service = Outhook::new(&[&args[..], &["--dead-file", file]].concat()).spawn();
    let lines = (0..500).map(|n| message(&receiver.url("/"), &format!("m{n}"), "1") + "\n");
    // The last line is not whole yet.
    let input = lines.collect::<String>() + r#"{"url":"#;
    service.write(input.clone());
    receiver.wait_for(1);
    assert_eq!(service.terminate().0, 1);
    let left = service.unread();
    let dead = letters(Path::new(file));
    let taken: usize = dead.iter().map(|d| d.text("message").len() + 1).sum();
    let taken = taken - usize::from(dead.last().unwrap().text("reason") == "bad_json");
    assert_eq!(taken + left, input.len(), "{} dead letters", dead.len());
    assert!(dead.len() > 100, "it had taken a good many: {}", dead.len());
}
