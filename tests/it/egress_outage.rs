//! A proxy that fails costs no message an attempt and closes no endpoint. It is told once.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::forward::{Forward, Manner, Speech};
use crate::support::https::Identity;
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Outhook, serve};
use crate::support::{DEADLINE, free_port, message};

/// Fifty messages to ten endpoints.
fn many(host: &str) -> Vec<String> {
    let one = |n: usize| {
        message(
            &format!("http://{host}{}.test/", n % 10),
            &format!("m{n}"),
            "1",
        )
    };
    (0..50).map(one).collect()
}

#[test]
fn an_outage_is_waited_out_told_once_and_counts_for_nobody() {
    let (port, receiver) = (free_port(), Receiver::ok());
    let address = format!("http://127.0.0.1:{port}");
    let args = ["deliver", "--max-attempts", "1", "--proxy", &address];
    let mut service = Outhook::new(&args).spawn();
    service.write(many("h").join("\n"));
    service.close_stdin();
    service.log.wait_times("postponed id=", 20);
    let good = receiver.addr;
    let _proxy = Forward::at(&format!("127.0.0.1:{port}"), Speech::Http, move |_, _| {
        Manner::LeadTo(good)
    });
    assert_eq!(service.wait_exit(DEADLINE), 0);
    assert_eq!(receiver.distinct().len(), 50);
    let told = format!("proxy {address}: trouble: 127.0.0.1:{port}: Connection refused");
    assert_eq!(service.log.count(&told), 1);
    assert_eq!(service.log.count("trouble"), 1);
    assert_eq!(
        service.log.count(&format!("proxy {address}: back after ")),
        1
    );
    assert_eq!(service.log.count("closed"), 0);
    let first = service.log.count("attempt=1 took");
    assert_eq!(
        first,
        service.log.count("attempt="),
        "no attempt was counted"
    );
}

/// What is said of it, and that the drain hands the message back with no attempt made.
#[test]
fn each_fault_of_the_proxy_itself_is_named_and_keeps_the_message() {
    let plain = Receiver::connections(|mut stream, _| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(
            b"HTTP/1.1 400 Bad Request

",
        );
    });
    let identity = Identity::of(&["other.test"]);
    let stranger = Forward::leading(Speech::Https(identity.config.clone()));
    let says = |text: &str| {
        let bytes = text.as_bytes().to_vec();
        Forward::start(Speech::Http, move |_, _| Manner::Say(bytes.clone()))
    };
    let asks = says(
        "HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
    );
    let web = says("HTTP/1.1 405 Not Allowed\r\n\r\n");
    let mute = says("");
    let socks = Forward::leading(Speech::Socks(Some(("me", "pass"))));
    let fails = Forward::start(Speech::Socks(None), |_, _| {
        Manner::Say(vec![5, 1, 0, 1, 0, 0])
    });
    let hangs = Forward::start(Speech::Http, |_, _| Manner::Hang);
    let ca_file = identity.file();
    for (proxy, url, words) in [
        (
            format!("http://127.0.0.1:{}", free_port()),
            "https://h.test/",
            "refused",
        ),
        (
            "http://no-such-proxy.invalid:1".into(),
            "https://h.test/",
            "no-such-proxy.invalid",
        ),
        (
            format!("https://{}", stranger.addr),
            "https://h.test/",
            "other.test",
        ),
        (
            format!("https://{}", plain.addr),
            "http://h.test/",
            "does not speak TLS",
        ),
        (
            format!("http://{}", asks.addr),
            "https://h.test/",
            "--proxy-credentials-file",
        ),
        (
            format!("http://{}", asks.addr),
            "http://h.test/",
            "--proxy-credentials-file",
        ),
        (
            format!("http://me:pw@{}", asks.addr),
            "http://h.test/",
            "does not accept our",
        ),
        (
            format!("http://{}", web.addr),
            "https://h.test/",
            "is it an HTTP proxy",
        ),
        (
            format!("http://{}", mute.addr),
            "https://h.test/",
            "closed the connection",
        ),
        (
            format!("http://{}", hangs.addr),
            "https://h.test/",
            "did not say in time",
        ),
        (
            format!("http://{}", mute.addr),
            "http://h.test/",
            "closed the connection",
        ),
        (
            format!("http://{}", hangs.addr),
            "http://h.test/",
            "no answer within 2s",
        ),
        (
            format!("socks5h://{}", mute.addr),
            "https://h.test/",
            "says nothing",
        ),
        (
            format!("http://{}", socks.addr),
            "https://h.test/",
            "does not speak HTTP",
        ),
        (
            format!("socks5h://{}", socks.addr),
            "https://h.test/",
            "--proxy-credentials-file",
        ),
        (
            format!("socks5h://me:no@{}", socks.addr),
            "https://h.test/",
            "does not accept our",
        ),
        (
            format!("socks5h://{}", fails.addr),
            "https://h.test/",
            "SOCKS reply 1",
        ),
    ] {
        let args = [
            "deliver",
            "--max-attempts",
            "1",
            "--proxy",
            &proxy,
            "--ca-file",
            &ca_file,
            "--drain-timeout",
            "100ms",
            "--connect-timeout",
            "1s",
            "--timeout",
            "2s",
        ];
        let mut service = Outhook::new(&args).spawn();
        service.write(message(url, "a", "1") + "\n");
        let line = service.log.wait("postponed id=a");
        let shown = proxy.replace("me:pw@", "").replace("me:no@", "");
        assert!(
            line.contains(&format!("error=proxy (proxy {shown}: ")),
            "{proxy}: {line}"
        );
        assert!(
            line.contains(words) && line.contains("attempt=1"),
            "{proxy}: {line}"
        );
        service.log.wait(&format!("proxy {shown}: trouble: "));
        service.terminate();
        let letters = service.log.all().join("\n");
        assert!(letters.contains("\"reason\":\"drained\""), "{letters}");
        assert!(letters.contains("\"attempts\":0"), "{letters}");
    }
}

