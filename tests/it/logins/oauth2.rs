//! OAuth2 client credentials: the token is fetched once, renewed in time, and where there is none, that
//! is the trouble of its endpoint alone.

use std::time::Duration;

use super::Folder;
use crate::support::receiver::{Receiver, Reply, status};
use crate::support::redis::Redis;
use crate::support::reply::Answer;
use crate::support::service::{Outhook, serve};
use crate::support::sys::Signal;
use crate::support::tls::{Authority, TlsReceiver};
use crate::support::{DRAIN_MARGIN, Gate, MS, free_port, message, until};

/// The answer that grants the n-th token, for so many seconds.
fn grant(n: usize, seconds: u32) -> Answer {
    status(200).body(format!(
        r#"{{"access_token":"tok-{n}","token_type":"Bearer","expires_in":{seconds}}}"#
    ))
}

/// A token server whose n-th token is `tok-n`, from 1.
fn tokens(seconds: u32) -> Receiver {
    Receiver::answering(move |_, n| grant(n + 1, seconds))
}

/// A rule for all of this receiver, with a token from there.
fn rule(receiver: &Receiver, token_url: &str, more: &str) -> String {
    format!(
        "[[endpoint]]\nurl = \"{}\"\n\
         oauth2 = {{ token_url = \"{token_url}\", client_id = \"us\", client_secret = \"s3cret word\"{more} }}\n",
        receiver.url("/")
    )
}

fn lines(receiver: &Receiver, names: &str, n: usize) -> String {
    let line = |i| message(&receiver.url("/"), &format!("{names}{i}"), "1") + "\n";
    (0..n).map(line).collect()
}

fn logins(receiver: &Receiver) -> Vec<String> {
    let requests = receiver.requests();
    let login =
        |r: &crate::support::receiver::Request| r.header("authorization").map(str::to_owned);
    requests.iter().filter_map(login).collect()
}

#[test]
fn one_token_is_fetched_for_all_and_costs_no_attempt() {
    for (more, header, body) in [
        (
            ", scope = \"a b\", audience = \"https://api/\"",
            Some("Basic dXM6czNjcmV0K3dvcmQ="),
            "grant_type=client_credentials&scope=a+b&audience=https%3A%2F%2Fapi%2F",
        ),
        (
            ", auth = \"body\"",
            None,
            "grant_type=client_credentials&client_id=us&client_secret=s3cret+word",
        ),
    ] {
        let tokens = Receiver::answering(|_, n| grant(n + 1, 3600).after(300 * MS));
        let receiver = Receiver::ok();
        let folder = Folder::new();
        let rules = folder.rules(&rule(&receiver, &tokens.url("/token?a=b"), more));
        let args = ["deliver", "--max-attempts", "1", "--endpoints", &*rules];
        let ended = Outhook::new(&args).run(lines(&receiver, "w", 200));
        assert_eq!(ended.code, 0, "{:?}", ended.err.last());
        assert_eq!((tokens.count(), receiver.count()), (1, 200));
        let asked = &tokens.requests()[0];
        assert_eq!((&*asked.method, &*asked.path), ("POST", "/token?a=b"));
        assert_eq!(asked.header("authorization"), header);
        assert_eq!(asked.header("accept"), Some("application/json"));
        assert_eq!(
            asked.header("content-type"),
            Some("application/x-www-form-urlencoded")
        );
        assert_eq!(asked.text(), body);
        assert!(logins(&receiver).iter().all(|l| l == "Bearer tok-1"));
    }
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let redis = Redis::start();
    let (tokens, receiver, folder) = (tokens(1), Receiver::ok(), Folder::new());
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let mut service = serve(&redis, &["--endpoints", &*rules]);
    let mut sent = 0;
    until("another token", || {
        redis.send(message(&receiver.url("/"), &format!("w{sent}"), "1"));
        sent += 1;
        (tokens.count() > 1).then_some(())
    });
    receiver.wait_for(sent);
    service.end_well();
    let logins = logins(&receiver);
    assert_eq!(logins.len(), sent);
    assert!(logins.contains(&"Bearer tok-2".to_owned()));
    assert!(service.log.count("attempt=2") == 0);
}

