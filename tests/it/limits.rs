//! `rate` and `max_in_flight` of the endpoints file hold for all replicas together.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::dice::Dice;
use crate::support::receiver::{Receiver, Request, status};
use crate::support::redis::Redis;
use crate::support::service::{Service, serve};
use crate::support::sys::Signal;
use crate::support::{MS, message, until};

const SCRIPT: &str = include_str!("../../src/store/lua/share.lua");

/// Several replicas with one rule for all URLs of the receiver.
struct Replicas {
    redis: Redis,
    receiver: Receiver,
    all: Vec<Service>,
    _folder: TempDir,
}

impl Replicas {
    fn start(count: usize, receiver: Receiver, settings: &str) -> Replicas {
        let (redis, folder) = (Redis::start(), tempfile::tempdir().expect("a folder"));
        let path = folder.path().join("endpoints.toml");
        write_rule(&path, &receiver, settings);
        // Each gets some of the messages, and none can take them all.
        let path = path.to_str().expect("a plain path");
        let args = ["--endpoints", path, "--max-active", "600"];
        let all = (0..count).map(|_| serve(&redis, &args)).collect();
        Replicas {
            redis,
            receiver,
            all,
            _folder: folder,
        }
    }

    fn add(&self, count: usize) {
        for n in 0..count {
            let id = format!("m{n}");
            self.redis.add(message(&self.receiver.url("/"), &id, "1"));
        }
    }
}

fn write_rule(path: &Path, receiver: &Receiver, settings: &str) {
    let url = receiver.url("/");
    fs::write(path, format!("[[endpoint]]\nurl = \"{url}\"\n{settings}\n")).expect("to write");
}

/// The fewest and the most requests in any ten seconds after the first.
fn any_ten_seconds(requests: &[Request]) -> (usize, usize) {
    const WINDOW: Duration = Duration::from_secs(10);
    let mut end = 0;
    let (mut least, mut most) = (usize::MAX, 0);
    for (begin, first) in requests.iter().enumerate() {
        while end < requests.len() && requests[end].at < first.at + WINDOW {
            end += 1;
        }
        most = most.max(end - begin);
        if end < requests.len() {
            least = least.min(end - begin);
        }
    }
    (least, most)
}

#[test]
fn a_rate_is_that_of_three_replicas_together_while_one_of_them_is_killed() {
    let mut replicas = Replicas::start(3, Receiver::ok(), "rate = \"100/s\"");
    replicas.add(1800);
    replicas.receiver.wait_for(500);
    replicas.all[1].signal(Signal::KILL);
    let requests = replicas.receiver.wait_for(1250);
    let (least, most) = any_ten_seconds(&requests);
    // A busy machine makes some late, and so what comes after them too close.
    assert!(most <= 1020, "{most} in ten seconds");
    assert!(least >= 900, "{least} in ten seconds");
    assert!(replicas.receiver.connected() >= 3, "all have sent some");
}

#[test]
fn no_more_than_max_in_flight_are_under_way_from_three_replicas() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let receiver = Receiver::answering(move |_, _| {
        seen.fetch_max(
            under_way.fetch_add(1, Ordering::SeqCst) + 1,
            Ordering::SeqCst,
        );
        thread::sleep(20 * MS);
        under_way.fetch_sub(1, Ordering::SeqCst);
        status(200)
    });
    let mut replicas = Replicas::start(3, receiver, "max_in_flight = 4");
    replicas.add(900);
    replicas.receiver.wait_for(900);
    assert_eq!(most.load(Ordering::SeqCst), 4);
    replicas.redis.wait_settled();
    for service in &mut replicas.all {
        service.end_well();
    }
    assert_eq!(replicas.receiver.count(), 900);
}

#[test]
fn the_first_message_of_an_idle_endpoint_is_not_held_up() {
    let settings = "rate = \"100/s\"\nmax_in_flight = 4";
    let mut replicas = Replicas::start(1, Receiver::ok(), settings);
    let took = (1..=5).map(|n| {
        let sent = Instant::now();
        replicas
            .redis
            .add(message(&replicas.receiver.url("/"), &format!("m{n}"), "1"));
        let requests = replicas.receiver.wait_for(n);
        let took = requests[n - 1].at - sent;
        // Until it has nothing lent any more.
        until("the loan to be over", || {
            let lent: usize = replicas.redis.command(&["HLEN", &key(&replicas.receiver)]);
            (lent <= 1).then_some(())
        });
        took
    });
    let took = took.min().expect("five");
    assert!(took < 50 * MS, "{took:?}");
    replicas.all[0].end_well();
}

