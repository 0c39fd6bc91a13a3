//! What stands around deliveries: the address and password of Redis, proxies, the log.

use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::Outhook;

#[test]
fn redis_is_reached_by_each_form_of_address() {
    let (redis, receiver) = (Redis::on_tcp(&[]), Receiver::ok());
    let addresses = [
        redis.tcp(),
        format!("redis://{}", redis.tcp()),
        format!("redis://{}/0", redis.tcp()),
        redis.address(),
    ];
    for (n, address) in addresses.iter().enumerate() {
        let mut service = Outhook::new(&["serve", "--redis-address", address]).spawn();
        service.log.wait("ready: subscribed");
        redis.send(message(&receiver.url("/"), &format!("m{n}"), "1"));
        assert_eq!(
            receiver.wait_for(n + 1)[n].id(),
            format!("m{n}"),
            "{address}"
        );
        service.end_well();
    }
}

#[test]
fn the_password_is_taken_from_each_place_it_may_stand() {
    let redis = Redis::on_tcp(&["--requirepass", "pa ss%"]);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (tcp, unix) = (redis.tcp(), redis.address());
    let in_url = format!("redis://:pa%20ss%25@{tcp}");
    let password_file = file("password", "pa ss%\n");
    let address_file = file("address", &format!("{in_url}\n"));
    let ways: [&[&str]; 6] = [
        &["--redis-address", &tcp, "--redis-password", "pa ss%"],
        &["--redis-address", &unix, "--redis-password", "pa ss%"],
        &[
            "--redis-address",
            &unix,
            "--redis-username",
            "default",
            "--redis-password",
            "pa ss%",
        ],
        &["--redis-address", &in_url],
        &["--redis-address-file", &address_file],
        &[
            "--redis-address",
            &tcp,
            "--redis-password-file",
            &password_file,
        ],
    ];
    for way in ways {
        let mut service = Outhook::new(&[&["serve"], way].concat()).spawn();
        service.log.wait("ready: subscribed");
        service.end_well();
    }
}

#[test]
fn proxies_of_the_environment_are_left_alone() {
    let (redis, receiver, proxy) = (Redis::start(), Receiver::ok(), Receiver::ok());
    let address = redis.address();
    let mut service = Outhook::new(&["serve", "--redis-address", &address]);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        service = service.env(name, proxy.url(""));
    }
    let service = service.spawn();
    service.log.wait("ready: subscribed");
    redis.send(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    assert_eq!(proxy.connected(), 0);
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_deliveries() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let address = redis.address();
    // Both ends stay open, and the 64 KiB between them soon are full.
    let (_unread, write) = std::io::pipe().unwrap();
    let mut service = Outhook::new(&["serve", "--redis-address", &address]).spawn_logging_to(write);
    redis.send_when_heard(message(&receiver.url("/"), "first", "1"));
    receiver.wait_for(1);
    let payloads: Vec<String> = (0..3000)
        .map(|n| message(&receiver.url("/"), &format!("m{n}"), "1"))
        .collect();
    assert_eq!(redis.send_all(&payloads), 3000);
    receiver.wait_for(3001);
    service.end_well();
}

#[test]
fn a_closed_log_does_not_stop_deliveries() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let address = redis.address();
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let mut service = Outhook::new(&["serve", "--redis-address", &address]).spawn_logging_to(write);
    redis.send_when_heard(message(&receiver.url("/"), "first", "1"));
    redis.send("junk");
    redis.wait_dead(1);
    redis.send(message(&receiver.url("/"), "second", "1"));
    receiver.wait_for(2);
    service.end_well();
}
