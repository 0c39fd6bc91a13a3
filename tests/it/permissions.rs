//! What the Redis user must be allowed is said once, with the rule that allows it, and works as
//! soon as it is allowed.

use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::service::{Finished, Outhook, Service};
use crate::support::{message, until};

/// All that docs/redis.md gives, but for the channels.
const RULES: &str = "on >pw resetchannels ~{outhook}:* +@stream +@sortedset +@hash +@list +@string \
                     +@pubsub +@transaction +@scripting +@connection +pexpire +info +time";

fn set_user(redis: &Redis, rules: &str) {
    let words = ["ACL", "SETUSER", "outhook"].into_iter();
    redis.command::<()>(&words.chain(rules.split_whitespace()).collect::<Vec<_>>());
}

fn outhook(redis: &Redis, args: &[&str]) -> Outhook {
    let address = format!("{}?user=outhook&pass=pw", redis.address());
    Outhook::new(args).env("REDIS_ADDRESS", address)
}

fn serve(redis: &Redis, args: &[&str]) -> Service {
    outhook(redis, &[&["serve"], args].concat()).spawn()
}

fn check(redis: &Redis, args: &[&str]) -> Finished {
    outhook(redis, &[&["check"], args].concat()).run("")
}

/// How often the server has refused this command.
fn refused(redis: &Redis, command: &str) -> u64 {
    let stats: String = redis.command(&["INFO", "commandstats"]);
    let number = stats.lines().find_map(|line| {
        let rest = line.strip_prefix("cmdstat_")?.strip_prefix(command)?;
        let number = rest.strip_prefix(':')?.split("rejected_calls=").nth(1)?;
        number.split(',').next()?.parse().ok()
    });
    number.unwrap_or(0)
}

#[test]
fn a_channel_that_is_refused_is_trouble_until_it_is_allowed() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    set_user(&redis, RULES);
    let run = check(&redis, &[]);
    let said = run.err.join("\n");
    assert_eq!(run.code, 1, "{run:?}");
    let mut service = serve(&redis, &[]);
    for channel in ["payments", "{outhook}:control"] {
        let rule = format!("ACL SETUSER outhook +subscribe &{channel}");
        assert!(said.contains(&rule), "{said}");
        let line = service.log.wait(&rule);
        assert!(line.contains("redis: trouble (channels)"), "{line}");
    }
    // One channel more than before each time: what is allowed is listened to.
    assert_eq!(service.log.count("ready: subscribed"), 0);
    set_user(&redis, "&payments");
    service.log.wait("ready: subscribed to payments at");
    redis.send(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    assert_eq!(check(&redis, &[]).code, 1);
    assert_eq!(service.log.count("redis: back"), 0);
    set_user(&redis, "&{outhook}:control");
    service.log.wait("redis: back");
    assert_eq!(service.log.count("redis: trouble"), 2, "once a channel");
    let run = check(&redis, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(check(&redis, &["--channel", "other"]).code, 1);
    service.end_well();
}

#[test]
fn one_channel_that_is_refused_keeps_no_other_back() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    set_user(&redis, &format!("{RULES} &b &{{outhook}}:control"));
    let mut service = serve(&redis, &["--channel", "a,b"]);
    service.log.wait("ready: subscribed to b at");
    assert_eq!(redis.publish("b", message(&receiver.url("/"), "m", "1")), 1);
    receiver.wait_for(1);
    set_user(&redis, "&a");
    service.log.wait("ready: subscribed to b, a at");
    assert_eq!(redis.publish("a", message(&receiver.url("/"), "n", "1")), 1);
    receiver.wait_for(2);
    service.end_well();
}

#[test]
fn a_command_that_is_refused_is_said_once_and_works_as_soon_as_it_is_allowed() {
    // XREADGROUP is all there is; without XAUTOCLAIM and EVALSHA the rest goes on.
    for (command, goes_on) in [
        ("xreadgroup", false),
        ("xautoclaim", true),
        ("evalsha", true),
    ] {
        let (redis, receiver) = (Redis::start(), Receiver::ok());
        set_user(&redis, &format!("{RULES} &* -{command}"));
        let run = check(&redis, &[]);
        let rule = format!("ACL SETUSER outhook +{command}");
        assert!(
            run.code == 1 && run.err.join("\n").contains(&rule),
            "{run:?}"
        );
        let mut service = serve(&redis, &["--lease", "6s", "--timeout", "2s"]);
        service.log.wait(&rule);
        redis.add(message(&receiver.url("/"), "a", "1"));
        if goes_on {
            receiver.wait_for(1);
        }
        service.log.wait("redis: trouble");
        let before = refused(&redis, command);
        until("more refusals", || {
            (refused(&redis, command) >= before + 6).then_some(())
        });
        assert_eq!(service.log.count("redis: trouble"), 1, "{command}");
        assert_eq!(service.log.count("redis: back"), 0, "{command}");
        let once = "without it messages are not delivered";
        assert_eq!(service.log.count(once), 1, "{command}");
        set_user(&redis, &format!("+{command}"));
        service.log.wait("redis: back");
        receiver.wait_for(1);
        assert_eq!(check(&redis, &[]).code, 0);
        service.end_well();
    }
}

#[test]
fn a_command_by_another_name_is_said_once() {
    let redis = Redis::with(&["--rename-command", "XAUTOCLAIM", ""]);
    let address = redis.address();
    let run = Outhook::new(&["check", "--redis-address", &address]).run("");
    let said = "Redis does not know XAUTOCLAIM";
    assert!(
        run.code == 1 && run.err.join("\n").contains(said),
        "{run:?}"
    );
    let args = [
        "serve",
        "--redis-address",
        &address,
        "--lease",
        "6s",
        "--timeout",
        "2s",
    ];
    let mut service = Outhook::new(&args).spawn();
    assert!(service.log.wait(said).contains("rename-command"));
    service.log.wait("redis: trouble (sweep)");
    service.end_well();
}

#[test]
fn a_key_that_is_refused_is_told_from_a_command_that_is() {
    let redis = Redis::start();
    set_user(
        &redis,
        &format!("{RULES} &* resetkeys ~{{outhook}}:messages"),
    );
    let run = check(&redis, &[]);
    let said = run.err.join("\n");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(said.contains("ACL SETUSER outhook ~{outhook}:*"), "{said}");
    set_user(&redis, "~{outhook}:*");
    let run = check(&redis, &[]);
    assert_eq!(run.code, 0, "{run:?}");
}