#[test]
fn a_401_renews_the_token_once_and_is_the_answer_the_second_time() {
    let redis = Redis::start();
    let (tokens, folder) = (tokens(3600), Folder::new());
    let receiver = Receiver::answering(|request, _| {
        let takes = request.header("authorization") == Some("Bearer tok-2");
        status(if takes && request.path == "/" {
            200
        } else {
            401
        })
    });
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let args = ["--endpoints", &*rules, "--max-attempts", "1"];
    let mut service = serve(&redis, &args);
    redis.send(message(&receiver.url("/"), "good", "1"));
    service.log.wait("delivered id=good");
    assert_eq!((tokens.count(), receiver.count()), (2, 2));
    redis.send(message(&receiver.url("/never"), "bad", "1"));
    let dead = &redis.wait_dead(1)[0];
    assert_eq!((dead.number("status"), dead.number("attempts")), (401, 1));
    assert_eq!(receiver.count(), 3, "it has just been renewed");
    redis.send(message(&receiver.url("/"), "good-2", "1"));
    service.log.wait("delivered id=good-2");
    assert_eq!((tokens.count(), receiver.count()), (2, 4));
    service.end_well();
}

/// All that are in flight are refused at once. None of them is lost for it, and one token is fetched.
#[test]
fn many_401_at_once_renew_it_once() {
    let tokens = tokens(3600);
    let gate = Gate::default();
    let opened = gate.clone();
    let receiver = Receiver::answering(move |request, _| {
        if request.header("authorization") == Some("Bearer tok-2") {
            return status(200);
        }
        opened.pass();
        status(401)
    });
    let folder = Folder::new();
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let args = ["deliver", "--max-attempts", "1", "--endpoints", &*rules];
    let mut run = Outhook::new(&args).spawn();
    run.write(lines(&receiver, "w", 40));
    run.close_stdin();
    receiver.wait_for(4);
    gate.open();
    assert_eq!(run.wait_exit(Duration::from_secs(30)), 0);
    assert_eq!(tokens.count(), 2);
    let taken = logins(&receiver);
    assert_eq!(taken.iter().filter(|l| *l == "Bearer tok-2").count(), 40);
}

#[test]
fn without_a_token_nothing_is_sent_and_the_others_do_not_notice() {
    let long = format!(r#"{{"access_token":"{}"}}"#, "t".repeat(70_000));
    let answers: [(Reply, &str); 9] = [
        (
            status(401)
                .body(r#"{"error":"invalid_client","error_description":"no s3cret word here"}"#)
                .into(),
            "/token answered 401: invalid_client (no *** here)",
        ),
        (status(500).body("tok-x").into(), "/token answered 500"),
        (
            status(302).header("location", "/a").into(),
            "answered 302; redirects are not followed",
        ),
        (
            status(200).body("tok-x").into(),
            "answered 200, but it is not a JSON object",
        ),
        (
            status(200).body("{}").into(),
            "but there is no access_token in it",
        ),
        (
            status(200).body(long).into(),
            "answered 200 with more than 64 KiB",
        ),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"acc".to_vec()),
            "answered 200, but its body broke off",
        ),
        (
            Reply::Close,
            "/token: the server closed the connection before it answered",
        ),
        (Reply::Hang, "/token: no answer within 400ms"),
    ];
    for (answer, words) in answers {
        let tokens = Receiver::script([answer]);
        assert_ends_without_a_token(&tokens.url("/token"), words);
        assert!(tokens.count() > 0);
    }
    assert_ends_without_a_token(
        &format!("http://127.0.0.1:{}/token", free_port()),
        "/token: ",
    );
    let words = "token endpoint http://169.254.169.254/latest: ";
    assert_ends_without_a_token("http://169.254.169.254/latest?key=s3cret", words);
}

fn assert_ends_without_a_token(token_url: &str, words: &str) {
    let (receiver, other, folder) = (Receiver::ok(), Receiver::ok(), Folder::new());
    let rules = rule(&receiver, token_url, "") + "timeout = \"400ms\"\n";
    let mixed = lines(&receiver, "w", 3) + &lines(&other, "o", 3);
    let args = ["--endpoint-backoff-base", "50ms"];
    let ended = folder.deliver(&rules, &args, &mixed);
    let said = ended.err.join("\n");
    assert_eq!(ended.code, 1, "{said}");
    assert_eq!((receiver.connected(), other.count()), (0, 3), "{said}");
    let dead: Vec<&String> = ended
        .err
        .iter()
        .filter(|l| l.starts_with('{') && l.contains("\"error\":\"login: token endpoint "))
        .collect();
    // One that waits behind them is given up with their attempts.
    assert!(!dead.is_empty(), "{said}");
    assert_eq!(
        said.matches("\"reason\":\"exhausted\"").count(),
        3,
        "{said}"
    );
    assert!(dead.iter().all(|l| l.contains(words)), "{words}: {said}");
    assert!(
        !said.contains("s3cret") && !said.contains("tok-x"),
        "{said}"
    );
}