fn key(receiver: &Receiver) -> String {
    format!("{{outhook}}:shares:{}", receiver.url("/"))
}

#[test]
fn while_redis_is_away_a_replica_keeps_what_it_has() {
    let settings = "rate = \"50/s\"\nmax_in_flight = 2";
    let mut replicas = Replicas::start(1, Receiver::ok(), settings);
    // No more than it holds in memory: this Redis keeps nothing.
    replicas.add(90);
    replicas.receiver.wait_for(20);
    replicas.redis.kill();
    let gone = replicas.receiver.count();
    let requests = replicas.receiver.wait_for(gone + 50);
    for pair in requests.windows(51) {
        let took = pair[50].at - pair[0].at;
        assert!(took > 800 * MS, "51 in {took:?}");
    }
    replicas.redis.up();
    replicas.receiver.wait_for(90);
    replicas.redis.wait_settled();
    replicas.all[0].end_well();
}

#[test]
fn a_rule_that_comes_with_a_reload_holds_and_one_that_goes_does_not() {
    let mut replicas = Replicas::start(1, Receiver::ok(), "");
    let path = replicas._folder.path().join("endpoints.toml");
    replicas.add(5);
    replicas.receiver.wait_for(5);
    write_rule(
        &path,
        &replicas.receiver,
        "max_in_flight = 1\nrate = \"10/s\"",
    );
    replicas.all[0].signal(Signal::HUP);
    replicas.all[0].log.wait_times("SIGHUP: ", 1);
    until("something to be lent", || {
        let sent = replicas.receiver.count();
        replicas.add(1);
        replicas.receiver.wait_for(sent + 1);
        let lent: usize = replicas.redis.command(&["HLEN", &key(&replicas.receiver)]);
        (lent > 0).then_some(())
    });
    write_rule(&path, &replicas.receiver, "");
    replicas.all[0].signal(Signal::HUP);
    replicas.all[0].log.wait_times("SIGHUP: ", 2);
    until("nothing to be lent", || {
        let sent = replicas.receiver.count();
        replicas.add(1);
        replicas.receiver.wait_for(sent + 1);
        let lent: usize = replicas
            .redis
            .command(&["EXISTS", &key(&replicas.receiver)]);
        (lent == 0).then_some(())
    });
    replicas.all[0].end_well();
}

/// What replicas ask for, held and wanted; the script itself decides what they get.
#[test]
fn whatever_replicas_ask_the_lender_lends_no_more_than_there_is() {
    let redis = Redis::start();
    let (limit, mut dice) = (5, Dice::usual(1));
    let mut held = [0i64; 7];
    let mut places: Vec<(f64, f64, f64)> = Vec::new();
    for _ in 0..3000 {
        dice.step();
        let who = dice.index(7);
        let keep = dice.below(held[who] as u64 + 1).max(held[who] as u64 / 2);
        let (wanted, starts) = (keep + dice.below(6), dice.below(4));
        let words = format!("r{who} 60000 250000 400000 {limit} {keep} {wanted} 1000 {starts}");
        let time = || {
            let (seconds, micros): (u64, u64) = redis.command(&["TIME"]);
            seconds as f64 * 1e6 + micros as f64
        };
        let before = time();
        let mut command = vec!["EVAL", SCRIPT, "1", "{outhook}:shares:x"];
        command.extend(words.split(' '));
        let [[now, goal, claimants, count, wait]] = redis.command::<[[i64; 5]; 1]>(&command);
        held[who] = now;
        assert!(
            now >= keep as i64 && goal <= now && claimants <= 7,
            "{words}: {now} {goal}"
        );
        assert!(held.iter().sum::<i64>() <= limit, "{held:?}");
        if count > 0 {
            let earliest = before + wait as f64;
            places.push((earliest, time() + wait as f64, count as f64 * 1000.0));
        }
    }
    // They come one after each other; the script looked at the clock at some time between ours.
    for pair in places.windows(2) {
        let [(from, _, length), (_, latest, _)] = pair else {
            unreachable!()
        };
        assert!(latest + 1.0 >= from + length, "{pair:?}");
    }
    assert!(places.len() > 100);
}
