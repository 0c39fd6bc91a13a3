//! What the Redis user must be allowed to do, and what of it is refused.
//!
//! Each command is put into a transaction with the keys that it is used with, and the
//! transaction is discarded: the server looks at permissions when it queues a command, and runs
//! none of them. `ACL DRYRUN` would answer the same, but only from 7.0 on, and only an admin.
//! What is refused is told from the other answers by its code, as the words differ between
//! servers; and what is missing, the command, the key or the channel, from what else is refused.

use redis::{Cmd, RedisResult, Value, cmd};

use super::connection::Connection;
use super::{Keys, Redis, StoreError};

/// What a command is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Any message to be delivered.
    Deliveries,
    /// `--bridge`
    Bridge,
    /// `--status-ttl`
    Status,
    /// `--attempt-log`
    AttemptLog,
    /// `rate` and `max_in_flight` of `--endpoints`.
    Limits,
    /// `outhook endpoints`, and other replicas.
    Operators,
    /// To find out whether a subscription stands.
    Subscriptions,
    /// `--secrets-from redis`
    Secrets,
}

use Part::{AttemptLog, Bridge, Deliveries, Limits, Operators, Secrets, Status, Subscriptions};

/// Each command as it is used, with the key or channel that it must be allowed for in braces.
const NEEDS: [(Part, &str); 79] = [
    (Deliveries, "XADD {messages} * message m"),
    (
        Deliveries,
        "XREADGROUP GROUP g c COUNT 1 STREAMS {messages} >",
    ),
    (Deliveries, "XGROUP CREATE {messages} g 0 MKSTREAM"),
    (Deliveries, "XINFO GROUPS {messages}"),
    (Deliveries, "XINFO CONSUMERS {messages} g"),
    (
        Deliveries,
        "XAUTOCLAIM {messages} g c 1000 0-0 COUNT 1 JUSTID",
    ),
    (Deliveries, "XCLAIM {messages} g c 0 0-0 JUSTID"),
    (Deliveries, "XPENDING {messages} g"),
    (Deliveries, "XRANGE {messages} 0-1 0-1"),
    (Deliveries, "XLEN {messages}"),
    (Deliveries, "XACK {messages} g 0-0"),
    (Deliveries, "XDEL {messages} 0-0"),
    (Deliveries, "XADD {again} * message m"),
    (Deliveries, "XGROUP CREATE {again} g 0 MKSTREAM"),
    (Deliveries, "XINFO CONSUMERS {again} g"),
    (Deliveries, "XAUTOCLAIM {again} g c 1000 0-0 COUNT 1 JUSTID"),
    (Deliveries, "XCLAIM {again} g c 0 0-0 JUSTID"),
    (Deliveries, "XPENDING {again} g"),
    (Deliveries, "XLEN {again}"),
    (Deliveries, "XACK {again} g 0-0"),
    (Deliveries, "XDEL {again} 0-0"),
    (Deliveries, "SCRIPT LOAD return"),
    (Deliveries, "EVALSHA 0 1 {messages}"),
    (Deliveries, "EVALSHA 0 1 {parked}"),
    (Deliveries, "EVALSHA 0 1 {dead}"),
    (Deliveries, "TIME"),
    (Deliveries, "ZADD {parked} 0 m"),
    (Deliveries, "ZREM {parked} m"),
    (Deliveries, "ZCARD {parked}"),
    (Deliveries, "ZSCORE {parked} m"),
    (Deliveries, "ZRANGE {parked} 0 0 WITHSCORES"),
    (Deliveries, "ZRANGEBYSCORE {parked} 0 0"),
    (Deliveries, "EVALSHA 0 1 {backlog}"),
    (Deliveries, "RPUSH {backlog} m"),
    (Deliveries, "LPUSH {backlog} m"),
    (Deliveries, "LRANGE {backlog} 0 0"),
    (Deliveries, "LPOP {backlog}"),
    (Deliveries, "LLEN {backlog}"),
    (Deliveries, "LINDEX {backlog} 0"),
    (Deliveries, "ZADD {backlogs} 0 m"),
    (Deliveries, "ZREM {backlogs} m"),
    (Deliveries, "ZCARD {backlogs}"),
    (Deliveries, "ZRANGE {backlogs} 0 0 WITHSCORES"),
    (Deliveries, "EVALSHA 0 1 {ordered}"),
    (Deliveries, "XADD {ordered} * message m"),
    (Deliveries, "XREAD COUNT 1 STREAMS {ordered} 0-0"),
    (Deliveries, "XRANGE {ordered} - + COUNT 1"),
    (Deliveries, "XDEL {ordered} 0-0"),
    (Deliveries, "EVALSHA 0 1 {heads}"),
    (Deliveries, "HGET {heads} f"),
    (Deliveries, "HSET {heads} f v"),
    (Deliveries, "HDEL {heads} f"),
    (Deliveries, "HSCAN {heads} 0"),
    (Deliveries, "EVALSHA 0 1 {key}"),
    (Deliveries, "RPUSH {key} m"),
    (Deliveries, "LINDEX {key} 0"),
    (Deliveries, "LPOP {key}"),
    (Deliveries, "XRANGE {again} 0-1 0-1"),
    (Deliveries, "XADD {dead} * reason r"),
    (Deliveries, "XTRIM {dead} MAXLEN ~ 1000000000"),
    (Deliveries, "XDEL {dead} 0-0"),
    (Operators, "ZRANGE {holds} 0 -1 WITHSCORES"),
    (Operators, "ZADD {holds} 0 m"),
    (Operators, "ZREMRANGEBYSCORE {holds} 0 0"),
    (Operators, "EVALSHA 0 1 {holds}"),
    (Operators, "PUBLISH {control} m"),
    (Operators, "PUBLISH {reply} m"),
    (Bridge, "SET {seen} m NX PX 1000"),
    (Bridge, "GET {seen}"),
    (Bridge, "GETDEL {seen}"),
    (Status, "HSET {status} f v"),
    (Status, "PEXPIRE {status} 1000"),
    (AttemptLog, "XADD {attempt-log} * f v"),
    (Limits, "EVALSHA 0 1 {shares}"),
    (Limits, "HSET {shares} f v"),
    (Limits, "HDEL {shares} f"),
    (Limits, "PEXPIRE {shares} 1000"),
    (Subscriptions, "PUBSUB NUMSUB c"),
    (Secrets, "HMGET {secrets} f"),
];

