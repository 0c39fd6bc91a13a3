//! What an operator does with what Redis holds: look, move, delete. Everything is read in pages,
//! so that a million entries take no more memory than a hundred.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use redis::{RedisResult, Script, Value, cmd};

use super::connection::Connection;
use super::reply::{bytes, items, text};
use super::{Keys, Redis, StoreError, scripts};

/// Entries in one page; each may be a megabyte.
const PAGE: usize = 100;

/// Connecting must not take longer.
const CONNECT: Duration = Duration::from_secs(5);

/// What one request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Names and values in turn, as they are stored.
pub type Fields = Vec<(String, Vec<u8>)>;

/// One entry of a stream.
#[derive(Debug)]
pub struct Letter {
    pub entry: String,
    pub fields: Fields,
}

/// One parked message.
#[derive(Debug)]
pub struct ParkedMessage {
    /// Unix milliseconds, by Redis's clock.
    pub due: u64,
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

/// A message to be sent.
#[derive(Debug)]
pub struct NewMessage {
    /// It has a key, so the order in which it is added is kept.
    pub is_ordered: bool,
    pub message: Vec<u8>,
}

/// One connection, and the keys.
pub struct Admin {
    pub(super) redis: Redis,
    pub(super) keys: Keys,
    pub(super) connection: Connection,
}

impl Admin {
    pub fn open(redis: Redis, keys: Keys) -> Result<Admin, StoreError> {
        let mut connection = redis.connect(CONNECT)?;
        connection.set_read_limit(LIMIT);
        Ok(Admin {
            redis,
            keys,
            connection,
        })
    }

    /// Adds messages to their streams. Answers the entries' ids.
    pub fn add(&mut self, messages: &[NewMessage]) -> Result<Vec<String>, StoreError> {
        let mut pipe = redis::pipe();
        for NewMessage {
            is_ordered,
            message,
        } in messages
        {
            let stream = match is_ordered {
                true => &self.keys.ordered,
                false => &self.keys.messages,
            };
            pipe.cmd("XADD").arg(stream).arg("*");
            pipe.arg("message").arg(message);
        }
        let reply = pipe.query(&mut self.connection);
        self.done(reply)
    }

    /// Publishes messages. Answers how many subscribers heard each.
    pub fn publish(
        &mut self,
        channel: &str,
        messages: &[NewMessage],
    ) -> Result<Vec<u64>, StoreError> {
        let mut pipe = redis::pipe();
        for NewMessage { message, .. } in messages {
            pipe.cmd("PUBLISH").arg(channel).arg(message);
        }
        let reply = pipe.query(&mut self.connection);
        self.done(reply)
    }

    /// Up to a page of dead letters from the entry `from` on, oldest first, and where to go on.
    pub fn dead(
        &mut self,
        from: &str,
        to: &str,
    ) -> Result<(Vec<Letter>, Option<String>), StoreError> {
        let mut range = cmd("XRANGE");
        range
            .arg(&self.keys.dead)
            .arg(from)
            .arg(to)
            .arg("COUNT")
            .arg(PAGE);
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let entries = items(Some(self.done(reply)?));
        let letters: Vec<Letter> = entries.filter_map(letter).collect();
        let next = letters.last().filter(|_| letters.len() == PAGE);
        let next = next.map(|last| format!("({}", last.entry));
        Ok((letters, next))
    }

    /// Has the messages of these dead letters delivered as if they had never been tried. Answers
    /// how many were still there.
    pub fn replay(&mut self, entries: &[String]) -> Result<u64, StoreError> {
        let keys = [self.keys.dead.clone(), self.keys.parked.clone()];
        self.make_due(scripts::REPLAY, &keys, entries)
    }

