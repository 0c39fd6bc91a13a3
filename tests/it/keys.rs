//! Messages that go one after another (`orderKey`): across replicas, kills and restarts, past what
//! cannot be delivered, and by an operator's hand.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{AGAIN, BACKLOGS, HEADS, MESSAGES, ORDERED, PARKED, Redis};
use crate::support::service::{Outhook, Service, serve, tool};
use crate::support::sys::Signal;
use crate::support::{MS, free_port, until};

fn keyed(url: &str, id: &str, key: &str) -> String {
    format!(r#"{{"url":"{url}","webhookId":"{id}","orderKey":"{key}","data":1}}"#)
}

/// Adds where the order is kept.
fn add(redis: &Redis, message: &str) -> String {
    redis.command(&["XADD", ORDERED, "*", "message", message])
}

fn followers(redis: &Redis, group: &str) -> usize {
    redis.command(&["LLEN", &format!("{{outhook}}:key:{group}")])
}

fn wait_followers(redis: &Redis, group: &str, n: usize) {
    until("so many to follow", || {
        (followers(redis, group) == n).then_some(())
    });
}

/// Nothing is left anywhere.
fn wait_empty(redis: &Redis) {
    until("all to be settled", || {
        let left = [MESSAGES, AGAIN, ORDERED]
            .map(|stream| redis.command::<usize>(&["XLEN", stream]))
            .iter()
            .sum::<usize>();
        let heads: usize = redis.command(&["HLEN", HEADS]);
        let parked: usize = redis.command(&["ZCARD", PARKED]);
        (left + heads + parked == 0).then_some(())
    });
}

/// What was delivered, and what came too early.
#[derive(Default)]
struct Judge {
    delivered: HashSet<String>,
    overtaken: Vec<String>,
    tries: usize,
}

impl Judge {
    /// One in five fails. The one before it must have been delivered.
    fn receiver(judge: &Arc<Mutex<Judge>>) -> Receiver {
        let judge = judge.clone();
        Receiver::answering(move |r, _| {
            let mut judge = judge.lock().unwrap();
            judge.tries += 1;
            let (key, n) = r.id().split_once('_').unwrap();
            let n: usize = n.parse().unwrap();
            let before = format!("{key}_{}", n.saturating_sub(1));
            let is_early = n > 0 && !judge.delivered.contains(&before);
            if is_early && !judge.delivered.contains(r.id()) {
                judge.overtaken.push(r.id().to_owned());
            }
            if judge.tries.is_multiple_of(5) {
                return status(500);
            }
            judge.delivered.insert(r.id().to_owned());
            status(200)
        })
    }
}

#[test]
fn order_is_kept_over_replicas_that_are_killed_and_a_redis_that_is_restarted() {
    const KEYS: usize = 20;
    const EACH: usize = 40;
    // With everysec the server answers before it has written, while it waits for the disk.
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let judge = Arc::new(Mutex::new(Judge::default()));
    let receivers = [Judge::receiver(&judge), Judge::receiver(&judge)];
    let args = [
        ["--lease", "3s"],
        ["--timeout", "1s"],
        ["--backoff-base", "100ms"],
        ["--max-attempts", "100"],
    ]
    .concat();
    let mut replicas: Vec<Service> = (0..3).map(|_| serve(&redis, &args)).collect();
    for n in 0..EACH {
        for key in 0..KEYS {
            let url = receivers[key % 2].url("/");
            add(
                &redis,
                &keyed(&url, &format!("{key}_{n}"), &format!("k{key}")),
            );
        }
        if n % 12 == 11 {
            replicas.remove(0).signal(Signal::KILL);
            replicas.push(serve(&redis, &args));
        }
        if n == EACH / 2 {
            redis.kill();
            redis.up();
        }
        std::thread::sleep(100 * MS);
    }
    until("all to be delivered", || {
        (judge.lock().unwrap().delivered.len() == KEYS * EACH).then_some(())
    });
    assert_eq!(judge.lock().unwrap().overtaken, Vec::<String>::new());
    wait_empty(&redis);
    replicas.iter_mut().for_each(Service::end_well);
    assert_eq!(redis.dead().len(), 0);
}

#[test]
fn a_key_goes_on_at_once_where_the_replica_that_had_it_drains() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(50 * MS));
    let mut first = serve(&redis, &[]);
    for n in 0..40 {
        add(&redis, &keyed(&receiver.url("/"), &format!("m{n}"), "k"));
    }
    receiver.wait_for(10);
    let mut second = serve(&redis, &[]);
    first.end_well();
    let begun = std::time::Instant::now();
    receiver.wait_for(40);
    assert!(begun.elapsed() < 5000 * MS, "{:?}", begun.elapsed());
    let expected: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    assert_eq!(receiver.ids(), expected);
    wait_empty(&redis);
    second.end_well();
}