/// What the server said when it was to queue a command.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Queued {
    Allowed,
    Denied,
    /// The server has no such command, or by another name.
    Missing,
}

/// One command, what it is to act on, and the answer.
struct Asked {
    part: Part,
    name: &'static str,
    on: Option<String>,
    queued: Queued,
}

/// Something that is refused.
#[derive(Debug, PartialEq)]
pub struct Lack {
    pub part: Part,
    /// What is wrong, and what would help.
    pub text: String,
}

/// Asks what of this is refused, one answer a part. Nothing is changed.
pub fn find_lacks(
    connection: &mut Connection,
    redis: &Redis,
    keys: &Keys,
    parts: &[Part],
) -> Result<Vec<Lack>, StoreError> {
    let asked = ask(connection, keys, parts).map_err(|e| redis.error(&e))?;
    Ok(describe_all(&asked, redis.user(), keys, parts))
}

/// What one part lacks is not said again of the next.
fn describe_all(asked: &[Asked], user: &str, keys: &Keys, parts: &[Part]) -> Vec<Lack> {
    let mut said = Vec::new();
    let lacks = parts.iter().filter_map(|part| {
        let text = describe(asked, *part, user, keys, &mut said)?;
        Some(Lack { part: *part, text })
    });
    lacks.collect()
}

fn ask(connection: &mut Connection, keys: &Keys, parts: &[Part]) -> RedisResult<Vec<Asked>> {
    // By itself: what follows must not be run.
    cmd("MULTI").query::<()>(connection)?;
    let needs = NEEDS.iter().filter(|(part, _)| parts.contains(part));
    let mut commands = redis::pipe();
    let mut asked = Vec::new();
    for (part, words) in needs {
        let (command, on) = command(words, keys);
        commands.add_command(command);
        asked.push(Asked {
            part: *part,
            name: words.split(' ').next().unwrap_or_default(),
            on,
            queued: Queued::Allowed,
        });
    }
    commands.cmd("DISCARD");
    let packed = commands.get_packed_pipeline();
    let count = asked.len() + 1;
    let answers = redis::ConnectionLike::req_packed_commands(connection, &packed, 0, count)?;
    for (asked, answer) in asked.iter_mut().zip(answers) {
        asked.queued = match answer {
            Value::ServerError(e) if e.code() == "NOPERM" => Queued::Denied,
            // With these words the one fault that there can be.
            Value::ServerError(e) if e.code() == "ERR" => Queued::Missing,
            _ => Queued::Allowed,
        };
    }
    Ok(asked)
}

fn command(words: &str, keys: &Keys) -> (Cmd, Option<String>) {
    let mut command = Cmd::new();
    let mut on = None;
    for word in words.split(' ') {
        let key = match word {
            "{messages}" => keys.messages.clone(),
            "{parked}" => keys.parked.clone(),
            "{again}" => keys.again.clone(),
            "{backlogs}" => keys.backlogs.clone(),
            "{backlog}" => keys.backlog(""),
            "{ordered}" => keys.ordered.clone(),
            "{heads}" => keys.heads.clone(),
            "{key}" => keys.followers(""),
            "{dead}" => keys.dead.clone(),
            "{holds}" => keys.holds.clone(),
            "{secrets}" => keys.secrets.clone(),
            "{control}" => keys.control.clone(),
            "{attempt-log}" => keys.attempt_log.clone(),
            "{seen}" => keys.seen("0", ""),
            "{status}" => keys.status("0"),
            "{shares}" => keys.shares("0"),
            "{reply}" => keys.reply(0),
            word => {
                command.arg(word);
                continue;
            }
        };
        command.arg(&key);
        on = Some(key);
    }
    (command, on)
}

