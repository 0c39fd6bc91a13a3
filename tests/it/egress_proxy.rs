//! Receivers are reached through a proxy, of each kind, and through no other way.

use std::net::SocketAddr;

use crate::support::dns::{Answer, DnsServer, here};
use crate::support::forward::{Asked, Forward, Manner, Speech};
use crate::support::https::{Https, Identity};
use crate::support::message;
use crate::support::receiver::Receiver;
use crate::support::service::{Finished, Outhook};

/// One attempt for each message, one after another.
fn deliver(args: &[&str], lines: &[String]) -> Finished {
    let usual = ["deliver", "--max-attempts", "1", "--workers", "1"];
    Outhook::new(&[&usual, args].concat()).run(lines.join("\n"))
}

fn three(url: &str) -> Vec<String> {
    let one = |n: usize| message(url, &format!("m{n}"), "1");
    (0..3).map(one).collect()
}

/// A proxy that leads all to the one receiver, whatever its name.
fn leading_to(addr: SocketAddr, speech: Speech) -> Forward {
    Forward::start(speech, move |_, _| Manner::LeadTo(addr))
}

/// The proxy of each kind, its URL, and what trusts it.
fn kinds(identity: &Identity, addr: SocketAddr) -> Vec<(Forward, String)> {
    [
        ("http", Speech::Http),
        ("https", Speech::Https(identity.config.clone())),
        ("socks5", Speech::Socks(None)),
        ("socks5h", Speech::Socks(None)),
    ]
    .into_iter()
    .map(|(scheme, speech)| {
        let proxy = leading_to(addr, speech);
        let url = format!("{scheme}://{}", proxy.addr);
        (proxy, url)
    })
    .collect()
}

fn whats(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| &*asked.what).collect()
}

#[test]
fn each_kind_leads_to_http_and_names_are_looked_up_where_it_says() {
    let (identity, receiver) = (Identity::of(&["127.0.0.1"]), Receiver::ok());
    let url = "http://customer.test:8080/hook?a=b";
    for (n, (proxy, address)) in kinds(&identity, receiver.addr).iter().enumerate() {
        let dns = DnsServer::answering(|_| here());
        let ca_file = identity.file();
        let args = ["--proxy", address, "--ca-file", &ca_file, &dns.option()];
        let ended = deliver(&args, &three(url));
        assert_eq!(ended.code, 0, "{ended:?}");
        let asked = proxy.asked();
        let want: &[&str] = match address.split(':').next() {
            Some("socks5") => &["SOCKS 127.0.0.1:8080"],
            Some("socks5h") => &["SOCKS customer.test:8080"],
            _ => &["POST http://customer.test:8080/hook?a=b"; 3],
        };
        assert_eq!(whats(&asked), want);
        assert!(
            asked.iter().all(|asked| asked.connection == 0),
            "kept: {asked:?}"
        );
        let is_ours = address.starts_with("socks5:");
        assert_eq!(dns.asked_for("customer.test") > 0, is_ours);
        for request in &receiver.wait_for(3 * (n + 1))[3 * n..] {
            assert_eq!(request.path, "/hook?a=b");
            assert_eq!(request.header("host"), Some("customer.test:8080"));
            assert_eq!(request.header("proxy-authorization"), None);
        }
    }
}

#[test]
fn each_kind_leads_to_https_and_the_receiver_proves_who_it_is() {
    let identity = Identity::of(&["customer.test", "127.0.0.1"]);
    let receiver = Https::start(&identity);
    for (n, (proxy, address)) in kinds(&identity, receiver.addr).iter().enumerate() {
        let dns = DnsServer::answering(|_| here());
        let ca_file = identity.file();
        let args = ["--proxy", address, "--ca-file", &ca_file, &dns.option()];
        let ended = deliver(&args, &three("https://customer.test/hook"));
        assert_eq!(ended.code, 0, "{ended:?}");
        let want = match address.split(':').next() {
            Some("socks5") => "SOCKS 127.0.0.1:443",
            Some("socks5h") => "SOCKS customer.test:443",
            _ => "CONNECT customer.test:443",
        };
        assert_eq!(whats(&proxy.asked()), [want], "one tunnel for all");
        assert_eq!(
            (receiver.requests(), receiver.connections()),
            (3 * (n + 1), 2 * n + 1)
        );
        // Another name is another receiver, whoever leads there.
        let ended = deliver(&args, &three("https://other.test/")[..1]);
        let said = ended.err.join("\n");
        assert_eq!(ended.code, 1, "{said}");
        assert!(said.contains(&format!("through {address}: ")), "{said}");
        assert!(said.contains("customer.test"), "{said}");
        assert_eq!(receiver.requests(), 3 * (n + 1));
    }
}

