//! Holds and questions: what replicas and operators' tools tell each other through Redis.
//!
//! Holds are kept in a sorted set, by when they end; each change of it is published too, so that
//! replicas need not look. A replica that was not subscribed reads the set when it is again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{RedisResult, Script, Value, cmd, pipe};

use super::connection::Connection;
use super::odd::Odd;
use super::reply::{bytes, items};
use super::{Admin, Heard, Keys, Redis, StoreError, Subscription, scripts};
use crate::delivery::endpoint_snapshot::EndpointSnapshots;
use crate::delivery::hold::{self, Cause, Hold, covers};

/// What is held, and why, and how long.
pub type AllHolds = Vec<(Arc<str>, Hold)>;

/// Reads all holds, on a connection of its own.
pub fn fetch_holds(redis: &Redis, keys: &Keys, limit: Duration) -> Result<AllHolds, StoreError> {
    let mut connection = redis.connect(limit)?;
    let members = members(&mut connection, keys, &redis.odd).map_err(|e| redis.error(&e))?;
    Ok(members.into_iter().map(|m| (m.key, m.hold)).collect())
}

/// One hold, and the member that stands for it.
struct Member {
    bytes: Vec<u8>,
    key: Arc<str>,
    hold: Hold,
}

/// All holds that are not over. Members are read one by one: one that is not ours stops no other.
fn members(connection: &mut Connection, keys: &Keys, odd: &Odd) -> RedisResult<Vec<Member>> {
    let mut request = pipe();
    // Their ends are by Redis's clock.
    request.cmd("TIME");
    request.cmd("ZRANGE").arg(&keys.holds).arg(0).arg(-1);
    request.arg("WITHSCORES");
    let ((s, us), members): ((u64, u64), Value) = request.query(connection)?;
    let (now, now_ms) = (Instant::now(), (s * 1000 + us / 1000) as f64);
    let mut values = items(Some(members)).map(bytes);
    let mut found = Vec::new();
    while let (Some(bytes), Some(ends)) = (values.next(), values.next()) {
        let Some((cause, key)) = read_member(&bytes) else {
            odd.tell(
                &keys.holds,
                &bytes,
                "a hold (`paused` or `gone`, and a URL)",
            );
            continue;
        };
        let ends = std::str::from_utf8(&ends).ok().and_then(|t| t.parse().ok());
        let hold = ends.and_then(|ends| until(ends, now, now_ms));
        found.extend(hold.map(|until| Member {
            bytes,
            key,
            hold: Hold { cause, until },
        }));
    }
    Ok(found)
}

/// Why and what: `gone http://h/path`.
fn read_member(member: &[u8]) -> Option<(Cause, Arc<str>)> {
    let (cause, key) = std::str::from_utf8(member).ok()?.split_once(' ')?;
    Some((cause.parse().ok()?, hold::key(key).ok()?))
}

/// When it ends; nothing when it has.
fn until(ends: f64, now: Instant, now_ms: f64) -> Option<Option<Instant>> {
    match Duration::try_from_secs_f64((ends - now_ms) / 1000.0) {
        Ok(left) => Some(Some(now.checked_add(left)?)),
        Err(_) if ends == f64::INFINITY => Some(None),
        Err(_) => None,
    }
}

/// A request that holds a URL or origin for so long, or until that is lifted.
pub(super) fn hold_endpoint(
    connection: &mut Connection,
    keys: &Keys,
    (key, cause, length): (&str, Cause, Option<Duration>),
) -> RedisResult<()> {
    let left = length.map_or(-1, |length| {
        i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
    });
    Script::new(scripts::HOLD)
        .key(&keys.holds)
        .arg(&keys.control)
        .arg(cause.to_string())
        .arg(left)
        .arg(key)
        .invoke(connection)
}

impl Admin {
    pub fn holds(&mut self) -> Result<AllHolds, StoreError> {
        let members = members(&mut self.connection, &self.keys, &self.redis.odd);
        let members = self.done(members)?;
        Ok(members.into_iter().map(|m| (m.key, m.hold)).collect())
    }

    pub fn pause(&mut self, key: &str, length: Option<Duration>) -> Result<(), StoreError> {
        let what = (key, Cause::Paused, length);
        let reply = hold_endpoint(&mut self.connection, &self.keys, what);
        self.done(reply)
    }

    /// Lifts what is held of a URL, or of all URLs of an origin, and has it tried at once.
    /// Answers how many holds that were.
    pub fn resume(&mut self, key: &str) -> Result<usize, StoreError> {
        let all = members(&mut self.connection, &self.keys, &self.redis.odd);
        let all = self.done(all)?;
        let lifted = all.into_iter().filter(|m| covers(key, &m.key));
        let lifted: Vec<Vec<u8>> = lifted.map(|m| m.bytes).collect();
        let mut request = pipe();
        if !lifted.is_empty() {
            request
                .cmd("ZREM")
                .arg(&self.keys.holds)
                .arg(&lifted)
                .ignore();
        }
        let order = format!("resume {key}");
        request
            .cmd("PUBLISH")
            .arg(&self.keys.control)
            .arg(order)
            .ignore();
        let reply: RedisResult<()> = request.query(&mut self.connection);
        self.done(reply)?;
        Ok(lifted.len())
    }

    /// Asks all replicas what they know of the endpoints whose names begin with `prefix`. Waits
    /// for `limit` at most; answers what has come, and how many heard the question.
    pub fn ask(
        &mut self,
        prefix: &str,
        question: u64,
        limit: Duration,
    ) -> Result<(Vec<EndpointSnapshots>, usize), StoreError> {
        let reply = self.keys.reply(question);
        let mut answers = Subscription::open(&self.redis, limit)?;
        answers.subscribe(&reply, limit)?;
        let order = format!("report {reply} {prefix}");
        let heard: RedisResult<usize> = cmd("PUBLISH")
            .arg(&self.keys.control)
            .arg(order)
            .query(&mut self.connection);
        let heard = self.done(heard)?;
        let end = Instant::now() + limit;
        let mut reports = Vec::new();
        while reports.len() < heard {
            let left = end.saturating_duration_since(Instant::now());
            let Some(text) = answers.hear(left)? else {
                break;
            };
            let Heard::Message { payload, .. } = text else {
                continue;
            };
            match serde_json::from_slice::<EndpointSnapshots>(&payload) {
                Ok(report) => reports.push(report),
                Err(_) => self
                    .redis
                    .odd
                    .tell(&reply, &payload, "an answer of a replica"),
            }
        }
        Ok((reports, heard))
    }
}
