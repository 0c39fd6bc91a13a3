//! Client certificates, and servers that are not verified.

use rustls::version::{TLS12, TLS13};

use super::Folder;
use crate::support::message;
use crate::support::redis::Redis;
use crate::support::service::serve;
use crate::support::sys::Signal;
use crate::support::tls::{Authority, TlsReceiver};

/// A receiver that wants certificates of `clients`, a folder, and the option that trusts the receiver.
struct Place {
    clients: Authority,
    receiver: TlsReceiver,
    folder: Folder,
    ca: String,
}

impl Place {
    fn new(versions: &[&'static rustls::SupportedProtocolVersion]) -> Place {
        let (servers, clients) = (Authority::new(), Authority::new());
        let folder = Folder::new();
        servers.write(&folder.path("ca.pem"));
        Place {
            receiver: TlsReceiver::start(&servers, Some(&clients), versions),
            ca: folder.shown("ca.pem"),
            clients,
            folder,
        }
    }

    fn deliver(&self, rules: &str, paths: &[&str]) -> (i32, String) {
        let lines: Vec<String> = paths
            .iter()
            .map(|path| message(&format!("{}{path}", self.receiver.url), "w", "1"))
            .collect();
        let ended = self
            .folder
            .deliver(rules, &["--ca-file", &self.ca], &lines.join("\n"));
        (ended.code, ended.err.join("\n"))
    }

    /// A rule for all of it.
    fn rule(&self, keys: &str) -> String {
        format!("[[endpoint]]\nurl = \"{}\"\n{keys}", self.receiver.url)
    }

    /// Writes an identity, and gives the two keys of a rule.
    fn keys(&self, name: &str, chain: &str, key: &str) -> String {
        let chain = self.folder.write(&format!("{name}.crt"), chain);
        let key = self.folder.write(&format!("{name}.key"), key);
        format!("client_cert_file = \"{chain}\"\nclient_key_file = \"{key}\"\n")
    }
}

#[test]
fn a_certificate_is_shown_to_whom_the_rule_names() {
    for version in [&TLS12, &TLS13] {
        let place = Place::new(&[version]);
        let us = place.clients.issue("us");
        for key in [us.key_pem(), us.sec1_pem()] {
            let keys = place.keys("us", &us.chain_pem(), &key);
            let rule = place.rule(&keys);
            let (code, said) = place.deliver(&rule, &["", ""]);
            assert_eq!(code, 0, "{said}");
        }
        // Both in one file.
        let both = place
            .folder
            .write("both.pem", &(us.key_pem() + &us.chain_pem()));
        let rule = place.rule(&format!("client_cert_file = \"{both}\"\n"));
        let (code, said) = place.deliver(&rule, &[""]);
        assert_eq!(code, 0, "{said}");
        let seen = place.receiver.seen();
        assert_eq!(seen.len(), 5);
        assert!(
            seen.iter()
                .all(|s| s.client.as_ref() == Some(&us.certificate))
        );
    }
}

#[test]
fn a_certificate_that_is_missing_wrong_or_old_is_told_in_words() {
    for version in [&TLS12, &TLS13] {
        let place = Place::new(&[version]);
        let (code, said) = place.deliver("", &[""]);
        assert_eq!(code, 1);
        assert!(
            said.contains("none to show; client_cert_file in the endpoints file"),
            "{said}"
        );
        let stranger = Authority::new().issue("us");
        let keys = place.keys("them", &stranger.chain_pem(), &stranger.key_pem());
        let rule = place.rule(&keys);
        let (code, said) = place.deliver(&rule, &[""]);
        assert_eq!(code, 1);
        assert!(said.contains("refuses our client certificate"), "{said}");
        let old = place.clients.issue_until("us", 2021);
        let keys = place.keys("old", &old.chain_pem(), &old.key_pem());
        let rule = place.rule(&keys);
        let (code, said) = place.deliver(&rule, &[""]);
        assert_eq!(code, 1);
        assert!(said.contains("refuses our client certificate"), "{said}");
        assert!(
            said.contains("client_cert_file: the certificate expired at 2021-01-01T"),
            "{said}"
        );
        assert_eq!(place.receiver.seen().len(), 0);
    }
}

/// Two URLs of one server, with a certificate each, and a third with none.
#[test]
fn connections_are_not_shared_between_certificates() {
    let place = Place::new(&[&TLS13]);
    let (a, b) = (place.clients.issue("a"), place.clients.issue("b"));
    let mut rules = String::new();
    for (name, identity) in [("a", &a), ("b", &b)] {
        let keys = place.keys(name, &identity.chain_pem(), &identity.key_pem());
        let url = &place.receiver.url;
        rules += &format!("[[endpoint]]\nurl = \"{url}{name}\"\n{keys}\n");
    }
    let (code, said) = place.deliver(&rules, &["a", "b", "a", "b", "c", "a", "b"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("none to show"), "{said}");
    let seen = place.receiver.seen();
    assert_eq!(seen.len(), 6);
    for one in &seen {
        let expected = if one.request.path == "/a" { &a } else { &b };
        assert_eq!(one.client.as_ref(), Some(&expected.certificate));
    }
    let mut connections: Vec<usize> = seen.iter().map(|s| s.request.connection).collect();
    connections.sort();
    connections.dedup();
    assert_eq!(connections.len(), 2, "each keeps its own");
}

#[test]
fn an_endpoint_that_is_not_verified_is_warned_of_and_shares_nothing() {
    let redis = Redis::start();
    let receiver = TlsReceiver::start(&Authority::new(), None, &[&TLS12, &TLS13]);
    let folder = Folder::new();
    let url = &receiver.url;
    let rules = folder.rules(&format!(
        "[[endpoint]]\nurl = \"{url}lax\"\ninsecure_tls = true\n"
    ));
    let args = [
        "--endpoints",
        &*rules,
        "--max-attempts",
        "1",
        "--endpoint-by",
        "url",
    ];
    let mut service = serve(&redis, &args);
    service
        .log
        .wait("lax: insecure_tls: certificates are not verified");
    redis.send(message(&format!("{url}lax"), "a", "1"));
    service.log.wait("delivered id=a");
    assert_eq!(receiver.seen().len(), 1);
    // The connection rests, and is nothing to the others.
    redis.send(message(&format!("{url}strict"), "b", "1"));
    let dead = &redis.wait_dead(1)[0];
    assert!(dead.text("error").starts_with("tls: "), "{dead:?}");
    service.signal(Signal::HUP);
    service
        .log
        .wait_times("lax: insecure_tls: certificates are not verified", 2);
    service.log.wait("SIGHUP: 1 rules");
    folder.rules("");
    service.signal(Signal::HUP);
    service.log.wait("SIGHUP: 0 rules");
    redis.send(message(&format!("{url}lax"), "c", "1"));
    redis.wait_dead(2);
    assert_eq!(receiver.seen().len(), 1);
    service.end_well();
}
