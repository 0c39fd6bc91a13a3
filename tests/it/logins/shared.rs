//! What rules with one grant share, and what they do not: what happens at one endpoint is not to stop
//! another.

use rustls::version::TLS13;

use super::Folder;
use crate::support::message;
use crate::support::receiver::{Receiver, Reply, Request, status};
use crate::support::redis::Redis;
use crate::support::service::serve;
use crate::support::tls::{Authority, TlsReceiver};

const GRANTED: &str = r#"{"access_token":"tok-1","expires_in":3600}"#;

fn rule(url: &str, token_url: &str, more: &str) -> String {
    format!(
        "[[endpoint]]\nurl = \"{url}\"\n{more}\n\
         oauth2 = {{ token_url = \"{token_url}\", client_id = \"us\", client_secret = \"s3cret\" }}\n"
    )
}

fn is_for(request: &Request, path: &str) -> bool {
    request.path == path
}

/// A receiver may say 401 to a good token, for a reason of its own or to do harm.
#[test]
fn a_401_of_one_endpoint_does_not_take_the_token_from_another() {
    let tokens = Receiver::answering(|_, n| match n {
        0 => status(200).body(GRANTED),
        _ => status(500),
    });
    let receiver =
        Receiver::answering(|request, _| status(if is_for(request, "/a") { 200 } else { 401 }));
    let folder = Folder::new();
    let (a, b) = (receiver.url("/a"), receiver.url("/b"));
    let rules = [&a, &b].map(|url| rule(url, &tokens.url("/"), "")).concat();
    let lines = [(&a, "a1"), (&b, "b1"), (&a, "a2"), (&b, "b2"), (&a, "a3")];
    let lines = lines.map(|(url, id)| message(url, id, "1") + "\n").concat();
    let ended = folder.deliver(&rules, &["--endpoint-by", "url"], &lines);
    let said = ended.err.join("\n");
    assert_eq!(ended.code, 1, "{said}");
    for id in ["a1", "a2", "a3"] {
        assert!(
            said.contains(&format!("delivered id={id} ")),
            "{id}: {said}"
        );
    }
    assert_eq!(
        said.matches("\"reason\":\"exhausted\"").count(),
        2,
        "{said}"
    );
    assert!(tokens.count() > 1, "{said}");
}

/// One rule trusts the token endpoint, and the other does not; the second comes first.
#[test]
fn what_differs_in_trust_shares_neither_tokens_nor_failures() {
    let servers = Authority::new();
    let tokens = TlsReceiver::start(&servers, None, &[&TLS13]);
    tokens.say(GRANTED);
    let receiver = Receiver::ok();
    let folder = Folder::new();
    servers.write(&folder.path("ca.pem"));
    let trusts = format!("ca_file = \"{}\"", folder.shown("ca.pem"));
    let guards = format!("{trusts}\ndeny_cidr = \"10.0.0.0/8\"");
    let hurries = format!("{trusts}\ntimeout = \"10s\"");
    let mut rules = String::new();
    let mut lines = String::new();
    for (path, more) in [
        ("/none", ""),
        ("/a", &*trusts),
        ("/b", &*guards),
        ("/c", &*hurries),
        ("/d", &*trusts),
    ] {
        rules += &rule(&receiver.url(path), &tokens.url, more);
        lines += &(message(&receiver.url(path), &path[1..], "1") + "\n");
    }
    let ended = folder.deliver(&rules, &["--endpoint-by", "url"], &lines);
    let said = ended.err.join("\n");
    assert_eq!(ended.code, 1, "{said}");
    assert_eq!(receiver.count(), 4, "{said}");
    assert!(receiver.requests().iter().all(|r| r.path != "/none"));
    assert_eq!(
        tokens.seen().len(),
        3,
        "those with the same trust share one"
    );
}

/// The endpoint takes no token, and a new one does not come: only who fetches it holds a worker.
#[test]
fn a_401_holds_a_worker_no_longer_than_a_moment_for_a_token_of_another() {
    let redis = Redis::start();
    let tokens = Receiver::answering(|_, n| match n {
        0 => Reply::from(status(200).body(GRANTED)),
        _ => Reply::Hang,
    });
    let receiver = Receiver::answering(|_, _| status(401));
    let folder = Folder::new();
    let rules = folder.rules(&rule(
        &receiver.url("/"),
        &tokens.url("/"),
        "timeout = \"20s\"",
    ));
    let args = [
        "--endpoints",
        &*rules,
        "--max-attempts",
        "1",
        "--max-in-flight",
        "8",
    ];
    let service = serve(&redis, &args);
    for n in 0..8 {
        redis.send(message(&receiver.url("/"), &format!("w{n}"), "1"));
    }
    // All but the one who fetches. Half of the time would have been 10 s.
    let dead = redis.wait_dead(7);
    assert!(dead.iter().all(|letter| letter.number("status") == 401));
    let took: Vec<f64> = service
        .log
        .all()
        .iter()
        .filter_map(|line| took(line))
        .collect();
    assert!(took.len() >= 7 && took.iter().all(|s| *s < 8.0), "{took:?}");
    assert_eq!(tokens.count(), 2);
}

/// The seconds that a failed attempt took, from its line.
fn took(line: &str) -> Option<f64> {
    let took = line
        .split_once(" took=")
        .filter(|_| line.contains("failed id="))?
        .1;
    let took = humantime::parse_duration(took.split(' ').next()?);
    Some(took.ok()?.as_secs_f64())
}
