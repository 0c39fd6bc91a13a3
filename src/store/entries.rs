//! The consumer's side of Redis: reading entries, taking over those of dead consumers. One
//! [`Entries`] is one connection, and about one stream; after an error it is thrown away.
//!
//! Replies are read as plain values, entry by entry: a typed reply fails whole, and one odd
//! entry would stop its batch.

use std::collections::HashMap;
use std::time::Duration;

use redis::{RedisError, RedisResult, Script, Value, cmd, pipe};

use super::condition::{self, Condition};
use super::connection::Connection;
use super::keys::digest;
use super::permissions::{self, Lack, Part};
use super::reply::{bytes, items, text};
use super::{Keys, Redis, StoreError, advice, scripts};
use crate::delivery::Delivery;
use crate::message::entry::{Entry, EntryId, Stream};

/// Consumers without entries that have been silent for so long are deleted.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// See the module's header.
pub struct Entries {
    pub(super) redis: Redis,
    pub(super) keys: Keys,
    /// Which stream this is about.
    pub(super) stream: Stream,
    pub(super) consumer: String,
    pub(super) connection: Connection,
    /// What the server calls this connection, if it tells.
    pub(super) id: Option<u64>,
    pub(super) read_timeout: Duration,
}

/// What is known of an entry's id and URL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen {
    /// The same bytes came before.
    Copy,
    /// Others did.
    Reused,
}

/// One step of a sweep.
pub struct Swept {
    /// Entries taken over from consumers that have not renewed their lease.
    pub entries: Vec<Entry>,
    /// Pending entries that were deleted or trimmed from the stream by someone else.
    pub vanished: Vec<String>,
    /// Where to go on; `0-0` at the end.
    pub cursor: String,
}

impl Entries {
    /// Connects, and makes the stream and its group if they are not there. Reads wait for
    /// `block` plus `answer` at most.
    pub fn open(
        redis: &Redis,
        keys: &Keys,
        stream: Stream,
        consumer: &str,
        read_timeout: Duration,
    ) -> Result<Entries, StoreError> {
        let mut connection = redis.connect(read_timeout)?;
        let id = cmd("CLIENT").arg("ID").query(&mut connection);
        let mut entries = Entries {
            redis: redis.clone(),
            keys: keys.clone(),
            stream,
            consumer: consumer.to_owned(),
            id: id.ok(),
            connection,
            read_timeout,
        };
        entries.ensure_group()?;
        Ok(entries)
    }

    /// What an operator should know of the server.
    pub fn advice(&mut self) -> Vec<String> {
        advice(&mut self.connection)
    }

    /// What is wrong with the keys, and whether there may be entries that nobody holds.
    pub fn inspect(&mut self) -> Result<(Vec<String>, bool), StoreError> {
        let (connection, redis, keys) = (&mut self.connection, &self.redis, &self.keys);
        let mut advice = condition::find_wrong_types(connection, redis, keys)?;
        let Some(condition) = Condition::ask(connection, redis, keys)? else {
            return Ok((advice, false));
        };
        advice.extend(condition.advice(keys));
        Ok((advice, condition.may_have_orphans()))
    }

    /// Makes entries that nobody holds ours, as if they had just been read. They are delivered
    /// when their lease is over: whoever lost them may still be about to settle them.
    pub fn take_back_orphans(&mut self) -> Result<usize, StoreError> {
        let (connection, keys) = (&mut self.connection, &self.keys);
        let taken = condition::take_back(connection, keys, self.stream, &self.consumer);
        taken.map_err(|e| self.redis.error(&e))
    }

    /// What the server refuses of what these parts need.
    pub fn find_lacks(&mut self, parts: &[Part]) -> Result<Vec<Lack>, StoreError> {
        permissions::find_lacks(&mut self.connection, &self.redis, &self.keys, parts)
    }

