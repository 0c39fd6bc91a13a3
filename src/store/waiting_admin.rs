//! What an operator does with messages that wait in Redis, for a time or for their endpoint.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use redis::{RedisResult, Value, cmd};

use super::admin::PAGE;
use super::reply::{bytes, items};
use super::{Admin, Fields, StoreError, scripts};

/// One parked message.
#[derive(Debug)]
pub struct ParkedMessage {
    /// Unix milliseconds, by Redis's clock; 0 in a backlog.
    pub due: u64,
    /// Unix milliseconds; 0 if it is not known.
    pub received: u64,
    pub fields: Fields,
    /// The key whose head it is.
    head: Option<String>,
    member: Vec<u8>,
}

impl ParkedMessage {
    /// What tells it from others, however often it is tried and parked again.
    pub fn hash(&self) -> u64 {
        // The attempts come first.
        let rest = self.member.iter().skip_while(|b| **b != b' ');
        let rest: Vec<u8> = rest.copied().collect();
        BuildHasherDefault::<DefaultHasher>::default().hash_one(rest)
    }
}

/// What waits for one endpoint.
#[derive(Debug, Clone)]
pub struct BacklogSize {
    pub name: String,
    pub count: u64,
    /// When the oldest of it was received, in Unix milliseconds.
    pub oldest: u64,
}

impl Admin {
    /// Up to a page of parked messages, in the order in which they are due, from the
    /// `start`-th on.
    pub fn parked(&mut self, start: usize) -> Result<Vec<ParkedMessage>, StoreError> {
        let mut range = cmd("ZRANGE");
        range
            .arg(&self.keys.parked)
            .arg(start)
            .arg(start + PAGE - 1)
            .arg("WITHSCORES");
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let mut values = items(Some(self.done(reply)?)).map(bytes);
        let mut page = Vec::new();
        while let (Some(member), Some(due)) = (values.next(), values.next()) {
            page.push(parked(member, number(&due)));
        }
        Ok(page)
    }

    /// The backlogs that there are.
    pub fn backlogs(&mut self) -> Result<Vec<BacklogSize>, StoreError> {
        let mut range = cmd("ZRANGE");
        range.arg(&self.keys.backlogs).arg(0).arg(-1);
        range.arg("WITHSCORES");
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let mut values = items(Some(self.done(reply)?)).map(bytes);
        let mut all = Vec::new();
        while let (Some(name), Some(oldest)) = (values.next(), values.next()) {
            let Ok(name) = String::from_utf8(name) else {
                continue;
            };
            all.push(BacklogSize {
                name,
                count: 0,
                oldest: number(&oldest),
            });
        }
        for backlogs in all.chunks_mut(PAGE) {
            let mut pipe = redis::pipe();
            for backlog in backlogs.iter() {
                pipe.cmd("LLEN").arg(self.keys.backlog(&backlog.name));
            }
            let packed = pipe.get_packed_pipeline();
            let (connection, count) = (&mut self.connection, backlogs.len());
            let reply = redis::ConnectionLike::req_packed_commands(connection, &packed, 0, count);
            // One that is no list stops no other.
            for (backlog, length) in backlogs.iter_mut().zip(self.done(reply)?) {
                if let Value::Int(n) = length {
                    backlog.count = n.max(0) as u64;
                }
            }
        }
        Ok(all)
    }

    /// Up to a page of the messages of a backlog, oldest first, from the `start`-th on.
    pub fn backlog(&mut self, name: &str, start: usize) -> Result<Vec<ParkedMessage>, StoreError> {
        let mut range = cmd("LRANGE");
        range.arg(self.keys.backlog(name)).arg(start);
        range.arg(start + PAGE - 1);
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let members = items(Some(self.done(reply)?)).map(bytes);
        Ok(members.map(|member| parked(member, 0)).collect())
    }

    /// Deletes these messages, which are parked or, if a name is given, in that backlog. Answers
    /// how many were still there.
    pub fn purge_parked(
        &mut self,
        backlog: Option<&str>,
        messages: &[ParkedMessage],
    ) -> Result<u64, StoreError> {
        let (heads, others): (Vec<_>, Vec<_>) = messages.iter().partition(|m| m.head.is_some());
        let mut purged = 0;
        for message in heads {
            let key = message.head.as_deref().unwrap_or_default();
            purged += self.purge_head(backlog, key, &message.member)?;
        }
        if purged > 0 {
            self.tell_due();
        }
        if others.is_empty() {
            return Ok(purged);
        }
        let mut pipe = redis::pipe();
        for message in others {
            match backlog {
                None => pipe.cmd("ZREM").arg(&self.keys.parked),
                Some(name) => pipe.cmd("LREM").arg(self.keys.backlog(name)).arg(1),
            };
            pipe.arg(&message.member);
        }
        let reply: RedisResult<Vec<u64>> = pipe.query(&mut self.connection);
        Ok(purged + self.done(reply)?.iter().sum::<u64>())
    }

    /// How many messages are parked.
    pub fn parked_count(&mut self) -> Result<usize, StoreError> {
        let reply = cmd("ZCARD")
            .arg(&self.keys.parked)
            .query(&mut self.connection);
        self.done(reply)
    }

    /// Makes these parked messages due now. Answers how many were still parked.
    pub fn flush(&mut self, messages: &[ParkedMessage]) -> Result<u64, StoreError> {
        let members: Vec<&[u8]> = messages.iter().map(|m| &m.member[..]).collect();
        let keys = [self.keys.parked.clone()];
        self.make_due(scripts::FLUSH, &keys, &members)
    }
}

/// A score.
fn number(score: &[u8]) -> u64 {
    let text = std::str::from_utf8(score).ok();
    let score: f64 = text.and_then(|t| t.parse().ok()).unwrap_or_default();
    score.max(0.0) as u64
}

/// The line that `park.lua` writes, taken apart; of a member that is not ours there are only
/// its bytes.
pub(super) fn parked(member: Vec<u8>, due: u64) -> ParkedMessage {
    let end = member.iter().position(|b| *b == b'\n').unwrap_or_default();
    let line = String::from_utf8_lossy(&member[..end]).into_owned();
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let mut fields = Fields::new();
    let (mut head, mut received) = (None, 0);
    if let [attempts, received_ms, id, source] = words[..] {
        received = received_ms.parse().unwrap_or_default();
        let (source, rest) = source.split_once('\t').unwrap_or((source, ""));
        let (last, key) = rest.split_once('\t').unwrap_or((rest, ""));
        head = Some(key.to_owned()).filter(|key| !key.is_empty());
        for (name, value) in [
            ("id", id),
            ("attempts", attempts),
            ("received_ms", received_ms),
            ("source", source),
            ("last", last),
            ("head", key),
        ] {
            fields.push((name.into(), value.into()));
        }
        fields.retain(|(name, value)| !["last", "head"].contains(&&**name) || !value.is_empty());
        fields.push(("message".into(), member[end + 1..].to_vec()));
    } else {
        fields.push(("message".into(), member.clone()));
    }
    ParkedMessage {
        due,
        received,
        fields,
        head,
        member,
    }
}
