//! Names are looked up by outhook itself: whatever name servers do, an attempt ends in time,
//! says what they did, and no name holds up another.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::dns::{Answer, DnsServer, NXDOMAIN, REFUSED, SERVFAIL, here};
use crate::support::receiver::Receiver;
use crate::support::service::{Outhook, Service};
use crate::support::{MS, free_port, message, until};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// `deliver`, which asks this server.
fn deliver(dns: &DnsServer, args: &[&str]) -> Service {
    Outhook::new(&[&["deliver", &dns.option()], args].concat()).spawn()
}

fn url(name: &str, receiver: &Receiver) -> String {
    format!("http://{name}:{}/", receiver.addr.port())
}

fn send(service: &mut Service, url: &str, id: &str) {
    service.write(message(url, id, "1") + "\n");
}

/// One message by way of this server is delivered.
fn assert_delivers(dns: &DnsServer, args: &[&str]) {
    let receiver = Receiver::ok();
    let mut service = deliver(dns, args);
    send(&mut service, &url("hooks.customer.test", &receiver), "a");
    let line = service.log.wait("delivered id=a");
    assert!(line.contains("attempt=1"), "{line}");
    service.end_well();
}

/// One attempt by way of this server fails; gives the dead letter's error.
fn fails(
    script: impl Fn(&crate::support::dns::Question) -> Answer + Send + Sync + 'static,
    args: &[&str],
) -> String {
    let dns = DnsServer::answering(script);
    assert_fails_at(&dns.option(), args).replace(&dns.addr.to_string(), "SERVER")
}

fn assert_fails_at(option: &str, args: &[&str]) -> String {
    let args = [&["deliver", option, "--max-attempts", "1"], args].concat();
    let run = Outhook::new(&args).run(message("http://hooks.customer.test/", "a", "1"));
    assert_eq!(run.code, 1, "{run:?}");
    let letter = run
        .err
        .iter()
        .find(|line| line.starts_with('{'))
        .expect("a dead letter");
    let letter: serde_json::Value = serde_json::from_str(letter).expect("JSON");
    letter["error"].as_str().expect("an error").to_owned()
}

#[test]
fn a_name_is_asked_for_at_the_server_given_by_both_families_once() {
    let dns = DnsServer::answering(|_| here());
    let receiver = Receiver::ok();
    let mut service = deliver(&dns, &[]);
    for n in 0..20 {
        send(
            &mut service,
            &url("Hooks.Customer.test", &receiver),
            &format!("m{n}"),
        );
    }
    receiver.wait_for(20);
    service.end_well();
    let mut asked: Vec<_> = dns
        .questions()
        .into_iter()
        .map(|q| (q.name, q.is_v4))
        .collect();
    asked.sort();
    asked.dedup();
    let name = || "hooks.customer.test".to_owned();
    assert_eq!(asked, [(name(), false), (name(), true)]);
}

#[test]
fn each_kind_of_failure_has_its_own_sentence() {
    let error = fails(|_| Answer::Code(NXDOMAIN), &[]);
    assert!(
        error.contains("hooks.customer.test does not exist: asked SERVER, the answer was NXDOMAIN"),
        "{error}"
    );
    let error = fails(|_| Answer::Addresses(vec![], 60), &[]);
    assert!(error.contains("has no address: asked SERVER"), "{error}");
    let error = fails(|_| Answer::Code(SERVFAIL), &[]);
    assert!(error.contains("SERVER answered SERVFAIL after"), "{error}");
    let error = fails(|_| Answer::Code(REFUSED), &[]);
    assert!(error.contains("SERVER answered REFUSED after"), "{error}");
    let error = fails(|_| Answer::Silent, &["--timeout", "700ms"]);
    assert!(
        error.contains("hooks.customer.test is still being looked up: no answer within "),
        "{error}"
    );
    let error = assert_fails_at(&format!("--dns-server=127.0.0.1:{}", free_port()), &[]);
    assert!(
        error.contains("cannot be reached: Connection refused") && error.contains("--dns-server"),
        "{error}"
    );
    for error in [error, fails(|_| Answer::Code(SERVFAIL), &[])] {
        assert!(error.starts_with("dns"), "{error}");
    }
}

