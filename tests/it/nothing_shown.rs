//! With every secret set that there is, and deliveries that fail in every way, none of them stands in
//! anything that anybody may read: logs at their most, dead letters, Redis, answers to operators, help.

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service};
use crate::support::sys::Signal;
use crate::support::tls::Authority;
use crate::support::{free_port, until};

const PASSWORD: &str = "redis-pass-hunter2-8f1b";
const SEALING: &str = "ohsk_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Each in a file of its own, and what of it must not be seen.
struct Secrets {
    dir: TempDir,
    all: BTreeMap<&'static str, String>,
}

impl Secrets {
    fn new() -> Secrets {
        let identity = Authority::new().issue("client.example");
        let all = [
            (
                "signing",
                "whsec_c2lnbmluZy1zZWNyZXQtaHVudGVyMi0wMDE=".into(),
            ),
            (
                "inline",
                "whsec_aW5saW5lLXNlY3JldC1odW50ZXIyLTAwMg==".into(),
            ),
            ("file", "whsec_ZmlsZS1zZWNyZXQtaHVudGVyMi0wMDAwMw==".into()),
            ("named", "whsec_bmFtZWQtc2VjcmV0LWh1bnRlcjItMDAwNA==".into()),
            ("github", "github-hunter2-3c9d0e".into()),
            ("bearer", "bearer-hunter2-77aa01".into()),
            ("basic", "basic-hunter2-5d4c3b".into()),
            ("proxy", "proxyuser:proxy-hunter2-9e8f".into()),
            ("client-key", identity.key_pem()),
            ("oauth2", "oauth2-hunter2-1a2b3c".into()),
            ("token", "token-hunter2-d4e5f6".into()),
            ("sealing", SEALING.into()),
            ("redis", PASSWORD.into()),
        ];
        let secrets = Secrets {
            dir: tempfile::tempdir().unwrap(),
            all: all.into(),
        };
        for (name, text) in &secrets.all {
            std::fs::write(secrets.path(name), format!("{text}\n")).unwrap();
        }
        std::fs::write(secrets.path("client-cert"), identity.chain_pem()).unwrap();
        secrets
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn get(&self, name: &str) -> &str {
        &self.all[name]
    }

    /// What of each must stand nowhere: it without its prefix, and as a login writes it.
    fn needles(&self) -> Vec<(String, String)> {
        use base64::Engine;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let mut needles = Vec::new();
        for (name, text) in &self.all {
            let line = text.lines().find(|l| !l.starts_with("-----")).unwrap();
            let inner = line
                .trim_start_matches("whsec_")
                .trim_start_matches("ohsk_");
            let inner = inner.split(':').next_back().unwrap();
            needles.push(((*name).to_owned(), inner.to_owned()));
            needles.push((format!("{name} in base64"), encode(text)));
        }
        needles.push((
            "the basic login".into(),
            encode(&format!("me:{}", self.get("basic"))),
        ));
        needles
    }

    fn assert_not_in(&self, what: &str, text: &str) {
        for (name, needle) in self.needles() {
            assert!(!text.contains(&needle), "{what} shows {name}: {text}");
        }
    }

    fn rules(&self, at: &str) -> String {
        let (inline, bearer) = (self.get("inline"), self.get("bearer"));
        let path = |name| self.path(name);
        format!(
            "[[endpoint]]\nurl = \"{at}/inline\"\nsigning = \"{inline}\"\n\
             [[endpoint]]\nurl = \"{at}/file\"\nbearer_token = \"{bearer}\"\nsigning = {{ secret_file = \"{}\" }}\n\
             [[endpoint]]\nurl = \"{at}/basic\"\nbasic = {{ user = \"me\", password_file = \"{}\" }}\n\
             [endpoint.signing]\nscheme = \"github\"\nsecret_file = \"{}\"\n\
             [[endpoint]]\nurl = \"{at}/oauth\"\noauth2 = {{ token_url = \"{at}/token\", client_id = \"me\", client_secret_file = \"{}\" }}\n\
             [[endpoint]]\nhost = \"client.example\"\nclient_cert_file = \"{}\"\nclient_key_file = \"{}\"\n",
            path("file"),
            path("basic"),
            path("github"),
            path("oauth2"),
            path("client-cert"),
            path("client-key"),
        )
    }
}

/// Everything is an option, and half of it a variable.
fn with_all(secrets: &Secrets, redis: &Redis, command: &[&str], rules: &str) -> Outhook {
    Outhook::new(command)
        .env("OUTHOOK_LOG", "trace")
        .env("OUTHOOK_REDIS_ADDRESS", redis.address())
        .env("OUTHOOK_REDIS_PASSWORD", PASSWORD)
        .env("OUTHOOK_SIGNING_SECRET", secrets.get("signing"))
        .env("OUTHOOK_ENDPOINTS", rules)
        .env("OUTHOOK_SECRETS_FROM", "redis")
        .env("OUTHOOK_SECRETS_KEY_FILE", secrets.path("sealing"))
        .env("OUTHOOK_PROXY", format!("http://127.0.0.1:{}", free_port()))
        .env("OUTHOOK_PROXY_CREDENTIALS_FILE", secrets.path("proxy"))
        .env("OUTHOOK_NO_PROXY", "127.0.0.1")
        .env("OUTHOOK_ALLOW_CIDR", "127.0.0.0/8")
        .env("OUTHOOK_MAX_ATTEMPTS", "2")
        .env("OUTHOOK_BACKOFF_BASE", "10ms")
        .env("OUTHOOK_STATUS_TTL", "1h")
        .env("OUTHOOK_ATTEMPT_LOG", "1000")
}

/// All that stands in Redis, as text.
fn contents(redis: &Redis) -> String {
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    let mut text = String::new();
    for key in keys {
        let dump: Vec<u8> = redis.command(&["DUMP", &key]);
        text.push_str(&String::from_utf8_lossy(&dump));
    }
    text
}

fn send_all(redis: &Redis, at: &str) {
    for path in [
        "inline",
        "file",
        "basic",
        "default",
        "oauth",
        "refuse/oauth",
        "refuse/inline",
        "refuse/file",
        "refuse/basic",
    ] {
        let url = format!("{at}/{path}");
        let id = path.replace('/', "-");
        redis.add(format!(r#"{{"url":"{url}","webhookId":"{id}","data":1}}"#));
        redis.add(format!(
            r#"{{"url":"{url}","webhookId":"n-{id}","data":1,"secret":"acme"}}"#
        ));
    }
    for (id, url) in [
        ("proxied", "http://proxied.example/"),
        ("client", "https://client.example/"),
    ] {
        redis.add(format!(r#"{{"url":"{url}","webhookId":"{id}","data":1}}"#));
    }
    redis.add(format!(r#"{{"url":"{at}/x","data":1,"secret":"none"}}"#));
    redis.add(format!(r#"{{"url":"{at}/x","data":1,"secret":"../none"}}"#));
}

/// The log names one of several that die at once: so the letters are waited for.
fn wait_until_told(service: &Service, redis: &Redis) {
    redis.wait_dead(9);
    service.log.wait("dead (exhausted)");
    service.log.wait("dead (bad_secret)");
    service.log.wait("secret none: ");
    service.log.wait("proxy");
}

#[test]
fn no_secret_stands_in_a_log_a_letter_redis_an_answer_or_the_help() {
    let secrets = Secrets::new();
    let redis = Redis::with(&["--requirepass", PASSWORD]);
    // It says in its answer what it was sent.
    let granted = format!(r#"{{"access_token":"{}"}}"#, secrets.get("token"));
    let receiver = Receiver::answering(move |request, _| {
        if request.path == "/token" {
            return status(200).body(granted.clone());
        }
        let headers: Vec<String> = request
            .headers
            .iter()
            .map(|(n, v)| format!("{n}: {v}"))
            .collect();
        let code = if request.path.starts_with("/refuse") {
            400
        } else {
            200
        };
        status(code).body(headers.join("\n"))
    });
    let at = receiver.url("");
    let at = at.trim_end_matches('/');
    let rules = secrets.path("rules.toml");
    let text = secrets.rules(at) + &secrets.rules(&format!("{at}/refuse"));
    std::fs::write(&rules, &text).unwrap();
    let set = ["secrets", "set", "acme", "--file", &secrets.path("named")];
    let done = with_all(&secrets, &redis, &set, &rules).run("");
    assert_eq!(done.code, 0, "{done:?}");
    secrets.assert_not_in("secrets set", &format!("{done:?}"));

    let mut service = with_all(&secrets, &redis, &["serve"], &rules).spawn();
    service.log.wait("ready: subscribed");
    send_all(&redis, at);
    wait_until_told(&service, &redis);
    // Read again, good and bad.
    service.signal(Signal::HUP);
    service.log.wait("SIGHUP: ");
    std::fs::write(
        &rules,
        text.replace("signing = \"whsec_", "signing = \"whsec-"),
    )
    .unwrap();
    service.signal(Signal::HUP);
    service.log.wait("the old rules stay");
    for command in [
        &["endpoints", "list", "--json"][..],
        &["endpoints", "show", at],
        &["dead", "list"],
        &["dead", "show", "--json"],
        &["parked", "list", "--json"],
        &["status", "refuse-basic"],
        &["secrets", "list"],
        &["check"],
    ] {
        let done = with_all(&secrets, &redis, command, &rules).run("");
        secrets.assert_not_in(command[0], &format!("{done:?}"));
    }
    for command in [
        "serve", "deliver", "demo", "listen", "check", "send", "secrets", "dead",
    ] {
        let done = with_all(&secrets, &redis, &[command, "--help"], &rules).run("");
        secrets.assert_not_in("--help", &format!("{done:?}"));
    }
    // A start that is refused says why.
    let done = with_all(&secrets, &redis, &["serve"], &rules).run("");
    assert_eq!(done.code, 2, "{done:?}");
    secrets.assert_not_in("a start that is refused", &format!("{done:?}"));
    secrets.assert_not_in("Redis", &contents(&redis));
    until("the last of the log", || {
        (service.log.count("SIGHUP") > 1).then_some(())
    });
    secrets.assert_not_in("the log", &service.log.all().join("\n"));
    secrets.assert_not_in("the output", &service.out.all().join("\n"));
    // They were used all the same.
    let sent = receiver.requests();
    let authorization = |path: &str| {
        let of = sent.iter().find(|request| request.path == path);
        of.and_then(|r| r.header("authorization").map(str::to_owned))
    };
    let bearer = format!("Bearer {}", secrets.get("bearer"));
    let token = format!("Bearer {}", secrets.get("token"));
    assert_eq!(authorization("/oauth"), Some(token));
    assert_eq!(authorization("/file"), Some(bearer));
    assert!(authorization("/basic").is_some_and(|value| value.starts_with("Basic ")));
    assert!(
        sent.iter()
            .any(|r| r.header("x-hub-signature-256").is_some())
    );
}
