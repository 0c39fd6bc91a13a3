//! The address guard: what is refused, what is said of it, and what allows it.

use std::fs;
use std::net::IpAddr;

use crate::support::dns::{Answer, DnsServer};
use crate::support::message;
use crate::support::ndjson::Letter;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook};
use crate::support::sys::Signal;

/// Runs `deliver` with nothing allowed but what the arguments say.
fn deliver(args: &[&str], messages: &[String]) -> Finished {
    let command = Outhook::new(&[&["deliver"], args].concat()).guarded();
    command.run(messages.join("\n") + "\n")
}

/// Its dead letters, all of which must be the guard's.
fn assert_refused(run: &Finished) -> Vec<Letter> {
    let letters = Letter::among(&run.err);
    for letter in &letters {
        assert_eq!(letter.text("reason"), "refused_address", "{letter:?}");
        assert_eq!(letter.number("attempts"), 0, "{letter:?}");
    }
    letters
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn an_address_is_refused_at_once_with_the_rule_and_what_allows_it() {
    let receiver = Receiver::ok();
    let run = deliver(&[], &[message(&receiver.url("/a"), "a", "1")]);
    assert_eq!((run.code, receiver.connected()), (1, 0), "{run:?}");
    let letters = assert_refused(&run);
    assert_eq!(
        letters[0].text("detail"),
        "127.0.0.1 is refused: loopback (127.0.0.0/8); --allow-cidr 127.0.0.1/32 (allow_cidr in \
         its rule) allows it"
    );
    // What it says is true.
    let run = deliver(
        &["--allow-cidr", "127.0.0.1/32"],
        &[message(&receiver.url("/a"), "a", "1")],
    );
    assert_eq!((run.code, receiver.count()), (0, 1), "{run:?}");
}

#[test]
fn a_name_of_this_machine_is_refused_whoever_looks_it_up() {
    let receiver = Receiver::ok();
    let url = format!("http://localhost:{}/", receiver.addr.port());
    for args in [&[][..], &["--resolver", "system"]] {
        let run = deliver(args, &[message(&url, "a", "1")]);
        let detail = assert_refused(&run)[0].text("detail").to_owned();
        assert!(detail.starts_with("localhost leads to "), "{detail}");
        assert!(detail.contains("loopback"), "{detail}");
    }
    assert_eq!(receiver.connected(), 0);
}

#[test]
fn a_name_with_one_bad_address_among_good_ones_is_refused() {
    let receiver = Receiver::ok();
    let url = format!("http://both.customer.test:{}/", receiver.addr.port());
    for bad in ["10.1.2.3", "fd00:ec2::254", "::ffff:127.0.0.1"] {
        let dns = DnsServer::answering(move |_| {
            Answer::Addresses(vec![ip("127.0.0.1"), ip("127.0.0.2"), ip(bad)], 60)
        });
        // The families come one by one, and the first alone may be good.
        let first = if ip(bad).is_ipv6() { 1 } else { 0 };
        let args = [&dns.option(), "--allow-cidr", "127.0.0.0/8", "--workers=1"];
        let messages: Vec<_> = (0..9)
            .map(|n| message(&url, &format!("m{n}"), "1"))
            .collect();
        let run = deliver(&args, &messages);
        let letters = assert_refused(&run);
        assert!(letters.len() >= 9 - first, "{run:?}");
        let detail = letters[0].text("detail");
        let begin = format!("both.customer.test leads to {} is refused: ", ip(bad));
        assert!(detail.starts_with(&begin), "{detail}");
    }
}

#[test]
fn ports_and_plain_http_are_refused_by_setting() {
    let receiver = Receiver::ok();
    let (allow, port) = ("--allow-cidr=127.0.0.0/8", receiver.addr.port().to_string());
    let url = receiver.url("/");
    for (args, url, words) in [
        (
            &[allow][..],
            "http://127.0.0.1:6379/",
            "port 6379 is refused: it is known for redis; --allow-port usual,6379",
        ),
        (
            &[allow, "--allow-port", "443,8443"],
            &url,
            "none of those that are allowed",
        ),
        (
            &[allow, "--https-only"],
            &url,
            "http:// is refused: --https-only",
        ),
        (
            &[allow, "--deny-cidr", "127.0.0.0/16"],
            &url,
            "127.0.0.1 is refused: --deny-cidr 127.0.0.0/16",
        ),
    ] {
        let run = deliver(args, &[message(url, "a", "1")]);
        let letters = assert_refused(&run);
        let detail = letters[0].text("detail");
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(receiver.connected(), 0);
    let run = deliver(&[allow, "--allow-port", &port], &[message(&url, "a", "1")]);
    assert_eq!((run.code, receiver.count()), (0, 1), "{run:?}");
}

#[test]
fn an_ipv4_range_in_ipv6_is_refused_at_start_as_it_would_hold_nothing() {
    for (option, value) in [
        ("--deny-cidr", "::ffff:127.0.0.1"),
        ("--allow-cidr", "64:ff9b::127.0.0.1/128"),
    ] {
        let run = deliver(&[option, value], &[]);
        let said = run.err.join(" ");
        assert!(said.contains("write 127.0.0.1/32"), "{said}");
        assert_eq!(run.code, 2, "{said}");
    }
}

#[test]
fn an_endpoint_of_the_file_has_rules_of_its_own_which_a_reload_changes() {
    let receiver = Receiver::ok();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("endpoints.toml");
    let url = receiver.url("");
    let write = |text: &str| fs::write(&file, text).unwrap();
    write(&format!(
        "[[endpoint]]\nurl = \"{url}/in/\"\nallow_cidr = \"127.0.0.1\"\n\n\
         [[endpoint]]\nurl = \"{url}/not/\"\nallow_cidr = [\"127.0.0.0/8\"]\ndeny_cidr = [\"127.0.0.1\"]\n\n\
         [[endpoint]]\nurl = \"{url}/port/\"\nallow_cidr = [\"127.0.0.0/8\"]\nallow_port = [443, \"8000-8999\"]\n"
    ));
    let args = ["deliver", "--endpoints", file.to_str().unwrap()];
    let mut service = Outhook::new(&args).guarded().spawn();
    let mut send = |path: &str| {
        let id = path.replace('/', "-");
        service.write(message(&format!("{url}{path}"), &id, "1") + "\n");
        service.log.wait(&format!(" id={id} "))
    };
    assert!(send("/in/1").contains("delivered"));
    for path in ["/not/1", "/port/1", "/else/1"] {
        assert!(send(path).contains("dead=refused_address"), "{path}");
    }
    // The connection that is kept is no way around new rules.
    write(&format!(
        "[[endpoint]]\nurl = \"{url}/else/\"\nallow_cidr = \"127.0.0.1\"\n"
    ));
    service.signal(Signal::HUP);
    service.log.wait("SIGHUP: 1 rules");
    let mut send = |path: &str| {
        let id = path.replace('/', "-");
        service.write(message(&format!("{url}{path}"), &id, "1") + "\n");
        service.log.wait(&format!(" id={id} "))
    };
    assert!(send("/else/2").contains("delivered"));
    assert!(send("/in/2").contains("dead=refused_address"));
    assert_eq!(receiver.count(), 2);
}

#[test]
fn what_is_refused_closes_no_connection_of_others_at_the_same_origin() {
    let receiver = Receiver::ok();
    let names = DnsServer::answering(|question| match question.is_v4 {
        true => Answer::Addresses(vec![ip("127.0.0.1")], 60),
        false => Answer::Addresses(Vec::new(), 60),
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("endpoints.toml");
    let named = format!("http://hooks.customer.test:{}", receiver.addr.port());
    let urls = [receiver.url(""), named];
    let rule =
        |url: &String| format!("[[endpoint]]\nurl = \"{url}/in/\"\nallow_cidr = \"127.0.0.1\"\n");
    fs::write(&file, urls.each_ref().map(rule).concat()).unwrap();
    let (file, dns) = (file.to_str().unwrap(), names.option());
    let args = ["deliver", "--endpoints", file, &dns, "--workers=1"];
    let mut service = Outhook::new(&args).guarded().spawn();
    let mut send = |url: &str, id: &str| {
        service.write(message(url, id, "1") + "\n");
        service.log.wait(&format!(" id={id} "))
    };
    for (kind, url) in urls.iter().enumerate() {
        for n in 0..4 {
            let said = send(&format!("{url}/in/"), &format!("in{kind}-{n}"));
            assert!(said.contains("delivered"), "{said}");
            let said = send(&format!("{url}/else/"), &format!("else{kind}-{n}"));
            assert!(said.contains("dead=refused_address"), "{said}");
        }
        assert_eq!(receiver.connected(), kind + 1, "{url}");
    }
}

#[test]
fn a_start_without_the_guard_says_so() {
    for (value, words) in [
        ("0.0.0.0/0,::/0", "the address guard is off: all addresses"),
        ("0.0.0.0/1,128.0.0.0/1", "the address guard is off for IPv4"),
    ] {
        let run = deliver(&["--allow-cidr", value], &[]);
        let said = run.err.iter().filter(|line| line.contains(words)).count();
        assert_eq!((run.code, said), (0, 1), "{run:?}");
    }
    let run = deliver(&["--allow-cidr", "10.0.0.0/8"], &[]);
    assert!(
        !run.err.iter().any(|line| line.contains("guard")),
        "{run:?}"
    );
}

#[test]
fn from_redis_it_is_a_dead_letter_and_a_state_and_others_go_on() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let address = redis.address();
    let args = ["serve", "--redis-address", &address, "--status-ttl", "1d"];
    let allow = ["--allow-cidr", "127.0.0.1/32"];
    let mut service = Outhook::new(&[&args[..], &allow].concat())
        .guarded()
        .spawn();
    service.log.wait("ready: subscribed");
    let add = |url: &str, id: &str| {
        redis.add(message(url, id, "1"));
    };
    add("http://127.0.0.2:9000/", "bad");
    add(&receiver.url("/"), "good");
    receiver.wait_for(1);
    let letters = redis.wait_dead(1);
    assert_eq!(letters[0].text("reason"), "refused_address");
    assert_eq!(letters[0].number("attempts"), 0);
    let detail = letters[0].text("detail");
    assert!(
        detail.starts_with("127.0.0.2 is refused: loopback"),
        "{detail}"
    );
    let tool = ["status", "bad", "--json", "--redis-address", &address];
    let run = Outhook::new(&tool).run("");
    assert!(
        run.out[0].contains(r#""reason":"refused_address""#),
        "{run:?}"
    );
    service.end_well();
}