#[test]
fn a_full_redis_does_not_keep_keys_from_going_on() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    let url = receiver.url("/");
    add(&redis, &keyed(&url, "x", "k"));
    receiver.wait_for(1);
    wait_empty(&redis);
    service.end_well();
    let (mut ordered, mut read) = (Vec::new(), Vec::new());
    for n in 0..20 {
        add(&redis, &keyed(&url, &format!("o{n}"), "o"));
        redis.add(keyed(&url, &format!("r{n}"), "r"));
        ordered.push(format!("o{n}"));
        read.push(format!("r{n}"));
    }
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut service = serve(&redis, &[]);
    receiver.wait_for(41);
    wait_empty(&redis);
    let of = |prefix: &str| -> Vec<String> {
        let came = receiver.ids().into_iter();
        came.filter(|id| id.starts_with(prefix)).collect()
    };
    assert_eq!((of("o"), of("r")), (ordered, read));
    redis.command::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    service.end_well();
}

#[test]
fn one_that_cannot_be_delivered_lets_the_next_go() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| match r.id() {
        "bad" => status(400),
        _ => status(200),
    });
    let url = receiver.url("/");
    add(&redis, &keyed(&url, "bad", "k"));
    // What is no message, or has no key, stops nobody.
    redis.command::<String>(&["XADD", ORDERED, "*", "payload", "x"]);
    let many: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(|n| &**n).collect();
    redis.command::<String>(&[&["XADD", ORDERED, "*"][..], &many].concat());
    let free = format!(r#"{{"url":"{url}","webhookId":"free","data":1}}"#);
    add(&redis, &free);
    for id in ["a", "b"] {
        add(&redis, &keyed(&url, id, "k"));
    }
    let args = ["--max-attempts", "2", "--backoff-base", "50ms"];
    let mut service = serve(&redis, &args);
    assert_eq!(redis.wait_dead(3).len(), 3);
    until("the last", || {
        receiver.ids().contains(&"b".into()).then_some(())
    });
    let came: Vec<String> = receiver
        .ids()
        .into_iter()
        .filter(|id| id != "free")
        .collect();
    assert_eq!(came, ["bad", "bad", "a", "b"]);
    assert!(receiver.ids().contains(&"free".into()));
    wait_empty(&redis);
    service.end_well();
}

#[test]
fn where_nobody_can_follow_nobody_waits() {
    let (redis, receiver) = (Redis::start(), Receiver::slow_at("127.0.0.1:0", 200 * MS));
    let url = receiver.url("/");
    let group = format!("{{outhook}}:key:{} k", url.trim_end_matches('/'));
    redis.command::<()>(&["SET", &group, "not a list"]);
    for n in 0..4 {
        add(&redis, &keyed(&url, &format!("o{n}"), "k"));
        redis.add(keyed(&url, &format!("r{n}"), "k"));
    }
    let mut service = serve(&redis, &[]);
    let came: HashSet<String> = receiver
        .wait_for(8)
        .iter()
        .map(|r| r.id().to_owned())
        .collect();
    assert_eq!(came.len(), 8);
    wait_empty(&redis);
    service.end_well();
}

#[test]
fn a_key_waits_at_one_endpoint_and_not_at_another() {
    let (redis, good) = (Redis::start(), Receiver::ok());
    let gone = format!("http://127.0.0.1:{}/", free_port());
    let mut service = serve(&redis, &["--endpoint-backoff-base", "30s"]);
    for n in 0..10 {
        add(&redis, &keyed(&gone, &format!("bad{n}"), "k"));
        add(&redis, &keyed(&good.url("/"), &format!("good{n}"), "k"));
    }
    let came = good.wait_for(10);
    let came: Vec<&str> = came.iter().map(|r| r.id()).collect();
    let expected: Vec<String> = (0..10).map(|n| format!("good{n}")).collect();
    assert_eq!(came, expected);
    let group = format!("{} k", gone.trim_end_matches('/'));
    wait_followers(&redis, &group, 9);
    service.end_well();
}

