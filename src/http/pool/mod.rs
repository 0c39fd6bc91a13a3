//! Connections that rest between two messages, for all origins.
//!
//! Owns every idle connection and what has been learned of each origin: how long its server lets
//! a connection rest, and its TLS sessions. One budget holds for all; the connection that has rested longest
//! is closed first. Never blocks but for its own lock, which is held for a look-up, and every few
//! seconds for one pass over all.

mod inspection;
mod keep_alive;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::http::connection::Connection;
use crate::http::response::UnreadBody;
use crate::http::tls::OriginTls;
use inspection::{Settled, settle};
use keep_alive::KeepAlive;

/// Origins without a connection are remembered for what was learned of them: at most this many, and for
/// this long.
const MAX_REMEMBERED: usize = 16 * 1024;
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The rest of an answer that nobody waits for may come this long after its head.
const BODY_TIME: Duration = Duration::from_secs(1);

/// Bytes that come unasked within this time belong to the answer before them. Later ones say as a rule
/// that the connection has rested too long (408).
const SOON: Duration = Duration::from_secs(1);

/// See the module's header.
#[derive(Debug)]
pub struct Pool {
    state: Mutex<State>,
    budget: usize,
}

#[derive(Debug, Default)]
struct State {
    is_shut_down: bool,
    origins: HashMap<Arc<str>, Origin>,
    idle: usize,
    given: u64,
    /// Connections in the order in which they were given back. Entries of connections that have been taken
    /// since are passed over.
    order: VecDeque<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Origin {
    /// Newest last.
    idle: VecDeque<Idle>,
    keep_alive: KeepAlive,
    tls: Option<OriginTls>,
    used: Instant,
}

#[derive(Debug)]
struct Idle {
    connection: Box<dyn Connection>,
    /// The part of the last answer that had not come when it was given back.
    unread: UnreadBody,
    since: Instant,
    number: u64,
}

impl Pool {
    /// `budget`: idle connections in all.
    pub fn new(budget: usize) -> Pool {
        Pool {
            state: Mutex::default(),
            budget,
        }
    }

    /// The connection to `origin` that was used last, is quiet, and of which `may_use` says so. The
    /// others stay for others; an error ends the search.
    pub fn take<E>(
        &self,
        origin: &Arc<str>,
        now: Instant,
        may_use: impl FnMut(&mut dyn Connection) -> Result<bool, E>,
    ) -> Result<Option<Box<dyn Connection>>, E> {
        let mut aside = Vec::new();
        let taken = self.find(origin, now, may_use, &mut aside);
        if !aside.is_empty() {
            self.put_back(origin, aside);
        }
        taken
    }

    /// Sets those aside on which the rest of an answer is still to come, or that are not for this
    /// one.
    fn find<E>(
        &self,
        origin: &Arc<str>,
        now: Instant,
        mut may_use: impl FnMut(&mut dyn Connection) -> Result<bool, E>,
        aside: &mut Vec<Idle>,
    ) -> Result<Option<Box<dyn Connection>>, E> {
        loop {
            let mut idle = {
                let mut state = self.lock();
                let Some(known) = state.origins.get_mut(origin) else {
                    return Ok(None);
                };
                let Some(idle) = known.idle.pop_back() else {
                    return Ok(None);
                };
                known.used = now;
                let fresh = now.saturating_duration_since(idle.since) < known.keep_alive.limit(now);
                state.idle -= 1;
                // A connection that has rested too long is closed. So are the older ones in their turn.
                if !fresh {
                    continue;
                }
                idle
            };
            // Outside of the lock: it is a system call.
            match settle(&mut *idle.connection, &mut idle.unread) {
                Settled::Quiet => match may_use(&mut *idle.connection) {
                    Ok(true) => return Ok(Some(idle.connection)),
                    Ok(false) => aside.push(idle),
                    Err(e) => {
                        aside.push(idle);
                        return Err(e);
                    }
                },
                Settled::NotYet if now.saturating_duration_since(idle.since) < BODY_TIME => {
                    aside.push(idle);
                }
                Settled::NotYet => {}
                Settled::Exceeded if now.saturating_duration_since(idle.since) < SOON => {
                    self.distrust(origin, now);
                }
                Settled::Exceeded | Settled::Ended => self.note_end(origin, idle.since, now),
            }
        }
    }

    fn put_back(&self, origin: &str, aside: Vec<Idle>) {
        let mut state = self.lock();
        let State {
            origins,
            order,
            idle: count,
            ..
        } = &mut *state;
        let Some((origin, _)) = origins.get_key_value(origin) else {
            return;
        };
        let origin = origin.clone();
        // The newest was taken first.
        for idle in aside.into_iter().rev() {
            order.push_back((idle.number, origin.clone()));
            *count += 1;
            let known = origins.get_mut(&origin).expect("it was there");
            known.idle.push_back(idle);
        }
    }

    /// Keeps a connection that is as good as new once the rest of its last answer has come.
    /// `rest`: what its server says of how long.
    pub fn give(
        &self,
        origin: &Arc<str>,
        (connection, unread): (Box<dyn Connection>, UnreadBody),
        rest: Option<Duration>,
        now: Instant,
    ) {
        let mut state = self.lock();
        if state.is_shut_down || self.budget == 0 {
            return;
        }
        state.given += 1;
        let number = state.given;
        let known = state.origin(origin, now);
        known.keep_alive.note_promise(rest);
        if known.keep_alive.limit(now).is_zero() {
            return;
        }
        known.idle.push_back(Idle {
            connection,
            unread,
            since: now,
            number,
        });
        state.order.push_back((number, origin.clone()));
        state.idle += 1;
        let surplus = state.idle.saturating_sub(self.budget);
        let closed = state.remove_oldest(surplus);
        drop(state);
        drop(closed);
    }

