//! What callers and the resolver's threads share, behind one lock that is held for a look-up in memory.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::cache::Cache;
use super::lookup::Publication;

/// What callers and threads have in common.
pub struct Shared {
    pub state: Mutex<State>,
    /// For the threads that call getaddrinfo: there is a request, or the end has come.
    pub requested: Condvar,
    /// As [`Cache::changes`], without the lock.
    pub changes: AtomicU64,
    /// The other end of this wakes the thread that polls.
    pub wake: UnixStream,
}

pub struct State {
    pub cache: Cache,
    /// No answers are given any more.
    pub is_shut_down: bool,
    /// The threads are to end.
    pub ended: bool,
    /// The thread polls, and is to be woken for a request.
    pub asleep: bool,
    /// When there was no descriptor or memory for a socket the last time.
    pub starved: Option<Instant>,
}

impl State {
    pub fn has_starved_since(&self, since: Instant) -> bool {
        self.starved.is_some_and(|at| at >= since)
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(&self) {
        // A full pipe wakes as well as one more byte.
        let _ = (&self.wake).write(&[0]);
    }

    pub fn note_changes(&self, state: &State) {
        self.changes.store(state.cache.changes(), Ordering::Release);
    }

    /// Passes on what has been found out.
    pub fn publish(&self, news: &[Publication], now: Instant) {
        let mut state = self.lock();
        let notices: Vec<_> = news
            .iter()
            .filter_map(|n| state.cache.learn(n, now))
            .collect();
        self.note_changes(&state);
        drop(state);
        for (waiters, news) in notices {
            for waiter in waiters {
                waiter.notify(news.clone());
            }
        }
    }
}
