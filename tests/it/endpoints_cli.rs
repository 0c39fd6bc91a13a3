//! `outhook endpoints`, and what an answer of 410 does to a URL.

use serde_json::Value;

use crate::support::receiver::{Receiver, Request, status};
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook, Service, serve};
use crate::support::sys::{Signal, peak_rss};
use crate::support::{MS, message, until};

fn endpoints(redis: &Redis, args: &[&str]) -> Finished {
    let address = redis.address();
    let tool = [&["endpoints"], args, &["--redis-address", &*address]].concat();
    Outhook::new(&tool).run("")
}

/// The rows of `list --json`.
fn rows(redis: &Redis) -> Vec<Value> {
    let run = endpoints(redis, &["list", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let row = |line: &String| serde_json::from_str(line).expect("a line of JSON");
    run.out.iter().map(row).collect()
}

#[test]
fn a_url_that_answers_410_gets_nothing_more_from_any_replica_until_it_is_resumed() {
    let redis = Redis::start();
    let answer = |r: &Request, n: usize| status(if r.path == "/gone" && n < 1 { 410 } else { 200 });
    let receiver = Receiver::answering(answer);
    let mut first = serve(&redis, &[]);
    redis.add(message(&receiver.url("/gone"), "g0", "1"));
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(
        (dead.text("id"), dead.text("reason")),
        ("g0".into(), "gone".into())
    );
    first.log.wait("/…: held for 1day");
    // What the first has found out holds for one that comes later.
    let mut second = serve(&redis, &[]);
    for n in 1..=20 {
        redis.add(message(&receiver.url("/gone"), &format!("g{n}"), "1"));
        redis.add(message(&receiver.url("/other"), &format!("o{n}"), "1"));
    }
    receiver.wait_for(21);
    redis.wait_deferred(20);
    assert!(receiver.requests()[1..].iter().all(|r| r.path == "/other"));
    let held = |row: &Value| row["held"] == "gone" && row["backlog"] == 20;
    assert!(rows(&redis).iter().any(held), "{:?}", rows(&redis));

    let run = endpoints(&redis, &["resume", &receiver.url("/gone")]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.out
            .iter()
            .any(|l| l.contains("backlog") && l.contains("20")),
        "{run:?}"
    );
    receiver.wait_for(41);
    assert_eq!(
        first.log.count("/…: held") + second.log.count("/…: held"),
        2
    );
    first.end_well();
    second.end_well();
    assert_eq!((redis.kept().len(), redis.dead().len()), (0, 1));
}

#[test]
fn a_paused_origin_gets_nothing_its_messages_wait_and_resume_brings_them() {
    let (redis, receiver, other) = (Redis::start(), Receiver::ok(), Receiver::ok());
    let origin = receiver.url("");
    // Without a replica it is kept for those that come.
    assert_eq!(endpoints(&redis, &["pause", &origin]).code, 0);
    let mut service = serve(&redis, &[]);
    for n in 0..10 {
        redis.send(message(
            &receiver.url(&format!("/{n}")),
            &format!("p{n}"),
            "1",
        ));
        redis.send(message(&other.url("/"), &format!("o{n}"), "1"));
    }
    other.wait_for(10);
    redis.wait_deferred(10);
    assert_eq!(receiver.count(), 0);
    let run = endpoints(&redis, &["list"]);
    assert!(
        run.out
            .iter()
            .any(|l| l.starts_with(&origin) && l.contains("paused")),
        "{run:?}"
    );
    assert_eq!(endpoints(&redis, &["resume", &origin]).code, 0);
    receiver.wait_for(10);
    service.log.wait(&format!("{origin}: no longer held"));
    service.end_well();
    assert_eq!((receiver.count(), redis.kept().len()), (10, 0));
}

#[test]
fn a_pause_has_been_obeyed_by_all_replicas_when_it_returns_and_who_does_not_answer_is_named() {
    let redis = Redis::start();
    let mut replicas = [
        serve(&redis, &["--consumer", "r1"]),
        serve(&redis, &["--consumer", "r2"]),
    ];
    for round in 0..5 {
        let receiver = Receiver::ok();
        assert_eq!(endpoints(&redis, &["pause", &receiver.url("")]).code, 0);
        for n in 0..10 {
            redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
        }
        redis.wait_deferred(10 * (round + 1));
        assert_eq!(receiver.count(), 0);
    }
    replicas[1].stop();
    let run = endpoints(&redis, &["pause", "http://127.0.0.1:9"]);
    assert_eq!(run.code, 1, "{run:?}");
    let told = run.err.join(" ");
    assert!(
        told.contains("1 of 2 replicas") && told.contains(": r2"),
        "{run:?}"
    );
    // It obeys when it goes on.
    replicas[1].signal(Signal::CONT);
    replicas[1].log.wait("http://127.0.0.1:9: held");
    replicas.iter_mut().for_each(Service::end_well);
}

#[test]
fn a_pause_ends_by_itself_after_its_time() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let _service = serve(&redis, &[]);
    let run = endpoints(&redis, &["pause", &receiver.url("/"), "--for", "1500ms"]);
    assert_eq!(run.code, 0, "{run:?}");
    let paused = std::time::Instant::now();
    redis.add(message(&receiver.url("/"), "a", "1"));
    let request = &receiver.wait_for(1)[0];
    assert!(request.at - paused > 1000 * MS, "{:?}", request.at - paused);
}

#[test]
fn list_tells_what_is_known_of_each_endpoint() {
    let (redis, good) = (Redis::start(), Receiver::ok());
    let bad = Receiver::script([status(503)]);
    let mut service = serve(
        &redis,
        &["--consumer", "r1", "--endpoint-backoff-base", "50s"],
    );
    for n in 0..8 {
        redis.add(message(&good.url("/"), &format!("g{n}"), "1"));
        redis.add(message(&bad.url("/"), &format!("b{n}"), "1"));
    }
    service.log.wait("failing, no attempt for");
    good.wait_for(8);
    let row = |receiver: &Receiver| {
        let origin = receiver.url("");
        let mut rows = rows(&redis).into_iter();
        rows.find(|row| row["endpoint"] == *origin)
    };
    let of_good = until("all answers are counted", || {
        row(&good).filter(|row| row["in_flight"] == 0)
    });
    assert_eq!(
        (&of_good["state"], &of_good["replica"]),
        (&"healthy".into(), &"r1".into())
    );
    assert_eq!(
        (&of_good["success"], &of_good["last_error"]),
        (&1.0.into(), &Value::Null)
    );
    assert!(of_good["p99_ms"].as_f64() < Some(10_000.0), "{of_good}");
    redis.wait_deferred(8);
    let of_bad = row(&bad).unwrap();
    assert_eq!(of_bad["backlog"], 8);
    assert_eq!(
        (&of_bad["state"], &of_bad["queued"]),
        (&"failing".into(), &0.into())
    );
    assert_eq!(
        (&of_bad["success"], &of_bad["last_error"]),
        (&0.0.into(), &"status=503".into())
    );
    assert!(of_bad["probe_in_ms"].as_u64() > Some(10_000), "{of_bad}");
    let run = endpoints(&redis, &["show", &bad.url("")]);
    assert!(run.out.iter().any(|l| l.contains("failing")), "{run:?}");
    service.end_well();
    let run = endpoints(&redis, &["list"]);
    // What waits for it is known all the same.
    assert_eq!((run.code, run.out.len()), (0, 1), "{run:?}");
    assert!(run.out[0].contains("\t8\t"), "{run:?}");
    assert!(run.err[0].contains("no replica"), "{run:?}");
}

#[test]
fn what_is_no_url_is_refused_and_noise_on_the_channel_ignored() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let run = endpoints(&redis, &["pause", "nonsense"]);
    assert_eq!((run.code, run.err.len()), (2, 1), "{run:?}");
    assert!(run.err[0].contains("must begin with http://"), "{run:?}");
    let mut service = serve(&redis, &[]);
    redis.publish("{outhook}:control", b"\xff hold up");
    service.log.wait("not an order that is known");
    redis.publish("{outhook}:control", "report {outhook}:dead ");
    service.log.wait("not a place for an answer");
    redis.send(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    service.end_well();
}

#[test]
fn a_flood_of_questions_neither_fills_the_memory_nor_stops_deliveries() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    // Nobody listens there: a lane each, with an error to tell of.
    for port in 1..500 {
        let url = format!("http://127.0.0.2:{port}/");
        redis.add(message(&url, &format!("x{port}"), "1"));
    }
    until("lanes", || (rows(&redis).len() == 499).then_some(()));
    for _ in 0..3000 {
        let question = "report {outhook}:reply:1 ";
        let heard: usize = redis.command(&["PUBLISH", "{outhook}:control", question]);
        assert_eq!(heard, 1);
    }
    redis.add(message(&receiver.url("/"), "good", "1"));
    receiver.wait_for(1);
    let rss = peak_rss(service.pid());
    assert!(rss < 100 << 20, "{rss} bytes");
    let left: usize = redis.command(&["EXISTS", "{outhook}:reply:1"]);
    assert_eq!(left, 0, "answers are kept nowhere");
    service.end_well();
}

#[test]
fn a_pause_can_be_shortened() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let origin = receiver.url("");
    assert_eq!(
        endpoints(&redis, &["pause", &origin, "--for", "1h"]).code,
        0
    );
    redis.add(message(&receiver.url("/"), "m", "1"));
    redis.wait_deferred(1);
    assert_eq!(
        endpoints(&redis, &["pause", &origin, "--for", "2s"]).code,
        0
    );
    assert_eq!(receiver.count(), 0);
    receiver.wait_for(1);
    service.log.wait_times("held for", 2);
    service.end_well();
}

#[test]
fn a_resume_tells_what_is_held_still() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let origin = receiver.url("");
    assert_eq!(endpoints(&redis, &["pause", &origin]).code, 0);
    let run = endpoints(&redis, &["resume", &receiver.url("/a")]);
    assert!(run.err.join("").contains("is still paused"), "{run:?}");
    let run = endpoints(&redis, &["pause", &receiver.url("/")]);
    assert!(run.err.join("").contains("this URL alone"), "{run:?}");
    service.end_well();
}
