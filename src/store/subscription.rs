//! A subscription: a connection that Redis sends published messages on.
//!
//! Nothing is asked and answered here: whatever comes is handed on as it comes, and the answers
//! to SUBSCRIBE and PING stand among the messages. So a wait that is over loses nothing, an
//! error takes nothing with it that had come before, and a confirmation that was not asked for is
//! noticed too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redis::{ConnectionLike, Value, cmd};

use super::connection::{Connection, REFUSES_PING};
use super::reply::{bytes, items, text};
use super::{Redis, StoreError};

/// See the module's header.
pub struct Subscription {
    redis: Redis,
    connection: Connection,
    /// What the server calls this connection, if it tells.
    id: Option<u64>,
    /// What came while a confirmation was awaited: as much as Redis had sent before it.
    kept: VecDeque<Heard>,
}

/// What Redis sends.
#[derive(Debug)]
pub enum Heard {
    Message {
        channel: String,
        payload: Vec<u8>,
    },
    Subscribed,
    /// From this channel nothing comes any more.
    Unsubscribed(String),
    Pong,
}

impl Subscription {
    /// Connects, and subscribes to nothing yet. Redis gets `limit` to answer.
    pub fn open(redis: &Redis, limit: Duration) -> Result<Subscription, StoreError> {
        let mut connection = redis.connect(limit)?;
        let id = cmd("CLIENT").arg("ID").query(&mut connection);
        Ok(Subscription {
            redis: redis.clone(),
            id: id.ok(),
            connection,
            kept: VecDeque::new(),
        })
    }

    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// All that Redis had sent by then has been read.
    pub fn empty_at(&self) -> Instant {
        self.connection.empty_at()
    }

    /// Waits for the next that Redis sends; `None` when nothing came.
    pub fn hear(&mut self, limit: Duration) -> Result<Option<Heard>, StoreError> {
        if let Some(heard) = self.kept.pop_front() {
            return Ok(Some(heard));
        }
        self.receive(limit)
    }

    /// Asks Redis whether it is there; the answer is heard like all else.
    pub fn ping(&mut self) -> Result<(), StoreError> {
        self.send("PING", None)
    }

    /// Subscribes, and waits until that is confirmed or refused.
    pub fn subscribe(&mut self, channel: &str, limit: Duration) -> Result<(), StoreError> {
        self.send("SUBSCRIBE", Some(channel))?;
        self.confirm(limit, |heard| matches!(heard, Heard::Subscribed))
    }

    /// Unsubscribes, and waits until that is confirmed: nothing comes from this channel after it.
    pub fn unsubscribe(&mut self, channel: &str, limit: Duration) -> Result<(), StoreError> {
        self.send("UNSUBSCRIBE", Some(channel))?;
        self.confirm(
            limit,
            |heard| matches!(heard, Heard::Unsubscribed(from) if from == channel),
        )
    }

    /// The same, but does not wait: [`Heard::Unsubscribed`] comes in its turn.
    pub fn begin_unsubscribe(&mut self, channel: &str) -> Result<(), StoreError> {
        self.send("UNSUBSCRIBE", Some(channel))
    }

    fn send(&mut self, name: &str, channel: Option<&str>) -> Result<(), StoreError> {
        let sent = self.connection.send(cmd(name).arg(channel));
        sent.map_err(|e| self.redis.error(&e))
    }

    fn confirm(
        &mut self,
        limit: Duration,
        is_awaited: impl Fn(&Heard) -> bool,
    ) -> Result<(), StoreError> {
        loop {
            match self.receive(limit)? {
                Some(heard) if is_awaited(&heard) => return Ok(()),
                Some(heard) => self.kept.push_back(heard),
                None => {
                    return Err(StoreError::new(format!(
                        "{}: no answer in time",
                        self.redis
                    )));
                }
            }
        }
    }

    /// Reads what comes next from the socket.
    fn receive(&mut self, limit: Duration) -> Result<Option<Heard>, StoreError> {
        self.connection.set_read_limit(limit);
        loop {
            match self.connection.receive() {
                Ok(Value::ServerError(refused)) if refused.code() == REFUSES_PING => {
                    return Ok(Some(Heard::Pong));
                }
                Ok(Value::ServerError(refused)) => return Err(self.redis.error(&refused.into())),
                Ok(value) => {
                    if let Some(heard) = read(value) {
                        return Ok(Some(heard));
                    }
                }
                Err(e) if e.is_timeout() => return Ok(None),
                Err(e) => return Err(self.redis.error(&e)),
            }
        }
    }
}

/// `[kind, channel, payload]`; nothing when it is something else.
fn read(value: Value) -> Option<Heard> {
    // PING is answered so by a server that has nothing subscribed for this connection.
    if matches!(&value, Value::SimpleString(word) if word == "PONG") {
        return Some(Heard::Pong);
    }
    let mut parts = items(Some(value));
    let kind = parts.next().map(bytes)?;
    let channel = parts.next().map(bytes).unwrap_or_default();
    let channel = String::from_utf8(channel)
        .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    match &*kind {
        b"message" => Some(Heard::Message {
            channel,
            payload: parts.next().map(bytes).unwrap_or_default(),
        }),
        b"subscribe" => Some(Heard::Subscribed),
        b"unsubscribe" => Some(Heard::Unsubscribed(channel)),
        b"pong" => Some(Heard::Pong),
        _ => None,
    }
}

/// Looks from outside at whether a subscription stands, over a connection of its own: a
/// subscription cannot be asked, and one that stands for a server but not for us (a proxy between
/// them, a failover) is silent like any other.
pub struct Observer {
    redis: Redis,
    connection: Option<Connection>,
}