#[test]
fn keys_are_listed_and_shown_and_a_head_is_skipped() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| match r.id() {
        "a" => status(500),
        _ => status(200),
    });
    let origin = receiver.url("");
    let group = format!("{origin} my%09key%25");
    let mut service = serve(&redis, &["--backoff-base", "1h"]);
    for id in ["a", "b", "c"] {
        add(&redis, &keyed(&receiver.url("/"), id, r"my\tkey%"));
    }
    until("the head to be parked", || {
        (redis.command::<usize>(&["ZCARD", PARKED]) == 1).then_some(())
    });
    wait_followers(&redis, &group, 2);
    let list = tool(&redis, &["keys", "list", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&list.out[0]).unwrap();
    assert_eq!(
        (&line["key"], &line["followers"]),
        (&group.as_str().into(), &2.into())
    );
    let head = line["head"].as_str().unwrap();
    assert!(
        head.starts_with("parked ") && head.ends_with(" a"),
        "{head}"
    );
    let show = tool(&redis, &["keys", "show", &group, "--json"]);
    assert_eq!(show.out.len(), 3, "{show:?}");
    assert!(show.out[1].contains(r#""id":"b""#) && show.out[2].contains(r#""id":"c""#));
    let skip = tool(&redis, &["keys", "skip", &group]);
    assert_eq!(skip.code, 0, "{skip:?}");
    assert!(skip.err[0].contains("may still be delivered"), "{skip:?}");
    until("the others", || {
        (receiver.ids() == ["a", "b", "c"]).then_some(())
    });
    let none = tool(&redis, &["keys", "skip", "http://h k"]);
    assert_eq!((none.code, none.out.len()), (1, 0));
    until("the key to be over", || {
        (redis.command::<usize>(&["HLEN", HEADS]) == 0).then_some(())
    });
    assert_eq!(tool(&redis, &["keys", "list"]).out, Vec::<String>::new());
    // The one that was skipped is one like all others: it waits its turn.
    let flush = tool(&redis, &["parked", "flush", "--all"]);
    assert_eq!(flush.code, 0, "{flush:?}");
    until("it to be tried again", || {
        (receiver.count() == 4).then_some(())
    });
    service.end_well();
}

#[test]
fn a_head_that_is_purged_or_deleted_is_not_waited_for() {
    let (redis, port) = (Redis::start(), free_port());
    let url = format!("http://127.0.0.1:{port}/");
    let args = [
        "--endpoint-backoff-base",
        "30s",
        "--lease",
        "3s",
        "--timeout",
        "1s",
    ];
    let mut service = serve(&redis, &args);
    for id in ["a", "b", "c"] {
        add(&redis, &keyed(&url, id, "k"));
    }
    let group = format!("http://127.0.0.1:{port} k");
    let waits_in_backlog = |id: &str| {
        until("the head to wait for its endpoint", || {
            let head: Option<String> = redis.command(&["HGET", HEADS, &group]);
            let head = head.unwrap_or_default();
            (head.starts_with("backlog ") && head.ends_with(id)).then_some(())
        });
    };
    waits_in_backlog("a");
    let purge = tool(&redis, &["parked", "purge", "--id", "a"]);
    assert_eq!((purge.code, &*purge.out[0]), (0, "1 message purged"));
    waits_in_backlog("b");
    // By hand, where nobody can look it up, and where it can be.
    service.end_well();
    redis.command::<usize>(&[
        "DEL",
        BACKLOGS,
        &format!("{{outhook}}:backlog:http://127.0.0.1:{port}"),
    ]);
    let entry: String = redis.command(&["XADD", AGAIN, "*", "message", "x"]);
    redis.command::<usize>(&["HSET", HEADS, &group, &format!("+{entry}")]);
    redis.command::<usize>(&["XDEL", AGAIN, &entry]);
    let back = Receiver::ok_at(&format!("127.0.0.1:{port}"));
    let mut service = serve(&redis, &args);
    back.wait_for(1);
    assert_eq!(back.ids(), ["c"]);
    wait_empty(&redis);
    service.end_well();
}

#[test]
fn what_is_published_or_sent_with_a_key_is_added_in_order() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let url = receiver.url("/");
    let address = redis.address();
    let lines: Vec<String> = (0..50)
        .map(|n| keyed(&url, &format!("s{n}"), "s"))
        .collect();
    let send = ["send", "--redis-address", &address];
    assert_eq!(Outhook::new(&send).run(lines.join("\n")).code, 0);
    assert_eq!(redis.command::<usize>(&["XLEN", ORDERED]), 50);
    let mut replicas: Vec<Service> = (0..2).map(|_| serve(&redis, &["--bridge"])).collect();
    for n in 0..50 {
        redis.send_when_heard(keyed(&url, &format!("p{n}"), "p"));
    }
    receiver.wait_for(100);
    let came = receiver.ids();
    let mut numbers: HashMap<&str, Vec<usize>> = HashMap::new();
    for id in &came {
        let number = id[1..].parse().unwrap();
        numbers.entry(&id[..1]).or_default().push(number);
    }
    let expected: Vec<usize> = (0..50).collect();
    assert_eq!(numbers["s"], expected);
    assert_eq!(numbers["p"], expected);
    wait_empty(&redis);
    replicas.iter_mut().for_each(Service::end_well);
}