/// One sentence for all that a part lacks and that was not said before.
fn describe(
    asked: &[Asked],
    part: Part,
    user: &str,
    keys: &Keys,
    said: &mut Vec<String>,
) -> Option<String> {
    let what = match part {
        Deliveries => "without it messages are not delivered",
        Bridge => "--bridge needs it",
        Status => "--status-ttl needs it",
        AttemptLog => "--attempt-log needs it",
        Limits => "without it rate and max_in_flight of --endpoints hold for each replica alone",
        Operators => "without it operators' commands reach no replica",
        Secrets => "--secrets-from redis needs it",
        Subscriptions => "without it a subscription that the server has dropped goes unnoticed",
    };
    let add = |list: &mut Vec<String>, item: String| {
        if !said.contains(&item) && !list.contains(&item) {
            list.push(item);
        }
    };
    let (mut missing, mut denied, mut rules) = (Vec::new(), Vec::new(), Vec::new());
    for asked_for in asked.iter().filter(|a| a.part == part) {
        match asked_for.queued {
            Queued::Allowed => {}
            Queued::Missing => add(&mut missing, asked_for.name.to_owned()),
            Queued::Denied => {
                let before = rules.len();
                for rule in rules_for(asked_for, asked, keys) {
                    add(&mut rules, rule);
                }
                if rules.len() > before {
                    // Where a key or channel is refused, it is named too.
                    let on = asked_for
                        .on
                        .as_ref()
                        .filter(|_| !rules[before].starts_with('+'));
                    let on = on.map(|on| format!(" {on}")).unwrap_or_default();
                    denied.push(format!("{}{on}", asked_for.name));
                }
            }
        }
    }
    said.extend(missing.iter().chain(&rules).cloned());
    if !missing.is_empty() {
        return Some(format!(
            "Redis does not know {}: {what}; see rename-command in its configuration",
            missing.join(", ")
        ));
    }
    (!rules.is_empty()).then(|| {
        format!(
            "Redis refuses {} to the user {user}: {what}; ACL SETUSER {user} {}",
            denied.join(", "),
            rules.join(" ")
        )
    })
}

/// Something else that may be done with the key shows that the command is refused, and the same
/// command with another key that the key is.
fn rules_for(denied: &Asked, asked: &[Asked], keys: &Keys) -> Vec<String> {
    let mut allowed = asked.iter().filter(|a| a.queued == Queued::Allowed);
    let is_key_allowed = denied.on.is_none() || allowed.clone().any(|a| a.on == denied.on);
    let is_command_allowed = allowed.any(|a| a.name == denied.name);
    let mut rules = Vec::new();
    if is_key_allowed || !is_command_allowed {
        rules.push(format!("+{}", denied.name.to_lowercase()));
    }
    if let Some(on) = denied.on.as_ref().filter(|_| !is_key_allowed) {
        rules.push(match on {
            on if *on == keys.control => format!("&{on}"),
            on if keys.is_reply(on) => format!("&{}", keys.pattern(on)),
            on => format!("~{}", keys.pattern(on)),
        });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe_with(denies: impl Fn(&str, &str) -> Queued) -> Option<String> {
        let keys = Keys::new("o");
        let asked: Vec<Asked> = NEEDS
            .iter()
            .map(|(part, words)| {
                let name = words.split(' ').next().unwrap();
                let (_, on) = command(words, &keys);
                let queued = denies(name, on.as_deref().unwrap_or_default());
                Asked {
                    part: *part,
                    name,
                    on,
                    queued,
                }
            })
            .collect();
        let mut lacks = describe_all(&asked, "u", &keys, &[Deliveries, Operators]);
        assert!(lacks.len() <= 1, "{lacks:?}");
        lacks.pop().map(|lack| lack.text)
    }

    #[test]
    fn what_is_missing_is_the_command_the_key_or_both() {
        use Queued::{Allowed, Denied, Missing};
        let when = |is, queued| if is { queued } else { Allowed };
        assert_eq!(describe_with(|_, _| Allowed), None);
        let text = describe_with(|name, _| when(name == "XCLAIM", Denied)).unwrap();
        assert!(text.contains("refuses XCLAIM to the user u"), "{text}");
        assert!(text.ends_with("; ACL SETUSER u +xclaim"), "{text}");
        let text = describe_with(|_, on| when(on == "{o}:dead", Denied)).unwrap();
        assert!(
            text.contains("refuses EVALSHA {o}:dead, XTRIM to the user"),
            "{text}"
        );
        // XTRIM is used on this key alone, so it may be the command too.
        assert!(text.ends_with("; ACL SETUSER u ~{o}:* +xtrim"), "{text}");
        let text = describe_with(|name, _| when(name == "TIME", Denied)).unwrap();
        assert!(text.ends_with("; ACL SETUSER u +time"), "{text}");
        let text = describe_with(|name, _| when(name == "XADD", Missing)).unwrap();
        assert!(text.starts_with("Redis does not know XADD:"), "{text}");
        assert!(describe_with(|name, _| when(name == "GETDEL", Denied)).is_none());
    }
}