#[test]
fn a_token_endpoint_that_hangs_holds_one_worker() {
    let gate = Gate::default();
    let opened = gate.clone();
    let tokens = Receiver::answering(move |_, n| {
        opened.pass();
        grant(n + 1, 3600)
    });
    let (receiver, other, folder) = (Receiver::ok(), Receiver::ok(), Folder::new());
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let args = ["deliver", "--workers", "8", "--endpoints", &*rules];
    let mut run = Outhook::new(&args).spawn();
    run.write(lines(&receiver, "w", 50));
    tokens.wait_for(1);
    run.write(lines(&other, "o", 50));
    run.close_stdin();
    other.wait_for(50);
    assert_eq!((tokens.count(), receiver.count()), (1, 0));
    gate.open();
    assert_eq!(run.wait_exit(Duration::from_secs(30)), 0);
    assert_eq!((tokens.count(), receiver.count()), (1, 50));
    assert_eq!(run.log.count("delivered id=w"), 50);
    let first = run
        .log
        .all()
        .iter()
        .filter(|l| l.contains("delivered id") && l.contains(" attempt=1 "))
        .count();
    assert_eq!(first, 100, "none has cost an attempt");
}

#[test]
fn an_endpoint_goes_on_when_its_token_endpoint_is_back() {
    let redis = Redis::start();
    let tokens = Receiver::answering(|_, n| match n {
        0..2 => status(503),
        n => grant(n, 3600),
    });
    let (receiver, folder) = (Receiver::ok(), Folder::new());
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let args = [
        "--endpoints",
        &*rules,
        "--endpoint-backoff-base",
        "50ms",
        "--backoff-base",
        "50ms",
    ];
    let mut service = serve(&redis, &args);
    for n in 0..20 {
        redis.send(message(&receiver.url("/"), &format!("w{n}"), "1"));
    }
    receiver.wait_for(20);
    assert_eq!(receiver.distinct().len(), 20);
    service.log.wait("answered 503");
    service.end_well();
}

#[test]
fn a_new_secret_is_used_when_the_file_is_read_again_and_an_old_token_kept() {
    let redis = Redis::start();
    let (tokens, receiver, folder) = (tokens(3600), Receiver::ok(), Folder::new());
    let secret = folder.write("secret", "one\n");
    let rules = format!(
        "[[endpoint]]\nurl = \"{}\"\noauth2 = {{ token_url = \"{}\", client_id = \"us\", \
         client_secret_file = \"{secret}\", auth = \"body\" }}\n",
        receiver.url("/"),
        tokens.url("/")
    );
    let path = folder.rules(&rules);
    let mut service = serve(&redis, &["--endpoints", &*path]);
    let login = |n: usize| {
        redis.send(message(&receiver.url("/"), &format!("w{n}"), "1"));
        receiver.wait_for(n)[n - 1]
            .header("authorization")
            .map(str::to_owned)
    };
    assert_eq!(login(1).as_deref(), Some("Bearer tok-1"));
    folder.rules(&(rules + "\n[[endpoint]]\nhost = \"h\"\n"));
    service.signal(Signal::HUP);
    service.log.wait("SIGHUP: 2 rules");
    assert_eq!(login(2).as_deref(), Some("Bearer tok-1"));
    folder.write("secret", "two");
    service.signal(Signal::HUP);
    service.log.wait_times("SIGHUP: 2 rules", 2);
    assert_eq!(login(3).as_deref(), Some("Bearer tok-2"));
    let asked: Vec<String> = tokens
        .requests()
        .iter()
        .map(|r| r.text().to_owned())
        .collect();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].ends_with("client_secret=one") && asked[1].ends_with("client_secret=two"));
    service.end_well();
}

/// What a message says of its own time is not for the token, which others want too.
#[test]
fn a_hasty_message_does_not_fail_the_token_for_others() {
    let tokens = Receiver::answering(|_, n| grant(n + 1, 3600).after(400 * MS));
    let (receiver, folder) = (Receiver::ok(), Folder::new());
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let line = |n: usize| {
        let url = receiver.url("/");
        format!("{{\"url\":\"{url}\",\"webhookId\":\"w{n}\",\"data\":1,\"timeout\":\"200ms\"}}\n")
    };
    let args = ["deliver", "--max-attempts", "1", "--endpoints", &*rules];
    let ended = Outhook::new(&args).run((0..8).map(line).collect::<String>());
    assert_eq!(ended.code, 0, "{:?}", ended.err);
    assert_eq!((tokens.count(), receiver.count()), (1, 8));
}