    /// Takes over up to `count` entries that no one has renewed for `lease`.
    pub fn sweep(
        &mut self,
        lease: Duration,
        cursor: &str,
        count: usize,
    ) -> Result<Swept, StoreError> {
        // JUSTID: being taken over is no attempt.
        let reply: Vec<Value> = cmd("XAUTOCLAIM")
            .arg(self.key())
            .arg(&self.keys.group)
            .arg(&self.consumer)
            .arg(lease.as_millis() as u64)
            .arg(cursor)
            .arg("COUNT")
            .arg(count)
            .arg("JUSTID")
            .query(&mut self.connection)
            .map_err(|e| self.redis.error(&e))?;
        let mut parts = reply.into_iter();
        let cursor = parts.next().and_then(text).unwrap_or_else(|| "0-0".into());
        let claimed: Vec<String> = items(parts.next()).filter_map(text).collect();
        // Redis 7 names what it found gone and has dropped it; 6.2 claims it.
        let mut vanished: Vec<String> = items(parts.next()).filter_map(text).collect();
        let entries = self.adopt(claimed, &mut vanished)?;
        Ok(Swept {
            entries,
            vanished,
            cursor,
        })
    }

    /// Our own pending entries after `after`, oldest first, `count` at most: those that Redis
    /// handed out in a reply that never came, or to an earlier life of this name.
    pub fn own(
        &mut self,
        after: Option<EntryId>,
        count: usize,
    ) -> Result<(Vec<Entry>, Option<EntryId>), StoreError> {
        let from = after.map_or("-".to_owned(), |id| format!("({id}"));
        let reply: Vec<Value> = cmd("XPENDING")
            .arg(self.key())
            .arg(&self.keys.group)
            .arg(from)
            .arg("+")
            .arg(count)
            .arg(&self.consumer)
            .query(&mut self.connection)
            .map_err(|e| self.redis.error(&e))?;
        let ids: Vec<String> = reply
            .into_iter()
            .filter_map(|row| items(Some(row)).next().and_then(text))
            .collect();
        let last = ids.last().and_then(|id| id.parse::<EntryId>().ok());
        let last = last.map(|id| id.of(self.stream));
        let mut vanished = Vec::new();
        let entries = self.adopt(ids, &mut vanished)?;
        Ok((entries, last))
    }

