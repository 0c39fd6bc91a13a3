//! A failed attempt is made again when it is due, not before, and not for ever.

use std::time::{Duration, Instant, SystemTime};

use crate::support::receiver::{Receiver, Request, status};
use crate::support::redis::{Dead, Redis};
use crate::support::service::serve;
use crate::support::{MS, free_port, message, unix_ms};

/// The waits between requests. A lower bound on a wait holds however busy the machine is:
/// the receiver notes a request before it answers it, and the next can only be later.
fn gaps(requests: &[Request]) -> Vec<Duration> {
    requests.windows(2).map(|w| w[1].at - w[0].at).collect()
}

fn assert_gaps(requests: &[Request], least: &[u32]) {
    let gaps = gaps(requests);
    assert_eq!(gaps.len(), least.len(), "{gaps:?}");
    for (gap, least) in gaps.iter().zip(least) {
        assert!(
            *gap >= *least * MS,
            "{gaps:?} are to be at least {least} ms"
        );
    }
}

/// One message to this receiver until it is dead; gives the letter.
fn until_dead(receiver: &Receiver, args: &[&str]) -> Dead {
    let redis = Redis::start();
    let mut service = serve(&redis, args);
    redis.send(message(&receiver.url("/"), "a", r#"{"n":1}"#));
    let dead = redis.wait_dead(1).remove(0);
    service.end_well();
    dead
}

#[test]
fn waits_double_until_attempts_run_out() {
    let receiver = Receiver::script([status(500)]);
    let dead = until_dead(
        &receiver,
        &[
            "--backoff-base",
            "100ms",
            "--jitter",
            "0",
            "--max-attempts",
            "4",
        ],
    );
    assert_gaps(&receiver.requests(), &[100, 200, 400]);
    assert_eq!(
        (dead.text("reason"), dead.number("attempts")),
        ("exhausted".into(), 4)
    );
}

#[test]
fn five_attempts_are_the_default() {
    let receiver = Receiver::script([status(500)]);
    let dead = until_dead(&receiver, &["--backoff-base", "10ms"]);
    assert_eq!((receiver.count(), dead.number("attempts")), (5, 5));
}

#[test]
fn the_default_wait_is_a_second_that_doubles() {
    let receiver = Receiver::script([status(500)]);
    until_dead(&receiver, &["--max-attempts", "3"]);
    assert_gaps(&receiver.requests(), &[1000, 2000]);
}

#[test]
fn waits_stop_growing_at_the_cap() {
    let receiver = Receiver::script([status(500)]);
    let begun = Instant::now();
    let args = [
        "--backoff-base",
        "100ms",
        "--backoff-max",
        "200ms",
        "--jitter",
        "0",
        "--max-attempts",
        "9",
    ];
    until_dead(&receiver, &args);
    assert_gaps(
        &receiver.requests(),
        &[100, 200, 200, 200, 200, 200, 200, 200],
    );
    // Without the cap it would have been 25.5 s.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn jitter_only_adds_and_spreads() {
    let redis = Redis::start();
    let receiver = Receiver::script([status(500)]);
    let _service = serve(
        &redis,
        &[
            "--backoff-base",
            "300ms",
            "--jitter",
            "1",
            "--max-attempts",
            "2",
        ],
    );
    for n in 0..20 {
        redis.send(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    let requests = receiver.wait_for(40);
    let waits: Vec<Duration> = (0..20)
        .map(|n| {
            let id = format!("m{n}");
            let of_it: Vec<&Request> = requests.iter().filter(|r| r.id() == id).collect();
            of_it[1].at - of_it[0].at
        })
        .collect();
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*least >= 300 * MS, "{waits:?}");
    assert!(*most - *least > 60 * MS, "all alike: {waits:?}");
}

#[test]
fn a_schedule_gives_each_wait_and_the_number_of_attempts() {
    let receiver = Receiver::script([status(500)]);
    let dead = until_dead(
        &receiver,
        &["--retry-schedule", "50ms,300ms,20ms", "--jitter", "0"],
    );
    assert_gaps(&receiver.requests(), &[50, 300, 20]);
    assert_eq!(dead.number("attempts"), 4);
}

#[test]
fn the_standard_schedule_begins_with_five_seconds() {
    let (redis, receiver) = (Redis::start(), Receiver::script([status(500)]));
    let mut service = serve(&redis, &["--retry-schedule", "standard", "--jitter", "0"]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    assert_gaps(&receiver.wait_for(2), &[5000]);
    // The next is due in five minutes, which is too long to wait in memory.
    let kept = &redis.wait_kept(1)[0];
    let wait = kept.due.expect("it is parked") - unix_ms();
    assert!((285_000..=300_000).contains(&wait), "{wait}");
    assert_eq!(kept.attempts, 2);
    service.end_well();
}

#[test]
fn one_attempt_means_one() {
    let receiver = Receiver::script([status(503)]);
    let dead = until_dead(&receiver, &["--max-attempts", "1"]);
    assert_eq!((receiver.count(), dead.number("attempts")), (1, 1));
}

#[test]
fn a_receiver_that_recovers_gets_the_same_request_again() {
    let redis = Redis::start();
    let receiver = Receiver::script([status(500), status(404), status(429), status(200)]);
    let mut service = serve(&redis, &["--backoff-base", "20ms"]);
    redis.send(message(&receiver.url("/x?y"), "a", r#"{ "n" : 1.0 }"#));
    service.log.wait("delivered id=a");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(
            (request.path.as_str(), request.id(), request.text()),
            ("/x?y", "a", r#"{ "n" : 1.0 }"#)
        );
        assert_eq!(request.headers, requests[0].headers);
    }
    service.end_well();
    assert_eq!(receiver.count(), 4);
    assert!(redis.dead().is_empty());
}

#[test]
fn a_hundred_that_fail_once_each_all_arrive_at_the_second_attempt() {
    let redis = Redis::start();
    let failed = std::sync::Mutex::new(std::collections::HashSet::new());
    let receiver = Receiver::answering(move |r, _| {
        status(if failed.lock().unwrap().insert(r.id().to_owned()) {
            500
        } else {
            200
        })
    });
    let mut service = serve(&redis, &["--backoff-base", "50ms", "--max-attempts", "2"]);
    let payloads: Vec<String> = (0..100)
        .map(|n| message(&receiver.url("/"), &format!("m{n}"), "1"))
        .collect();
    assert_eq!(redis.send_all(&payloads), 100);
    receiver.wait_for(200);
    service.end_well();
    assert_eq!(receiver.count(), 200);
    assert!(redis.dead().is_empty());
}

#[test]
fn what_waits_for_a_retry_holds_nobody_up() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| status(if r.id() == "waits" { 500 } else { 200 }));
    let service = serve(&redis, &["--backoff-base", "1h", "--workers", "1"]);
    redis.send(message(&receiver.url("/"), "waits", "1"));
    service.log.wait("failed id=waits");
    for n in 0..10 {
        redis.send(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    receiver.wait_for(11);
    assert!(redis.dead().is_empty());
}

#[test]
fn gone_is_dead_at_once() {
    let receiver = Receiver::script([status(410).body("no longer here")]);
    let dead = until_dead(&receiver, &["--backoff-base", "10ms"]);
    assert_eq!(receiver.count(), 1);
    assert_eq!(dead.text("reason"), "gone");
    assert_eq!((dead.number("attempts"), dead.number("status")), (1, 410));
    assert_eq!(dead.text("answer"), "no longer here");
}

#[test]
fn an_exhausted_dead_letter_tells_the_whole_story() {
    let before = unix_ms();
    let redis = Redis::start();
    let long = "x".repeat(5000);
    let receiver = Receiver::script([
        status(500).body("first"),
        status(503).body(format!("last {long}")),
    ]);
    let _service = serve(&redis, &["--backoff-base", "60ms", "--max-attempts", "2"]);
    let raw = format!(
        r#" {{ "url" : "{}", "data" : [1.0] , "webhookId":"a"}} "#,
        receiver.url("/p")
    );
    redis.send(&raw);
    let dead = &redis.wait_dead(1)[0];
    let after = unix_ms();
    assert_eq!(dead.text("reason"), "exhausted");
    assert_eq!(dead.text("message"), raw);
    assert_eq!(dead.text("id"), "a");
    assert_eq!(dead.text("url"), receiver.url("/p"));
    assert_eq!((dead.number("attempts"), dead.number("status")), (2, 503));
    assert_eq!(dead.text("source"), "pubsub:payments");
    assert_eq!(dead.text("answer"), format!("last {}", &long[..1024 - 5]));
    assert!(!dead.text("detail").is_empty());
    let times = ["received_ms", "last_attempt_ms", "dead_ms"].map(|name| dead.number(name));
    assert!(
        before <= times[0]
            && times[0] + 60 <= times[1]
            && times[1] <= times[2]
            && times[2] <= after,
        "{before} {times:?} {after}"
    );
}

#[test]
fn a_dead_letter_without_an_answer_has_an_error_and_no_status() {
    let redis = Redis::start();
    let _service = serve(&redis, &["--max-attempts", "1"]);
    redis.send(message(
        &format!("http://127.0.0.1:{}/", free_port()),
        "a",
        "1",
    ));
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(dead.text("reason"), "exhausted");
    assert!(
        dead.text("error").to_lowercase().contains("refused"),
        "{dead:?}"
    );
    assert_eq!((dead.get("status"), dead.get("answer")), (None, None));
}

#[test]
fn retry_after_in_seconds_moves_the_next_attempt_later_on_any_failure() {
    for code in [503, 429, 500, 404, 302] {
        let redis = Redis::start();
        let receiver = Receiver::script([status(code).header("Retry-After", "1"), status(200)]);
        let _service = serve(&redis, &["--backoff-base", "10ms"]);
        redis.send(message(&receiver.url("/"), "a", "1"));
        assert_gaps(&receiver.wait_for(2), &[1000]);
    }
}

#[test]
fn retry_after_as_a_date_moves_the_next_attempt_later() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, n| {
        // Dates are whole seconds, so this is one to two seconds from now.
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
        if n == 0 {
            status(503).header("retry-after", &date)
        } else {
            status(200)
        }
    });
    let _service = serve(&redis, &["--backoff-base", "10ms"]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    assert_gaps(&receiver.wait_for(2), &[950]);
}

#[test]
fn retry_after_never_moves_an_attempt_earlier_and_nonsense_in_it_is_ignored() {
    let values = [
        "0",
        "-5",
        "soon",
        "",
        "1.5",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "99999999999999999999999",
    ];
    for value in values {
        let redis = Redis::start();
        let receiver = Receiver::script([status(503).header("Retry-After", value), status(200)]);
        let mut service = serve(&redis, &["--backoff-base", "300ms", "--jitter", "0"]);
        redis.send(message(&receiver.url("/"), "a", "1"));
        if value.starts_with('9') {
            // As a number it is more than the cap of 24 h; either way it may not be soon.
            service.log.wait("failed id=a");
            service.end_well();
            continue;
        }
        assert_gaps(&receiver.wait_for(2), &[300]);
    }
}
