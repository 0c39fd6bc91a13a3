//! The ledger's side of Redis: settle, note, park, bury, tell. What moves a message is one
//! transaction or script, so that it happens whole or not at all; all may be repeated.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::{RedisResult, Script, ScriptInvocation, Value};

use super::appointment::Appointment;
use super::connection::Connection;
use super::keys::digest;
use super::recall::publish_due;
use super::reply::{bytes, items};
use super::turns::{member, named};
use super::{Keys, Redis, Store, StoreError, holds, scripts};
use crate::delivery::endpoint_snapshot::EndpointSnapshots;
use crate::delivery::hold::Cause;
use crate::delivery::parked::{Parked, Until};
use crate::delivery::receipt::{Turn, Unmoved, Why};
use crate::delivery::status_update::StatusUpdate;
use crate::delivery::{DeadLetter, Delivery, Field};
use crate::message::entry::{EntryId, Stream};
use crate::message::timestamp::unix_ms;

/// Answers that wait for one question at most: replicas that one can have.
const ANSWERS: i64 = 1000;

/// See the module's header.
pub struct RedisLedger {
    redis: Redis,
    keys: Keys,
    config: LedgerConfig,
    connection: Option<Connection>,
    advance: Script,
    queue: Script,
    note: Script,
    bury: Script,
    park: Script,
}

/// What a [`RedisLedger`] keeps to.
#[derive(Clone)]
pub struct LedgerConfig {
    /// Who holds the entries, among the group's consumers.
    pub consumer: String,
    /// How long an id is remembered for `Parked::once`.
    pub dedup: Duration,
    /// How long what became of a message is kept, if it is.
    pub status_ttl: Option<Duration>,
    /// How many results of attempts are kept, if any.
    pub attempt_log: Option<u64>,
    /// Told of what is parked.
    pub appointment: Appointment,
}

impl RedisLedger {
    /// Connects when there is something to write.
    pub fn new(redis: Redis, keys: Keys, config: LedgerConfig) -> Self {
        RedisLedger {
            redis,
            keys,
            config,
            connection: None,
            advance: Script::new(scripts::ADVANCE),
            queue: Script::new(scripts::QUEUE),
            note: Script::new(scripts::NOTE),
            bury: Script::new(scripts::BURY),
            park: Script::new(scripts::PARK),
        }
    }

    /// So many are parked and due, as their turn has come. While this drains they are for others,
    /// who look now and then if they are not told.
    fn note_promoted(&mut self, promoted: u64) {
        if promoted == 0 {
            return;
        }
        // In this order: whoever ends meanwhile finds it noted, or we find that it has ended.
        self.config.appointment.note(unix_ms(SystemTime::now()));
        let is_over = self.config.appointment.is_over();
        if let Some(connection) = self.connection.as_mut().filter(|_| is_over) {
            let _: RedisResult<u64> = publish_due(&self.keys).query(connection);
        }
    }
}