    /// Which of these were heard before: copies, which are settled, and others with the id and URL
    /// of another. What is new is remembered for `memory`.
    pub fn find_copies<'a>(
        &mut self,
        deliveries: impl Iterator<Item = &'a Delivery>,
        memory: Duration,
    ) -> Result<HashMap<EntryId, Seen>, StoreError> {
        let script = Script::new(scripts::DEDUP);
        let mut call = script.key(&self.keys.messages);
        call.arg(&self.keys.group).arg(memory.as_millis() as u64);
        let mut asked = Vec::new();
        for delivery in deliveries {
            let (Some(entry), message) = (delivery.entry, &delivery.message) else {
                continue;
            };
            call.key(self.keys.seen(&message.id, &message.endpoint.url));
            call.arg(entry.to_string()).arg(digest(message.raw()));
            asked.push(entry);
        }
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        let reply: Value = call
            .invoke(&mut self.connection)
            .map_err(|e| self.redis.error(&e))?;
        let words = items(Some(reply)).map(bytes);
        let seen = asked.into_iter().zip(words).filter_map(|(entry, word)| {
            let seen = match &word[..] {
                b"copy" => Seen::Copy,
                b"reused" => Seen::Reused,
                _ => return None,
            };
            Some((entry, seen))
        });
        Ok(seen.collect())
    }

    /// Deletes consumers that are long dead and hold nothing.
    pub fn tidy(&mut self) -> Result<(), StoreError> {
        let (connection, keys) = (&mut self.connection, &self.keys);
        tidy(connection, keys, self.stream, "").map_err(|e| self.redis.error(&e))
    }

    /// Reads entries that are ours already, with the attempts noted for each. Those without
    /// an entry in the stream are acknowledged, and added to `vanished`.
    pub(super) fn adopt(
        &mut self,
        ids: Vec<String>,
        vanished: &mut Vec<String>,
    ) -> Result<Vec<Entry>, StoreError> {
        let (stream, group) = (self.key().to_owned(), &self.keys.group);
        let mut request = pipe();
        for id in &ids {
            request
                .cmd("XPENDING")
                .arg(&stream)
                .arg(group)
                .arg(id)
                .arg(id)
                .arg(1);
            request.cmd("XRANGE").arg(&stream).arg(id).arg(id);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |e| self.redis.error(&e);
        let replies: Vec<Value> = request.query(&mut self.connection).map_err(failed)?;
        let mut entries = Vec::new();
        let mut gone = Vec::new();
        for (id, pair) in ids.into_iter().zip(replies.chunks(2)) {
            let row = items(Some(pair[0].clone())).next();
            let count = match items(row).nth(3) {
                Some(Value::Int(n)) => u32::try_from(n).unwrap_or(u32::MAX),
                _ => 1,
            };
            match items(pair.get(1).cloned()).next() {
                Some(value) => entries.extend(entry(value, self.stream, count, true)),
                None => gone.push(id),
            }
        }
        if !gone.is_empty() {
            cmd("XACK")
                .arg(&stream)
                .arg(group)
                .arg(&gone)
                .query::<()>(&mut self.connection)
                .map_err(failed)?;
            vanished.extend(gone);
        }
        Ok(entries)
    }

    /// The stream's.
    pub(super) fn key(&self) -> &str {
        self.keys.stream(self.stream)
    }

    pub(super) fn ensure_group(&mut self) -> Result<(), StoreError> {
        let made: RedisResult<()> = cmd("XGROUP")
            .arg("CREATE")
            .arg(self.key())
            .arg(&self.keys.group)
            // From the first entry: what was added before anyone read is delivered too.
            .arg("0")
            .arg("MKSTREAM")
            .query(&mut self.connection);
        match made {
            Err(e) if e.code() == Some("BUSYGROUP") => Ok(()),
            // A full server does not even say that the group is there. What is in it must be
            // delivered all the same, as that makes room.
            Err(e) if e.code() == Some("OOM") && self.has_group()? => Ok(()),
            Err(e) => Err(self.stream_error(&e)),
            Ok(()) => Ok(()),
        }
    }

    /// An error of a command that is about the stream alone.
    pub(super) fn stream_error(&self, e: &RedisError) -> StoreError {
        let error = self.redis.error(e);
        match error.code() {
            "WRONGTYPE" => error.with(&format!("; it is {}", self.key())),
            _ => error,
        }
    }

    fn has_group(&mut self) -> Result<bool, StoreError> {
        let groups: RedisResult<Value> = cmd("XINFO")
            .arg("GROUPS")
            .arg(self.key())
            .query(&mut self.connection);
        let groups = match groups {
            Err(e) if e.code() == Some("ERR") => return Ok(false),
            groups => groups.map_err(|e| self.redis.error(&e))?,
        };
        // Names and values in turn, the group's name first.
        let mut names = items(Some(groups)).filter_map(|group| items(Some(group)).nth(1));
        Ok(names.any(|name| bytes(name) == self.keys.group.as_bytes()))
    }
}

/// Deletes a consumer that will not come back, unless it still holds entries.
pub fn forget_consumer(redis: &Redis, keys: &Keys, name: &str, limit: Duration) {
    // If it fails, others do it later.
    if let Ok(mut connection) = redis.connect(limit) {
        for stream in [Stream::Messages, Stream::Again] {
            let _ = tidy(&mut connection, keys, stream, name);
        }
    }
}

fn tidy(connection: &mut Connection, keys: &Keys, stream: Stream, name: &str) -> RedisResult<()> {
    Script::new(scripts::TIDY)
        .key(keys.stream(stream))
        .arg(&keys.group)
        .arg(name)
        .arg(FORGET_AFTER.as_millis() as u64)
        .invoke(connection)
}

/// `[id, [name, value, …]]`; nothing when it is not even that.
pub(super) fn entry(value: Value, stream: Stream, count: u32, suspect: bool) -> Option<Entry> {
    let mut parts = items(Some(value));
    let id: EntryId = parts.next().and_then(text)?.parse().ok()?;
    let fields = items(parts.next()).map(bytes).collect();
    Some(Entry {
        id: id.of(stream),
        count,
        suspect,
        fields,
    })
}
