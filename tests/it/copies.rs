//! Messages that come twice: what is a copy is dropped and counted, what is none is delivered or a
//! dead letter.

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{DEAD, MESSAGES, ORDERED, PARKED, Redis};
use crate::support::service::{Service, serve};
use crate::support::sys::Signal;
use crate::support::{message, until};

fn wait_until_empty(redis: &Redis) {
    until("the stream to be empty", || {
        (redis.command::<usize>(&["XLEN", MESSAGES]) == 0).then_some(())
    });
}

#[test]
fn with_a_bridge_one_event_for_two_customers_arrives_at_both() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut replicas = [serve(&redis, &["--bridge"]), serve(&redis, &["--bridge"])];
    for path in ["/customer-a", "/customer-b"] {
        let raw = message(&receiver.url(path), "evt_1", "1");
        assert_eq!(redis.publish("payments", raw), 2);
    }
    receiver.wait_for(2);
    wait_until_empty(&redis);
    // Each was heard twice, and appended by whoever came first.
    until("the copies to be counted", || {
        let copies: u64 = replicas.iter_mut().map(|r| r.snapshot("duplicates")).sum();
        (copies == 2).then_some(())
    });
    for replica in &mut replicas {
        replica.end_well();
        assert_eq!(replica.log.count("drain: done"), 1);
        assert!(replica.log.wait("drain: done").contains("duplicates="));
    }
    let mut paths: Vec<String> = receiver.requests().into_iter().map(|r| r.path).collect();
    paths.sort();
    assert_eq!(paths, ["/customer-a", "/customer-b"]);
    assert!(redis.dead().is_empty());
}

#[test]
fn with_a_bridge_other_bytes_under_a_known_id_and_url_are_one_dead_letter() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let args = ["--bridge", "--status-ttl", "1h"];
    let mut replicas: Vec<Service> = (0..3).map(|_| serve(&redis, &args)).collect();
    let first = message(&receiver.url("/"), "inv-7", "1");
    let second = message(&receiver.url("/"), "inv-7", "2");
    redis.publish("payments", &first);
    receiver.wait_for(1);
    redis.publish("payments", &second);
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(dead.text("reason"), "id_reused");
    assert_eq!(
        (dead.text("id"), dead.text("url")),
        ("inv-7".into(), receiver.url("/"))
    );
    assert_eq!(dead.text("message"), second);
    assert_eq!(dead.text("source"), "pubsub:payments");
    assert!(dead.text("detail").contains("--bridge-dedup"), "{dead:?}");
    until("the copies to be counted", || {
        let mut sum = |name| replicas.iter_mut().map(|r| r.snapshot(name)).sum::<u64>();
        (sum("duplicates") == 4 && sum("dead") == 1).then_some(())
    });
    let told = redis.command::<String>(&["HGET", "{outhook}:status:inv-7", "state"]);
    assert_eq!(told, "delivered", "copies tell nothing");
    for replica in &mut replicas {
        replica.end_well();
    }
    assert_eq!(receiver.count(), 1);
    let named = replicas
        .iter()
        .map(|r| r.log.count("dead (id_reused): inv-7"));
    assert_eq!(named.sum::<usize>(), 1);
}

#[test]
fn what_is_dealt_in_order_drops_copies_too() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let url = receiver.url("/");
    for (id, data) in [("a", "1"), ("b", "1"), ("a", "1"), ("a", "2"), ("c", "1")] {
        let more = format!(r#"{data},"orderKey":"k""#);
        let entry = message(&url, id, &more);
        redis.command::<String>(&["XADD", ORDERED, "*", "message", &entry]);
    }
    let mut service = serve(&redis, &["--dedup", "10m"]);
    receiver.wait_for(3);
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(dead.text("reason"), "id_reused");
    assert_eq!(service.snapshot("duplicates"), 1);
    service.end_well();
    let came: Vec<String> = receiver.ids();
    assert_eq!(came, ["a", "b", "c"]);
}

