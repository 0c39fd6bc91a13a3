//! The ledger's side of Redis. What moves messages is one transaction or script, so that it happens
//! whole or not at all; all may be repeated.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use redis::{RedisResult, Script, ScriptInvocation, Value};

use super::appointment::Appointment;
use super::connection::Connection;
use super::keys::digest;
use super::order_keys::{member, named};
use super::recall::publish_due;
use super::reply::{bytes, items};
use super::{Keys, Redis, Store, StoreError, holds, scripts};
use crate::delivery::Field;
use crate::delivery::hold::Cause;
use crate::delivery::parked::Until;
use crate::delivery::receipt::{Unmoved, Why};
use crate::delivery::record::{Move, MoveKind, Notice, NoticeKind};
use crate::message::entry::{EntryId, Stream};
use crate::message::timestamp::unix_ms;

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
    fn write(
        &mut self,
        kind: MoveKind,
        moves: &[Move],
        limit: Duration,
    ) -> Result<Unmoved, StoreError> {
        match kind {
            MoveKind::Settle => self.settle(moves, limit),
            MoveKind::Advance => self.advance(moves, limit),
            MoveKind::Queue => self.queue(moves, limit),
            MoveKind::Note => self.note(moves, limit),
            MoveKind::Bury => self.bury(moves, limit),
            MoveKind::Park => self.park(moves, limit),
        }
    }

    fn notify(
        &mut self,
        kind: NoticeKind,
        notices: &[Notice],
        limit: Duration,
    ) -> Result<(), StoreError> {
        match kind {
            NoticeKind::Status => self.keep_status(notices, limit),
            NoticeKind::Gone => self.hold_gone(notices, limit),
            NoticeKind::Reply => self.reply(notices, limit),
        }
    }

    fn place(&self) -> String {
        self.keys.dead.clone()
    }
}

/// Each makes all of its moves, or notices, true.
impl RedisLedger {
    fn settle(&mut self, moves: &[Move], limit: Duration) -> Result<Unmoved, StoreError> {
        let streams = [Stream::Messages, Stream::Again].map(|stream| {
            let entries = moves.iter().filter_map(Move::entry);
            let those = entries.filter(|entry| entry.stream == stream);
            let ids: Vec<String> = those.map(|entry| entry.to_string()).collect();
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
        }?;
        Ok(Unmoved::new())
    }

    fn advance(&mut self, moves: &[Move], limit: Duration) -> Result<Unmoved, StoreError> {
        let mut call = self.advance.key(&self.keys.heads);
        call.key(&self.keys.parked).key(&self.keys.messages);
        call.key(&self.keys.again).arg(&self.keys.group);
        for one in moves {
            let Move::Advance(entry, key) = one else {
                continue;
            };
            call.key(self.keys.followers(key));
            call.arg(named(*entry)).arg(&**key);
        }
        let promoted: u64 = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        self.note_promoted(promoted);
        Ok(Unmoved::new())
    }

    fn queue(&mut self, moves: &[Move], limit: Duration) -> Result<Unmoved, StoreError> {
        let mut call = self.queue.key(&self.keys.heads);
        call.key(&self.keys.messages).key(&self.keys.again);
        call.arg(&self.keys.group).arg(&self.config.consumer);
        for one in moves {
            let Move::Queue(delivery) = one else { continue };
            let key = delivery.message.group().unwrap_or_default();
            call.key(self.keys.followers(&key));
            arg_entry(&mut call, delivery.entry);
            call.arg(&*key).arg(member(delivery));
        }
        let reply = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        Ok(unmoved(reply))
    }

    fn note(&mut self, moves: &[Move], limit: Duration) -> Result<Unmoved, StoreError> {
        let mut call = self.note.key(&self.keys.messages);
        call.key(&self.keys.again)
            .arg(&self.keys.group)
            .arg(&self.config.consumer);
        for one in moves {
            let attempts = match one {
                Move::Note(_, attempts) => *attempts,
                Move::Begin(job) => job.delivery.attempts.begun_at_entry(),
                _ => continue,
            };
            arg_entry(&mut call, one.entry());
            // Reading the entry has counted one that was no attempt.
            call.arg(attempts + 1);
        }
        let reply = run(&self.redis, &mut self.connection, limit, |c| call.invoke(c))?;
        Ok(unmoved(reply))
    }

    fn park(&mut self, moves: &[Move], limit: Duration) -> Result<Unmoved, StoreError> {
        let parked = moves.iter().filter_map(|one| match one {
            Move::Park(parked) => Some(parked),
            _ => None,
        });
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
        for p in parked.clone() {
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

    fn bury(&mut self, moves: &[Move], limit: Duration) -> Result<Unmoved, StoreError> {
        let mut call = self.bury.key(&self.keys.dead);
        call.key(&self.keys.messages).key(&self.keys.again);
        call.key(&self.keys.heads).key(&self.keys.parked);
        call.arg(&self.keys.group).arg(&self.config.consumer);
        let mut lists = 5;
        for one in moves {
            let Move::Bury(letter) = one else { continue };
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

    fn keep_status(&mut self, notices: &[Notice], limit: Duration) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        for notice in notices {
            let Notice::Status(update) = notice else {
                continue;
            };
            let fields = update.fields();
            if let Some(ttl) = self.config.status_ttl {
                let key = self.keys.status(&update.id);
                pipe.cmd("HSET").arg(&key).arg(&fields).ignore();
                let ttl = ttl.as_millis() as u64;
                pipe.cmd("PEXPIRE").arg(&key).arg(ttl).ignore();
            }
            if let Some(most) = self.config.attempt_log.filter(|_| update.attempted) {
                pipe.cmd("XADD").arg(&self.keys.attempt_log);
                pipe.arg("MAXLEN").arg("~").arg(most).arg("*").arg(&fields);
                pipe.ignore();
            }
        }
        run(&self.redis, &mut self.connection, limit, |c| pipe.query(c))
    }

    fn hold_gone(&mut self, notices: &[Notice], limit: Duration) -> Result<(), StoreError> {
        let keys = &self.keys;
        run(&self.redis, &mut self.connection, limit, |c| {
            notices.iter().try_for_each(|notice| match notice {
                Notice::Gone(url, length) => {
                    holds::hold_endpoint(c, keys, (url, Cause::Gone, Some(*length)))
                }
                _ => Ok(()),
            })
        })
    }

    fn reply(&mut self, notices: &[Notice], limit: Duration) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        for notice in notices {
            let Notice::Reply(key, report) = notice else {
                continue;
            };
            let text = serde_json::to_vec(report).expect("plain values");
            // Published, as nothing can be added to a Redis that is full: that is when it is asked for.
            pipe.cmd("PUBLISH").arg(&**key).arg(text).ignore();
        }
        run(&self.redis, &mut self.connection, limit, |c| pipe.query(c))
    }
}

fn arg_entry(call: &mut ScriptInvocation<'_>, entry: Option<EntryId>) {
    call.arg(entry.map(named).unwrap_or_default());
}

/// What a script has left alone: indexes and reasons in turn.
fn unmoved(reply: Value) -> Unmoved {
    let mut words = items(Some(reply));
    let mut unmoved = Unmoved::new();
    while let (Some(Value::Int(index)), Some(word)) = (words.next(), words.next()) {
        let why = match &bytes(word)[..] {
            b"taken" => Why::Taken,
            b"copy" => Why::Copy,
            b"reused" => Why::Reused,
            b"follows" => Why::Follows,
            _ => Why::Gone,
        };
        unmoved.insert(index as usize, why);
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