#[test]
fn what_may_be_one_targets_fault_is_so_where_others_are_led() {
    let receiver = Receiver::ok();
    let good = receiver.addr;
    let asks =
        b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
    let proxy = Forward::start(Speech::Http, move |asked, _| {
        match asked.what.contains("odd.test") {
            true => Manner::Say(asks.to_vec()),
            false => Manner::LeadTo(good),
        }
    });
    let address = format!("http://{}", proxy.addr);
    let args = [
        "deliver",
        "--max-attempts",
        "2",
        "--backoff-base",
        "10ms",
        "--proxy",
        &address,
    ];
    let mut service = Outhook::new(&args).spawn();
    for (n, url) in ["https://odd.test/", "http://odd.test/"]
        .into_iter()
        .enumerate()
    {
        service.write(message("http://good.test/", &format!("good{n}"), "1") + "\n");
        service.log.wait(&format!("delivered id=good{n}"));
        service.write(message(url, &format!("odd{n}"), "1") + "\n");
        service.log.wait(&format!("dead (exhausted): odd{n}"));
    }
    service.close_stdin();
    assert_eq!(service.wait_exit(DEADLINE), 1);
    assert_eq!(service.log.count("trouble"), 0);
    assert!(service.log.count("the proxy leads to others, but here: ") > 0);
}

/// Nobody has been led before, so it may be the proxy. A message for somebody else is not told to wait.
#[test]
fn however_many_odd_targets_there_are_a_good_one_is_reached_at_once_and_they_end_by_attempts() {
    let receiver = Receiver::ok();
    let good = receiver.addr;
    for speech in [Speech::Http, Speech::Socks(None)] {
        let scheme = match speech {
            Speech::Http => "http",
            _ => "socks5h",
        };
        let proxy = Forward::start(speech, move |asked, _| {
            match asked.what.contains("good.test") {
                true => Manner::LeadTo(good),
                false => Manner::Hang,
            }
        });
        let address = format!("{scheme}://{}", proxy.addr);
        let args = [
            "deliver",
            "--max-attempts",
            "2",
            "--backoff-base",
            "10ms",
            "--connect-timeout",
            "1s",
            "--timeout",
            "2s",
            "--proxy",
            &address,
        ];
        let mut service = Outhook::new(&args).spawn();
        let odd = |n: usize| {
            let scheme = if n.is_multiple_of(2) { "http" } else { "https" };
            message(&format!("{scheme}://odd{n}.test/"), &format!("odd{n}"), "1")
        };
        service.write((0..20).map(odd).collect::<Vec<_>>().join("\n") + "\n");
        for n in 0..20 {
            service.log.wait(&format!("postponed id=odd{n} "));
        }
        service.write(message("http://good.test/", "good", "1") + "\n");
        service.log.wait("delivered id=good");
        assert_eq!(service.log.count("postponed id=good"), 0, "{scheme}");
        service.log.wait_times("\"reason\":\"exhausted\"", 20);
        service.close_stdin();
        assert_eq!(service.wait_exit(DEADLINE), 1);
    }
}

#[test]
fn a_message_that_no_proxy_leads_is_given_up_at_its_age_and_says_why() {
    let redis = Redis::start();
    let address = format!("http://127.0.0.1:{}", free_port());
    let args = [
        "--proxy",
        &*address,
        "--max-age",
        "2s",
        "--max-attempts",
        "1",
        "--timeout",
        "1s",
    ];
    let mut service = serve(&redis, &args);
    redis.send(message("http://h.test/", "a", "1"));
    let dead = redis.wait_dead(1).remove(0);
    assert_eq!(
        (dead.text("reason"), dead.number("attempts")),
        ("too_old".into(), 0)
    );
    assert!(
        dead.text("error").contains(&format!("proxy {address}: ")),
        "{dead:?}"
    );
    assert!(service.terminate().1 < Duration::from_secs(10));
}
