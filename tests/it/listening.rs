//! Who is subscribed hears all that Redis hands over, whatever is done to the process; and what
//! it may not have heard, it tells.

use std::fs;
use std::time::Duration;

use crate::support::proxy::Proxy;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{message, until};

/// How often the process is stopped, and how many messages come meanwhile.
const ROUNDS: usize = 5;
const BATCH: usize = 100;

fn batch(receiver: &Receiver, round: usize) -> Vec<String> {
    let id = |n| format!("m{round}-{n}");
    (0..BATCH)
        .map(|n| message(&receiver.url("/"), &id(n), "1"))
        .collect()
}

#[test]
fn a_process_that_is_stopped_and_goes_on_loses_nothing_and_doubles_nothing() {
    let (redis, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    for address in [redis.tcp(), redis.address()] {
        let before = receiver.count();
        let mut service = Outhook::new(&["serve", "--redis-address", &address]).spawn();
        service.log.wait("ready: subscribed");
        for round in 0..ROUNDS {
            service.stop();
            let published = batch(&receiver, round);
            assert_eq!(redis.send_all(&published), BATCH);
            redis.add(message(&receiver.url("/"), &format!("s{round}"), "1"));
            // Longer than any wait for Redis that the process may have been in.
            std::thread::sleep(Duration::from_millis(300));
            service.signal(Signal::CONT);
            receiver.wait_for(before + (round + 1) * (BATCH + 1));
        }
        service.end_well();
        assert_eq!(service.log.count("redis: trouble"), 0);
        assert!(service.log.wait("drain: begins").contains(" gaps=0 "));
        assert_eq!(receiver.count(), before + ROUNDS * (BATCH + 1), "each once");
    }
}

/// Signals that a process is sent; not those of faults in itself, and not those of job control.
const MESSAGES: [(&str, u32); 9] = [
    ("HUP", 1),
    ("INT", 2),
    ("USR1", 10),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("PROF", 27),
];

/// The names of the threads of a process that a signal may interrupt.
fn interruptible(pid: u32, signal: u32) -> Vec<String> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("a living process") {
        let status = task.expect("a thread").path().join("status");
        let status = fs::read_to_string(status).expect("a living thread");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.expect("a field")[name.len()..].trim().to_owned()
        };
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).expect("a mask");
        if blocked & 1 << (signal - 1) == 0 {
            found.push(field("Name:"));
        }
    }
    found
}

#[test]
fn signals_reach_one_thread_alone() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let mut service = serve(&redis, &[]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    let mut deliver = Outhook::new(&["deliver"]).spawn();
    deliver.write(message(&receiver.url("/"), "b", "1") + "\n");
    receiver.wait_for(2);
    for (name, signal) in MESSAGES {
        for pid in [service.pid(), deliver.pid()] {
            assert_eq!(interruptible(pid, signal), ["signals"], "SIG{name}");
        }
    }
    service.end_well();
    deliver.close_stdin();
}

#[test]
fn a_server_that_cuts_us_off_is_read_to_its_last_byte_and_the_gap_is_told() {
    let (redis, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    redis.command::<()>(&[
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "pubsub 256kb 0 0",
    ]);
    let mut service = Outhook::new(&["serve", "--redis-address", &redis.tcp()]).spawn();
    service.log.wait("ready: subscribed");
    redis.send(message(&receiver.url("/"), "first", "1"));
    receiver.wait_for(1);
    service.stop();
    // What the sockets do not take stands in the server, until that is too much for it.
    let data = format!("\"{}\"", "x".repeat(20_000));
    let mut heard = 0;
    until("the server to cut it off", || {
        let text = message(&receiver.url("/"), &format!("m{heard}"), &data);
        match redis.publish("payments", text) {
            0 => Some(()),
            _ => {
                heard += 1;
                None
            }
        }
    });
    service.signal(Signal::CONT);
    let told = service.log.wait("not subscribed to payments for up to");
    assert!(told.contains("while Redis was there"), "{told}");
    redis.send(message(&receiver.url("/"), "last", "1"));
    until("the last", || {
        receiver.distinct().contains("last").then_some(())
    });
    assert_eq!(service.terminate().0, 1, "something was lost");
    service.log.wait("lost: what was published in 1 gap");
    assert!(service.log.wait("drain: begins").contains(" gaps=1 "));
    let arrived = receiver.count() - 2;
    assert!(arrived < heard, "{arrived} of {heard}: nothing was lost");
    // Far less than the server had handed over would be what one read takes.
    assert!(arrived * 20_000 > 100_000, "{arrived} of {heard}");
}

/// As the server writes it when nothing else is subscribed but the control channel.
const CONFIRMATION: &str = "*3\r\n$11\r\nunsubscribe\r\n$8\r\npayments\r\n:1\r\n";

/// A service behind a proxy, and the port from which it is subscribed.
fn subscribed_behind(proxy: &Proxy, redis: &Redis) -> (Service, u16) {
    let service = Outhook::new(&["serve", "--redis-address", &proxy.addr.to_string()]).spawn();
    service.log.wait("ready: subscribed");
    let list: String = redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    // The proxy comes by a Unix socket, so it is asked which of its connections that is.
    let order: Vec<u64> = client_ids(&redis.command::<String>(&["CLIENT", "LIST"]));
    let subscriber = client_ids(&list)[0];
    // The first is the test's own.
    let at = order[1..].iter().position(|id| *id == subscriber);
    let port = proxy.ports()[at.expect("a connection of the proxy")];
    (service, port)
}

fn client_ids(list: &str) -> Vec<u64> {
    let ids = list.lines().map(|line| {
        let id = line.split([' ', '=']).nth(1);
        id.expect("an id").parse().expect("a number")
    });
    ids.collect()
}

#[test]
fn a_subscription_that_ends_without_an_error_is_made_again() {
    for swallow in [0, CONFIRMATION.len()] {
        let (redis, receiver) = (Redis::start(), Receiver::ok());
        let proxy = Proxy::before(&redis.socket());
        let (mut service, port) = subscribed_behind(&proxy, &redis);
        proxy.say_for(port, b"UNSUBSCRIBE payments\r\n", swallow);
        service.log.wait_times("ready: subscribed", 2);
        let told = match swallow {
            0 => "it has ended the subscription to payments",
            _ => "no longer subscribed to",
        };
        service.log.wait(told);
        redis.send(message(&receiver.url("/"), "a", "1"));
        receiver.wait_for(1);
        service.terminate();
    }
}

#[test]
fn holds_that_cannot_be_read_end_no_subscription() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    redis.command::<()>(&["SET", "{outhook}:holds", "x"]);
    let mut service = serve(&redis, &[]);
    service.log.wait("redis: trouble (channels)");
    redis.send(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    redis.command::<()>(&["DEL", "{outhook}:holds"]);
    service.log.wait("redis: back");
    assert_eq!(service.log.count("ready: subscribed"), 1);
    service.end_well();
}
