//! Redis answers, and says no: each refusal against each source of messages.
//!
//! What is wrong is said once, and waited out: what can be delivered meanwhile is, nothing is lost or
//! doubled, and when Redis relents each message comes to where it belongs. The table has a line for
//! each refusal, and says of each source what is seen meanwhile.

use std::time::Duration;

use crate::support::receiver::{Receiver, status};
use crate::support::redis::{AGAIN, DEAD, MESSAGES, PARKED, Redis};
use crate::support::service::{Service, serve, tool};
use crate::support::{message, unix_ms, until};

/// Of each kind.
const COUNT: usize = 10;

#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// This key holds something else.
    WrongType(&'static str),
    OutOfMemory,
    /// As a master does that has lost its replicas; one that has become a replica says no likewise.
    TooFewReplicas,
    /// The last snapshot failed.
    CannotSave,
    /// The user may not use this command.
    NoPermission(&'static str),
}

use Refusal::*;

impl Refusal {
    fn begin(self, redis: &Redis) {
        match self {
            WrongType(key) => {
                // The key is put aside, so that what is in it is there again.
                if redis.command(&["EXISTS", key]) {
                    redis.command::<()>(&["RENAME", key, "aside"]);
                }
                redis.command(&["SET", key, "x"])
            }
            OutOfMemory => redis.command(&["CONFIG", "SET", "maxmemory", "1"]),
            TooFewReplicas => redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
            CannotSave => fail_to_save(redis),
            NoPermission(command) => {
                redis.command(&["ACL", "SETUSER", "default", &format!("-{command}")])
            }
        }
    }

    fn end(self, redis: &Redis) {
        match self {
            WrongType(key) => match redis.command(&["EXISTS", "aside"]) {
                true => redis.command(&["RENAME", "aside", key]),
                false => redis.command(&["DEL", key]),
            },
            OutOfMemory => redis.command(&["CONFIG", "SET", "maxmemory", "0"]),
            TooFewReplicas => redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
            CannotSave => redis.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]),
            NoPermission(_) => redis.command(&["ACL", "SETUSER", "default", "+@all"]),
        }
    }

    /// What the log says of it, at once or at the start.
    fn words(self, source: Source) -> String {
        match self {
            WrongType(_) => "WRONGTYPE".into(),
            OutOfMemory => "OOM".into(),
            TooFewReplicas => "NOREPLICAS".into(),
            CannotSave => "MISCONF".into(),
            NoPermission(command) if source == Stream => {
                format!("ACL SETUSER default +{command}")
            }
            // The remedy comes with the next look at what is allowed.
            NoPermission(_) => "redis: trouble".into(),
        }
    }
}

/// A snapshot that cannot be written, as its name is a folder's.
fn fail_to_save(redis: &Redis) {
    std::fs::create_dir(redis.folder().join("dump.rdb")).expect("to make a folder");
    redis.command::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    redis.command::<redis::Value>(&["BGSAVE"]);
    until("the snapshot to fail", || {
        let info: String = redis.command(&["INFO", "persistence"]);
        info.contains("rdb_last_bgsave_status:err").then_some(())
    });
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    PubSub,
    /// Pub/Sub by way of the stream.
    Bridge,
    Stream,
}

use Source::*;

/// What is seen while Redis refuses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meanwhile {
    /// What can be delivered is, and what cannot be written is complained of.
    Delivers,
    /// Nothing is wrong for this source.
    DeliversAll,
    /// Nothing can be read or appended.
    Waits,
}

use Meanwhile::*;

/// Messages to be delivered, that die of a 410, that are none, and one for a day far ahead.
fn messages(receiver: &Receiver) -> Vec<String> {
    let one = |n: usize| {
        [
            message(&receiver.url("/good"), &format!("good-{n}"), "1"),
            // A URL of its own, as one that answers 410 gets nothing more.
            message(
                &receiver.url(&format!("/gone-{n}")),
                &format!("gone-{n}"),
                "1",
            ),
            format!("junk {n}"),
        ]
    };
    let later = format!(
        r#"{{"url":"{}","webhookId":"later","data":1,"deliverAt":"2100-01-01T00:00:00Z"}}"#,
        receiver.url("/later")
    );
    (0..COUNT).flat_map(one).chain([later]).collect()
}

fn begin(source: Source, refusal: Refusal, redis: &Redis, receiver: &Receiver) -> Service {
    let (args, all): (&[&str], _) = match source {
        Bridge => (&["--bridge"], messages(receiver)),
        _ => (&[], messages(receiver)),
    };
    // There is a group when Redis begins to refuse.
    let mut service = serve(redis, args);
    redis.add(message(&receiver.url("/first"), "first", "1"));
    receiver.wait_for(1);
    if source == Stream {
        service.end_well();
        redis.add_all(&all);
        refusal.begin(redis);
        return serve(redis, args);
    }
    refusal.begin(redis);
    redis.send_all(&all);
    service
}

