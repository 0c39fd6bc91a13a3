//! Secrets that messages name (`secret`): from a directory and from Redis, changed while it runs, not
//! there, not readable; and that no value is ever shown.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::support::receiver::{Receiver, Request};
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook, Service, serve};
use crate::support::sys::Signal;
use crate::support::until;

const DEFAULT: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const ACME: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const SEALING: &str = "ohsk_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// How many of its signatures are this key's.
fn signed_by(request: &Request, key: &str) -> usize {
    let key = STANDARD.decode(key.strip_prefix("whsec_").unwrap());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.unwrap());
    let timestamp = request.header("webhook-timestamp").expect("a timestamp");
    let signed = [request.id(), ".", timestamp, ".", request.text()].concat();
    let signatures = request.header("webhook-signature").expect("a signature");
    let values = signatures.split(' ').map(|s| STANDARD.decode(&s[3..]));
    values
        .filter(|value| hmac::verify(&key, signed.as_bytes(), value.as_ref().unwrap()).is_ok())
        .count()
}

fn named(url: &str, id: &str, secret: &str) -> String {
    format!(r#"{{"url":"{url}","webhookId":"{id}","data":1,"secret":"{secret}"}}"#)
}

fn plain(url: &str, id: &str) -> String {
    format!(r#"{{"url":"{url}","webhookId":"{id}","data":1}}"#)
}

/// The request with this id.
fn wait(receiver: &Receiver, id: &str) -> Request {
    until(id, || {
        let all = receiver.requests();
        all.into_iter().find(|request| request.id() == id)
    })
}

fn secrets(redis: &Redis, args: &[&str], input: &str) -> Finished {
    let address = redis.address();
    let mut all = vec!["secrets"];
    all.extend(args);
    all.extend(["--redis-address", &address]);
    Outhook::new(&all).run(input)
}

/// Nothing that it wrote shows a secret.
fn assert_not_shown(service: &Service) {
    let lines = [service.log.all(), service.out.all()].concat();
    assert_no_secret(&lines.join("\n"));
}

fn assert_no_secret(text: &str) {
    for secret in [ACME, OTHER, DEFAULT, SEALING] {
        let inner = &secret[8..20];
        assert!(!text.contains(inner), "{text}");
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    // As a secret is changed: another file in its place.
    let path = dir.join(format!(".{name}.new"));
    fs::write(&path, text).unwrap();
    fs::rename(path, dir.join(name)).unwrap();
}

#[test]
fn the_name_in_a_message_goes_before_its_endpoints_key_and_that_before_all_others() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "acme", &format!("{ACME}\n"));
    let file = dir.path().join("endpoints.toml");
    let own = receiver.url("/own");
    let rule = format!(
        "[[endpoint]]\nurl = \"{own}\"\nsigning = \"{OTHER}\"\n[[endpoint]]\nurl = \"{}\"\nsigning = false\n",
        receiver.url("/off")
    );
    fs::write(&file, rule).unwrap();
    let mut service = serve(
        &redis,
        &[
            "--secrets-dir",
            dir.path().to_str().unwrap(),
            "--signing-secret",
            DEFAULT,
            "--endpoints",
            file.to_str().unwrap(),
        ],
    );
    let any = receiver.url("/any");
    redis.add(named(&any, "named", "acme"));
    redis.add(named(&own, "own-named", "acme"));
    redis.send(named(&receiver.url("/off"), "off-named", "acme"));
    redis.add(plain(&own, "own"));
    redis.add(plain(&any, "any"));
    for (id, key) in [
        ("named", ACME),
        ("own-named", ACME),
        ("off-named", ACME),
        ("own", OTHER),
        ("any", DEFAULT),
    ] {
        assert_eq!(signed_by(&wait(&receiver, id), key), 1, "{id}");
    }
    // Two keys in one file sign both; SIGHUP has it read at once.
    write(dir.path(), "acme", &format!("{OTHER}\r\n\n{ACME}"));
    service.signal(Signal::HUP);
    let both = until("both keys", || {
        let n = receiver.count();
        redis.add(named(&any, &format!("n{n}"), "acme"));
        let request = wait(&receiver, &format!("n{n}"));
        (signed_by(&request, OTHER) == 1).then_some(request)
    });
    assert_eq!(signed_by(&both, ACME), 1);
    assert_not_shown(&service);
}

#[test]
fn a_secret_that_is_not_there_is_waited_for_and_nothing_goes_unsigned() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let service = serve(
        &redis,
        &["--secrets-dir", path, "--signing-secret", DEFAULT],
    );
    let url = receiver.url("/");
    redis.add(named(&url, "late", "acme"));
    redis.add(plain(&url, "other"));
    wait(&receiver, "other");
    let said = service.log.wait("secret acme: there is no such file");
    assert!(said.contains("--secrets-dir"), "{said}");
    write(dir.path(), "acme", ACME);
    assert_eq!(signed_by(&wait(&receiver, "late"), ACME), 1);
    assert_eq!(receiver.count(), 2, "once each");
    // It waits no longer than an hour after it came.
    let old = (crate::support::unix_ms() - 3_600_001).to_string();
    let again = named(&url, "old", "none");
    redis.command::<String>(&[
        "XADD",
        "{outhook}:messages",
        "*",
        "message",
        &again,
        "received_ms",
        &old,
    ]);
    let letter = redis.wait_dead(1).remove(0);
    assert_eq!(letter.text("reason"), "no_secret");
    let detail = letter.text("detail");
    assert!(
        detail.contains("secret none") && detail.contains("--secrets-dir"),
        "{detail}"
    );
    assert_eq!(receiver.count(), 2);
    redis.wait_settled();
}

