//! The end of a drain: it is short, and hears to the last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::proxy::Proxy;
use crate::support::receiver::{Receiver, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{DEADLINE, DRAIN_MARGIN, Gate, MS, message, until};

/// A drain that has nothing to wait for takes a fraction of this, and one that waits for its
/// timeout much longer.
const SHORT: Duration = Duration::from_secs(5);

/// A service that drains, and has one attempt in flight that ends when the gate opens.
fn draining(redis: &Redis, args: &[&str]) -> (Service, Receiver, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |r, _| {
        if r.id() == "first" {
            held.pass();
        }
        status(200)
    });
    let mut service = serve(redis, &[&["--drain-timeout", "20s"], args].concat());
    redis.send(message(&receiver.url("/"), "first", "1"));
    receiver.wait_for(1);
    service.signal(Signal::TERM);
    service.log.wait("drain: begins");
    (service, receiver, gate)
}

/// Publishes one after another until one is kept: from then on all are.
fn publish_until_kept(redis: &Redis, url: &str) -> usize {
    let mut n = 0;
    until("what is published to be kept", || {
        redis.send(message(url, &format!("early{n}"), "1"));
        n += 1;
        (!redis.kept().is_empty()).then_some(n)
    })
}

fn ids(redis: &Redis) -> Vec<String> {
    let mut ids: Vec<String> = redis.kept().into_iter().map(|kept| kept.id).collect();
    ids.sort();
    ids
}

#[test]
fn what_is_published_while_draining_is_kept_for_the_next_start() {
    let redis = Redis::start();
    let (mut service, receiver, gate) = draining(&redis, &[]);
    let early = publish_until_kept(&redis, &receiver.url("/"));
    for n in 0..50 {
        redis.send(message(&receiver.url("/"), &format!("late{n:02}"), "1"));
    }
    // One that is refused is a dead letter as ever.
    redis.send("junk");
    redis.wait_dead(1);
    until("all to be kept", || {
        let kept = ids(&redis);
        let late = kept.iter().filter(|id| id.starts_with("late")).count();
        (late == 50).then_some(())
    });
    assert!(service.is_running());
    gate.open();
    assert_eq!(service.wait_exit(DEADLINE), 0);
    let kept = ids(&redis);
    let done = service.log.wait("drain: done");
    assert!(
        done.contains(&format!(" appended={} ", kept.len())),
        "{done}"
    );
    assert!(done.contains(" lost=0"), "{done}");
    let mut next = serve(&redis, &[]);
    receiver.wait_for(1 + early + 50);
    next.end_well();
    assert_eq!(receiver.distinct().len(), receiver.count(), "each once");
    assert!(redis.kept().is_empty());
}

#[test]
fn a_restart_in_a_stream_of_messages_loses_what_nobody_heard_and_no_more() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(5 * MS));
    let over = AtomicBool::new(false);
    let heard = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let mut heard = Vec::new();
            for n in 0.. {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let id = format!("m{n}");
                if redis.publish("payments", message(&receiver.url("/"), &id, "1")) == 1 {
                    heard.push(id);
                }
                std::thread::sleep(MS);
            }
            heard.sort();
            heard
        });
        for _ in 0..3 {
            let before = receiver.count();
            let mut service = serve(&redis, &[]);
            receiver.wait_for(before + 200);
            service.end_well();
        }
        over.store(true, Ordering::SeqCst);
        publishing.join().unwrap()
    });
    let mut last = serve(&redis, &[]);
    receiver.wait_for(heard.len());
    last.end_well();
    let mut ids: Vec<String> = receiver.requests().iter().map(|r| r.id().into()).collect();
    ids.sort();
    assert_eq!(ids, heard, "each once");
}

#[test]
fn what_another_replica_hears_is_left_to_it() {
    let redis = Redis::start();
    let (mut service, receiver, gate) = draining(&redis, &[]);
    publish_until_kept(&redis, &receiver.url("/"));
    // It comes while the first one drains.
    let mut other = serve(&redis, &[]);
    until("the first to leave it to the other", || {
        let heard = redis.publish("payments", message(&receiver.url("/"), "both", "1"));
        (heard == 1).then_some(())
    });
    assert!(service.is_running());
    let before = receiver.count();
    for n in 0..20 {
        redis.send(message(&receiver.url("/"), &format!("other{n}"), "1"));
    }
    receiver.wait_for(before + 20);
    gate.open();
    assert_eq!(service.wait_exit(DEADLINE), 0);
    other.end_well();
    let requests = receiver.requests();
    let others = requests.iter().filter(|r| r.id().starts_with("other"));
    assert_eq!(others.count(), 20, "each once");
}

#[test]
fn what_several_replicas_hear_while_all_drain_is_kept_once() {
    let redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let mut replicas = [serve(&redis, &[]), serve(&redis, &[])];
    assert_eq!(
        redis.publish("payments", message(&receiver.url("/"), "first", "1")),
        2
    );
    receiver.wait_for(2);
    for replica in &mut replicas {
        replica.signal(Signal::TERM);
        replica.log.wait("drain: begins");
    }
    // Whoever began first may have left to the other before that began too.
    until("both to keep what they hear", || {
        redis.publish("payments", message(&receiver.url("/"), "probe", "1"));
        ids(&redis).contains(&"probe".into()).then_some(())
    });
    for n in 0..30 {
        let heard = redis.publish(
            "payments",
            message(&receiver.url("/"), &format!("m{n:02}"), "1"),
        );
        assert!(heard >= 1);
    }
    gate.open();
    for replica in &mut replicas {
        assert_eq!(replica.wait_exit(DEADLINE), 0);
    }
    // What one of them appended at once may have been read by the other, whose last read was still
    // under way: that is delivered. The rest is kept.
    let mut found = ids(&redis);
    found.extend(receiver.requests().iter().map(|r| r.id().to_owned()));
    found.retain(|id| id.starts_with('m'));
    found.sort();
    let all: Vec<String> = (0..30).map(|n| format!("m{n:02}")).collect();
    assert_eq!(found, all, "each once");
}

