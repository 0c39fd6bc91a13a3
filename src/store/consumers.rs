//! The group's consumers: being heard as one, who has been silent for how long, and taking over
//! what a dead one holds.

use std::time::Duration;

use redis::{Cmd, RedisResult, Script, Value, cmd};

use super::connection::Connection;
use super::reply::{items, text};
use super::{Entries, Keys, Redis, StoreError, scripts};
use crate::message::entry::{Entry, Stream};

/// Behind every entry: to read a consumer's own entries from here on is to read nothing. (The very
/// last id is what the servers themselves take `>` for: it would read what is new.)
const BEHIND_ALL: &str = "18446744073709551615-18446744073709551614";

/// A consumer of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    /// Entries that it holds.
    pub entries: u64,
    /// Since Redis last heard of it.
    pub silent: Duration,
}

/// Entries that were another's.
pub struct Taken {
    pub entries: Vec<Entry>,
    /// Those of them that were deleted or trimmed from the stream by someone else.
    pub vanished: Vec<String>,
    /// It may hold more.
    pub more: bool,
}

impl Entries {
    /// Lets Redis hear of this consumer. Is not waited for once `is_over`.
    pub fn beat(&mut self, is_over: impl Fn() -> bool) -> Result<(), StoreError> {
        match self.ask_until(&beat(&self.keys, &self.consumer), is_over) {
            // The next read makes it anew.
            Err(e) if e.code() == Some("NOGROUP") => Ok(()),
            beaten => beaten.map(drop).map_err(|e| self.redis.error(&e)),
        }
    }

    /// The other consumers of the group: what of this stream they hold, and for how long they have
    /// been silent.
    pub fn peers(&mut self) -> Result<Vec<Peer>, StoreError> {
        let mut peers = self.consumers_of(self.stream)?;
        peers.retain(|peer| peer.name != self.consumer);
        if self.stream != Stream::Messages && !peers.is_empty() {
            // Beats go to the other stream.
            let heard = self.consumers_of(Stream::Messages)?;
            for peer in &mut peers {
                let same = heard.iter().find(|other| other.name == peer.name);
                peer.silent = same.map_or(peer.silent, |other| other.silent.min(peer.silent));
            }
        }
        Ok(peers)
    }

    fn consumers_of(&mut self, stream: Stream) -> Result<Vec<Peer>, StoreError> {
        let reply: RedisResult<Value> = cmd("XINFO")
            .arg("CONSUMERS")
            .arg(self.keys.stream(stream))
            .arg(&self.keys.group)
            .query(&mut self.connection);
        let reply = reply.map_err(|e| self.stream_error(&e))?;
        Ok(items(Some(reply)).filter_map(peer).collect())
    }

    /// Takes over up to `count` entries of this consumer, if it is still silent for so long.
    pub fn take_from(
        &mut self,
        name: &str,
        silent: Duration,
        count: usize,
    ) -> Result<Taken, StoreError> {
        let ids: RedisResult<Value> = Script::new(scripts::TAKE)
            .key(&self.keys.messages)
            .key(self.key())
            .arg(&self.keys.group)
            .arg(&self.consumer)
            .arg(name)
            .arg(silent.as_millis() as u64)
            .arg(count)
            .invoke(&mut self.connection);
        let ids = ids.map_err(|e| self.redis.error(&e))?;
        let ids: Vec<String> = items(Some(ids)).filter_map(text).collect();
        let more = ids.len() == count;
        let mut vanished = Vec::new();
        let entries = self.adopt(ids, &mut vanished)?;
        Ok(Taken {
            entries,
            vanished,
            more,
        })
    }
}

/// `[name, …, pending, …, idle, …]`, in whatever order.
fn peer(info: Value) -> Option<Peer> {
    let (mut name, mut entries, mut silent) = (None, None, None);
    let mut fields = items(Some(info));
    while let (Some(field), Some(value)) = (fields.next().and_then(text), fields.next()) {
        match &*field {
            "name" => name = text(value),
            "pending" => entries = text(value).and_then(|n| n.parse().ok()),
            "idle" => silent = text(value).and_then(|n| n.parse().ok()),
            _ => {}
        }
    }
    Some(Peer {
        name: name?,
        entries: entries?,
        silent: Duration::from_millis(silent?),
    })
}

/// A connection that only lets Redis hear of a consumer.
pub struct Beats(Connection);

impl Beats {
    /// `limit`: for connecting, and for each answer.
    pub fn open(redis: &Redis, limit: Duration) -> Result<Beats, StoreError> {
        redis.connect(limit).map(Beats)
    }

    pub fn beat(&mut self, keys: &Keys, name: &str) -> RedisResult<()> {
        beat(keys, name).query::<Value>(&mut self.0).map(drop)
    }
}

/// By this Redis hears of a consumer. Nothing is read by it. (Up to 7.0 a read of what is new counts
/// as a sign of life only if there is something.)
fn beat(keys: &Keys, name: &str) -> Cmd {
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg(&keys.group).arg(name);
    read.arg("COUNT").arg(1).arg("STREAMS");
    read.arg(&keys.messages).arg(BEHIND_ALL);
    read
}