    /// Deletes these dead letters. Answers how many were still there.
    pub fn purge(&mut self, entries: &[String]) -> Result<u64, StoreError> {
        let mut del = cmd("XDEL");
        del.arg(&self.keys.dead).arg(entries);
        let reply = del.query(&mut self.connection);
        self.done(reply)
    }

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
            let due = std::str::from_utf8(&due).ok().and_then(|t| t.parse().ok());
            page.push(parked(member, due.unwrap_or_default()));
        }
        Ok(page)
    }

    /// The backlogs that there are, and how many messages wait in each.
    pub fn backlogs(&mut self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut range = cmd("ZRANGE");
        range.arg(&self.keys.backlogs).arg(0).arg(-1);
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let names: Vec<String> = items(Some(self.done(reply)?)).filter_map(text).collect();
        let mut all = Vec::new();
        for names in names.chunks(PAGE) {
            let mut pipe = redis::pipe();
            for name in names {
                pipe.cmd("LLEN").arg(self.keys.backlog(name));
            }
            let packed = pipe.get_packed_pipeline();
            let connection = &mut self.connection;
            let reply =
                redis::ConnectionLike::req_packed_commands(connection, &packed, 0, names.len());
            // One that is no list stops no other.
            let lengths = self.done(reply)?.into_iter().map(|length| match length {
                Value::Int(n) => n.max(0) as u64,
                _ => 0,
            });
            all.extend(names.iter().cloned().zip(lengths));
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
        Ok(members.map(|member| parked(member, 0.0)).collect())
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

    /// What is known of message `id`; nothing where `--status-ttl` is not set, or is over.
    pub fn status(&mut self, id: &str) -> Result<Fields, StoreError> {
        let mut get = cmd("HGETALL");
        get.arg(self.keys.status(id));
        let reply: RedisResult<Value> = get.query(&mut self.connection);
        Ok(fields(items(Some(self.done(reply)?))))
    }

    /// The names of the group's consumers, those first that have done something last.
    pub fn consumers(&mut self) -> Result<Vec<String>, StoreError> {
        let mut info = cmd("XINFO");
        info.arg("CONSUMERS");
        info.arg(&self.keys.messages).arg(&self.keys.group);
        let reply: RedisResult<Value> = info.query(&mut self.connection);
        let rows = items(Some(self.done(reply)?));
        let mut consumers: Vec<(i64, String)> = rows.filter_map(consumer).collect();
        consumers.sort();
        Ok(consumers.into_iter().map(|(_, name)| name).collect())
    }

    /// Runs a script after which something is due, and tells the replicas.
    fn make_due<A: redis::ToRedisArgs>(
        &mut self,
        code: &str,
        keys: &[String],
        args: &[A],
    ) -> Result<u64, StoreError> {
        let script = Script::new(code);
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for arg in args {
            call.arg(arg);
        }
        let reply = call.invoke(&mut self.connection);
        let done = self.done(reply)?;
        self.tell_due();
        Ok(done)
    }

    /// Tells the replicas that something may be due. Without it they find out a little later.
    pub(super) fn tell_due(&mut self) {
        let mut publish = cmd("PUBLISH");
        publish.arg(&self.keys.control).arg("due");
        let _: RedisResult<u64> = publish.query(&mut self.connection);
    }

    pub(super) fn done<T>(&self, reply: RedisResult<T>) -> Result<T, StoreError> {
        reply.map_err(|e| self.redis.error(&e))
    }
}

/// For how long a consumer has done nothing (ms), and its name.
fn consumer(row: Value) -> Option<(i64, String)> {
    let (mut name, mut idle) = (None, None);
    let mut fields = items(Some(row));
    while let (Some(field), Some(value)) = (fields.next().and_then(text), fields.next()) {
        match (&*field, value) {
            ("name", value) => name = text(value),
            ("idle", Value::Int(ms)) => idle = Some(ms),
            _ => {}
        }
    }
    Some((idle?, name?))
}

fn letter(value: Value) -> Option<Letter> {
    let mut parts = items(Some(value));
    let entry = parts.next().and_then(text)?;
    let fields = fields(items(parts.next()));
    Some(Letter { entry, fields })
}

/// Names and values in turn; a name that is not UTF-8 is shown as well as it can be.
pub(super) fn fields(values: impl Iterator<Item = Value>) -> Fields {
    let mut values = values.map(bytes);
    let mut fields = Fields::new();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        fields.push((String::from_utf8_lossy(&name).into_owned(), value));
    }
    fields
}

/// The line that `park.lua` writes, taken apart; of a member that is not ours there are only
/// its bytes.
pub(super) fn parked(member: Vec<u8>, due: f64) -> ParkedMessage {
    let end = member.iter().position(|b| *b == b'\n').unwrap_or_default();
    let line = String::from_utf8_lossy(&member[..end]).into_owned();
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let mut fields = Fields::new();
    let mut head = None;
    if let [attempts, received, id, source] = words[..] {
        let (source, rest) = source.split_once('\t').unwrap_or((source, ""));
        let (last, key) = rest.split_once('\t').unwrap_or((rest, ""));
        head = Some(key.to_owned()).filter(|key| !key.is_empty());
        for (name, value) in [
            ("id", id),
            ("attempts", attempts),
            ("received_ms", received),
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
        due: due.max(0.0) as u64,
        fields,
        head,
        member,
    }
}