#[test]
fn a_message_with_a_bad_name_or_where_there_are_no_secrets_is_refused() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let service = serve(&redis, &[]);
    let url = receiver.url("/");
    redis.add(named(&url, "nowhere", "acme"));
    let letter = redis.wait_dead(1).remove(0);
    assert_eq!(letter.text("reason"), "bad_secret");
    let detail = letter.text("detail");
    assert!(
        detail.contains("--secrets-dir") && detail.contains("--secrets-from"),
        "{detail}"
    );
    let long = "a".repeat(129);
    for (n, bad) in [
        "", ".", "..", ".hidden", "../acme", "a/b", "a b", "ä", &long, ACME,
    ]
    .iter()
    .enumerate()
    {
        redis.add(named(&url, "bad", bad));
        let letter = redis.wait_dead(n + 2).pop().unwrap();
        assert_eq!(letter.text("reason"), "bad_secret", "{bad}");
        assert_no_secret(&letter.text("detail"));
    }
    assert_eq!(receiver.count(), 0);
    assert_not_shown(&service);
}

#[test]
fn deliver_reads_them_too_and_gives_up_at_once_what_it_cannot_sign() {
    let receiver = Receiver::ok();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "acme", ACME);
    write(dir.path(), "bad", "hunter2hunter2hunter2hunter2");
    let path = dir.path().to_str().unwrap();
    let url = receiver.url("/");
    let lines = [("a", "acme"), ("b", "none"), ("c", "bad")].map(|(id, s)| named(&url, id, s));
    let done = Outhook::new(&["deliver", "--secrets-dir", path]).run(lines.join("\n"));
    assert_eq!(done.code, 1);
    assert_eq!(signed_by(&wait(&receiver, "a"), ACME), 1);
    assert_eq!(receiver.count(), 1);
    let text = done.err.join("\n");
    assert_eq!(text.matches("\"no_secret\"").count(), 2, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    for (args, words) in [
        (&["--secrets-from", "redis"][..], "uses no Redis"),
        (&["--secrets-dir", "/none"], "/none"),
        (&["--secrets-key-file", "/none"], "--secrets-from redis"),
    ] {
        let done = Outhook::new(&[&["deliver"], args].concat()).run("");
        assert_eq!(done.code, 2);
        assert!(done.err.join("\n").contains(words), "{:?}", done.err);
    }
}

