//! Keys whose messages go one after another: who is the head of each, and who follows. The heads
//! stand in one hash, by key, with where each is: its entry (with a + before it if it has come back),
//! or `parked` or `backlog` with when it was received and its id. The followers stand in a list.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Script, Value, cmd, pipe};

use super::entries::entry;
use super::keys::digest;
use super::reply::{bytes, items, text};
use super::{Entries, Keys, StoreError, scripts};
use crate::delivery::Delivery;
use crate::message::entry::{Entry, EntryId, Stream};

/// Keys that are looked at in one step of a round.
const PAGE: usize = 200;

/// Something that was added to be dealt in order.
pub struct Card {
    pub entry: EntryId,
    /// Its key, and what it is among those that follow. Nothing for what is no message.
    pub key: Option<Arc<str>>,
    pub member: Vec<u8>,
    /// The key that remembers its id and URL, and the digest of its bytes.
    seen: Option<(String, String)>,
}

impl Card {
    /// Of what is no message.
    pub fn odd(entry: EntryId) -> Card {
        Card {
            entry,
            key: None,
            member: Vec::new(),
            seen: None,
        }
    }

    /// `keys`: it is looked at whether the same message came before.
    pub fn of(entry: EntryId, delivery: &Delivery, keys: Option<&Keys>) -> Card {
        let (message, member) = (&delivery.message, member(delivery));
        Card {
            entry,
            key: message.group(),
            member,
            seen: keys.map(|keys| {
                let seen = keys.seen(&message.id, &message.endpoint.url);
                (seen, digest(message.raw()))
            }),
        }
    }
}

/// What came of dealing.
pub struct Dealt {
    /// The heads of keys, which are ours now, and what has no key.
    pub entries: Vec<Entry>,
    /// How many cards were still there: another replica may be ahead.
    pub count: usize,
    /// Of these, the copies of what came before.
    pub copies: u64,
    /// Of the entries, those with the id and URL of another message.
    pub reused: Vec<String>,
}

/// A message as a member of what waits in Redis.
pub(super) fn member(delivery: &Delivery) -> Vec<u8> {
    let (attempts, received) = (delivery.attempts.made(), delivery.received);
    let (id, source) = (&delivery.message.id, &delivery.source);
    let mut member = format!("{attempts} {received} {id} {source}");
    if let Some(failure) = delivery.failure() {
        member.push('\t');
        member.push_str(&failure);
    }
    member.push('\n');
    let mut member = member.into_bytes();
    member.extend_from_slice(delivery.message.raw());
    member
}

/// How a script is told of an entry: see `place` in `lua/moves.lua`.
pub(super) fn named(entry: EntryId) -> String {
    match entry.stream {
        Stream::Messages => entry.to_string(),
        Stream::Again => format!("+{entry}"),
    }
}

/// The entry that is named so.
pub(super) fn meant(name: &str) -> Option<EntryId> {
    let (stream, id) = match name.strip_prefix('+') {
        Some(id) => (Stream::Again, id),
        None => (Stream::Messages, name),
    };
    let id: EntryId = id.parse().ok()?;
    Some(id.of(stream))
}

/// Lets the next of a key go, if its head is gone from where it was, or in any case. Answers whether
/// it is not waited for any more.
pub(super) fn revive(
    connection: &mut super::connection::Connection,
    keys: &Keys,
    (key, head): (&str, &str),
    skips: bool,
) -> RedisResult<bool> {
    let script = Script::new(scripts::REVIVE);
    let mut call = script.key(&keys.heads);
    call.key(&keys.parked).key(&keys.messages).key(&keys.again);
    call.key(keys.followers(key)).arg(&keys.group).arg(key);
    call.arg(head).arg(if skips { "skip" } else { "" });
    call.invoke(connection)
}

impl Entries {
    /// Waits up to `block` for what is to be dealt in order, and answers the first of it.
    pub fn look_at_ordered(
        &mut self,
        count: usize,
        block: Duration,
        is_over: impl Fn() -> bool,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(count.max(1));
        read.arg("BLOCK").arg(block.as_millis().max(1) as u64);
        read.arg("STREAMS").arg(&self.keys.ordered).arg("0-0");
        match self.ask_until(&read, is_over) {
            Ok(reply) => Ok(super::reading::streams(reply)
                .filter_map(|e| entry(e, Stream::Messages, 1, false))
                .collect()),
            // The stream was deleted.
            Err(e) if e.code() == Some("UNBLOCKED") => Ok(Vec::new()),
            Err(e) => Err(self.redis.error(&e)),
        }
    }

