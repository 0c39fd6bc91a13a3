//! `outhook listen`: a receiver for development.

use std::time::{Duration, Instant};

use crate::support::client::{Response, post};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{DEADLINE, MS, message};

/// Starts it on a free port; gives the address from its first line.
fn listen(args: &[&str]) -> (Service, String) {
    let service = Outhook::new(&[&["listen", "--bind", "127.0.0.1:0"], args].concat()).spawn();
    let line = service.out.wait("listen: on http://");
    let address = line
        .rsplit("http://")
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    assert_eq!(service.out.all()[0], line, "it is the first line");
    (service, address)
}

fn send(address: &str, id: &str, body: &str) -> Response {
    post(address, "/hook?x=1", id, body, DEADLINE).expect("an answer")
}

#[test]
fn each_request_is_one_line_and_answered_200() {
    let (service, address) = listen(&[]);
    for n in 0..3 {
        let id = format!("id-{n}");
        assert_eq!(send(&address, &id, r#"{"a": "é"}"#).status, 200);
        let line = service.out.wait(&id);
        assert!(
            line.contains(&format!(
                "200 POST /hook?x=1 webhook-id=id-{n} {{\"a\": \"é\"}}"
            )),
            "{line}"
        );
    }
    assert_eq!(service.out.all().len(), 4);
}

#[test]
fn it_says_what_outhook_needs_to_send_to_it() {
    let (service, _) = listen(&[]);
    let hint = "outhook sends here only with --allow-cidr 127.0.0.1/32";
    service.log.wait(hint);
    let everywhere = Outhook::new(&["listen", "--bind", "0.0.0.0:0"]).spawn();
    everywhere.out.wait("listen: on http://");
    assert_eq!(everywhere.log.count("--allow-cidr"), 0);
}

#[test]
fn a_body_with_line_ends_is_still_one_line() {
    let (service, address) = listen(&[]);
    send(&address, "id-1", "{\n\"a\":\r\n1}\n");
    send(&address, "id-2", "1");
    service.out.wait("id-2");
    assert_eq!(service.out.all().len(), 3, "{:?}", service.out.all());
}

#[test]
fn the_status_is_settable_and_retry_after_stands_only_on_failures() {
    let (service, address) = listen(&["--status", "503", "--retry-after", "7"]);
    let response = send(&address, "id-1", "1");
    assert_eq!(
        (response.status, response.header("retry-after")),
        (503, Some("7"))
    );
    assert!(service.out.wait("id-1").contains("503 POST"));
    let (_service, address) = listen(&["--status", "201", "--retry-after", "7"]);
    let response = send(&address, "id-1", "1");
    assert_eq!(
        (response.status, response.header("retry-after")),
        (201, None)
    );
}

#[test]
fn a_share_of_the_answers_is_500() {
    for (rate, least, most) in [("0", 0, 0), ("1", 60, 60), ("0.5", 10, 50)] {
        let (service, address) = listen(&["--fail-rate", rate]);
        let failed = (0..60)
            .filter(|n| send(&address, &format!("id-{n}"), "1").status == 500)
            .count();
        assert!((least..=most).contains(&failed), "{failed} of 60 at {rate}");
        service.out.wait("webhook-id=id-59");
        assert_eq!(service.out.count("500 POST"), failed);
        assert_eq!(service.out.count("200 POST"), 60 - failed);
    }
}

#[test]
fn answers_are_delayed_but_not_one_behind_the_other() {
    let (_service, address) = listen(&["--delay", "500ms"]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..20 {
            let address = &address;
            scope.spawn(move || send(address, &format!("id-{n}"), "1"));
        }
    });
    let took = begun.elapsed();
    assert!(took >= 500 * MS, "{took:?}");
    assert!(
        took < Duration::from_secs(8),
        "one behind the other: {took:?}"
    );
}

#[test]
fn a_hanging_one_accepts_and_never_answers() {
    let (_service, address) = listen(&["--hang"]);
    let error = post(&address, "/", "id-1", "1", 700 * MS).expect_err("no answer");
    assert!(
        matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{error}"
    );
}

#[test]
fn a_signal_ends_it_even_while_it_hangs_or_delays() {
    for args in [&[][..], &["--hang"], &["--delay", "1h"]] {
        for signal in [Signal::INT, Signal::TERM] {
            let (mut service, address) = listen(args);
            if !args.is_empty() {
                post(&address, "/", "id-1", "1", 100 * MS).expect_err("no answer");
            }
            service.signal(signal);
            assert_eq!(
                service.wait_exit(Duration::from_secs(10)),
                0,
                "{args:?} {signal:?}"
            );
        }
    }
}

#[test]
fn a_port_that_is_taken_is_said_in_one_line() {
    let (_service, address) = listen(&[]);
    let run = Outhook::new(&["listen", "--bind", &address]).run("");
    assert!(run.code == 1 || run.code == 2, "{run:?}");
    assert!(
        run.err.len() == 1 && run.err[0].contains(&address),
        "{run:?}"
    );
}

#[test]
fn it_receives_what_serve_sends_through_failures() {
    let redis = Redis::start();
    let (listener, address) = listen(&["--fail-rate", "0.3"]);
    let mut service = serve(
        &redis,
        &[
            "--backoff-base",
            "10ms",
            "--max-attempts",
            "30",
            "--drain-timeout",
            "20s",
        ],
    );
    let url = format!("http://{address}/hook");
    let all: Vec<String> = (0..200)
        .map(|n| message(&url, &format!("m{n:03}"), "1"))
        .collect();
    assert_eq!(redis.send_all(&all), 200);
    for n in 0..200 {
        listener
            .out
            .wait(&format!("200 POST /hook webhook-id=m{n:03}"));
    }
    service.end_well();
    assert!(redis.dead().is_empty());
    assert!(listener.out.count("500 POST") > 0);
}

#[test]
fn a_scheme_without_a_secret_is_refused_as_nothing_would_be_verified() {
    let run = Outhook::new(&["listen", "--bind", "127.0.0.1:0", "--scheme", "github"]).run("");
    assert_eq!(run.code, 2, "{run:?}");
    let says = |word| run.err.iter().any(|line| line.contains(word));
    assert!(says("--scheme github") && says("--secret-file"), "{run:?}");
}
