//! Bringing back what waits in Redis: parked messages that are due, and the oldest of a backlog.
//! Each becomes an entry of the second stream that is ours from its beginning.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisResult, Script, Value, cmd};

use super::entries::entry;
use super::reply::{items, text};
use super::{Entries, Keys, Redis, StoreError, scripts};
use crate::message::entry::{Entry, Stream};

/// Bytes that come back at a time, about: no script should block Redis for everyone.
const BYTES: usize = 1 << 20;

/// What has come back.
pub struct Recalled {
    pub entries: Vec<Entry>,
    /// How long it is until the next is due, if any is parked.
    pub next: Option<Duration>,
}

/// What a backlog has given.
pub struct Released {
    pub entries: Vec<Entry>,
    /// Messages that it still holds, and when the oldest was received, in Unix milliseconds.
    pub left: u64,
    pub oldest: Option<u64>,
}

/// Has the other replicas look whether something is due. If it fails, they look later.
pub fn tell_due(redis: &Redis, keys: &Keys, limit: Duration) {
    if let Ok(mut connection) = redis.connect(limit) {
        let _: RedisResult<u64> = publish_due(keys).query(&mut connection);
    }
}

pub(super) fn publish_due(keys: &Keys) -> Cmd {
    let mut publish = cmd("PUBLISH");
    publish.arg(&keys.control).arg("due");
    publish
}

impl Entries {
    /// Brings back up to `count` parked messages that are due.
    pub fn recall(&mut self, count: usize) -> Result<Recalled, StoreError> {
        let script = Script::new(scripts::RECALL);
        let mut call = script.key(&self.keys.parked);
        call.key(&self.keys.again).key(&self.keys.heads);
        call.arg(&self.keys.group);
        call.arg(&self.consumer).arg(count).arg(BYTES);
        let reply: RedisResult<Value> = call.invoke(&mut self.connection);
        let (entries, next) = self.brought(reply)?;
        let next = u64::try_from(next).ok().map(Duration::from_millis);
        Ok(Recalled { entries, next })
    }

    /// Brings back up to `count` of the oldest messages of a backlog; if `latest`, only those that
    /// were received by then.
    pub fn release(
        &mut self,
        name: &str,
        count: usize,
        latest: Option<u64>,
    ) -> Result<Released, StoreError> {
        let script = Script::new(scripts::RELEASE);
        let mut call = script.key(self.keys.backlog(name));
        call.key(&self.keys.backlogs).key(&self.keys.again);
        call.key(&self.keys.heads);
        call.arg(name).arg(&self.keys.group);
        call.arg(&self.consumer).arg(count).arg(BYTES);
        call.arg(latest.map_or(String::new(), |latest| latest.to_string()));
        let reply: RedisResult<Value> = call.invoke(&mut self.connection);
        let oldest = reply.as_ref().ok().and_then(|reply| match reply {
            Value::Array(parts) => text(parts.get(2)?.clone())?.parse().ok(),
            _ => None,
        });
        let (entries, left) = self.brought(reply)?;
        Ok(Released {
            entries,
            left: left.max(0) as u64,
            oldest,
        })
    }

    /// The group was deleted, with the stream or alone. What was in it is nobody's, and is found
    /// by [`Entries::take_back_orphans`].
    pub(super) fn brought(
        &mut self,
        reply: RedisResult<Value>,
    ) -> Result<(Vec<Entry>, i64), StoreError> {
        let reply = match reply {
            Err(e) if e.to_string().contains("NOGROUP") => {
                self.ensure_group()?;
                // Nothing yet, and soon more.
                return Ok((Vec::new(), 1));
            }
            reply => reply.map_err(|e| self.redis.error(&e))?,
        };
        let mut parts = items(Some(reply));
        let entries = items(parts.next());
        let entries = entries.filter_map(|e| entry(e, Stream::Again, 1, false));
        let entries = entries.collect();
        let number = match parts.next() {
            Some(Value::Int(n)) => n,
            _ => -1,
        };
        Ok((entries, number))
    }

    /// Up to `count` backlogs from the `start`-th on: their names, and when the oldest message of
    /// each was received, by which they are in order.
    pub fn backlogs(
        &mut self,
        start: usize,
        count: usize,
    ) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
        let reply: RedisResult<Value> = cmd("ZRANGE")
            .arg(&self.keys.backlogs)
            .arg(start)
            .arg(start + count - 1)
            .arg("WITHSCORES")
            .query(&mut self.connection);
        let mut values = items(Some(reply.map_err(|e| self.redis.error(&e))?)).map(text);
        let mut backlogs = Vec::new();
        while let (Some(name), Some(oldest)) = (values.next(), values.next()) {
            let oldest = oldest.and_then(|oldest| oldest.parse::<f64>().ok());
            let oldest = oldest.unwrap_or_default().max(0.0) as u64;
            backlogs.extend(name.map(|name| (name.into(), oldest)));
        }
        Ok(backlogs)
    }

    /// How many entries the stream has.
    pub fn length(&mut self) -> Result<u64, StoreError> {
        let length: RedisResult<u64> = cmd("XLEN").arg(self.key()).query(&mut self.connection);
        length.map_err(|e| self.redis.error(&e))
    }

    /// Whether there may be entries that nobody holds: all that come back are somebody's.
    pub fn may_have_unheld(&mut self) -> Result<bool, StoreError> {
        let mut request = redis::pipe();
        request.cmd("XLEN").arg(self.key());
        request
            .cmd("XPENDING")
            .arg(self.key())
            .arg(&self.keys.group);
        let reply: RedisResult<(i64, Value)> = request.query(&mut self.connection);
        let (length, pending) = reply.map_err(|e| self.redis.error(&e))?;
        let pending = match items(Some(pending)).next() {
            Some(Value::Int(n)) => n,
            _ => 0,
        };
        Ok(length > pending)
    }
}