#[test]
fn an_answer_that_does_not_fit_is_fetched_by_tcp() {
    let dns = DnsServer::answering(|question| match question.by_tcp {
        false => Answer::Cut,
        true => here(),
    });
    assert_delivers(&dns, &[]);
    let dns = DnsServer::answering(|question| match question.by_tcp {
        false => Answer::Cut,
        // More than one segment, more addresses than anybody uses.
        true => Answer::Addresses(
            [LOCAL]
                .into_iter()
                .chain((0..900).map(|n| IpAddr::from([127, 1, (n / 256) as u8, n as u8])))
                .collect(),
            60,
        ),
    });
    assert_delivers(&dns, &[]);
}

#[test]
fn aliases_are_followed() {
    let chain: Vec<String> = (0..8).map(|n| format!("alias{n}.cdn.test")).collect();
    let dns = DnsServer::answering(move |_| Answer::Behind(chain.clone(), vec![LOCAL]));
    assert_delivers(&dns, &[]);
}

#[test]
fn forged_and_broken_answers_do_not_count() {
    let elsewhere = || Answer::Addresses(vec![IpAddr::from([127, 0, 0, 99])], 60);
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dns = DnsServer::answering(move |question| {
        let forged = question.reply(elsewhere());
        // From another port.
        forger.send_to(&forged, question.from).unwrap();
        let mut wrong_number = forged.clone();
        wrong_number[0] ^= 0x55;
        let mut wrong_question = forged.clone();
        wrong_question[13] = b'x';
        let loops = [
            &forged[..12],
            &forged[12..question.name.len() + 18],
            &[0xc0, 12, 0xc0],
        ]
        .concat();
        match question.is_v4 {
            // The good one comes last, as an answer to the question asked again.
            true => static_sequence(
                question,
                vec![
                    wrong_number,
                    wrong_question,
                    loops,
                    vec![0; 3],
                    forged[..20].to_vec(),
                ],
            ),
            false => Answer::Addresses(vec![], 60),
        }
    });
    assert_delivers(&dns, &["--timeout", "60s"]);
}

/// Answers the first questions with these bytes, one each, and then well.
fn static_sequence(question: &crate::support::dns::Question, bytes: Vec<Vec<u8>>) -> Answer {
    static ASKED: Mutex<usize> = Mutex::new(0);
    assert!(!question.by_tcp);
    let mut asked = ASKED.lock().unwrap();
    *asked += 1;
    match bytes.get(*asked - 1) {
        Some(bytes) if *asked <= 2 => Answer::Bytes(bytes.clone()),
        _ => here(),
    }
}

#[test]
fn garbage_is_told_of() {
    let garbage = |question: &crate::support::dns::Question| {
        let mut bytes = question.reply(here());
        bytes.truncate(bytes.len() - 3);
        bytes[7] = 9;
        Answer::Bytes(bytes)
    };
    // Until the look-up itself ends.
    let error = fails(garbage, &["--timeout", "14s"]);
    assert!(
        error.contains("SERVER sent what is no answer within 10 s"),
        "{error}"
    );
}

#[test]
fn a_server_that_is_silent_about_ipv6_costs_next_to_nothing() {
    let dns = DnsServer::answering(|question| match question.is_v4 {
        true => here(),
        false => Answer::Silent,
    });
    assert_delivers(&dns, &["--timeout", "5s"]);
}

#[test]
fn an_answer_is_kept_for_its_time_and_outlives_its_server() {
    let dead = Arc::new(AtomicBool::new(false));
    let (is_dead, receiver) = (dead.clone(), Receiver::ok());
    let dns = DnsServer::answering(move |_| match is_dead.load(SeqCst) {
        true => Answer::Silent,
        false => Answer::Addresses(vec![LOCAL], 1),
    });
    // A connection that is kept needs no name.
    let args = [
        "--timeout",
        "3s",
        "--max-attempts",
        "1",
        "--max-idle-connections",
        "0",
    ];
    let mut service = deliver(&dns, &args);
    let name = "hooks.customer.test";
    let mut sent = 0;
    let mut once = |service: &mut Service| {
        sent += 1;
        send(service, &url(name, &receiver), &format!("m{sent}"));
        receiver.wait_for(sent);
    };
    let begun = Instant::now();
    once(&mut service);
    dead.store(true, SeqCst);
    until("the name to be asked for again", || {
        once(&mut service);
        (dns.asked_for(name) >= 2).then_some(())
    });
    let kept = begun.elapsed();
    assert!(
        kept >= Duration::from_millis(4900),
        "5 s are the least: {kept:?}"
    );
    // Now the answer is old, and its server says nothing.
    for _ in 0..20 {
        once(&mut service);
    }
    service.end_well();
    assert_eq!(service.log.count("failed id="), 0);
}