#[test]
fn bodies_of_a_megabyte_go_through_tls_within_tls() {
    let identity = Identity::of(&["customer.test", "127.0.0.1"]);
    let receiver = Https::start(&identity);
    let proxy = leading_to(receiver.addr, Speech::Https(identity.config.clone()));
    let address = format!("https://{}", proxy.addr);
    let body = format!("\"{}\"", "x".repeat(1_000_000));
    let lines: Vec<String> = (0..4)
        .map(|n| message("https://customer.test/", &format!("m{n}"), &body))
        .collect();
    let file = identity.file();
    let args = [
        "--proxy",
        &*address,
        "--ca-file",
        &file,
        "--max-message-bytes",
        "2000000",
    ];
    let ended = deliver(&args, &lines);
    assert_eq!((ended.code, receiver.requests()), (0, 4), "{ended:?}");
}

#[test]
fn an_address_is_led_to_as_it_stands_in_the_url() {
    let receiver = Receiver::ok();
    for (scheme, speech, want) in [
        ("http", Speech::Http, "POST http://[::1]:8080/"),
        ("socks5", Speech::Socks(None), "SOCKS [::1]:8080"),
        ("socks5h", Speech::Socks(None), "SOCKS [::1]:8080"),
    ] {
        let proxy = leading_to(receiver.addr, speech);
        let address = format!("{scheme}://{}", proxy.addr);
        let ended = deliver(&["--proxy", &*address], &three("http://[::1]:8080/")[..1]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(whats(&proxy.asked()), [want]);
    }
}

#[test]
fn a_user_and_password_are_told_to_the_proxy_alone_and_shown_to_nobody() {
    let receiver = Receiver::ok();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("login");
    std::fs::write(&file, "me:hunter:2 é\n").unwrap();
    let file = file.to_str().unwrap();
    let basic = "Proxy-Authorization: Basic bWU6aHVudGVyOjIgw6k=\r\n";
    for (scheme, speech) in [
        ("http", Speech::Http),
        ("socks5", Speech::Socks(Some(("me", "hunter:2 é")))),
    ] {
        let proxy = leading_to(receiver.addr, speech);
        let plain = format!("{scheme}://{}", proxy.addr);
        let with_login = format!("{scheme}://me:hunter:2%20%C3%A9@{}", proxy.addr);
        for args in [
            &["--proxy", &*with_login][..],
            &["--proxy", &plain, "--proxy-credentials-file", file],
        ] {
            let before = receiver.count();
            let ended = deliver(args, &three("http://customer.test/")[..1]);
            if scheme == "socks5" {
                // Its name cannot be found here.
                let ended = deliver(args, &three(&receiver.url("/"))[..1]);
                assert_eq!(ended.code, 0, "{ended:?}");
            } else {
                assert_eq!(ended.code, 0, "{ended:?}");
            }
            let asked = proxy.asked().pop().unwrap();
            let told = match scheme {
                "http" => asked.login.contains(basic),
                _ => asked.login == "me:hunter:2 é",
            };
            assert!(told, "{asked:?}");
            let seen = &receiver.requests()[before];
            assert_eq!(seen.header("proxy-authorization"), None);
            let said = [ended.out, ended.err].concat().join("\n");
            assert!(!said.contains("hunter") && !said.contains("bWU6"), "{said}");
        }
        // A wrong form of it is not shown either.
        for bad in [
            format!("{with_login}/x"),
            with_login.replace(scheme, "gopher"),
        ] {
            let ended = Outhook::new(&["deliver"])
                .env("OUTHOOK_PROXY", &bad)
                .run("");
            let said = ended.err.join("\n");
            assert_eq!(ended.code, 2, "{said}");
            assert!(
                said.contains("--proxy") && !said.contains("hunter"),
                "{said}"
            );
        }
        let help = Outhook::new(&["deliver", "--help"])
            .env("OUTHOOK_PROXY", &with_login)
            .run("");
        assert!(!help.out.join("\n").contains("hunter"));
    }
}

#[test]
fn the_proxy_sees_the_address_that_is_named() {
    let proxy = leading_to(Receiver::ok().addr, Speech::Http);
    let address = format!("http://{}", proxy.addr);
    let args = ["--proxy", &*address, "--bind-address", "127.0.0.88"];
    let ended = deliver(&args, &three("http://customer.test/"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        proxy
            .asked()
            .iter()
            .all(|asked| asked.from.ip().to_string() == "127.0.0.88")
    );
}

#[test]
fn what_is_exempt_goes_directly() {
    let receiver = Receiver::ok();
    let proxy = Forward::leading(Speech::Http);
    let address = format!("http://{}", proxy.addr);
    let port = receiver.addr.port();
    for (list, through) in [
        ("127.0.0.0/8", 0),
        ("x.example, 127.0.0.1", 0),
        (&*format!("127.0.0.1:{port}"), 0),
        ("*", 0),
        ("127.0.0.1:1", 1),
        ("", 2),
    ] {
        let args = ["--proxy", &*address, "--no-proxy", list];
        let ended = deliver(&args, &three(&receiver.url("/"))[..1]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(proxy.asked().len(), through, "{list:?}");
    }
    let ended = deliver(&["--no-proxy", "10.0.0.0/99"], &[]);
    let said = ended.err.join("\n");
    assert_eq!(ended.code, 2, "{said}");
    assert!(said.contains("--no-proxy \"10.0.0.0/99\""), "{said}");
}

#[test]
fn what_the_proxy_says_of_a_target_is_that_targets_fault_alone() {
    let receiver = Receiver::ok();
    let good = receiver.addr;
    let say = |text: &str| Manner::Say(text.as_bytes().to_vec());
    let (squid, smokescreen) = (
        "HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\n\r\n<html>",
        "HTTP/1.1 407 Request rejected by proxy\r\nX-Smokescreen-Error: denied to host\r\n\r\n",
    );
    let proxy = Forward::start(Speech::Http, move |asked, _| match &*asked.what {
        "CONNECT gone.test:443" => say(squid),
        "CONNECT denied.test:443" => say(smokescreen),
        "CONNECT forbidden.test:443" => say("HTTP/1.1 403 Filtered\r\n\r\n"),
        "CONNECT hangs.test:443" => Manner::Hang,
        "CONNECT talks.test:443" => say("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-x\r\n"),
        "POST http://broken.test/" => say("HTTP/1.0 500 Unable to connect\r\n\r\n"),
        "POST http://gone.test/" => say(squid),
        "POST http://denied.test/" => say(smokescreen),
        _ => Manner::LeadTo(good),
    });
    let address = format!("http://{}", proxy.addr);
    let args = ["--proxy", &*address, "--connect-timeout", "300ms"];
    for (url, words) in [
        (
            "https://gone.test/",
            "did not lead there: 503 Service Unavailable (ERR_DNS_FAIL 0)",
        ),
        (
            "https://denied.test/",
            "refuses to lead there: 407 Request rejected by proxy (denied",
        ),
        (
            "https://forbidden.test/",
            "refuses to lead there: 403 Filtered",
        ),
        ("https://hangs.test/", "did not say in time"),
        ("https://talks.test/", "sent \"SSH-2.0-x"),
        (
            "http://gone.test/",
            "did not lead there: 503 (ERR_DNS_FAIL 0)",
        ),
        (
            "http://denied.test/",
            "refuses to lead there: 407 (denied to host)",
        ),
        ("http://broken.test/", "\"status\":500"),
    ] {
        let lines = [
            message("http://good.test/", "good", "1"),
            message(url, "bad", "1"),
        ];
        let before = receiver.count();
        let ended = deliver(&args, &lines);
        let said = ended.err.join("\n");
        assert_eq!((ended.code, receiver.count()), (1, before + 1), "{said}");
        assert!(said.contains("\"reason\":\"exhausted\""), "{said}");
        assert!(
            said.contains(words) || said.contains(&words.replace('"', "\\\"")),
            "{said}"
        );
        assert!(
            said.contains(&format!("through {address}: ")) || url.contains("broken"),
            "{said}"
        );
        assert!(!said.contains("trouble"), "{said}");
    }
}

/// The proxy itself is on loopback, which is the operator's affair.
#[test]
fn the_address_guard_judges_what_is_known_of_the_target_and_not_the_proxy() {
    let (identity, receiver) = (Identity::of(&["127.0.0.1"]), Receiver::ok());
    let private = Answer::Addresses(vec![[93, 184, 216, 34].into(), [10, 0, 0, 1].into()], 60);
    for (proxy, address) in kinds(&identity, receiver.addr) {
        let private = private.clone();
        let dns = DnsServer::answering(move |_| private.clone());
        let ca_file = identity.file();
        let run = |url: &str| {
            let dns = dns.option();
            let args = ["deliver", "--proxy", &address, "--ca-file", &ca_file, &dns];
            Outhook::new(&args).guarded().run(message(url, "a", "1"))
        };
        let is_ours = address.starts_with("socks5:");
        for (url, is_refused) in [
            ("http://10.0.0.1/", true),
            ("http://169.254.169.254/latest", true),
            ("https://0x7f.1/", true),
            ("http://[::ffff:10.0.0.1]/", true),
            ("http://93.184.216.34:6379/", true),
            ("http://localhost/", true),
            ("http://a.localhost/", true),
            ("http://customer.test/", is_ours),
            ("http://93.184.216.34/", false),
        ] {
            let before = proxy.asked().len();
            let ended = run(url);
            let said = ended.err.join("\n");
            assert_eq!(ended.code, i32::from(is_refused), "{address} {url}: {said}");
            let is_named = said.contains("\"reason\":\"refused_address\"");
            assert_eq!(is_named, is_refused, "{address} {url}: {said}");
            let asked = proxy.asked().len() > before;
            assert_eq!(asked, !is_refused, "{address} {url}");
        }
    }
}
