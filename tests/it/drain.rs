//! SIGTERM and SIGINT: what was received is delivered or handed back, and the process ends
//! in time with an exit code that tells which.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{DEADLINE, DRAIN_MARGIN, MS, message, unix_ms, until};

fn ids_of(receiver: &Receiver) -> Vec<String> {
    let mut ids = receiver.ids();
    ids.sort();
    ids
}

fn numbered(receiver: &Receiver, n: usize) -> Vec<String> {
    (0..n)
        .map(|i| message(&receiver.url("/"), &format!("m{i:04}"), "1"))
        .collect()
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("m{i:04}")).collect()
}

/// A service with 5 messages at a receiver that never answers.
fn stuck(redis: &Redis, args: &[&str]) -> (Service, Receiver) {
    let receiver = Receiver::script([Reply::Hang]);
    let service = serve(redis, &[&["--timeout", "60s"], args].concat());
    assert_eq!(redis.send_all(&numbered(&receiver, 5)), 5);
    receiver.wait_for(1);
    (service, receiver)
}

#[test]
fn a_burst_right_before_the_signal_arrives_in_full() {
    for signal in [Signal::TERM, Signal::INT] {
        let redis = Redis::start();
        let receiver = Receiver::answering(|_, _| status(200).after(MS));
        let mut service = serve(&redis, &["--drain-timeout", "20s", "--log", "info"]);
        assert_eq!(redis.send_all(&numbered(&receiver, 500)), 500);
        service.signal(signal);
        assert_eq!(service.wait_exit(DEADLINE), 0);
        // What Redis had not handed over when all else was done is kept.
        let mut ids = ids_of(&receiver);
        ids.extend(redis.kept().into_iter().map(|kept| kept.id));
        ids.sort();
        assert_eq!(ids, names(500), "each once");
        assert!(redis.dead().is_empty());
        service.log.wait("drain: begins");
        service.log.wait("drain: done");
    }
}

#[test]
fn what_is_queued_and_in_flight_at_a_slow_receiver_is_delivered() {
    let redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let mut service = serve(&redis, &["--workers", "4", "--drain-timeout", "20s"]);
    assert_eq!(redis.send_all(&numbered(&receiver, 40)), 40);
    receiver.wait_for(1);
    service.signal(Signal::TERM);
    service.log.wait("drain: begins");
    assert!(service.is_running());
    gate.open();
    assert_eq!(service.wait_exit(DEADLINE), 0);
    assert_eq!(ids_of(&receiver), names(40), "each once");
    assert!(redis.dead().is_empty());
}

#[test]
fn all_that_publish_counted_as_received_during_the_drain_arrives_or_is_kept() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(2 * MS));
    let mut service = serve(&redis, &["--drain-timeout", "20s", "--log", "info"]);
    let (heard, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !over.load(Ordering::SeqCst) {
                let id = format!("m{n}");
                heard.fetch_add(
                    redis.publish("payments", message(&receiver.url("/"), &id, "1")),
                    Ordering::SeqCst,
                );
                n += 1;
            }
        });
        receiver.wait_for(200);
        service.signal(Signal::TERM);
        let code = service.wait_exit(DEADLINE);
        over.store(true, Ordering::SeqCst);
        assert_eq!(code, 0);
    });
    let mut ids = ids_of(&receiver);
    ids.extend(redis.kept().into_iter().map(|kept| kept.id));
    assert_eq!(ids.len(), heard.load(Ordering::SeqCst));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), heard.load(Ordering::SeqCst), "each once");
    assert!(redis.dead().is_empty());
}

#[test]
fn what_a_hanging_receiver_holds_is_handed_back_at_the_drain_timeout() {
    let redis = Redis::start();
    let (mut service, receiver) = stuck(&redis, &["--drain-timeout", "1s"]);
    let (code, took) = service.terminate();
    assert_eq!(code, 0, "nothing was lost");
    assert!(
        took >= 900 * MS && took < Duration::from_secs(1) + DRAIN_MARGIN,
        "{took:?}"
    );
    // On the stream again, for another replica or the next start.
    let kept = redis.wait_kept(5);
    let mut ids: Vec<String> = kept.iter().map(|k| k.id.clone()).collect();
    ids.sort();
    assert_eq!(ids, names(5));
    for k in &kept {
        assert_eq!(
            (k.due, k.attempts),
            (None, 0),
            "a cut attempt does not count"
        );
        assert_eq!(k.message, message(&receiver.url("/"), &k.id, "1"));
    }
    assert!(redis.dead().is_empty());
}

