//! `tests/ssrf/cases.tsv` through the real binary: each URL is refused, or let pass, as it says.
//!
//! Nothing leaves this machine: what is let pass is connected to from 127.0.0.1, from where no
//! way leads out.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::support::dns::{Answer, DnsServer, NXDOMAIN};
use crate::support::message;
use crate::support::ndjson::Letter;
use crate::support::receiver::Receiver;
use crate::support::service::Outhook;

const CASES: &str = include_str!("../ssrf/cases.tsv");

struct Case {
    id: String,
    expected: &'static str,
    url: String,
    words: &'static str,
}

/// All cases; a port stands where the receiver is.
fn cases(receiver: &Receiver) -> Vec<Case> {
    let port = receiver.addr.port().to_string();
    let rows = (1..).zip(CASES.lines());
    rows.filter_map(|(n, line)| {
        let mut columns = line.split('\t');
        let expected = columns.next().filter(|c| !c.starts_with('#'))?;
        let url = columns.next().filter(|_| expected != "dns")?;
        Some(Case {
            id: format!("line-{n}"),
            expected,
            url: url.replace("{port}", &port),
            words: columns.next().unwrap_or_default(),
        })
    })
    .collect()
}

fn name_server() -> DnsServer {
    let row = |line: &'static str| {
        let (name, ips) = line.strip_prefix("dns\t")?.split_once('\t')?;
        let ips = ips.split(',').map(|ip| ip.parse().expect("an address"));
        Some((name, ips.collect()))
    };
    let known: HashMap<&str, Vec<IpAddr>> = CASES.lines().filter_map(row).collect();
    DnsServer::answering(move |question| match known.get(&*question.name) {
        Some(ips) => Answer::Addresses(ips.clone(), 60),
        None => Answer::Code(NXDOMAIN),
    })
}

/// The dead letters, by id, of these cases.
fn deliver(cases: &[Case], args: &[&str]) -> HashMap<String, Letter> {
    let args = [&["deliver", "--max-attempts", "1"], args].concat();
    let messages = cases
        .iter()
        .map(|case| message(&case.url, &case.id, "1") + "\n");
    let run = Outhook::new(&args)
        .guarded()
        .run(messages.collect::<String>());
    let letters = Letter::among(&run.err).into_iter();
    letters.map(|l| (l.text("id").to_owned(), l)).collect()
}

fn verdict(case: &Case, letter: Option<&Letter>) -> Result<(), String> {
    let Some(letter) = letter else {
        return Err("delivered".into());
    };
    let (reason, detail) = (letter.text("reason"), letter.text("detail"));
    let good = match case.expected {
        "spell" => {
            reason == "refused_address" && (detail.starts_with("127.0.0.1 is refused: loopback"))
        }
        "refuse" => reason == "refused_address" && detail.contains(case.words),
        "bad" => reason == "bad_url" && detail.contains(case.words),
        "open" => {
            let error = letter.get("error").and_then(|e| e.as_str());
            reason == "exhausted" && error.is_some_and(|e| e.starts_with("connect: "))
        }
        other => return Err(format!("{other} is no decision")),
    };
    match good {
        true => Ok(()),
        false => Err(format!("{reason}: {detail}")),
    }
}

#[test]
fn each_of_the_corpus_is_decided_as_it_says_and_nobody_is_connected_to() {
    let (receiver, dns) = (Receiver::ok(), name_server());
    let cases = cases(&receiver);
    assert!(cases.len() > 350, "{} cases", cases.len());
    let args = [&*dns.option(), "--bind-address", "127.0.0.1"];
    let letters = deliver(&cases, &args);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let e = verdict(case, letters.get(&case.id)).err()?;
            Some(format!("{} {} {:?}: {e}", case.id, case.expected, case.url))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(receiver.connected(), 0);
}

#[test]
fn each_spelling_of_this_machine_is_it_where_that_is_allowed() {
    let receiver = Receiver::ok();
    let mut cases = cases(&receiver);
    cases.retain(|case| case.expected == "spell");
    assert!(cases.len() > 40, "{} spellings", cases.len());
    let letters = deliver(&cases, &["--allow-cidr", "127.0.0.1"]);
    assert!(letters.is_empty(), "{letters:?}");
    let came = receiver.distinct();
    let lost: Vec<&str> = cases
        .iter()
        .filter(|case| !came.contains(&case.id))
        .map(|case| &*case.url)
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    for request in receiver.requests() {
        let host = request.header("host").unwrap_or_default();
        assert_eq!(host, receiver.addr.to_string(), "{request:?}");
    }
}