#[test]
fn in_redis_they_are_set_changed_and_deleted_while_it_runs() {
    let (mut redis, receiver) = (Redis::start(), Receiver::ok());
    let url = receiver.url("/");
    assert_eq!(secrets(&redis, &["set", "acme"], ACME).code, 0);
    // What was copied badly does not replace it.
    let bad = ["v1,", "\"", "'", "\u{feff}", "Bearer "].map(|before| format!("{before}{ACME}"));
    let bad = bad.iter().map(|text| &**text);
    for input in bad.chain(["", "whsec_short", " \n", "abc", &ACME[6..]]) {
        let done = secrets(&redis, &["set", "acme"], input);
        assert_eq!(done.code, 2, "{input}: {:?}", done.err);
        assert_no_secret(&done.err.join("\n"));
        if input.contains("wh") || input.contains('\u{feff}') {
            let done = secrets(&redis, &["set", "acme", "--text"], input);
            assert_eq!(done.code, 2, "{input}: {:?}", done.err);
        }
    }
    let text = secrets(
        &redis,
        &["set", "github", "--text"],
        "It's a Secret to Everybody",
    );
    assert_eq!(text.code, 0, "{:?}", text.err);
    let service = serve(&redis, &["--secrets-from", "redis"]);
    redis.add(named(&url, "a", "acme"));
    assert_eq!(signed_by(&wait(&receiver, "a"), ACME), 1);
    // A change is told: it is read again long before it is old.
    assert_eq!(secrets(&redis, &["set", "acme"], OTHER).code, 0);
    until("the other key", || {
        let id = format!("n{}", receiver.count());
        redis.add(named(&url, &id, "acme"));
        (signed_by(&wait(&receiver, &id), OTHER) == 1).then_some(())
    });
    let listed = secrets(&redis, &["list"], "");
    assert!(listed.out.join("\n").contains("acme"), "{listed:?}");
    assert_no_secret(&format!("{listed:?}"));
    // While Redis is away, Pub/Sub is too; what is known still signs what is here already.
    redis.kill();
    service.log.wait("redis");
    redis.up();
    redis.reconnect();
    assert_eq!(secrets(&redis, &["set", "acme"], ACME).code, 0);
    until("it is subscribed and signs again", || {
        let id = format!("n{}", receiver.count());
        redis.add(named(&url, &id, "acme"));
        (signed_by(&wait(&receiver, &id), ACME) == 1).then_some(())
    });
    assert_eq!(secrets(&redis, &["delete", "acme"], "").code, 0);
    assert_eq!(secrets(&redis, &["delete", "acme"], "").code, 1);
    until("it is gone", || {
        redis.add(named(&url, "gone", "acme"));
        let lines = service.log.all().join("\n");
        lines
            .contains("outhook secrets set puts one there")
            .then_some(())
    });
    assert_not_shown(&service);
}

#[test]
fn the_first_message_after_a_change_is_signed_as_it_is_now_however_long_it_was_quiet() {
    let (redis, other, receiver) = (Redis::start(), Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let url = receiver.url("/");
    write(dir.path(), "acme", ACME);
    assert_eq!(secrets(&redis, &["set", "acme"], ACME).code, 0);
    let one = serve(&redis, &["--secrets-from", "redis"]);
    let two = serve(&other, &["--secrets-dir", dir.path().to_str().unwrap()]);
    let send = |id: &str| {
        redis.add(named(&url, &format!("{id}-redis"), "acme"));
        other.add(named(&url, &format!("{id}-dir"), "acme"));
    };
    let assert_signed = |id: &str, key: &str| {
        for place in ["redis", "dir"] {
            let request = wait(&receiver, &format!("{id}-{place}"));
            assert_eq!(signed_by(&request, key), 1, "{id} {place}");
        }
    };
    send("a");
    assert_signed("a", ACME);
    assert_eq!(secrets(&redis, &["set", "acme"], OTHER).code, 0);
    write(dir.path(), "acme", OTHER);
    // What was read holds for so long, also where nobody tells of the change.
    let quiet = || std::thread::sleep(std::time::Duration::from_millis(10_500));
    quiet();
    send("b");
    assert_signed("b", OTHER);
    assert_eq!(secrets(&redis, &["delete", "acme"], "").code, 0);
    fs::remove_file(dir.path().join("acme")).unwrap();
    quiet();
    send("c");
    one.log.wait("there is none of this name");
    two.log.wait("there is no such file");
    assert_eq!(receiver.count(), 4);
}

#[test]
fn one_bad_file_stops_nobody_else() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    write(path, "acme", ACME);
    std::os::unix::fs::symlink(path.join("loop"), path.join("loop")).unwrap();
    std::os::unix::fs::symlink(path.join("acme/x"), path.join("below")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path.join("zero")).unwrap();
    let url = receiver.url("/");
    let bad = ["loop", "below", "zero"];
    let lines = bad.map(|name| named(&url, name, name)).join("\n");
    let lines = format!("{lines}\n{}", named(&url, "good", "acme"));
    let path = path.to_str().unwrap();
    let done = Outhook::new(&["deliver", "--secrets-dir", path]).run(lines);
    let text = done.err.join("\n");
    assert_eq!(text.matches("\"no_secret\"").count(), 3, "{text}");
    assert_eq!(signed_by(&wait(&receiver, "good"), ACME), 1);
    assert!(!text.contains("wait"), "{text}");
    let service = serve(&redis, &["--secrets-dir", path]);
    for name in bad {
        redis.add(named(&url, name, name));
    }
    redis.add(named(&url, "served", "acme"));
    assert_eq!(signed_by(&wait(&receiver, "served"), ACME), 1);
    for name in bad {
        service.log.wait(&format!("secret {name}: "));
    }
    assert_eq!(receiver.count(), 2);
}