impl Store for RedisLedger {
    fn settle(&mut self, entries: &[EntryId], limit: Duration) -> Result<(), StoreError> {
        let streams = [Stream::Messages, Stream::Again].map(|stream| {
            let those = entries.iter().filter(|entry| entry.stream == stream);
            let ids: Vec<String> = those.map(EntryId::to_string).collect();
            (self.keys.stream(stream).to_owned(), ids)
        });
        let all = streams.iter().filter(|(_, ids)| !ids.is_empty());
        // All or nothing: an entry that is acknowledged and not deleted would be delivered again if
        // the group had to be made anew.
        let mut pipe = redis::pipe();
        let group = &self.keys.group;
        pipe.atomic();
        for (stream, ids) in all.clone() {
            pipe.cmd("XACK").arg(stream).arg(group).arg(ids).ignore();
            pipe.cmd("XDEL").arg(stream).arg(ids).ignore();
        }
        let settled = run(&self.redis, &mut self.connection, limit, |c| pipe.query(c));
        match settled {
            Err(e) if e.code() == "OOM" => all.clone().try_for_each(|(stream, ids)| {
                let script = Script::new(scripts::SETTLE);
                let mut call = script.key(stream);
                call.arg(group).arg(ids);
                run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))
            }),
            settled => settled,
        }
    }

    fn advance(
        &mut self,
        heads: &[(EntryId, Arc<str>)],
        limit: Duration,
    ) -> Result<(), StoreError> {
        let mut call = self.advance.key(&self.keys.heads);
        call.key(&self.keys.parked).key(&self.keys.messages);
        call.key(&self.keys.again).arg(&self.keys.group);
        for (entry, key) in heads {
            call.key(self.keys.followers(key));
            call.arg(named(*entry)).arg(&**key);
        }
        let promoted: u64 = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        self.note_promoted(promoted);
        Ok(())
    }

    fn queue(
        &mut self,
        deliveries: &[Delivery],
        limit: Duration,
    ) -> Result<Vec<Result<Turn, Why>>, StoreError> {
        let mut call = self.queue.key(&self.keys.heads);
        call.key(&self.keys.messages).key(&self.keys.again);
        call.arg(&self.keys.group).arg(&self.config.consumer);
        for delivery in deliveries {
            let key = delivery.message.group().unwrap_or_default();
            call.key(self.keys.followers(&key));
            arg_entry(&mut call, delivery.entry);
            call.arg(&*key).arg(member(delivery));
        }
        let reply = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        let turns = items(Some(reply)).map(|word| match &bytes(word)[..] {
            b"go" => Ok(Turn::Head),
            b"queued" => Ok(Turn::Follows),
            b"taken" => Err(Why::Taken),
            _ => Err(Why::Gone),
        });
        Ok(turns.collect())
    }

    fn note(
        &mut self,
        notes: &[(EntryId, u32)],
        limit: Duration,
    ) -> Result<Vec<Unmoved>, StoreError> {
        let mut call = self.note.key(&self.keys.messages);
        call.key(&self.keys.again)
            .arg(&self.keys.group)
            .arg(&self.config.consumer);
        for (entry, attempts) in notes {
            // Reading the entry has counted one that was no attempt.
            call.arg(named(*entry)).arg(attempts + 1);
        }
        let reply = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        Ok(unmoved(reply))
    }

    fn park(&mut self, parked: &[Parked], limit: Duration) -> Result<Vec<Unmoved>, StoreError> {
        let now = unix_ms(SystemTime::now());
        let mut call = self.park.key(&self.keys.parked);
        call.key(&self.keys.messages).key(&self.keys.again);
        call.key(&self.keys.dead).key(&self.keys.backlogs);
        call.key(&self.keys.heads).key(&self.keys.ordered);
        call.arg(&self.keys.group).arg(&self.config.consumer);
        call.arg(now).arg(self.config.dedup.as_millis() as u64);
        call.arg(&self.keys.control);
        let mut keys = 7;
        let mut backlogs: HashMap<&str, usize> = HashMap::new();
        for p in parked {
            arg_entry(&mut call, p.entry);
            call.arg(p.head.as_deref().unwrap_or_default());
            match &p.until {
                _ if p.is_ordered => call.arg("ORDERED").arg("").arg(""),
                // Relative, as only Redis's own clock counts there.
                Until::Due(due) => call.arg(due.saturating_sub(now)).arg("").arg(""),
                Until::Released { name, first } => {
                    let push = if *first { "LPUSH" } else { "RPUSH" };
                    let key = *backlogs.entry(name).or_insert_with(|| {
                        call.key(self.keys.backlog(name));
                        keys += 1;
                        keys
                    });
                    call.arg(push).arg(key).arg(&**name)
                }
            };
            if p.once {
                let (seen, digest) = (self.keys.seen(&p.id, &p.url), digest(&p.message));
                let bytes = format!("{seen}:{digest}");
                call.key(seen).key(bytes).arg(keys + 1).arg(digest);
                keys += 2;
            } else {
                call.arg("").arg("");
            }
            call.arg(p.attempts).arg(p.received).arg(&*p.id);
            call.arg(&*p.url).arg(&*p.source).arg(&*p.failure);
            call.arg(&p.message[..]);
        }
        let reply = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        for p in parked {
            if let Until::Due(due) = p.until {
                self.config.appointment.note(due);
            }
        }
        Ok(unmoved(reply))
    }

    fn bury(
        &mut self,
        letters: &[DeadLetter],
        limit: Duration,
    ) -> Result<Vec<Unmoved>, StoreError> {
        let mut call = self.bury.key(&self.keys.dead);
        call.key(&self.keys.messages).key(&self.keys.again);
        call.key(&self.keys.heads).key(&self.keys.parked);
        call.arg(&self.keys.group).arg(&self.config.consumer);
        let mut lists = 5;
        for letter in letters {
            arg_entry(&mut call, letter.entry);
            if let Some(key) = &letter.head {
                lists += 1;
                call.key(self.keys.followers(key)).arg(&**key).arg(lists);
            } else {
                call.arg("").arg("");
            }
            let fields = letter.fields();
            call.arg(fields.len() * 2);
            for (name, field) in fields {
                call.arg(name);
                match field {
                    Field::Text(text) => call.arg(text),
                    Field::Number(number) => call.arg(number),
                    Field::Bytes(bytes) => call.arg(bytes),
                };
            }
        }
        let reply = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        let mut words = items(Some(reply));
        if let Some(Value::Int(promoted)) = words.next() {
            self.note_promoted(promoted as u64);
        }
        Ok(unmoved(Value::Array(words.collect())))
    }

    fn tell(&mut self, told: &[StatusUpdate], limit: Duration) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        for told in told {
            let fields = told.fields();
            if let Some(ttl) = self.config.status_ttl {
                let key = self.keys.status(&told.id);
                pipe.cmd("HSET").arg(&key).arg(&fields).ignore();
                let ttl = ttl.as_millis() as u64;
                pipe.cmd("PEXPIRE").arg(&key).arg(ttl).ignore();
            }
            if let Some(most) = self.config.attempt_log.filter(|_| told.attempted) {
                pipe.cmd("XADD").arg(&self.keys.attempt_log);
                pipe.arg("MAXLEN").arg("~").arg(most).arg("*").arg(&fields);
                pipe.ignore();
            }
        }
        run(&self.redis, &mut self.connection, limit, |c| pipe.query(c))
    }

    fn gone(&mut self, urls: &[(Arc<str>, Duration)], limit: Duration) -> Result<(), StoreError> {
        let keys = &self.keys;
        run(&self.redis, &mut self.connection, limit, |c| {
            let mut urls = urls.iter();
            urls.try_for_each(|(url, length)| {
                holds::hold_endpoint(c, keys, (url, Cause::Gone, Some(*length)))
            })
        })
    }

    fn answer(
        &mut self,
        answers: &[(Arc<str>, Box<EndpointSnapshots>)],
        limit: Duration,
    ) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        for (key, report) in answers {
            let text = serde_json::to_vec(report).expect("plain values");
            pipe.cmd("RPUSH").arg(&**key).arg(text).ignore();
            pipe.cmd("LTRIM").arg(&**key).arg(-ANSWERS).arg(-1).ignore();
            let kept = holds::ANSWER_KEPT.as_millis() as u64;
            pipe.cmd("PEXPIRE").arg(&**key).arg(kept).ignore();
        }
        run(&self.redis, &mut self.connection, limit, |c| pipe.query(c))
    }

    fn place(&self) -> String {
        self.keys.dead.clone()
    }
}

fn arg_entry(call: &mut ScriptInvocation<'_>, entry: Option<EntryId>) {
    call.arg(entry.map(named).unwrap_or_default());
}

/// What a script has left alone: indexes and reasons in turn.
fn unmoved(reply: Value) -> Vec<Unmoved> {
    let mut words = items(Some(reply));
    let mut unmoved = Vec::new();
    while let (Some(Value::Int(index)), Some(why)) = (words.next(), words.next()) {
        let why = match &bytes(why)[..] {
            b"taken" => Why::Taken,
            b"copy" => Why::Copy,
            b"reused" => Why::Reused,
            _ => Why::Gone,
        };
        let index = index as usize;
        unmoved.push(Unmoved { index, why });
    }
    unmoved
}

/// Runs one request on the kept connection, or a new one; after any error it is not kept.
fn run<T>(
    redis: &Redis,
    kept: &mut Option<Connection>,
    limit: Duration,
    request: impl FnOnce(&mut Connection) -> RedisResult<T>,
) -> Result<T, StoreError> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => redis.connect(limit)?,
    };
    connection.set_read_limit(limit);
    let answer = request(&mut connection).map_err(|e| redis.error(&e))?;
    *kept = Some(connection);
    Ok(answer)
}
