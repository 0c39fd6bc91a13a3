//! Reading new entries, which waits in Redis for the first, and can be told not to wait any more.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value, cmd};

use super::StoreError;
use super::entries::{Entries, entry};
use super::reply::items;
use crate::message::entry::{Entry, Stream};

/// How soon a read that blocks finds out that it is to end, and how long Redis may take to end it,
/// or to answer then by itself. (It takes longer if it hangs; entries that it gave us then are
/// taken over by others.)
const PIECE: Duration = Duration::from_millis(100);
const UNBLOCK: Duration = Duration::from_millis(300);
const LAST_ANSWER: Duration = Duration::from_millis(1200);

/// What a read came to.
pub enum Read {
    Entries(Vec<Entry>),
    /// The group was gone, with the stream or alone, and has been made anew from the first
    /// entry on: what is settled is deleted, so nothing is delivered again.
    MadeAnew,
}

impl Entries {
    /// Reads new entries, `count` at most (which must not be 0: Redis takes that for no
    /// limit), waiting `block` for the first, but not once `is_over`.
    pub fn read(
        &mut self,
        count: usize,
        block: Duration,
        is_over: impl Fn() -> bool,
    ) -> Result<Read, StoreError> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP")
            .arg(&self.keys.group)
            .arg(&self.consumer)
            .arg("COUNT")
            .arg(count.max(1))
            .arg("BLOCK")
            .arg(block.as_millis().max(1) as u64)
            .arg("STREAMS")
            .arg(&self.keys.messages)
            .arg(">");
        match self.ask_until(&read, is_over) {
            Ok(reply) => Ok(Read::Entries(
                streams(reply)
                    .filter_map(|e| entry(e, Stream::Messages, 1, false))
                    .collect(),
            )),
            Err(e) if matches!(e.code(), Some("NOGROUP" | "UNBLOCKED")) => {
                self.ensure_group()?;
                Ok(Read::MadeAnew)
            }
            Err(e) => Err(self.stream_error(&e)),
        }
    }

    /// Asks what may block in Redis. Whoever gives up waiting would lose entries that are on their
    /// way: so when `is_over`, Redis is asked to answer now.
    pub(super) fn ask_until(
        &mut self,
        command: &Cmd,
        is_over: impl Fn() -> bool,
    ) -> RedisResult<Value> {
        self.connection.send(command)?;
        self.connection.set_read_limit(PIECE);
        let mut left = self.read_timeout;
        let mut was_unblocked = false;
        let answer = loop {
            match self.connection.receive() {
                // That it was ended: there was nothing.
                Ok(Value::ServerError(e)) if was_unblocked && e.code() == "UNBLOCKED" => {
                    break Ok(Value::Nil);
                }
                Ok(Value::ServerError(refused)) => break Err(refused.into()),
                Err(e) if e.is_timeout() && !left.is_zero() => {
                    left = left.saturating_sub(PIECE);
                    if !was_unblocked && is_over() {
                        was_unblocked = true;
                        left = left.min(LAST_ANSWER);
                        self.unblock();
                    }
                }
                answer => break answer,
            }
        };
        self.connection.set_read_limit(self.read_timeout);
        answer
    }

    /// Ends what this connection waits for in Redis. If that fails, it ends by itself.
    ///
    /// With an error, as the other way (`TIMEOUT`) ends the server itself where it has put this
    /// connection off (`CLIENT PAUSE`, a failover): seen in Redis 6.2 to 8.0 and Valkey 8.1.
    fn unblock(&self) {
        if let Some(id) = self.id
            && let Ok(mut connection) = self.redis.connect(UNBLOCK)
        {
            let mut unblock = cmd("CLIENT");
            unblock.arg("UNBLOCK").arg(id).arg("ERROR");
            let _: RedisResult<Value> = unblock.query(&mut connection);
        }
    }
}

/// The entries of an XREADGROUP reply: `[[key, [entry, …]]]`, or nil.
pub(super) fn streams(reply: Value) -> impl Iterator<Item = Value> {
    let stream = items(Some(reply)).next();
    items(items(stream).nth(1))
}
