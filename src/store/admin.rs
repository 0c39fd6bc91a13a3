//! What an operator does with what Redis holds: look, move, delete. Everything is read in pages,
//! so that a million entries take no more memory than a hundred.

use std::time::Duration;

use redis::{RedisResult, Script, Value, cmd};

use super::connection::Connection;
use super::reply::{bytes, items, text};
use super::{Keys, Redis, StoreError, scripts};

/// Entries in one page; each may be a megabyte.
pub(super) const PAGE: usize = 100;

/// Connecting must not take longer.
const CONNECT: Duration = Duration::from_secs(5);

/// What one request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Names and values in turn, as they are stored.
pub type Fields = Vec<(String, Vec<u8>)>;

/// Which of a list come first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum First {
    Oldest,
    Newest,
}

/// The first and the last entry of a part of a stream, as XRANGE takes them.
pub type Range = (String, String);

/// One entry of a stream.
#[derive(Debug)]
pub struct Letter {
    pub entry: String,
    pub fields: Fields,
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

    /// Up to a page of the dead letters of this range of entries, and the range that is left.
    pub fn dead(
        &mut self,
        from: &str,
        to: &str,
        order: First,
    ) -> Result<(Vec<Letter>, Option<Range>), StoreError> {
        let stream = self.keys.dead.clone();
        self.entries(&stream, from, to, order)
    }

    /// The streams in which messages stand that were not delivered yet, in the order of the way
    /// that they take.
    pub fn streams(&self) -> [String; 3] {
        let keys = &self.keys;
        [
            keys.ordered.clone(),
            keys.messages.clone(),
            keys.again.clone(),
        ]
    }

    /// Up to a page of the entries of a stream in this range, and the range that is left.
    pub fn entries(
        &mut self,
        stream: &str,
        from: &str,
        to: &str,
        order: First,
    ) -> Result<(Vec<Letter>, Option<Range>), StoreError> {
        let mut range = match order {
            First::Oldest => cmd("XRANGE"),
            First::Newest => cmd("XREVRANGE"),
        };
        range.arg(stream);
        match order {
            First::Oldest => range.arg(from).arg(to),
            First::Newest => range.arg(to).arg(from),
        };
        range.arg("COUNT").arg(PAGE);
        let reply: RedisResult<Value> = range.query(&mut self.connection);
        let entries = items(Some(self.done(reply)?));
        let letters: Vec<Letter> = entries.filter_map(letter).collect();
        let last = letters.last().filter(|_| letters.len() == PAGE);
        let rest = last.map(|last| match order {
            First::Oldest => (format!("({}", last.entry), to.to_owned()),
            First::Newest => (from.to_owned(), format!("({}", last.entry)),
        });
        Ok((letters, rest))
    }

    pub fn dead_stream(&self) -> String {
        self.keys.dead.clone()
    }

    /// How many dead letters there are.
    pub fn dead_count(&mut self) -> Result<u64, StoreError> {
        let reply = cmd("XLEN").arg(&self.keys.dead).query(&mut self.connection);
        self.done(reply)
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
    pub(super) fn make_due<A: redis::ToRedisArgs>(
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
