//! Names to addresses: a resolver of our own, as the system's cannot be shared by customers.
//!
//! `getaddrinfo` blocks a thread for as long as a customer's name servers are silent, so a few
//! silent names stop the look-ups of all. Here one thread asks for thousands of names at a time.
//!
//! ```text
//! callers ──ask──▶ table (known, waiting; behind one lock) ──requests──▶ edge (one thread)
//!    ▲                ▲                                                    │ flights: what to
//!    └──── waiter ◀───┴──────────────── publications ◀─────────────────────┘ send, what it means
//! ```
//!
//! Read [`cache`] first (what a caller gets, and how long it waits), then [`lookups`],
//! [`lookup`] and [`question`] (how a name is asked for), then [`event_loop`]. All but [`event_loop`],
//! [`tcp`], [`watched_files`], [`getaddrinfo`] and this file are pure: `now` is an argument. Callers
//! block, each on a [`waiter`] of its own; the thread blocks in poll(2) alone.

mod cache;
mod diagnosis;
mod event_loop;
mod evictor;
mod getaddrinfo;
mod hosts_file;
mod lookup;
mod lookups;
mod name_servers;
mod number_map;
pub(super) mod packet;
mod question;
mod request_queue;
mod resolv_conf;
mod source_ports;
mod tcp;
mod waiter;
mod watched_files;

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cache::{Asked, MOMENT, Table};
use waiter::News;
pub use watched_files::Files;

/// How names are looked up.
#[derive(Debug, Clone)]
pub struct NamesConfig {
    /// Asked in place of the servers of resolv.conf, if there are any.
    pub servers: Vec<SocketAddr>,
    /// getaddrinfo is called instead, for LDAP, mDNS and whatever else it knows.
    pub system: bool,
    pub files: Files,
}

/// Why there are no addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUpError {
    /// There are none, or the servers failed; in a sentence.
    Failed(String),
    /// It is being looked up, since then. The look-up goes on, for the next who asks.
    Pending(Instant),
    /// Meanwhile this machine had no socket to ask from, so it may be its own fault.
    Starved(String),
}

/// The resolver. A clone is the same one; its threads end when the last is dropped.
#[derive(Clone)]
pub struct Names(Arc<Handle>);

/// What ends the threads when it is dropped; they themselves hold [`Shared`] only.
struct Handle(Arc<Shared>);

/// What callers and threads have in common.
struct Shared {
    state: Mutex<State>,
    /// For the threads that call getaddrinfo: there is a request, or the end has come.
    requested: Condvar,
    /// As [`Table::changes`], for those who have no need of the lock.
    changes: AtomicU64,
    /// The other end of this wakes the thread that polls.
    wake: UnixStream,
}

struct State {
    table: Table,
    /// No answers are given any more.
    closed: bool,
    /// The threads are to end.
    ended: bool,
    /// The thread polls, and is to be woken for a request.
    asleep: bool,
    /// When there was no descriptor or memory for a socket the last time.
    starved: Option<Instant>,
}