/// What an [`Observer`] finds.
#[derive(Debug, PartialEq)]
pub enum Finding {
    Stands,
    /// This is not subscribed to.
    Lacks(String),
    /// It cannot be told: the server does not answer, or does not let us ask.
    Unknown,
}

impl Observer {
    pub fn new(redis: &Redis) -> Observer {
        Observer {
            redis: redis.clone(),
            connection: None,
        }
    }

    /// Whether the connection that the server calls `id` is subscribed to these channels.
    pub fn look(&mut self, id: Option<u64>, channels: &[&str], limit: Duration) -> Finding {
        let mut request = redis::pipe();
        // None has the number 0.
        request.cmd("CLIENT").arg("LIST").arg("ID");
        request.arg(id.unwrap_or_default());
        request.cmd("PUBSUB").arg("NUMSUB").arg(channels);
        match self.ask(&request, limit) {
            Some([list, counts]) => judge(list, counts, channels),
            None => Finding::Unknown,
        }
    }

    /// How many connections are subscribed to each of these channels; nothing when the server does
    /// not tell.
    pub fn count_subscribers(&mut self, channels: &[String], limit: Duration) -> Vec<i64> {
        if channels.is_empty() {
            return Vec::new();
        }
        let mut request = redis::pipe();
        request.cmd("PUBSUB").arg("NUMSUB").arg(channels);
        let counts = self.ask(&request, limit).map(|[counts]| counts);
        let counts: Vec<Value> = items(counts).collect();
        let count = |pair: &[Value]| match pair {
            [_, Value::Int(count)] => *count,
            _ => 0,
        };
        counts.chunks(2).map(count).collect()
    }

    /// What tells one life of a server from another, and one server from others.
    pub fn run_id(&mut self, limit: Duration) -> Option<String> {
        let mut request = redis::pipe();
        request.cmd("INFO").arg("server");
        let [info] = self.ask(&request, limit)?;
        let info = text(info)?;
        let mut lines = info.lines();
        lines.find_map(|line| Some(line.strip_prefix("run_id:")?.trim().to_owned()))
    }

    /// The server's answers, of which each may be a refusal.
    fn ask<const N: usize>(
        &mut self,
        request: &redis::Pipeline,
        limit: Duration,
    ) -> Option<[Value; N]> {
        let packed = request.get_packed_pipeline();
        // One that was kept may have been closed long ago; then it is asked again on a new one.
        let kept = self.connection.take().into_iter().map(Ok);
        let new = std::iter::once_with(|| self.redis.connect(limit));
        for connection in kept.chain(new) {
            let mut connection = connection.ok()?;
            connection.set_read_limit(limit);
            match connection.req_packed_commands(&packed, 0, N) {
                Ok(answers) => {
                    self.connection = Some(connection);
                    return answers.try_into().ok();
                }
                Err(e) if e.is_timeout() => return None,
                Err(_) => {}
            }
        }
        None
    }
}

/// CLIENT LIST says how many channels the connection has; where it is refused, or the server does
/// not know the connection, NUMSUB says whether anybody has them.
fn judge(list: Value, counts: Value, channels: &[&str]) -> Finding {
    let list = text(list).unwrap_or_default();
    let mut fields = list.split_ascii_whitespace();
    let own = fields.find_map(|field| field.strip_prefix("sub=")?.parse::<usize>().ok());
    match own {
        Some(own) if own >= channels.len() => return Finding::Stands,
        Some(own) => {
            return Finding::Lacks(format!("{} of {}", channels.len() - own, channels.len()));
        }
        None => {}
    }
    let counts: Vec<Value> = items(Some(counts)).collect();
    if counts.is_empty() {
        return Finding::Unknown;
    }
    for (channel, count) in channels.iter().zip(counts.chunks(2)) {
        if matches!(count, [_, Value::Int(0)]) {
            return Finding::Lacks((*channel).to_owned());
        }
    }
    Finding::Stands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn what_the_server_says_of_our_connection_counts_before_what_it_says_of_all() {
        let counts = |n| {
            let pair = |name| [bulk(name), Value::Int(n)];
            Value::Array([pair("a"), pair("b")].concat())
        };
        let refused = || Value::Nil;
        let list = |sub| bulk(&format!("id=7 addr=127.0.0.1:1 sub={sub} psub=0\n"));
        let judge = |list, counts| judge(list, counts, &["a", "b"]);
        assert_eq!(judge(list(2), counts(0)), Finding::Stands);
        assert_eq!(judge(list(1), counts(9)), Finding::Lacks("1 of 2".into()));
        // It is not a connection of this server, or we may not ask.
        for list in [bulk(""), refused()] {
            assert_eq!(judge(list.clone(), counts(1)), Finding::Stands);
            assert_eq!(judge(list.clone(), counts(0)), Finding::Lacks("a".into()));
            assert_eq!(judge(list, refused()), Finding::Unknown);
        }
    }

    #[test]
    fn what_is_heard_is_what_redis_says_and_anything_else_is_passed_over() {
        let say = |parts: &[&str]| read(Value::Array(parts.iter().map(|p| bulk(p)).collect()));
        assert!(matches!(
            say(&["message", "c", "hi"]),
            Some(Heard::Message { channel, payload }) if channel == "c" && payload == b"hi"
        ));
        assert!(matches!(say(&["subscribe", "c"]), Some(Heard::Subscribed)));
        assert!(matches!(say(&["unsubscribe", "c"]), Some(Heard::Unsubscribed(c)) if c == "c"));
        assert!(matches!(say(&["pong", ""]), Some(Heard::Pong)));
        assert!(say(&["pmessage", "*", "c", "hi"]).is_none() && say(&[]).is_none());
        assert!(read(Value::Int(1)).is_none());
    }
}