#[test]
fn a_backlog_that_cannot_be_delivered_in_time_is_handed_back_whole() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(150 * MS));
    let mut service = serve(
        &redis,
        &["--workers", "4", "--drain-timeout", "1s", "--log", "info"],
    );
    assert_eq!(redis.send_all(&numbered(&receiver, 2000)), 2000);
    let (code, took) = service.terminate();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(1) + DRAIN_MARGIN, "{took:?}");
    let mut all: Vec<String> = redis.kept().into_iter().map(|k| k.id).collect();
    let handed_back = all.len();
    assert!(handed_back > 1000, "{handed_back}");
    all.extend(ids_of(&receiver));
    all.sort();
    all.dedup();
    assert_eq!(all, names(2000), "each was delivered or handed back");
    // Only what was cut in flight may be both.
    assert!(
        handed_back + receiver.count() <= 2000 + 4,
        "{handed_back} + {}",
        receiver.count()
    );
}

#[test]
fn what_waits_for_a_retry_is_parked_without_waiting_and_goes_on_after_a_restart() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, n| status(if n < 20 { 500 } else { 200 }));
    let args = [
        "--backoff-base",
        "5s",
        "--jitter",
        "0",
        "--drain-timeout",
        "25s",
    ];
    let mut service = serve(&redis, &args);
    assert_eq!(redis.send_all(&numbered(&receiver, 20)), 20);
    service.log.wait_times("failed id=", 20);
    let failed = unix_ms();
    let (code, took) = service.terminate();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(4), "{took:?}");
    let kept = redis.wait_kept(20);
    for k in &kept {
        assert_eq!(k.attempts, 1);
        let due = k.due.expect("its retry is not due yet");
        assert!(
            due <= failed + 5_500 && due + 4_000 >= failed,
            "{due} {failed}"
        );
    }
    let mut service = serve(&redis, &args);
    receiver.wait_for(40);
    assert!(
        unix_ms() + 100 >= kept[0].due.unwrap(),
        "not before it is due"
    );
    service.end_well();
    let mut ids = ids_of(&receiver);
    ids.dedup();
    assert_eq!(ids, names(20));
    assert!(redis.kept().is_empty() && redis.dead().is_empty());
}

#[test]
fn without_redis_what_is_left_is_named_in_the_log_and_the_exit_code_is_1() {
    let mut redis = Redis::start();
    let (mut service, _receiver) = stuck(&redis, &["--drain-timeout", "1s"]);
    redis.kill();
    let (code, took) = service.terminate();
    assert_eq!(code, 1);
    assert!(took < Duration::from_secs(1) + DRAIN_MARGIN, "{took:?}");
    for id in names(5) {
        assert!(service.log.count(&id) >= 1, "{id} is not in the log");
    }
}

#[test]
fn more_than_the_ledger_can_hold_is_named_too_when_redis_hangs_to_the_end() {
    let redis = Redis::start();
    // It has answered, so what comes for it is held in memory.
    let receiver = Receiver::script([status(200).into(), Reply::Hang]);
    let args = ["--timeout", "60s", "--drain-timeout", "1s", "--log", "info"];
    let mut service = serve(&redis, &args);
    redis.send(message(&receiver.url("/"), "first", "1"));
    until("it to be delivered", || {
        service.signal(Signal::USR1);
        (service.log.count(" delivered=1 ") > 0).then_some(())
    });
    assert_eq!(redis.send_all(&numbered(&receiver, 2000)), 2000);
    until("all to be taken in", || {
        service.signal(Signal::USR1);
        (service.log.count("accepted=2001 ") > 0).then_some(())
    });
    redis.stop();
    service.signal(Signal::TERM);
    assert_eq!(service.wait_exit(DEADLINE), 1);
    for id in names(2000) {
        assert!(service.log.count(&id) >= 1, "{id} is not in the log");
    }
    redis.cont();
}