#[test]
fn a_file_without_an_end_is_no_secret() {
    for args in [
        &["serve", "--secrets-from", "redis", "--secrets-key-file"][..],
        &["deliver", "--signing-secret-file"],
        &["listen", "--secret-file"],
    ] {
        let done = Outhook::new(&[args, &["/dev/zero"]].concat()).run("");
        assert_eq!(done.code, 2, "{:?}", done.err);
        let said = done.err.join("\n");
        assert!(said.contains("/dev/zero"), "{said}");
    }
}

#[test]
fn the_key_that_they_are_encrypted_with_changes_while_it_runs() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let (key, new) = (dir.path().join("key"), dir.path().join("new"));
    fs::write(&key, SEALING).unwrap();
    let made = Outhook::new(&["keygen", "--secrets-key"]).run("").out;
    let both = format!("{}\n{SEALING}\n", made[0]);
    fs::write(&new, &both).unwrap();
    let set = |name: &str, with: &Path| {
        let with = ["set", name, "--secrets-key-file", with.to_str().unwrap()];
        assert_eq!(secrets(&redis, &with, ACME).code, 0);
    };
    set("acme", &key);
    let args = ["--secrets-from", "redis", "--secrets-key-file"];
    let mut service = serve(&redis, &[&args[..], &[key.to_str().unwrap()]].concat());
    let url = receiver.url("/");
    redis.add(named(&url, "a", "acme"));
    wait(&receiver, "a");
    // First all replicas have the new key, then secrets are encrypted with it.
    write(dir.path(), "key", &both);
    service.signal(Signal::HUP);
    service
        .log
        .wait("secrets that messages name are read again");
    set("acme", &new);
    set("other", &new);
    for (id, name) in [("b", "acme"), ("c", "other")] {
        redis.add(named(&url, id, name));
        assert_eq!(signed_by(&wait(&receiver, id), ACME), 1);
    }
    // What is no key changes nothing.
    write(dir.path(), "key", "none");
    service.signal(Signal::HUP);
    let n = until("that it is said", || {
        let n = receiver.count();
        redis.add(named(&url, &format!("n{n}"), "acme"));
        wait(&receiver, &format!("n{n}"));
        let lines = service.log.all().join("\n");
        lines.contains("the old keys stay").then_some(n)
    });
    redis.add(named(&url, "last", "acme"));
    assert_eq!(signed_by(&wait(&receiver, "last"), ACME), 1, "{n}");
    assert_not_shown(&service);
}

#[test]
fn encrypted_ones_open_with_the_key_and_plain_ones_are_refused_then() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let made = Outhook::new(&["keygen", "--secrets-key"]).run("").out;
    assert!(
        made[0].starts_with("ohsk_") && made[0].len() == 49,
        "{made:?}"
    );
    // The first encrypts, and all open.
    fs::write(&key, format!("{}\n{SEALING}\n", made[0])).unwrap();
    let key = key.to_str().unwrap();
    let file = dir.path().join("acme");
    fs::write(&file, ACME).unwrap();
    let set = ["set", "acme", "--file", file.to_str().unwrap()];
    let done = secrets(
        &redis,
        &[&set[..], &["--secrets-key-file", key]].concat(),
        "",
    );
    assert_eq!(done.code, 0, "{:?}", done.err);
    assert_eq!(secrets(&redis, &["set", "plain"], OTHER).code, 0);
    let stored: String = redis.command(&["HGET", "{outhook}:secrets", "acme"]);
    assert!(stored.starts_with("sealed1:"), "{stored}");
    assert_no_secret(&stored);
    // Whoever can write to Redis cannot put one in another's place.
    redis.command::<()>(&["HSET", "{outhook}:secrets", "moved", &stored]);
    let listed = secrets(&redis, &["list", "--json"], "").out.join("\n");
    assert!(
        listed.contains(r#""encrypted":"yes""#) && listed.contains(r#""encrypted":"no""#),
        "{listed}"
    );

    let service = serve(
        &redis,
        &["--secrets-from", "redis", "--secrets-key-file", key],
    );
    let url = receiver.url("/");
    redis.add(named(&url, "a", "acme"));
    assert_eq!(signed_by(&wait(&receiver, "a"), ACME), 1);
    for (name, words) in [("moved", "under another name"), ("plain", "not encrypted")] {
        let old = (crate::support::unix_ms() - 3_600_001).to_string();
        let message = named(&url, name, name);
        redis.command::<String>(&[
            "XADD",
            "{outhook}:messages",
            "*",
            "message",
            &message,
            "received_ms",
            &old,
        ]);
        let letter = until(name, || {
            redis.dead().into_iter().find(|d| d.text("id") == name)
        });
        assert!(
            letter.text("detail").contains(words),
            "{}",
            letter.text("detail")
        );
    }
    assert_eq!(receiver.count(), 1);
    assert_not_shown(&service);
}