fn assert_waited_out(source: Source, refusal: Refusal, meanwhile: Meanwhile) {
    let (redis, receiver) = (Redis::start(), receiver());
    let mut service = begin(source, refusal, &redis, &receiver);
    if meanwhile != DeliversAll {
        service.log.wait(&refusal.words(source));
        // What is said at the start is said before anything is refused.
        service.log.wait("redis: trouble");
        assert_tries_again(&redis);
    }
    match meanwhile {
        Delivers => drop(receiver.wait_for(1 + 2 * COUNT)),
        DeliversAll => assert_all_kept(&redis),
        Waits => assert_eq!(receiver.count(), 1, "nothing can be known of others"),
    }
    assert!(redis_len(&redis, DEAD) <= 2 * COUNT, "not doubled");
    if source == Stream {
        assert_what_nobody_accepted_is_in_redis(&redis);
    }
    refusal.end(&redis);
    assert_all_kept(&redis);
    receiver.wait_for(1 + 2 * COUNT);
    if meanwhile != DeliversAll {
        service.log.wait("redis: back");
    }
    service.end_well();
    assert_eq!(receiver.count(), 1 + 2 * COUNT, "each once");
    assert_said_once(&service);
}

fn receiver() -> Receiver {
    Receiver::answering(|r, _| {
        status(if r.path.starts_with("/gone") {
            410
        } else {
            200
        })
    })
}

/// It does not give up after one refusal, and does not ask without a pause either.
fn assert_tries_again(redis: &Redis) {
    let errors = || {
        let stats: String = redis.command(&["INFO", "stats"]);
        let number = stats.split("total_error_replies:").nth(1).unwrap();
        number.lines().next().unwrap().parse::<u64>().unwrap()
    };
    let before = errors();
    until("it to be refused again", || {
        (errors() > before + 1).then_some(())
    });
}

fn redis_len(redis: &Redis, stream: &str) -> usize {
    let kind: String = redis.command(&["TYPE", stream]);
    match &*kind {
        "stream" => redis.command(&["XLEN", stream]),
        "zset" => redis.command(&["ZCARD", stream]),
        _ => 0,
    }
}

/// While Redis refuses a move, the message stays where it is: a `kill -9` now would lose nothing.
fn assert_what_nobody_accepted_is_in_redis(redis: &Redis) {
    // In the order in which messages move, so that none is passed over.
    let places = ["aside", MESSAGES, AGAIN, DEAD, PARKED];
    let kept: usize = places.iter().map(|key| redis_len(redis, key)).sum();
    // Those that die of a 410, those that are none, and the one for later.
    assert!(kept > 2 * COUNT, "{kept} are left");
}

fn assert_all_kept(redis: &Redis) {
    let dead = redis.wait_dead(2 * COUNT);
    for n in 0..COUNT {
        let count = |name: &str, value: String| {
            let found = dead
                .iter()
                .filter(|d| d.get(name) == Some(value.as_bytes()));
            found.count()
        };
        assert_eq!(count("id", format!("gone-{n}")), 1);
        assert_eq!(count("message", format!("junk {n}")), 1);
    }
    until(
        "the one for later to be parked, and the streams to be empty",
        || {
            let left = redis_len(redis, MESSAGES) + redis_len(redis, AGAIN);
            (left == 0 && redis.command::<usize>(&["ZCARD", PARKED]) == 1).then_some(())
        },
    );
}

/// Each trouble has one line, and bad messages have theirs, but not one at each try.
fn assert_said_once(service: &Service) {
    let lines = service.log.all();
    let troubles = lines
        .iter()
        .filter_map(|line| line.split("redis: trouble (").nth(1));
    let mut troubles: Vec<&str> = troubles.collect();
    let count = troubles.len();
    troubles.sort();
    troubles.dedup();
    assert_eq!(troubles.len(), count, "said again: {lines:#?}");
    let is_complaint = |line: &&String| line.contains("WARN") || line.contains("ERROR");
    let complaints = lines.iter().filter(is_complaint).count();
    assert!(complaints <= 2 * COUNT + 10, "{complaints}: {lines:#?}");
}

/// Such a Redis refuses PING too, by which a quiet subscription asks whether it still stands.
#[test]
fn a_quiet_subscription_stands_while_redis_cannot_save() {
    let (redis, receiver) = (Redis::start(), receiver());
    let mut service = serve(&redis, &[]);
    fail_to_save(&redis);
    until("it to ask", || {
        let list: String = redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        list.contains("cmd=ping").then_some(())
    });
    redis.send(message(&receiver.url("/"), "a", "1"));
    receiver.wait_for(1);
    assert_eq!(service.log.count("ready: subscribed"), 1);
    service.end_well();
}