#[test]
fn without_redis_and_with_nothing_left_the_exit_code_is_0() {
    let mut redis = Redis::start();
    let receiver = Receiver::ok();
    let mut service = serve(&redis, &["--drain-timeout", "2s"]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    service.log.wait("delivered id=a");
    redis.kill();
    service.log.wait("redis: trouble");
    let (code, took) = service.terminate();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(2) + DRAIN_MARGIN, "{took:?}");
}

#[test]
fn without_redis_the_drain_still_delivers() {
    let mut redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let mut service = serve(&redis, &["--workers", "8"]);
    assert_eq!(redis.send_all(&numbered(&receiver, 30)), 30);
    receiver.wait_for(1);
    redis.kill();
    service.log.wait("redis: trouble");
    service.signal(Signal::TERM);
    service.log.wait("drain: begins");
    gate.open();
    assert_eq!(service.wait_exit(DEADLINE), 0);
    assert_eq!(ids_of(&receiver), names(30));
}

#[test]
fn a_second_signal_exits_at_once() {
    use Signal as S;
    let ways = [
        (S::TERM, S::TERM, 143),
        (S::INT, S::INT, 130),
        (S::TERM, S::INT, 130),
        (S::INT, S::TERM, 143),
    ];
    for (first, second, code) in ways {
        let redis = Redis::start();
        let (mut service, _receiver) = stuck(&redis, &["--drain-timeout", "60s"]);
        service.signal(first);
        service.log.wait("drain: begins");
        let asked = Instant::now();
        service.signal(second);
        assert_eq!(
            service.wait_exit(DEADLINE),
            code,
            "{first:?} then {second:?}"
        );
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
    }
}

#[test]
fn an_idle_service_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let redis = Redis::start();
        let mut service = serve(&redis, &[]);
        let asked = Instant::now();
        service.signal(signal);
        assert_eq!(service.wait_exit(DEADLINE), 0);
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
    }
}

#[test]
fn a_service_that_never_reached_redis_ends_at_once() {
    let redis = Redis::absent();
    let address = redis.address();
    let mut service = Outhook::new(&["serve", "--redis-address", &address]).spawn();
    service.log.wait("redis: trouble");
    let (code, took) = service.terminate();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_snapshot_is_one_line_with_all_counters() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| match r.id() {
        "fails" => status(500).into(),
        "hangs" => Reply::Hang,
        _ => status(200).into(),
    });
    let args = [
        "--backoff-base",
        "10ms",
        "--max-attempts",
        "3",
        "--timeout",
        "60s",
        "--drain-timeout",
        "1s",
    ];
    let mut service = serve(&redis, &args);
    for id in ["a", "b", "c", "fails"] {
        redis.send(message(&receiver.url("/"), id, "1"));
    }
    redis.send("junk");
    redis.wait_dead(2);
    for id in ["a", "b", "c"] {
        service.log.wait(&format!("delivered id={id}"));
    }
    redis.send(message(&receiver.url("/"), "hangs", "1"));
    receiver.wait_for(7);
    service.signal(Signal::USR1);
    let line = service.log.wait("snapshot: ");
    let value = |name: &str| -> u64 {
        let text = line
            .split(' ')
            .find_map(|word| word.strip_prefix(&format!("{name}=")));
        text.and_then(|v| v.parse().ok())
            .unwrap_or_else(|| panic!("{name} in {line}"))
    };
    assert_eq!(value("accepted"), 5, "{line}");
    assert_eq!(value("delivered"), 3, "{line}");
    assert_eq!(value("rejected"), 1, "{line}");
    assert_eq!(value("retried"), 2, "{line}");
    assert_eq!(value("in_flight"), 1, "{line}");
    assert_eq!((value("queued"), value("scheduled")), (0, 0), "{line}");
    for name in ["dead", "attempts", "endpoints", "intake", "ledger"] {
        value(name);
    }
    service.signal(Signal::USR1);
    service.log.wait_times("snapshot: ", 2);
    assert!(service.is_running());
}
