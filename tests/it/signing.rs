//! Signatures: receivers can tell what is ours, whatever way a message took, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{ED25519, UnparsedPublicKey};
use tempfile::TempDir;

use crate::support::receiver::{Receiver, Request, status};
use crate::support::redis::Redis;
use crate::support::service::{Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::{message, unix_ms, until};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// RFC 8032, section 7.1, test 1.
const SEED: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// What a receiver does, as the specification of Standard Webhooks 1.0.0 says: whether one of the
/// signatures is this key's over these bytes, made within five minutes.
fn verifies(key: &str, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
    let seconds: u64 = timestamp.parse().expect("seconds");
    if seconds.abs_diff(unix_ms() / 1000) > 300 {
        return false;
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    signatures.split(' ').any(|signature| {
        let (version, value) = signature.split_once(',').expect("a version");
        let value = STANDARD.decode(value).expect("base64");
        match (version, key.strip_prefix("whsec_")) {
            ("v1", Some(key)) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).unwrap());
                hmac::verify(&key, &signed, &value).is_ok()
            }
            ("v1a", None) => UnparsedPublicKey::new(&ED25519, STANDARD.decode(key).unwrap())
                .verify(&signed, &value)
                .is_ok(),
            _ => false,
        }
    })
}

/// The whole check, and that it would notice if anything were another.
fn assert_signed(request: &Request, key: &str) {
    let header = |name| {
        request
            .header(name)
            .unwrap_or_else(|| panic!("{name}: {request:?}"))
    };
    let (timestamp, signatures) = (header("webhook-timestamp"), header("webhook-signature"));
    let (id, body) = (request.id(), &request.body[..]);
    assert!(
        verifies(key, id, timestamp, body, signatures),
        "{request:?}"
    );
    let later = (timestamp.parse::<u64>().unwrap() + 1).to_string();
    assert!(!verifies(key, id, &later, body, signatures));
    assert!(!verifies(key, "other", timestamp, body, signatures));
    assert!(!verifies(
        key,
        id,
        timestamp,
        &[body, b" "].concat(),
        signatures
    ));
}

fn is_signed(request: &Request) -> bool {
    let named = |name: &str| name.to_lowercase();
    request
        .headers
        .iter()
        .any(|(n, _)| named(n).contains("signature"))
}

fn count(request: &Request) -> usize {
    let signatures = request.header("webhook-signature");
    signatures.map_or(0, |s| s.split(' ').count())
}

/// Files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("to write");
        path.to_str().expect("a plain path").to_owned()
    }
}

fn reload(service: &mut Service, times: usize) -> String {
    service.signal(Signal::HUP);
    service.log.wait_times("SIGHUP: ", times)
}

#[test]
fn every_way_to_a_receiver_ends_in_a_signature_over_the_very_bytes() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let mut service = serve(&redis, &["--signing-secret", OLD]);
    let url = receiver.url("/");
    for n in 0..20 {
        let data = format!("{{ \"n\" : {n}.10,\t\"s\":\"\\u00e9é\" }}");
        redis.send(message(&url, &format!("pub{n}"), &data));
        redis.add(message(&url, &format!("stream{n}"), &data));
    }
    let line = format!(r#"{{"url":"{url}","data":null,"orderKey":"k"}}"#);
    redis.add(line);
    for request in receiver.wait_for(41) {
        assert_signed(&request, OLD);
    }
    service.end_well();
    let run = Outhook::new(&["deliver"]).env("OUTHOOK_SIGNING_SECRET", SEED);
    assert_eq!(run.run(message(&url, "stdin", "[1]")).code, 0);
    assert_signed(&receiver.wait_for(42)[41], PUBLIC);
}

#[test]
fn each_attempt_is_signed_anew_with_its_own_time_also_after_a_restart() {
    let redis = Redis::start();
    let receiver = Receiver::script([status(500), status(500), status(200)]);
    let files = Files::new();
    let secret = files.write("secret", &format!("{OLD}\n"));
    let args = ["--signing-secret-file", &secret, "--backoff-base", "1100ms"];
    let mut first = serve(&redis, &args);
    redis.add(message(&receiver.url("/"), "m", "1"));
    receiver.wait_for(2);
    first.end_well();
    let mut second = serve(&redis, &args);
    let requests = receiver.wait_for(3);
    second.end_well();
    let times: BTreeSet<_> = requests
        .iter()
        .map(|r| r.header("webhook-timestamp"))
        .collect();
    assert_eq!(times.len(), 3, "{requests:?}");
    for request in &requests {
        assert_eq!(request.id(), "m");
        assert_signed(request, OLD);
    }
}