/// An endpoint that takes long to say 401, and a token that takes long to come: that is a failed
/// attempt, and not one that is made for ever.
#[test]
fn a_401_that_comes_late_is_the_answer() {
    let tokens = Receiver::answering(|_, n| grant(n + 1, 3600).after(300 * MS));
    let receiver = Receiver::answering(|_, _| status(401).after(1800 * MS));
    let folder = Folder::new();
    let rules = rule(&receiver, &tokens.url("/"), "") + "timeout = \"3s\"\n";
    let ended = folder.deliver(&rules, &[], &lines(&receiver, "w", 1));
    let said = ended.err.join("\n");
    assert_eq!(ended.code, 1, "{said}");
    assert!(said.contains("\"status\":401"), "{said}");
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_drain_cuts_a_fetch_and_keeps_the_messages() {
    let redis = Redis::start();
    let tokens = Receiver::script([Reply::Hang, grant(1, 3600).into()]);
    let (receiver, folder) = (Receiver::ok(), Folder::new());
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let args = ["--endpoints", &*rules, "--drain-timeout", "300ms"];
    let mut service = serve(&redis, &args);
    for n in 0..3 {
        redis.add(message(&receiver.url("/"), &format!("w{n}"), "1"));
    }
    tokens.wait_for(1);
    let (code, took) = service.terminate();
    assert_eq!(code, 0);
    assert!(took < 300 * MS + DRAIN_MARGIN, "{took:?}");
    assert_eq!((receiver.count(), redis.dead().len()), (0, 0));
    let mut next = serve(&redis, &["--endpoints", &*rules]);
    receiver.wait_for(3);
    next.end_well();
    assert_eq!(next.log.count("delivered id=w"), 3);
    let first = |l: &&String| l.contains("delivered id=w") && l.contains(" attempt=1 ");
    assert_eq!(next.log.all().iter().filter(first).count(), 3);
}

/// The secret goes to nobody who is not verified, whatever is said of the endpoint; and whom the rule
/// trusts may be the token endpoint too.
#[test]
fn the_token_endpoint_is_verified_also_where_the_endpoint_is_not() {
    use rustls::version::TLS13;
    let servers = Authority::new();
    let (tokens, receiver) = (
        TlsReceiver::start(&servers, None, &[&TLS13]),
        TlsReceiver::start(&Authority::new(), None, &[&TLS13]),
    );
    tokens.say(r#"{"access_token":"tok-1"}"#);
    let folder = Folder::new();
    servers.write(&folder.path("ca.pem"));
    let rules = format!(
        "[[endpoint]]\nurl = \"{}\"\ninsecure_tls = true\n\
         oauth2 = {{ token_url = \"{}\", client_id = \"us\", client_secret = \"s\" }}\n",
        receiver.url, tokens.url
    );
    let line = message(&receiver.url, "w", "1");
    let ended = folder.deliver(&rules, &[], &line);
    let said = ended.err.join("\n");
    assert_eq!(ended.code, 1, "{said}");
    assert!(
        said.contains("login: token endpoint https://127.0.0.1"),
        "{said}"
    );
    assert!(said.contains("--ca-file"), "{said}");
    assert!(tokens.seen().is_empty() && receiver.seen().is_empty());
    let rules = format!("{rules}ca_file = \"{}\"\n", folder.shown("ca.pem"));
    let ended = folder.deliver(&rules, &[], &line);
    assert_eq!(ended.code, 0, "{:?}", ended.err);
    let login = receiver.seen()[0]
        .request
        .header("authorization")
        .map(str::to_owned);
    assert_eq!(login.as_deref(), Some("Bearer tok-1"));
}

#[test]
fn neither_secret_nor_token_is_ever_seen() {
    let tokens = Receiver::answering(|_, n| match n {
        0 => status(400).body(r#"{"error":"s3cret word, s3cret+word, dXM6czNjcmV0K3dvcmQ="}"#),
        _ => status(200).body(r#"{"access_token":"t0ken-word"}"#),
    });
    let receiver = Receiver::answering(|request, _| {
        status(400).body(request.header("authorization").unwrap_or("none").to_owned())
    });
    let folder = Folder::new();
    let rules = folder.rules(&rule(&receiver, &tokens.url("/"), ""));
    let args = ["deliver", "--max-attempts", "2", "--endpoints", &*rules];
    let ended = Outhook::new(&args)
        .env("OUTHOOK_LOG", "trace")
        .run(lines(&receiver, "w", 1));
    let said = ended.err.join("\n");
    assert_eq!(receiver.count(), 1, "{said}");
    assert!(said.contains("answered 400: ***, ***, ***"), "{said}");
    assert!(said.contains("Bearer ***"), "{said}");
    for secret in ["s3cret", "t0ken", "dXM6czNjcmV0"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}
