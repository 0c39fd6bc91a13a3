//! Servers that repeat a login where nobody expects it: it is seen in no log and no dead letter.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Folder;
use crate::support::message;
use crate::support::receiver::{Receiver, Reply, Request, status};
use crate::support::service::Outhook;

const TOKEN: &str = "TOKENabc/def+ghi=SECRET";

/// Ways to repeat a login.
const WAYS: [fn(&str) -> Reply; 8] = [
    |login| Reply::Bytes(format!("{login}\r\n\r\n").into()),
    |login| Reply::Bytes(format!("HTTP/9.9 {login}\r\n\r\n").into()),
    |login| Reply::Bytes(format!("HTTP/1.1 {login}\r\n\r\n").into()),
    |login| Reply::Bytes(format!("SSH-\"{login}\"").into()),
    |login| status(400).body(login.replace('/', "\\/")).into(),
    |login| {
        let encoded = login.replace('+', "%2B").replace('/', "%2f");
        status(400).body(encoded.replace('=', "%3D")).into()
    },
    |login| status(500).body(BASE64_STANDARD.encode(login)).into(),
    |login| {
        let bare = login.split(' ').next_back().unwrap_or_default();
        status(500).body(BASE64_STANDARD.encode(bare)).into()
    },
];

fn login(request: &Request) -> &str {
    request.header("authorization").unwrap_or("none")
}

/// What is said while this rule delivers to `url`, all of it.
fn said(url: &str, rule: &str) -> String {
    let folder = Folder::new();
    let rules = folder.rules(&format!("[[endpoint]]\nurl = \"{url}\"\n{rule}\n"));
    let args = ["deliver", "--max-attempts", "1", "--endpoints", &*rules];
    let ended = Outhook::new(&args)
        .env("OUTHOOK_LOG", "trace")
        .run(message(url, "w", "1"));
    assert_eq!(ended.code, 1, "{:?}", ended.err);
    ended.err.join("\n")
}

fn assert_holds_none_of(said: &str, secrets: &[&str]) {
    for secret in secrets {
        for part in [secret, BASE64_STANDARD.encode(secret).trim_end_matches('=')] {
            assert!(!said.contains(&part[..6]), "{part}: {said}");
        }
    }
}

#[test]
fn a_token_is_not_seen_however_the_receiver_repeats_it() {
    for way in WAYS {
        let receiver = Receiver::answering(move |request, _| way(login(request)));
        let said = said(&receiver.url("/"), &format!("bearer_token = \"{TOKEN}\""));
        assert!(said.contains("***"), "{said}");
        let in_header = BASE64_STANDARD.encode(format!("Bearer {TOKEN}"));
        assert_holds_none_of(&said, &[TOKEN, "SECRET"]);
        assert!(!said.contains(&in_header[10..16]), "{said}");
        assert_eq!(receiver.count(), 1);
    }
}

#[test]
fn a_client_secret_is_not_seen_however_the_token_endpoint_repeats_it() {
    for way in &WAYS[..4] {
        let tokens = Receiver::answering(move |request, _| way(login(request)));
        let receiver = Receiver::ok();
        let rule = format!(
            "oauth2 = {{ token_url = \"{}\", client_id = \"x\", client_secret = \"S3CRET.word\" }}",
            tokens.url("/token")
        );
        let said = said(&receiver.url("/"), &rule);
        assert!(said.contains("login: token endpoint"), "{said}");
        assert_holds_none_of(&said, &["x:S3CRET.word", "S3CRET.word"]);
        assert_eq!(receiver.connected(), 0);
    }
}

/// A server that forgets its status line may send a token that nobody has seen yet.
#[test]
fn a_token_that_comes_as_no_answer_is_not_quoted() {
    let sent = br#"{"access_token":"s3cret-token"}"#;
    let tokens = Receiver::script([Reply::Bytes(sent.to_vec())]);
    let receiver = Receiver::ok();
    let rule = format!(
        "oauth2 = {{ token_url = \"{}\", client_id = \"x\", client_secret = \"word\" }}",
        tokens.url("/token")
    );
    let said = said(&receiver.url("/"), &rule);
    assert!(
        said.contains("what came is not an answer of HTTP/1"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
}

/// A proxy that is none may repeat what it was asked, and with it our login there.
#[test]
fn the_login_of_a_proxy_is_not_seen_where_it_repeats_it() {
    let ways: [fn(&str) -> Vec<u8>; 3] = [
        |login| format!("{login}\r\n\r\n").into(),
        |login| format!("HTTP/1.1 407 {login}\r\nproxy-authenticate: x\r\n\r\n").into(),
        |login| format!("HTTP/1.1 503 x\r\nproxy-status: \"{login}\"\r\n\r\n").into(),
    ];
    for way in ways {
        let proxy = Receiver::answering(move |request, _| {
            Reply::Bytes(way(request.header("proxy-authorization").unwrap_or("none")))
        });
        for url in ["http://customer.test/", "https://customer.test/"] {
            let option = format!("http://me:hunter.two@{}", proxy.addr);
            let args = ["deliver", "--max-attempts", "1", "--proxy", &*option];
            let args = [&args[..], &["--max-age", "1s", "--timeout", "1s"]].concat();
            let ended = Outhook::new(&args)
                .env("OUTHOOK_LOG", "trace")
                .run(message(url, "w", "1"));
            let said = ended.err.join("\n");
            assert_eq!(ended.code, 1, "{said}");
            // Of an answer that we read ourselves the words are not told.
            assert!(said.contains("***") || said.contains(": 407)"), "{said}");
            assert_holds_none_of(&said, &["me:hunter.two", "hunter.two"]);
        }
    }
}