#[test]
fn keys_are_changed_without_a_break_by_reloading_the_endpoints_file() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let files = Files::new();
    let url = receiver.url("/");
    let keys = |keys: &str| {
        let rule = format!("[[endpoint]]\nurl = \"{url}\"\nsigning = {{ keys = [{keys}] }}\n");
        files.write("endpoints.toml", &rule)
    };
    let path = keys(&format!("\"{OLD}\""));
    let mut service = serve(&redis, &["--endpoints", &path, "--signing-secret", SEED]);
    let mut sent = 0;
    let mut next = || {
        sent += 1;
        redis.send(message(&url, &format!("m{sent}"), "1"));
        receiver.wait_for(sent).pop().unwrap()
    };
    let one = next();
    assert_eq!(count(&one), 1);
    assert_signed(&one, OLD);
    keys(&format!(
        "\"{NEW}\", \"{OLD}\", {{ secret = \"{SEED}\", not_after = 2020-01-01 }}"
    ));
    reload(&mut service, 1);
    let two = next();
    assert_eq!(count(&two), 2, "those that may sign now");
    assert_signed(&two, OLD);
    assert_signed(&two, NEW);
    keys(&format!(
        "\"{NEW}\", {{ secret = \"{SEED}\", not_before = 2020-01-01T00:00:00Z }}"
    ));
    reload(&mut service, 2);
    let three = next();
    assert_eq!(count(&three), 2);
    assert_signed(&three, NEW);
    assert_signed(&three, PUBLIC);
    keys(&format!("\"{}\"", &NEW[..20]));
    let line = reload(&mut service, 3);
    assert!(
        line.contains("10 bytes") && line.contains("old rules stay"),
        "{line}"
    );
    assert!(!line.contains(&NEW[..20]), "{line}");
    assert_signed(&next(), NEW);
    keys(&format!("{{ secret = \"{OLD}\", not_after = 2020-01-01 }}"));
    let line = reload(&mut service, 4);
    assert!(line.contains("all have ended"), "{line}");
    assert_signed(&next(), NEW);
    service.end_well();
}

#[test]
fn a_default_key_signs_where_the_file_says_nothing_and_is_read_again() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let files = Files::new();
    let off = receiver.url("/off");
    let rules = format!("[[endpoint]]\nurl = \"{off}\"\nsigning = false\n");
    let rules = files.write("endpoints.toml", &rules);
    let secret = files.write("secret", OLD);
    let args = ["--endpoints", &rules, "--signing-secret-file", &secret];
    let mut service = serve(&redis, &args);
    redis.send(message(&receiver.url("/"), "on", "1"));
    assert_signed(&receiver.wait_for(1)[0], OLD);
    redis.send(message(&off, "off", "1"));
    assert!(!is_signed(&receiver.wait_for(2)[1]));
    files.write("secret", NEW);
    reload(&mut service, 1);
    redis.send(message(&receiver.url("/"), "new", "1"));
    assert_signed(&receiver.wait_for(3)[2], NEW);
    files.write("secret", "whsec_short");
    let line = reload(&mut service, 2);
    assert!(
        line.contains("--signing-secret-file") && !line.contains("whsec_short"),
        "{line}"
    );
    redis.send(message(&receiver.url("/"), "still", "1"));
    assert_signed(&receiver.wait_for(4)[3], NEW);
    service.end_well();
}