#[test]
fn what_cannot_be_kept_while_draining_is_named_and_the_exit_code_is_1() {
    let redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let mut service = serve(&redis, &["--drain-timeout", "2s"]);
    redis.send(message(&receiver.url("/"), "first", "1"));
    receiver.wait_for(1);
    service.signal(Signal::TERM);
    service.log.wait("drain: begins");
    let url = receiver.url("/");
    publish_until_kept(&redis, &url);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for n in 0..5 {
        // The server refuses to publish nothing.
        redis.send(message(&url, &format!("refused{n}"), "1"));
    }
    assert_eq!(service.wait_exit(DEADLINE), 1);
    for n in 0..5 {
        assert!(
            service.log.count(&format!("refused{n}")) >= 1,
            "{n} is not in the log"
        );
    }
    gate.open();
}

#[test]
fn a_subscription_that_breaks_while_draining_is_made_anew() {
    let redis = Redis::start();
    let proxy = Proxy::before(&redis.socket());
    let (gate, address) = (Gate::default(), proxy.addr.to_string());
    let held = gate.clone();
    let receiver = Receiver::answering(move |_, _| {
        held.pass();
        status(200)
    });
    let mut service = Outhook::new(&["serve", "--redis-address", &address]).spawn();
    service.log.wait("ready: subscribed");
    redis.send(message(&receiver.url("/"), "first", "1"));
    receiver.wait_for(1);
    service.signal(Signal::TERM);
    service.log.wait("drain: begins");
    proxy.cut();
    service.log.wait_times("ready: subscribed", 2);
    redis.send(message(&receiver.url("/"), "late", "1"));
    redis.wait_kept(1);
    gate.open();
    // The gap is a loss, as the server was there.
    let code = service.wait_exit(DEADLINE);
    assert_eq!(code, 1);
    assert_eq!(ids(&redis), ["late"]);
}

#[test]
fn a_server_that_hangs_or_is_gone_does_not_hold_up_the_end() {
    for hangs in [true, false] {
        let mut redis = Redis::start();
        let receiver = Receiver::ok();
        let mut service = serve(&redis, &[]);
        redis.send(message(&receiver.url("/"), "a", "1"));
        service.log.wait("delivered id=a");
        match hangs {
            true => redis.stop(),
            false => redis.kill(),
        }
        let (code, took) = service.terminate();
        assert_eq!(code, 0);
        assert!(took < Duration::from_secs(3) + DRAIN_MARGIN, "{took:?}");
        if hangs {
            redis.cont();
        }
    }
}

#[test]
fn what_stands_behind_an_endpoint_that_fails_does_not_hold_up_the_end() {
    let (redis, receiver) = (Redis::start(), Receiver::script([status(503)]));
    let args = ["--endpoint-backoff-base", "40s", "--drain-timeout", "25s"];
    let mut service = serve(&redis, &args);
    for n in 0..100 {
        redis.send(message(&receiver.url("/"), &format!("m{n:03}"), "1"));
    }
    service.log.wait("failing, no attempt for");
    let (code, took) = service.terminate();
    assert_eq!(code, 0);
    assert!(took < SHORT, "{took:?}");
    redis.wait_kept(100);
    service.log.wait("drain: done");
}

#[test]
fn what_is_over_the_rate_of_its_endpoint_does_not_hold_up_the_end() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("endpoints.json");
    let origin = receiver.url("");
    let rule = format!(r#"{{"endpoint":[{{"url":"{origin}/","rate":"6/m"}}]}}"#);
    std::fs::write(&file, rule).unwrap();
    let args = [
        "--drain-timeout",
        "25s",
        "--endpoints",
        file.to_str().unwrap(),
    ];
    let mut service = serve(&redis, &args);
    for n in 0..20 {
        redis.send(message(&receiver.url("/"), &format!("m{n:02}"), "1"));
    }
    receiver.wait_for(1);
    let (code, took) = service.terminate();
    assert_eq!(code, 0);
    assert!(took < SHORT, "{took:?}");
    assert_eq!((redis.kept().len(), receiver.count()), (19, 1));
}

#[test]
fn an_idle_service_ends_in_less_time_than_its_longest_read_takes() {
    let redis = Redis::start();
    // The read begins now, and lasts a second if nobody ends it. On a busy machine some are late.
    let took = (0..10).map(|_| {
        let mut service = serve(&redis, &[]);
        service.log.wait("ready: consuming");
        service.terminate().1
    });
    let took: Vec<Duration> = took.collect();
    assert!(took.iter().min() < Some(&(700 * MS)), "{took:?}");
}

#[test]
fn the_end_of_a_read_that_redis_has_put_off_does_not_end_redis() {
    let redis = Redis::start();
    let mut service = serve(&redis, &[]);
    // What is done once at the start is over.
    until("reads and nothing else", || {
        let stats: String = redis.command(&["INFO", "commandstats"]);
        let calls = stats.split_once("cmdstat_xreadgroup:calls=")?.1;
        let calls: u32 = calls.split(',').next()?.parse().ok()?;
        (calls >= 4).then_some(())
    });
    redis.command::<()>(&["CLIENT", "PAUSE", "4000", "WRITE"]);
    // By then the read that was under way is over, and the next one is put off.
    std::thread::sleep(1200 * MS);
    service.end_well();
    assert_eq!(redis.command::<String>(&["PING"]), "PONG");
}