/// The same for what is in flight as Redis begins to refuse: it has been delivered, and cannot be
/// settled until Redis relents.
fn assert_settled_after(refusal: Refusal) {
    let redis = Redis::start();
    let (receiver, gate) = Receiver::gated(200);
    let mut service = serve(&redis, &[]);
    for n in 0..20 {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    receiver.wait_for(1);
    refusal.begin(&redis);
    gate.open();
    service.log.wait(&refusal.words(Stream));
    refusal.end(&redis);
    service.log.wait("redis: back after");
    redis.wait_settled();
    assert_eq!(receiver.count(), 20, "none twice");
    assert_said_once(&service);
    service.end_well();
}

#[test]
fn what_is_in_flight_as_it_begins_is_settled_when_it_ends() {
    for refusal in [WrongType(MESSAGES), TooFewReplicas, CannotSave] {
        assert_settled_after(refusal);
    }
}

#[test]
fn what_redis_never_took_is_named_at_the_end() {
    let (redis, receiver) = (Redis::start(), receiver());
    let mut service = serve(&redis, &["--drain-timeout", "1s"]);
    WrongType(DEAD).begin(&redis);
    for path in ["/gone-1", "/gone-2"] {
        redis.send(message(&receiver.url(path), &path[1..], "1"));
    }
    receiver.wait_for(2);
    service.assert_ends_and_names(Duration::from_secs(1), &["gone-1", "gone-2"]);
}

#[test]
fn what_cannot_be_told_holds_up_no_delivery() {
    let (redis, receiver) = (Redis::start(), Receiver::ok());
    let args = ["--status-ttl", "1h", "--attempt-log", "1000"];
    let mut service = serve(&redis, &args);
    redis.command::<()>(&["SET", "{outhook}:status:m7", "x"]);
    redis.command::<()>(&["SET", "{outhook}:attempt-log", "x"]);
    for n in 0..1000 {
        redis.add(message(&receiver.url("/"), &format!("m{n}"), "1"));
    }
    receiver.wait_for(1000);
    let line = service.log.wait("refuses to keep what became of messages");
    assert!(line.contains("WRONGTYPE"), "{line}");
    service.end_well();
    assert_eq!(service.log.count("refuses to keep"), 1);
    assert!(redis.command::<bool>(&["EXISTS", "{outhook}:status:m8"]));
}

#[test]
fn what_a_tool_cannot_park_stays_a_dead_letter_and_is_due_when_it_is_parked() {
    let (redis, receiver) = (Redis::start(), receiver());
    let mut service = serve(&redis, &[]);
    redis.add_all(&messages(&receiver));
    assert_all_kept(&redis);
    service.end_well();
    WrongType(PARKED).begin(&redis);
    for act in [["parked", "flush", "--all"], ["dead", "replay", "--all"]] {
        let run = tool(&redis, &act);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.join(" ").contains("WRONGTYPE"), "{run:?}");
    }
    assert_eq!(redis_len(&redis, DEAD), 2 * COUNT);
    WrongType(PARKED).end(&redis);
    // One more that may go at any time.
    let retry = message(&receiver.url("/"), "retry", "1");
    let member = format!("1 5 retry stream\n{retry}");
    redis.command::<()>(&["ZADD", PARKED, "4e12", &member]);
    assert_eq!(tool(&redis, &["dead", "replay", "--all"]).code, 0);
    assert_eq!(tool(&redis, &["parked", "flush", "--all"]).code, 0);
    assert_eq!(redis_len(&redis, DEAD), 0);
    let due: usize = redis.command(&["ZCOUNT", PARKED, "-inf", &unix_ms().to_string()]);
    let parked: usize = redis.command(&["ZCARD", PARKED]);
    assert_eq!(due, 2 * COUNT + 1);
    assert_eq!(parked, due + 1, "one has its time to come");
}

macro_rules! table {
    ($($name:ident: $refusal:expr, $($source:ident $meanwhile:ident),+;)+) => {
        $(#[test]
        fn $name() {
            $(assert_waited_out($source, $refusal, $meanwhile);)+
        })+
    };
}

table! {
    a_dead_letters_key_of_another_type: WrongType(DEAD), PubSub Delivers, Bridge Delivers, Stream Delivers;
    a_parked_key_of_another_type: WrongType(PARKED), PubSub Delivers, Bridge Waits, Stream Delivers;
    a_stream_s_key_of_another_type: WrongType(MESSAGES), PubSub Delivers, Bridge Waits, Stream Waits;
    no_memory: OutOfMemory, PubSub Delivers, Bridge Waits, Stream DeliversAll;
    too_few_replicas: TooFewReplicas, PubSub Delivers, Bridge Waits, Stream Waits;
    a_snapshot_that_failed: CannotSave, PubSub Delivers, Bridge Waits, Stream Waits;
    no_right_to_xadd: NoPermission("xadd"), PubSub Delivers, Bridge Waits, Stream Delivers;
    no_right_to_zadd: NoPermission("zadd"), PubSub Delivers, Stream Delivers;
    no_right_to_xdel: NoPermission("xdel"), Stream Delivers;
    no_right_to_xack: NoPermission("xack"), Stream Delivers;
    no_right_to_run_scripts: NoPermission("evalsha"), PubSub Delivers, Bridge Waits, Stream Delivers;
    no_right_to_read: NoPermission("xreadgroup"), PubSub Delivers, Stream Waits;
}