/// What a receiver of an own contract checks.
fn hex_hmac(key: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let tag = hmac::sign(&key, text.as_bytes());
    tag.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn an_endpoint_is_signed_as_it_was_agreed_whatever_the_message_brings() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let files = Files::new();
    let text = "a secret that was agreed upon, as it is";
    let rule = |path: &str, signing: &str| {
        let url = receiver.url(path);
        format!("[[endpoint]]\nurl = \"{url}\"\n[endpoint.signing]\n{signing}\n")
    };
    let own = "header = \"X-Acme\"\nsign = \"{id}.{timestamp}.{body}\"\n\
               value = \"t={timestamp} s={signature}\"\nheaders = { X-Time = \"{timestamp}\" }";
    let rules = [
        rule(
            "/github",
            &format!("scheme = \"github\"\nsecret = \"{text}\""),
        ),
        rule("/own", &format!("{own}\nsecret = \"{text}\"")),
        rule("/svix", &format!("scheme = \"svix\"\nsecret = \"{OLD}\"")),
        format!(
            "[[endpoint]]\nurl = \"{}\"\nsigning = false\n",
            receiver.url("/off")
        ),
    ];
    let rules = files.write("endpoints.toml", &rules.concat());
    let mut service = serve(&redis, &["--endpoints", &rules, "--signing-secret", NEW]);
    let brought = r#"{"X-Hub-Signature-256":"sha256=forged","x-acme":"forged","x-time":"0"}"#;
    let send = |path: &str| {
        let (url, before) = (receiver.url(path), receiver.count());
        redis.send(format!(
            r#"{{"url":"{url}","data":[1, 2],"headers":{brought}}}"#
        ));
        receiver.wait_for(before + 1).pop().unwrap()
    };
    let github = send("/github");
    let value = format!("sha256={}", hex_hmac(text, "[1, 2]"));
    assert_eq!(github.header("x-hub-signature-256"), Some(&*value));
    assert_eq!(github.header("webhook-signature"), None);
    let own = send("/own");
    let time = own.header("x-time").unwrap();
    let signed = format!("{}.{time}.[1, 2]", own.id());
    let value = format!("t={time} s={}", hex_hmac(text, &signed));
    assert_eq!(own.header("x-acme"), Some(&*value));
    let svix = send("/svix");
    let header = |name| svix.header(name).unwrap();
    let (time, signature) = (header("svix-timestamp"), header("svix-signature"));
    assert!(verifies(
        OLD,
        header("svix-id"),
        time,
        &svix.body,
        signature
    ));
    let off = send("/off");
    let brought = off.header("x-hub-signature-256");
    assert_eq!(
        brought,
        Some("sha256=forged"),
        "the producer's own, as nobody else signs"
    );
    assert_eq!(off.header("webhook-signature"), None);
    assert_signed(&send("/else"), NEW);
    service.end_well();
}

#[test]
fn what_rfc_9421_covers_is_what_arrives() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let files = Files::new();
    let rules = format!(
        "[[endpoint]]\nhost = \"127.0.0.1\"\nmethod = \"PUT\"\n[endpoint.signing]\n\
         scheme = \"rfc9421\"\nkeyid = \"k1\"\nsecret = \"{SEED}\"\n\
         components = [\"@method\", \"@target-uri\", \"@authority\", \"@path\", \"@query\", \
         \"content-digest\", \"content-type\", \"content-length\", \"webhook-id\", \"x-a\", \
         \"user-agent\", \"accept\", \"x-none\"]\n"
    );
    let rules = files.write("endpoints.toml", &rules);
    let mut service = serve(&redis, &["--endpoints", &rules]);
    let url = receiver.url("/a/../b?c=d'e");
    redis.send(format!(
        r#"{{"url":"{url}","data":{{"a": 1}},"headers":{{"X-A":"one, two"}}}}"#
    ));
    let request = &receiver.wait_for(1)[0];
    let header = |name: &str| request.header(name).unwrap_or_else(|| panic!("{name}"));
    let input = header("signature-input").strip_prefix("sig1=").unwrap();
    let names = input.split(')').next().unwrap().trim_start_matches('(');
    let (path, query) = request.path.split_once('?').unwrap();
    let authority = header("host");
    let mut base = String::new();
    for name in names.split(' ') {
        let value = match name.trim_matches('"') {
            "@method" => request.method.clone(),
            "@target-uri" => format!("http://{authority}{}", request.path),
            "@authority" => authority.to_owned(),
            "@path" => path.to_owned(),
            "@query" => format!("?{query}"),
            field => header(field).to_owned(),
        };
        base += &format!("{name}: {value}\n");
    }
    assert_eq!(
        names.split(' ').count(),
        12,
        "all but what is not there: {names}"
    );
    base += &format!("\"@signature-params\": {input}");
    assert!(input.contains(";keyid=\"k1\";alg=\"ed25519\""), "{input}");
    let value = header("signature").strip_prefix("sig1=:").unwrap();
    let value = STANDARD.decode(value.trim_end_matches(':')).unwrap();
    UnparsedPublicKey::new(&ED25519, STANDARD.decode(PUBLIC).unwrap())
        .verify(base.as_bytes(), &value)
        .unwrap_or_else(|_| panic!("{base}"));
    let digest = ring::digest::digest(&ring::digest::SHA256, &request.body);
    let digest = format!("sha-256=:{}:", STANDARD.encode(digest));
    assert_eq!(header("content-digest"), digest);
    service.end_well();
}

