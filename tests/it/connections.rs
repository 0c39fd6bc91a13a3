//! Connections are few, belong to nobody for long, and are never the endpoint's fault when it is
//! outhook that has none.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::{message, until};

/// The process may open this many more files than it has open now.
fn leave_descriptors(service: &Service, more: u64) {
    let pid = Pid::from_raw(service.pid() as i32).expect("a pid");
    let open = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap();
    let limit = Some(open.count() as u64 + more);
    let limits = Rlimit {
        current: limit,
        maximum: limit,
    };
    prlimit(Some(pid), Resource::Nofile, limits).unwrap();
}

/// The URL of a host of its own, of which all are one receiver.
fn url_of(receiver: &Receiver, host: usize) -> String {
    let port = receiver.url("").rsplit(':').next().unwrap().to_owned();
    format!("http://127.1.{}.{}:{port}/", host / 250, host % 250 + 1)
}

#[test]
fn without_descriptors_nothing_dies_and_no_endpoint_is_blamed() {
    let (redis, receiver) = (Redis::start(), Receiver::ok_at("0.0.0.0:0"));
    // Its connections alone are more than there are descriptors for.
    let mut service = serve(&redis, &["--workers", "32", "--max-attempts", "1"]);
    leave_descriptors(&service, 12);
    for host in 0..300 {
        redis.send(message(
            &url_of(&receiver, host),
            &format!("m{host:03}"),
            "1",
        ));
    }
    until("all to arrive", || {
        (receiver.distinct().len() == 300).then_some(())
    });
    service.end_well();
    assert!(redis.dead().is_empty(), "{:?}", redis.dead());
    assert!(
        !service
            .log
            .all()
            .iter()
            .any(|line| line.contains("failing, no attempt for")),
        "no endpoint failed"
    );
}

#[test]
fn idle_connections_have_one_budget_and_the_oldest_goes_first() {
    let (redis, receiver) = (Redis::start(), Receiver::ok_at("0.0.0.0:0"));
    let service = serve(&redis, &["--max-idle-connections", "2"]);
    let send = |host: usize, id: &str| {
        redis.send(message(&url_of(&receiver, host), id, "1"));
        service.log.wait(&format!("delivered id={id}"));
    };
    for (host, id) in [(0, "a0"), (1, "b0"), (2, "c0")] {
        send(host, id);
    }
    assert_eq!(receiver.connected(), 3);
    // Those of b and c rest; that of a had to go.
    send(1, "b1");
    send(2, "c1");
    assert_eq!(receiver.connected(), 3);
    send(0, "a1");
    assert_eq!(receiver.connected(), 4);
}

#[test]
fn no_connection_rests_longer_than_its_server_says() {
    let (redis, receiver) = (
        Redis::start(),
        Receiver::connections(|mut stream, _| {
            use std::io::{Read, Write};
            let mut buffer = [0; 4096];
            while matches!(stream.read(&mut buffer), Ok(1..)) {
                let answer =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nkeep-alive: timeout=1\r\n\r\n";
                if stream.write_all(answer).is_err() {
                    break;
                }
            }
        }),
    );
    let service = serve(&redis, &[]);
    redis.send(message(&receiver.url("/"), "a", "1"));
    service.log.wait("delivered id=a");
    // The receiver's thread ends when outhook closes; nothing else would make it.
    until("outhook to close", || {
        let port = receiver
            .url("")
            .rsplit(':')
            .next()
            .unwrap()
            .parse::<u16>()
            .unwrap();
        (connections_to(port) == 0).then_some(())
    });
}

/// Established connections of this host to a local port.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let to = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|remote| remote.ends_with(&to)) && fields.next() == Some("01")
    };
    table.lines().filter(is_one).count()
}

#[test]
fn a_certificate_file_is_looked_at_when_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let path = path.to_str().unwrap();
    let deliver = |args: &[&str]| Outhook::new(&[&["deliver"], args].concat()).run("");
    for (text, says) in [
        (None, "No such file"),
        (Some("nothing"), "no certificate in it"),
        (
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "certificate 1 cannot be used",
        ),
    ] {
        if let Some(text) = text {
            std::fs::write(path, text).unwrap();
        }
        let ended = deliver(&["--ca-file", path]);
        let said = ended.err.join("\n");
        assert_eq!(ended.code, 2, "{said}");
        assert!(said.contains("--ca-file") && said.contains(says), "{said}");
    }
    let ended = deliver(&["--ca-only"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.join("\n").contains("--ca-file"), "{ended:?}");
}
