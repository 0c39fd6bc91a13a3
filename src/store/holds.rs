//! Holds and questions: what replicas and operators' tools tell each other through Redis.
//!
//! Holds are kept in a sorted set, by when they end; each change of it is published too, so that
//! replicas need not look. A replica that was not subscribed reads the set when it is again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{RedisResult, Script, cmd, pipe};

use super::connection::Connection;
use super::{Admin, Keys, Redis, StoreError};
use crate::hold::{Cause, Hold, covers};
use crate::report::Report;

/// How long an answer that nobody takes is kept.
pub(super) const ANSWER_KEPT: Duration = Duration::from_secs(10);

/// What is held, and why, and how long.
pub type AllHolds = Vec<(Arc<str>, Hold)>;

/// Reads all holds, on a connection of its own.
pub fn fetch_holds(redis: &Redis, keys: &Keys, limit: Duration) -> Result<AllHolds, StoreError> {
    let mut connection = redis.connect(limit)?;
    let members = members(&mut connection, keys).map_err(|e| redis.error(&e))?;
    Ok(members
        .into_iter()
        .map(|(_, key, hold)| (key, hold))
        .collect())
}

/// Each with the member that stands for it.
fn members(connection: &mut Connection, keys: &Keys) -> RedisResult<Vec<(String, Arc<str>, Hold)>> {
    type Reply = ((u64, u64), Vec<(String, f64)>);
    let mut request = pipe();
    // Their ends are by Redis's clock.
    request.cmd("TIME");
    request.cmd("ZRANGE").arg(&keys.holds).arg(0).arg(-1);
    request.arg("WITHSCORES");
    let ((s, us), members): Reply = request.query(connection)?;
    let now = Instant::now();
    let now_ms = (s * 1000 + us / 1000) as f64;
    let read = |(member, ends): (String, f64)| {
        let (cause, key) = member.split_once(' ')?;
        let cause: Cause = cause.parse().ok()?;
        let left = Duration::try_from_secs_f64((ends - now_ms) / 1000.0);
        let until = match left {
            Ok(left) => Some(now.checked_add(left)?),
            Err(_) if ends.is_infinite() => None,
            // Over.
            Err(_) => return None,
        };
        let key = key.into();
        Some((member, key, Hold { cause, until }))
    };
    Ok(members.into_iter().filter_map(read).collect())
}

/// A request that holds a URL or origin for so long, or until that is lifted.
pub(super) fn hold(
    connection: &mut Connection,
    keys: &Keys,
    (key, cause, length): (&str, Cause, Option<Duration>),
) -> RedisResult<()> {
    let left = length.map_or(-1, |length| {
        i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
    });
    Script::new(include_str!("lua/hold.lua"))
        .key(&keys.holds)
        .arg(&keys.control)
        .arg(cause.to_string())
        .arg(left)
        .arg(key)
        .invoke(connection)
}

impl Admin {
    pub fn holds(&mut self) -> Result<AllHolds, StoreError> {
        let members = members(&mut self.connection, &self.keys);
        let members = self.done(members)?;
        Ok(members
            .into_iter()
            .map(|(_, key, hold)| (key, hold))
            .collect())
    }

    pub fn pause(&mut self, key: &str, length: Option<Duration>) -> Result<(), StoreError> {
        let what = (key, Cause::Paused, length);
        let reply = hold(&mut self.connection, &self.keys, what);
        self.done(reply)
    }

    /// Lifts what is held of a URL, or of all URLs of an origin, and has it tried at once.
    /// Answers how many holds that were.
    pub fn resume(&mut self, key: &str) -> Result<usize, StoreError> {
        let all = members(&mut self.connection, &self.keys);
        let all = self.done(all)?;
        let lifted = all.into_iter().filter(|(_, held, _)| covers(key, held));
        let lifted: Vec<String> = lifted.map(|(member, ..)| member).collect();
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
    ) -> Result<(Vec<Report>, usize), StoreError> {
        let reply = self.keys.reply(question);
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
            if left.is_zero() {
                break;
            }
            let answer: RedisResult<Option<(String, Vec<u8>)>> = cmd("BLPOP")
                .arg(&reply)
                .arg(left.as_secs_f64().max(0.01))
                .query(&mut self.connection);
            match self.done(answer)? {
                Some((_, text)) => reports.extend(serde_json::from_slice::<Report>(&text).ok()),
                None => break,
            }
        }
        Ok((reports, heard))
    }
}