#[test]
fn how_is_signed_stays_as_the_endpoint_says_with_the_keys_of_the_name() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "acme", "It's a Secret to Everybody");
    let file = dir.path().join("endpoints.toml");
    let url = receiver.url("/github");
    let rule = "[endpoint.signing]\nscheme = \"github\"\nsecret = \"its own\"\n";
    fs::write(&file, format!("[[endpoint]]\nurl = \"{url}\"\n{rule}")).unwrap();
    let (path, file) = (dir.path().to_str().unwrap(), file.to_str().unwrap());
    let service = serve(&redis, &["--secrets-dir", path, "--endpoints", file]);
    redis.add(named(&url, "a", "acme"));
    let request = wait(&receiver, "a");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"It's a Secret to Everybody");
    let digest = hmac::sign(&key, &request.body);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let sent = request.header("x-hub-signature-256");
    assert_eq!(sent, Some(&*format!("sha256={hex}")));
    // Of no use where Standard Webhooks is spoken: then nothing is sent.
    redis.add(named(&receiver.url("/standard"), "b", "acme"));
    let said = service.log.wait("secret acme: it has blanks");
    assert!(!said.contains("Everybody"), "{said}");
    assert_eq!(receiver.count(), 1);
}

#[test]
fn the_keyid_of_the_endpoint_is_that_of_the_keys_that_a_message_names() {
    let receiver = Receiver::ok();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "acme", &format!("{ACME}\n{OTHER}\n"));
    let file = dir.path().join("endpoints.toml");
    let rule = format!(
        "[[endpoint]]\nhost = \"127.0.0.1\"\n[endpoint.signing]\nscheme = \"rfc9421\"\n\
         keyid = \"2026\"\nsecret = \"{DEFAULT}\"\n"
    );
    fs::write(&file, rule).unwrap();
    let (path, file) = (dir.path().to_str().unwrap(), file.to_str().unwrap());
    let args = ["deliver", "--secrets-dir", path, "--endpoints", file];
    let url = receiver.url("/");
    let lines = named(&url, "a", "acme") + "\n" + &plain(&url, "b");
    let run = Outhook::new(&args).run(lines);
    assert_eq!(run.code, 0, "{run:?}");
    for (id, keys) in [("a", 2), ("b", 1)] {
        let request = wait(&receiver, id);
        let input = request.header("signature-input").unwrap();
        assert_eq!(input.matches(";keyid=\"2026\"").count(), keys, "{input}");
    }
}

/// All that docs/redis.md gives, but for HMGET.
const RULES: &str = "on >pw resetchannels ~{outhook}:* &* +@stream +@sortedset +@hash +@list +@string \
                     +@pubsub +@transaction +@scripting +@connection +pexpire +info +time -hmget";

#[test]
fn what_redis_refuses_is_told_with_the_rule_that_allows_it_and_messages_wait() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let words = ["ACL", "SETUSER", "outhook"].into_iter();
    redis.command::<()>(&words.chain(RULES.split_whitespace()).collect::<Vec<_>>());
    assert_eq!(secrets(&redis, &["set", "acme"], ACME).code, 0);
    let address = format!("{}?user=outhook&pass=pw", redis.address());
    let service = Outhook::new(&["serve", "--secrets-from", "redis"])
        .env("REDIS_ADDRESS", address)
        .spawn();
    let said = service.log.wait("--secrets-from redis needs it");
    assert!(said.contains("+hmget") || said.contains("+HMGET"), "{said}");
    redis.add(named(&receiver.url("/"), "a", "acme"));
    service.log.wait("trouble (secrets)");
    assert_eq!(receiver.count(), 0);
    redis.command::<()>(&["ACL", "SETUSER", "outhook", "+hmget"]);
    assert_eq!(signed_by(&wait(&receiver, "a"), ACME), 1);
    redis.wait_settled();
    assert!(redis.dead().is_empty());
    assert_not_shown(&service);
}
