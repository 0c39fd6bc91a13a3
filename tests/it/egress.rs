//! From which address receivers are connected to.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::support::message;
use crate::support::receiver::{Receiver, read_request};
use crate::support::service::{Finished, Outhook};

fn deliver(args: &[&str], input: String) -> Finished {
    Outhook::new(&[&["deliver", "--max-attempts", "1"], args].concat()).run(input)
}

#[test]
fn receivers_see_the_address_that_is_named_on_every_connection() {
    let peers = Arc::new(Mutex::new(BTreeSet::<IpAddr>::new()));
    let seen = peers.clone();
    let receiver = Receiver::connections(move |mut stream, n| {
        seen.lock()
            .unwrap()
            .insert(stream.peer_addr().unwrap().ip());
        if read_request(&mut BufReader::new(&stream), n).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        }
    });
    let lines: Vec<String> = (0..20)
        .map(|n| message(&receiver.url("/"), &format!("m{n}"), "1"))
        .collect();
    let ended = deliver(&["--bind-address", "127.0.0.77"], lines.join("\n"));
    assert_eq!(ended.code, 0, "{ended:?}");
    let only: IpAddr = [127, 0, 0, 77].into();
    assert_eq!(*peers.lock().unwrap(), BTreeSet::from([only]));
}

#[test]
fn an_address_that_is_not_of_this_machine_ends_the_start() {
    for (named, words) in [
        ("192.0.2.77", "must be an address of this machine"),
        ("0.0.0.0", "leave the option away"),
        ("127.0.0.1,127.0.0.2", "there is 127.0.0.1 already"),
        ("localhost", "it must be an IP address"),
    ] {
        let ended = deliver(&["--bind-address", named], String::new());
        let said = ended.err.join("\n");
        assert_eq!(ended.code, 2, "{said}");
        assert!(
            said.contains("--bind-address") && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn a_family_without_a_named_address_is_not_used() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: there is no IPv6 here");
        return;
    }
    let (v4, v6) = (Receiver::ok(), Receiver::ok_at("[::1]:0"));
    let lines = [
        message(&v4.url("/"), "four", "1"),
        message(&v6.url("/"), "six", "1"),
    ]
    .join("\n");
    let ended = deliver(&["--bind-address", "::1"], lines.clone());
    let said = ended.err.join("\n");
    assert_eq!(
        (ended.code, v4.connected(), v6.count()),
        (1, 0, 1),
        "{said}"
    );
    assert!(said.contains("name an IPv4 address too"), "{said}");
    let ended = deliver(
        &["--bind-address", "::1", "--bind-address", "127.0.0.9"],
        lines,
    );
    assert_eq!((ended.code, v4.count(), v6.count()), (0, 1, 2), "{ended:?}");
}