#[test]
fn a_name_that_failed_is_asked_for_again_by_the_next_attempt() {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = mended.clone();
    let dns = DnsServer::answering(move |_| match is_mended.load(SeqCst) {
        false => Answer::Code(SERVFAIL),
        true => here(),
    });
    let receiver = Receiver::ok();
    let mut service = deliver(
        &dns,
        &[
            "--endpoint-backoff-base",
            "100ms",
            "--backoff-base",
            "100ms",
            "--max-attempts",
            "100",
        ],
    );
    send(&mut service, &url("hooks.customer.test", &receiver), "a");
    let line = service.log.wait("failed id=a");
    assert!(line.contains("SERVFAIL"), "{line}");
    service.log.wait("failing, no attempt for");
    mended.store(true, SeqCst);
    service.log.wait("delivered id=a");
    service.end_well();
}

#[test]
fn a_thousand_silent_names_do_not_hold_up_new_ones() {
    let dns = DnsServer::answering(|question| match question.name.contains("silent") {
        true => Answer::Silent,
        false => here(),
    });
    let receiver = Receiver::ok();
    let mut service = deliver(&dns, &["--drain-timeout", "0s"]);
    for n in 0..1000 {
        let silent = format!("c{n}.silent{}.test", n % 50);
        send(&mut service, &url(&silent, &receiver), &format!("s{n}"));
        if n % 20 == 19 {
            let good = format!("c{n}.good{n}.test");
            send(&mut service, &url(&good, &receiver), &format!("g{n}"));
        }
    }
    receiver.wait_for(50);
    let failed = service
        .log
        .all()
        .iter()
        .filter(|l| l.contains("failed id=g"))
        .count();
    assert_eq!(failed, 0, "no healthy attempt fails");
    service.terminate();
}

#[test]
fn the_system_s_resolver_can_be_had_instead() {
    let receiver = Receiver::ok();
    let mut service = Outhook::new(&["deliver", "--resolver", "system"]).spawn();
    send(&mut service, &url("localhost", &receiver), "a");
    service.log.wait("delivered id=a");
    service.end_well();
}

#[test]
fn a_drain_ends_every_wait_for_a_name() {
    let dns = DnsServer::answering(|_| Answer::Silent);
    let mut service = deliver(&dns, &["--timeout", "1h", "--drain-timeout", "300ms"]);
    for n in 0..20 {
        send(
            &mut service,
            &format!("http://c{n}.silent.test/"),
            &format!("m{n}"),
        );
    }
    dns.wait_asked("c3.silent.test", 1);
    let (code, took) = service.terminate();
    assert_eq!(code, 1, "there are dead letters");
    assert!(took < Duration::from_secs(20) + 300 * MS, "{took:?}");
}

/// The sockets to name servers are descriptors too.
#[test]
fn without_descriptors_no_name_and_no_message_is_blamed() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let dns = DnsServer::answering(|_| here());
    let receiver = Receiver::ok();
    let mut service = deliver(&dns, &["--max-attempts", "1"]);
    // All threads are there, and the limit has been raised.
    send(&mut service, &receiver.url("/"), "first");
    service.log.wait("delivered id=first");
    let pid = Pid::from_raw(service.pid() as i32);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| {
        let limits = Rlimit { current, maximum };
        prlimit(pid, Resource::Nofile, limits).unwrap();
    };
    // Standard streams have these numbers: nothing more can be opened.
    limit(Some(3));
    send(&mut service, &url("hooks.customer.test", &receiver), "a");
    let line = service.log.wait("postponed id=a");
    assert!(
        line.contains("internal") && line.contains("ulimit -n"),
        "{line}"
    );
    limit(maximum);
    let line = service.log.wait("delivered id=a");
    assert!(line.contains("attempt=1"), "{line}");
    service.end_well();
}