    /// The TLS side of an origin, made by `make` if it is not known.
    pub fn tls(
        &self,
        origin: &Arc<str>,
        now: Instant,
        make: impl FnOnce() -> OriginTls,
    ) -> OriginTls {
        let mut state = self.lock();
        let known = state.origin(origin, now);
        known.tls.get_or_insert_with(make).clone()
    }

    /// Closes up to `count` connections, to make room for others. Whether there was one.
    pub fn free(&self, count: usize) -> bool {
        let closed = self.lock().remove_oldest(count);
        !closed.is_empty()
    }

    /// Closes connections that have rested for too long or were ended by their server, and forgets origins
    /// that have not been used for long. To be called every few seconds.
    pub fn close_idle(&self, now: Instant) {
        let ended = find_ended(self.lock().watched());
        let closed = {
            let mut state = self.lock();
            let mut closed = Vec::new();
            for known in state.origins.values_mut().filter(|k| !k.idle.is_empty()) {
                for idle in std::mem::take(&mut known.idle) {
                    let rested = now.saturating_duration_since(idle.since);
                    let has_ended = ended.contains(&idle.number);
                    if has_ended {
                        known.keep_alive.note_end(rested, now);
                    }
                    match has_ended || rested >= known.keep_alive.limit(now) {
                        true => closed.push(idle.connection),
                        false => known.idle.push_back(idle),
                    }
                }
            }
            state.idle -= closed.len();
            state.forget(now);
            state.compact();
            closed
        };
        drop(closed);
    }

    /// Closes all, and keeps none from now on.
    pub fn shut_down(&self) {
        let mut state = self.lock();
        state.is_shut_down = true;
        let origins = std::mem::take(&mut state.origins);
        state.idle = 0;
        state.order.clear();
        drop(state);
        drop(origins);
    }

    /// Keeps no connections to a server that has said something unasked, for a while.
    pub fn distrust(&self, origin: &Arc<str>, now: Instant) {
        self.lock().origin(origin, now).keep_alive.distrust(now);
    }

    /// Forgets the TLS sessions of an origin.
    pub fn forget_sessions(&self, origin: &str) {
        let known = |state: &mut State| state.origins.get_mut(origin)?.tls.take();
        // Dropped outside of the lock.
        drop(known(&mut self.lock()));
    }

    fn note_end(&self, origin: &str, since: Instant, now: Instant) {
        if let Some(known) = self.lock().origins.get_mut(origin) {
            known
                .keep_alive
                .note_end(now.saturating_duration_since(since), now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An idle connection's number, its socket, and what would say that it is not as it was left.
type Watched = (u64, Arc<socket2::Socket>, PollFlags);

/// The numbers of the connections that the other side has ended, or on which bytes came unasked.
fn find_ended(watched: Vec<Watched>) -> HashSet<u64> {
    let mut fds: Vec<PollFd<'_>> = watched
        .iter()
        .map(|(_, socket, flags)| PollFd::new(&**socket, *flags))
        .collect();
    match poll(&mut fds, Some(&Timespec::default())) {
        Ok(n) if n > 0 => watched
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((number, ..), _)| *number)
            .collect(),
        _ => HashSet::new(),
    }
}

impl State {
    fn watched(&self) -> Vec<Watched> {
        let idle = self.origins.values().flat_map(|known| &known.idle);
        idle.map(|idle| {
            // Bytes may be a session ticket, or the rest of an answer; they are looked at when
            // the connection is taken.
            let flags = match idle.connection.is_tls() || !idle.unread.is_done() {
                true => PollFlags::RDHUP,
                false => PollFlags::RDHUP | PollFlags::IN,
            };
            (idle.number, idle.connection.socket().share(), flags)
        })
        .collect()
    }

    fn origin(&mut self, origin: &Arc<str>, now: Instant) -> &mut Origin {
        let known = self
            .origins
            .entry(origin.clone())
            .or_insert_with(|| Origin {
                idle: VecDeque::new(),
                keep_alive: KeepAlive::default(),
                tls: None,
                used: now,
            });
        known.used = now;
        known
    }

    /// Takes out up to `count` connections, those first that have rested longest.
    fn remove_oldest(&mut self, count: usize) -> Vec<Box<dyn Connection>> {
        let mut removed = Vec::new();
        while removed.len() < count
            && let Some((number, origin)) = self.order.pop_front()
        {
            let Some(known) = self.origins.get_mut(&origin) else {
                continue;
            };
            // Within an origin the first has rested longest, so it is this one or it is gone.
            if known.idle.front().is_some_and(|idle| idle.number == number) {
                removed.extend(known.idle.pop_front().map(|idle| idle.connection));
                self.idle -= 1;
            }
        }
        self.compact();
        removed
    }

    /// Entries of connections that have been taken are thrown away before they outnumber the others.
    fn compact(&mut self) {
        if self.order.len() <= 2 * self.idle + 64 {
            return;
        }
        let origins = &self.origins;
        self.order.retain(|(number, origin)| {
            let known = origins.get(origin);
            known.is_some_and(|known| known.idle.iter().any(|idle| idle.number == *number))
        });
        self.order.shrink_to(2 * self.order.len());
    }

    fn forget(&mut self, now: Instant) {
        let mut most = MAX_REMEMBERED;
        self.origins.retain(|_, known| {
            let unused = now.saturating_duration_since(known.used);
            let knows = known.tls.is_some() || known.keep_alive.has_learned(now);
            let stays = !known.idle.is_empty() || (knows && unused < REMEMBERED && most > 0);
            most -= usize::from(stays && known.idle.is_empty());
            stays
        });
        if self.origins.capacity() > 4 * self.origins.len() + 64 {
            self.origins.shrink_to_fit();
        }
    }
}