    /// Takes these, which were the first of what is to be dealt. Ids are remembered for `memory`.
    pub fn deal(&mut self, cards: &[Card], memory: Duration) -> Result<Dealt, StoreError> {
        let script = Script::new(scripts::DEAL);
        let mut call = script.key(&self.keys.ordered);
        call.key(&self.keys.again).key(&self.keys.heads);
        call.arg(&self.keys.group).arg(&self.consumer);
        call.arg(memory.as_millis() as u64);
        for card in cards {
            let key = card.key.as_deref().unwrap_or_default();
            call.key(self.keys.followers(key));
            call.arg(card.entry.to_string()).arg(key).arg(&card.member);
            let (seen, digest) = card.seen.clone().unwrap_or_default();
            // No key may be named outside of ours.
            let seen = if seen.is_empty() {
                self.keys.seen("", "")
            } else {
                seen
            };
            call.key(seen).arg(digest);
        }
        let reply: RedisResult<Value> = call.invoke(&mut self.connection);
        let mut rest = items(reply.as_ref().ok().cloned()).skip(2);
        let copies = match rest.next() {
            Some(Value::Int(copies)) => copies.max(0) as u64,
            _ => 0,
        };
        let reused = items(rest.next()).filter_map(text).collect();
        let (entries, count) = self.brought(reply)?;
        Ok(Dealt {
            entries,
            count: count.max(0) as usize,
            copies,
            reused,
        })
    }

    /// Looks at some keys from `cursor` on, whether their heads are still anywhere, and lets the next
    /// go where one is not. Answers how many those were, and where to go on; 0 at the end.
    pub fn revive(&mut self, cursor: u64) -> Result<(usize, u64), StoreError> {
        let scanned: RedisResult<Value> = cmd("HSCAN")
            .arg(&self.keys.heads)
            .arg(cursor)
            .arg("COUNT")
            .arg(PAGE)
            .query(&mut self.connection);
        let (next, heads) = heads(scanned.map_err(|e| self.redis.error(&e))?);
        let held: Vec<_> = heads
            .into_iter()
            .filter_map(|(key, head)| meant(&head).map(|entry| (key, head, entry)))
            .collect();
        if held.is_empty() {
            return Ok((0, next));
        }
        let mut request = pipe();
        for (_, _, id) in &held {
            let (stream, id) = (self.keys.stream(id.stream), id.to_string());
            request.cmd("XPENDING").arg(stream).arg(&self.keys.group);
            request.arg(&id).arg(&id).arg(1);
            request.cmd("XRANGE").arg(stream).arg(&id).arg(&id);
        }
        let packed = request.get_packed_pipeline();
        let (connection, count) = (&mut self.connection, held.len() * 2);
        let replies = redis::ConnectionLike::req_packed_commands(connection, &packed, 0, count);
        // Where the group or the stream is gone, so is what was in it: that answer is an error.
        let replies = replies.map_err(|e| self.redis.error(&e))?;
        let mut revived = 0;
        for ((key, head, _), pair) in held.iter().zip(replies.chunks(2)) {
            let mut found = pair.iter().flat_map(|reply| items(Some(reply.clone())));
            if found.next().is_none() {
                let done = revive(&mut self.connection, &self.keys, (key, head), false);
                revived += usize::from(done.map_err(|e| self.redis.error(&e))?);
            }
        }
        Ok((revived, next))
    }
}

/// The answer of HSCAN: where to go on, and keys with where their heads are.
pub(super) fn heads(reply: Value) -> (u64, Vec<(String, String)>) {
    let mut parts = items(Some(reply));
    let next = parts.next().and_then(text).and_then(|t| t.parse().ok());
    let mut values = items(parts.next()).map(|v| String::from_utf8_lossy(&bytes(v)).into_owned());
    let mut heads = Vec::new();
    while let (Some(key), Some(head)) = (values.next(), values.next()) {
        heads.push((key, head));
    }
    (next.unwrap_or_default(), heads)
}