#[test]
fn the_stream_drops_copies_where_it_is_told_to() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, n| match r.id() {
        // Parked, and back as another entry.
        "late" if n < 2 => status(503).header("retry-after", "1"),
        _ => status(200),
    });
    let mut service = serve(
        &redis,
        &["--dedup", "10m", "--lease", "1s", "--timeout", "300ms"],
    );
    let url = receiver.url("/");
    redis.add(message(&url, "late", "1"));
    receiver.wait_for(1);
    until("it to be parked", || {
        (redis.command::<usize>(&["ZCARD", PARKED]) == 1).then_some(())
    });
    for (id, data) in [
        ("late", "1"),
        ("a", "1"),
        ("a", "1"),
        ("a", "2"),
        ("b", "1"),
    ] {
        redis.add(message(&url, id, data));
    }
    redis.add(message(&receiver.url("/other"), "a", "1"));
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(dead.text("reason"), "id_reused");
    assert!(dead.text("detail").contains("--dedup"), "{dead:?}");
    wait_until_empty(&redis);
    until("the late one", || {
        let late = receiver
            .requests()
            .iter()
            .filter(|r| r.id() == "late")
            .count();
        (late == 2).then_some(())
    });
    wait_until_empty(&redis);
    assert_eq!(service.snapshot("duplicates"), 2);
    service.end_well();
    let mut seen: Vec<String> = receiver.ids();
    seen.sort();
    assert_eq!(seen, ["a", "a", "b", "late", "late"]);
}

#[test]
fn an_entry_that_comes_back_is_no_copy_of_itself() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, n| match n {
        0 => crate::support::receiver::Reply::Hang,
        _ => status(200).into(),
    });
    let args = ["--dedup", "10m", "--consumer", "a"];
    let mut service = serve(&redis, &args);
    redis.add(message(&receiver.url("/"), "m", "1"));
    receiver.wait_for(1);
    service.signal(Signal::KILL);
    drop(service);
    let mut service = serve(&redis, &args);
    receiver.wait_for(2);
    wait_until_empty(&redis);
    service.end_well();
}

#[test]
fn a_key_that_is_not_ours_keeps_no_message_from_being_delivered() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &["--dedup", "10m", "--bridge", "--dead-max", "5"]);
    redis.add(message(&receiver.url("/"), "a", "1"));
    redis.send(message(&receiver.url("/"), "b", "1"));
    receiver.wait_for(2);
    wait_until_empty(&redis);
    for id in ["a", "b"] {
        let keys: Vec<String> = redis.command(&["KEYS", &format!("{{outhook}}:seen:{id}:*")]);
        assert!(!keys.is_empty());
        for key in keys {
            redis.command::<usize>(&["DEL", &key]);
            redis.command::<usize>(&["RPUSH", &key, "x"]);
        }
    }
    redis.command::<()>(&["SET", DEAD, "not a stream"]);
    redis.add(message(&receiver.url("/"), "a", "2"));
    redis.send(message(&receiver.url("/"), "b", "2"));
    redis.add(message(&receiver.url("/"), "c", "1"));
    receiver.wait_for(5);
    // Redis is full, and would stay so if nothing were delivered.
    redis.command::<()>(&["DEL", DEAD]);
    redis.add(message(&receiver.url("/"), "d", "1"));
    receiver.wait_for(6);
    service.end_well();
}

#[test]
fn a_full_redis_does_not_keep_what_it_is_full_of_from_being_delivered() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    for n in 0..50 {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    redis.command::<()>(&["XGROUP", "CREATE", MESSAGES, "outhook", "0"]);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut service = serve(&redis, &["--dedup", "1m"]);
    receiver.wait_for(50);
    wait_until_empty(&redis);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.add(message(&receiver.url("/"), "m7", "1"));
    wait_until_empty(&redis);
    assert_eq!(service.snapshot("duplicates"), 1);
    service.end_well();
    assert_eq!(receiver.count(), 50);
}
