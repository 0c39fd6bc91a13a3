//! `Authorization`: who gets it, who does not, and where it is never seen.

use rustls::version::TLS13;

use super::Folder;
use crate::support::message;
use crate::support::receiver::{Receiver, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, serve};
use crate::support::sys::Signal;
use crate::support::tls::{Authority, TlsReceiver};

#[test]
fn the_login_of_an_endpoint_comes_before_what_a_message_brings() {
    let receiver = Receiver::ok();
    let folder = Folder::new();
    let token = folder.write("token", "tok-1.~+/=\n");
    let password = folder.write("password", "öpen sesame\r\n");
    let url = |path: &str| receiver.url(path);
    let rules = [
        (url("/file"), format!("bearer_token_file = \"{token}\"")),
        (url("/text"), "bearer_token = \"tok-2\"".into()),
        (
            url("/basic"),
            format!("basic = {{ user = \"Aladdin\", password_file = \"{password}\" }}"),
        ),
        (
            url("/short"),
            "basic = { user = \"u\", password = \"\" }".into(),
        ),
    ];
    let rules = rules.map(|(url, login)| format!("[[endpoint]]\nurl = \"{url}\"\n{login}\n"));
    let line = |path: &str| {
        let url = url(path);
        format!(
            r#"{{"url":"{url}","webhookId":"w","data":1,"headers":{{"authorization":"own","x-a":"b"}}}}"#
        )
    };
    let lines = ["/file", "/text", "/basic", "/short", "/other"].map(line);
    let ended = folder.deliver(&rules.concat(), &[], &lines.join("\n"));
    assert_eq!(ended.code, 0, "{:?}", ended.err);
    for (path, expected) in [
        ("/file", "Bearer tok-1.~+/="),
        ("/text", "Bearer tok-2"),
        ("/basic", "Basic QWxhZGRpbjrDtnBlbiBzZXNhbWU="),
        ("/short", "Basic dTo="),
        ("/other", "own"),
    ] {
        let requests = receiver.requests();
        let request = requests.iter().find(|r| r.path == path).expect(path);
        assert_eq!(request.header("authorization"), Some(expected), "{path}");
        assert_eq!(request.header("x-a"), Some("b"));
    }
}

/// The scheme of a message is its producer's choice, and a token in the clear is everybody's.
#[test]
fn a_login_is_not_sent_in_the_clear_unless_the_rule_says_http() {
    let receiver = Receiver::ok();
    let folder = Folder::new();
    let rules = "[[endpoint]]\nhost = \"127.0.0.1\"\nbearer_token = \"tok-2\"\n";
    let ended = folder.deliver(rules, &[], &message(&receiver.url("/"), "w", "1"));
    let said = ended.err.join("\n");
    assert_eq!(ended.code, 1, "{said}");
    assert!(
        said.contains("login: the login of this endpoint is not sent over http://"),
        "{said}"
    );
    assert_eq!(receiver.connected(), 0);
}

/// What else listens at a host is not whom the operator means, and the port of a message is its
/// producer's choice too.
#[test]
fn the_login_of_a_host_goes_to_no_port_that_the_rule_does_not_name() {
    let servers = Authority::new();
    let receiver = TlsReceiver::start(&servers, None, &[&TLS13]);
    let folder = Folder::new();
    servers.write(&folder.path("ca.pem"));
    let identity = Authority::new().issue("us");
    folder.write("us.pem", &(identity.key_pem() + &identity.chain_pem()));
    let args = ["--ca-file", &*folder.shown("ca.pem")];
    let url = receiver.url.trim_end_matches('/');
    let port = url.rsplit(':').next().unwrap();
    let line = message(&receiver.url, "w", "1");
    for (n, login) in [
        "bearer_token = \"tok-2\"".to_owned(),
        format!("client_cert_file = \"{}\"", folder.shown("us.pem")),
    ]
    .into_iter()
    .enumerate()
    {
        let rule = format!("[[endpoint]]\nhost = \"127.0.0.1\"\n{login}\n");
        let ended = folder.deliver(&rule, &args, &line);
        let said = ended.err.join("\n");
        assert_eq!(ended.code, 1, "{said}");
        let words = format!("login: the login of this host is not for its port {port},");
        let help = format!("url = \\\"{url}/\\\"");
        assert!(said.contains(&words) && said.contains(&help), "{said}");
        assert_eq!(receiver.seen().len(), n);
        let named = format!("{rule}allow_port = [{port}]\n");
        let ended = folder.deliver(&named, &args, &line);
        assert_eq!(ended.code, 0, "{:?}", ended.err);
        assert_eq!(receiver.seen().len(), n + 1);
    }
}

/// Some receivers repeat the request in what they answer, and that is kept in dead letters.
#[test]
fn a_login_is_never_seen_in_logs_or_dead_letters() {
    let receiver = Receiver::answering(|request, _| {
        let login = request.header("authorization").unwrap_or_default();
        status(400).body(format!("no: {login}, really"))
    });
    let folder = Folder::new();
    let url = receiver.url("/");
    let rules = format!(
        "[[endpoint]]\nurl = \"{url}a\"\nbearer_token = \"s3cret-token\"\n\n\
         [[endpoint]]\nurl = \"{url}b\"\nbasic = {{ user = \"u\", password = \"s3cret-word\" }}\n"
    );
    let path = folder.rules(&rules);
    let lines = ["a", "b"].map(|path| message(&format!("{url}{path}"), "w", "1"));
    let args = ["deliver", "--max-attempts", "1", "--endpoints", &*path];
    let ended = Outhook::new(&args)
        .env("OUTHOOK_LOG", "trace,ureq_proto::util=trace")
        .run(lines.join("\n"));
    assert_eq!(receiver.count(), 2);
    let said = ended.err.join("\n");
    assert!(said.contains("no: Bearer ***, really"), "{said}");
    assert!(said.contains("no: Basic ***, really"), "{said}");
    for secret in ["s3cret", "dTpzM2NyZXQ"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

#[test]
fn a_file_is_read_again_with_the_rules_that_name_it() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let folder = Folder::new();
    let token = folder.write("token", "first");
    let url = receiver.url("/");
    let path = folder.rules(&format!(
        "[[endpoint]]\nurl = \"{url}\"\nbearer_token_file = \"{token}\"\n"
    ));
    let mut service = serve(&redis, &["--endpoints", &*path]);
    let login = |n: usize| {
        redis.send(message(&url, &format!("w{n}"), "1"));
        let requests = receiver.wait_for(n);
        requests[n - 1].header("authorization").map(str::to_owned)
    };
    assert_eq!(login(1).as_deref(), Some("Bearer first"));
    folder.write("token", "second\n");
    service.signal(Signal::HUP);
    service.log.wait("SIGHUP: 1 rules");
    assert_eq!(login(2).as_deref(), Some("Bearer second"));
    // What cannot be used leaves the old rules as they are.
    folder.write("token", "third line\n");
    service.signal(Signal::HUP);
    let line = service.log.wait("the old rules stay");
    assert!(
        line.contains("bearer_token_file") && line.contains("blank") && !line.contains("third"),
        "{line}"
    );
    assert_eq!(login(3).as_deref(), Some("Bearer second"));
    service.end_well();
}
