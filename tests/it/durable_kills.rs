//! Processes that die: what they held goes on elsewhere, and what kills them comes to an end.

use std::collections::BTreeMap;

use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::{MESSAGES, Redis};
use crate::support::service::serve;
use crate::support::sys::Signal;
use crate::support::{MS, message, until};

/// There is no message that kills outhook; one that is killed whenever this one is tried looks
/// the same.
#[test]
fn an_entry_that_kills_the_process_each_time_is_a_dead_letter_after_its_attempts() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|r, _| match r.id() {
        "deadly" => Reply::Hang,
        _ => status(200).into(),
    });
    let args = ["--consumer", "a", "--max-attempts", "3"];
    redis.add(message(&receiver.url("/deadly"), "deadly", "1"));
    let tried = |n: usize| {
        until("the deadly one to be tried", || {
            let tried = receiver
                .requests()
                .iter()
                .filter(|r| r.id() == "deadly")
                .count();
            assert!(tried <= n, "tried {tried} times, not {n}");
            (tried == n).then_some(())
        });
    };
    // The first attempt of a fresh entry is not noted before it is made, and so not counted.
    for n in 1..=4 {
        let mut service = serve(&redis, &args);
        tried(n);
        service.signal(Signal::KILL);
        drop(service);
    }
    let mut service = serve(&redis, &args);
    let dead = &redis.wait_dead(1)[0];
    assert_eq!(
        (dead.text("id"), dead.text("reason")),
        ("deadly".into(), "exhausted".into())
    );
    assert!(
        dead.text("detail").contains("outhook itself ended"),
        "{dead:?}"
    );
    redis.add(message(&receiver.url("/"), "harmless", "1"));
    until("the harmless one", || {
        receiver
            .requests()
            .iter()
            .any(|r| r.id() == "harmless")
            .then_some(())
    });
    tried(4);
    service.end_well();
    assert_eq!(redis.command::<usize>(&["XLEN", MESSAGES]), 0);
}

#[test]
fn with_a_bridge_a_killed_replica_loses_nothing_that_another_has_heard() {
    let redis = Redis::start();
    let receiver = Receiver::answering(|_, _| status(200).after(2 * MS));
    let args = [
        "--bridge",
        "--lease",
        "3s",
        "--timeout",
        "1s",
        "--workers",
        "8",
    ];
    let mut steady = serve(&redis, &args);
    let mut victim = Some(serve(&redis, &args));
    for n in 0..400 {
        // One that was killed may not have been noticed by Redis yet.
        let heard = redis.publish(
            "payments",
            message(&receiver.url("/"), &format!("m{n}"), "1"),
        );
        assert!(heard > 0, "nobody is subscribed");
        match n {
            100 | 250 => victim.take().unwrap().signal(Signal::KILL),
            180 => victim = Some(serve(&redis, &args)),
            _ => std::thread::sleep(MS),
        }
    }
    let count = || {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for request in receiver.requests() {
            *times.entry(request.id().to_owned()).or_default() += 1;
        }
        times
    };
    until("all to arrive", || (count().len() == 400).then_some(()));
    until("all to be settled", || {
        (redis.command::<usize>(&["XLEN", MESSAGES]) == 0).then_some(())
    });
    steady.end_well();
    let twice = count().values().filter(|n| **n > 1).count();
    // In flight at a kill, or answered and not settled yet.
    assert!(twice <= 2 * 16, "{twice} came twice");
}