impl Names {
    /// Fails only when the system has no threads or sockets to give.
    pub fn start(config: NamesConfig) -> io::Result<Names> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let most_requests = match config.system {
            true => getaddrinfo::MOST_REQUESTS,
            false => lookups::MAX_IN_FLIGHT,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                table: Table::new(most_requests),
                closed: false,
                ended: false,
                asleep: false,
                starved: None,
            }),
            requested: Condvar::new(),
            changes: AtomicU64::new(0),
            wake,
        });
        match config.system {
            true => getaddrinfo::start(&shared)?,
            false => event_loop::start(shared.clone(), woken, config.files, config.servers)?,
        }
        Ok(Names(Arc::new(Handle(shared))))
    }

    /// The addresses of a name without brackets, those first that should be tried first. Waits
    /// for a moment at the longest, and not beyond `deadline`.
    pub fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, LookUpError> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let (news, since) = match self.ask(host, Instant::now())? {
            Asked::Known(addresses) => return Ok(addresses),
            Asked::Failed(text, since) => (Some(News::Answer(Err(text))), since),
            Asked::Pending(since) => (None, since),
            Asked::Wait(waiter, since) => {
                let news = waiter.wait((since + MOMENT).min(deadline));
                if news.is_none() {
                    self.shared().lock().table.leave(host, &waiter);
                }
                (news, since)
            }
        };
        let (error, text) = match news {
            Some(News::Answer(Ok(addresses))) => return Ok(addresses),
            Some(News::Closed) => return Err(closed(host)),
            Some(News::Answer(Err(text))) => (LookUpError::Failed(text.to_string()), text),
            None => (LookUpError::Pending(since), host.into()),
        };
        let mut state = self.shared().lock();
        if !state.has_starved_since(since) {
            return Err(error);
        }
        // The next who asks is to find out whether it is over.
        state.table.forget(host);
        Err(LookUpError::Starved(format!(
            "{text}: outhook had no socket to ask from; raise the limit of open files \
             (ulimit -n, LimitNOFILE=), or lower --workers or --max-idle-connections"
        )))
    }

    /// Goes up whenever a name leads elsewhere than before, or may.
    pub fn changes(&self) -> u64 {
        self.shared().changes.load(Ordering::Acquire)
    }

    /// Where a name leads as far as is known, and until when that need not be asked again if
    /// nothing changes. Waits for nobody: what is old or unknown is looked up for the next who
    /// asks.
    pub fn present(&self, host: &str, now: Instant) -> Option<(Vec<IpAddr>, Instant)> {
        let mut state = self.shared().lock();
        let present = state.table.present(host, now);
        self.pass_requests(state);
        present
    }

    /// Puts the address that answered first, for as long as the name has it.
    pub fn prefer(&self, host: &str, addr: IpAddr) {
        self.shared().lock().table.prefer(host, addr);
    }

    /// Ends every wait, now and from now on.
    pub fn close(&self) {
        let mut state = self.shared().lock();
        state.closed = true;
        let waiters = state.table.take_all_waiters();
        drop(state);
        for waiter in waiters {
            waiter.tell(News::Closed);
        }
    }

    fn ask(&self, host: &str, now: Instant) -> Result<Asked, LookUpError> {
        let shared = self.shared();
        let mut state = shared.lock();
        if state.closed {
            return Err(closed(host));
        }
        let asked = state.table.ask(host, now);
        self.pass_requests(state);
        Ok(asked)
    }

    /// Wakes who looks up names, if there is something for it.
    fn pass_requests(&self, mut state: MutexGuard<'_, State>) {
        if state.table.requested() == 0 {
            return;
        }
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        self.shared().requested.notify_one();
        if asleep {
            self.shared().wake();
        }
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

fn closed(host: &str) -> LookUpError {
    LookUpError::Failed(format!("{host} was not looked up: outhook is ending"))
}

impl State {
    fn has_starved_since(&self, since: Instant) -> bool {
        self.starved.is_some_and(|at| at >= since)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // A full pipe wakes as well as one more byte.
        let _ = (&self.wake).write(&[0]);
    }

    fn note_changes(&self, state: &State) {
        self.changes.store(state.table.changes(), Ordering::Release);
    }

    /// Passes on what has been found out.
    fn publish(&self, news: &[lookup::Publication], now: Instant) {
        let mut state = self.lock();
        let told: Vec<_> = news
            .iter()
            .filter_map(|n| state.table.learn(n, now))
            .collect();
        self.note_changes(&state);
        drop(state);
        for (waiters, news) in told {
            for waiter in waiters {
                waiter.tell(news.clone());
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.requested.notify_all();
        self.0.wake();
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

#[cfg(test)]
#[path = "tests/event_loop.rs"]
mod tests;