#[test]
fn the_id_is_the_idempotency_key_where_that_is_wanted() {
    let receiver = Receiver::ok();
    let files = Files::new();
    let rules = format!(
        "[[endpoint]]\nurl = \"{}\"\nidempotency_key = false\n",
        receiver.url("/off")
    );
    let rules = files.write("endpoints.toml", &rules);
    let send = |path: &str, args: &[&str], headers: &str| {
        let url = receiver.url(path);
        let line = format!(r#"{{"url":"{url}","webhookId":"m1","data":1,"headers":{headers}}}"#);
        let run = Outhook::new(&[&["deliver"], args].concat()).run(line);
        assert_eq!(run.code, 0, "{run:?}");
        let last = receiver.requests().pop().unwrap();
        last.header("idempotency-key").map(str::to_owned)
    };
    let on = ["--idempotency-key", "--endpoints", &*rules];
    assert_eq!(send("/", &[], "{}"), None);
    assert_eq!(send("/", &on, "{}").as_deref(), Some("m1"));
    assert_eq!(
        send("/", &on, r#"{"Idempotency-Key":"own"}"#).as_deref(),
        Some("own")
    );
    assert_eq!(send("/off", &on, "{}"), None);
}

#[test]
fn without_a_valid_key_nothing_is_sent_until_there_is_one() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let files = Files::new();
    let end = unix_ms() + 6000;
    let time = humantime::format_rfc3339_millis(
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(end),
    );
    let rules = format!("signing = {{ secret = \"{OLD}\", not_after = {time} }}\n");
    let rules = files.write("endpoints.toml", &rules);
    let mut service = serve(&redis, &["--endpoints", &rules]);
    service.log.wait("no key is valid, and its messages wait");
    until("the key to end", || (unix_ms() > end).then_some(()));
    redis.add(message(&receiver.url("/"), "m", "1"));
    service.log.wait("all have ended");
    assert_eq!(receiver.count(), 0);
    files.write("endpoints.toml", &format!("signing = \"{NEW}\"\n"));
    reload(&mut service, 1);
    assert_signed(&receiver.wait_for(1)[0], NEW);
    service.end_well();
}

#[test]
fn nobody_else_signs() {
    let redis = Redis::start();
    let receiver = Receiver::ok();
    let mut service = serve(&redis, &["--signing-secret", OLD]);
    for name in ["webhook-signature", "Webhook-Timestamp", "webhook-id"] {
        let url = receiver.url("/");
        redis.send(format!(
            r#"{{"url":"{url}","data":1,"headers":{{"{name}":"v1,x"}}}}"#
        ));
    }
    for dead in redis.wait_dead(3) {
        assert_eq!(dead.text("reason"), "bad_headers");
    }
    assert_eq!(receiver.count(), 0);
    service.end_well();
}

#[test]
fn secrets_of_the_wrong_form_are_refused_and_not_shown() {
    let files = Files::new();
    let bare = &OLD[6..];
    for (secret, words) in [
        (String::new(), "empty"),
        (bare.to_owned(), "without a prefix"),
        (format!("v1,{bare}"), "v1"),
        (format!("{OLD} "), "before or after"),
        (format!("{}\n{}", &OLD[..12], &OLD[12..]), "inside"),
        (format!("whsec_{}!", &bare[..31]), "not base64"),
        (OLD[..30].to_owned(), "18 bytes"),
        (format!("whpk_{PUBLIC}"), "public key"),
    ] {
        let path = files.write("secret", &secret);
        let toml = secret.replace('\n', "\\n");
        let rules = format!("[[endpoint]]\nhost = \"h\"\nsigning = {{ secret = \"{toml}\" }}\n");
        let rules = files.write("endpoints.toml", &rules);
        for (option, value) in [
            ("--signing-secret", &secret),
            ("--signing-secret-file", &path),
            ("--endpoints", &rules),
        ] {
            for command in ["serve", "deliver"] {
                let run = Outhook::new(&[command, &format!("{option}={value}")]).run("");
                assert_eq!(
                    (run.code, run.err.len()),
                    (2, 1),
                    "{option} {secret}: {run:?}"
                );
                let line = &run.err[0];
                assert!(
                    line.contains(option) && line.contains(words),
                    "{secret}: {line}"
                );
                let hidden = secret.get(6..14).unwrap_or("none of it");
                assert!(!line.contains(hidden), "{line}");
            }
        }
    }
    let both = [
        "deliver",
        "--signing-secret",
        OLD,
        "--signing-secret-file",
        "f",
    ];
    let run = Outhook::new(&both).run("");
    assert!(
        run.code == 2 && run.err[0].contains("exclude each other"),
        "{run:?}"
    );
}
