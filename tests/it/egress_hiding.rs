//! A proxy that repeats what it was sent does not bring our login into logs and dead letters.

use crate::support::forward::{Asked, Forward, Manner, Speech};
use crate::support::message;
use crate::support::service::Outhook;

/// Answers with our login in them, in each place that is shown.
fn answers(asked: &Asked) -> Vec<String> {
    let head = &asked.login;
    let line = head.lines().find(|line| line.starts_with("Proxy-A"));
    let line = line.unwrap_or("no login");
    let pair = "user pu, pu:PROXYPASS, PROXYPASS";
    let page = format!("<pre>{}{pair}</pre>", head.replace("==", "%3D%3D"));
    let length = page.len();
    vec![
        format!("HTTP/1.1 403 x\r\nContent-Length: {length}\r\n\r\n{page}"),
        format!("HTTP/1.1 403 No. {line} {pair}\r\nX-Squid-Error: {line}\r\n\r\n"),
        format!("HTTP/1.1 403\r\nX-Squid-Error: {line}\r\n\r\n"),
        format!("HTTP/1.1 403\r\nX-Squid-Error: {pair}\r\n\r\n"),
        format!("HTTP/1.1 400 {line}\r\nX-Squid-Error: {pair}\r\n\r\n"),
        format!(
            "HTTP/1.1 407 {line}\r\nProxy-Authenticate: Basic\r\nX-Squid-Error: {line}\r\n\r\n"
        ),
        format!("HTTP/1.1 {line}\r\n\r\n"),
        format!("{line} {pair}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n\r\n{line}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}0\r\n\r\n{page}"),
    ]
}

#[test]
fn a_proxy_that_repeats_our_login_does_not_bring_it_into_what_is_kept() {
    let count = answers(&Asked {
        what: String::new(),
        login: String::new(),
        connection: 0,
        from: "127.0.0.1:1".parse().unwrap(),
    })
    .len();
    let proxy = Forward::start(Speech::Http, |asked, _| {
        let url = asked.what.split(' ').nth(1).unwrap_or_default();
        let digits: String = url.chars().filter(char::is_ascii_digit).collect();
        // CONNECT names the port too.
        let number = digits.strip_suffix("443").unwrap_or(&digits);
        let said = answers(asked).swap_remove(number.parse().unwrap());
        Manner::Say(said.into_bytes())
    });
    for scheme in ["http", "https"] {
        for number in 0..count {
            let url = format!("{scheme}://n{number}.test/");
            let address = format!("http://pu:PROXYPASS@{}", proxy.addr);
            let args = [
                "deliver",
                "--max-attempts",
                "1",
                "--drain-timeout",
                "100ms",
                "--log",
                "trace",
                "--proxy",
                &address,
            ];
            let mut service = Outhook::new(&args).spawn();
            service.write(message(&url, "a", "1") + "\n");
            service.log.wait(" id=a");
            service.terminate();
            let said = service.log.all().join("\n");
            let shown = ["PROXYPASS", "cHU6UFJPWFl"].map(|secret| said.contains(secret));
            assert_eq!(shown, [false, false], "{url}: {said}");
        }
    }
    let seen = proxy.asked();
    assert!(seen.iter().all(|asked| {
        asked
            .login
            .contains("Proxy-Authorization: Basic cHU6UFJPWFlQQVNT")
    }));
    assert!(seen.len() >= 2 * count);
}
