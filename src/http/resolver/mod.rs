//! Names to addresses. The resolver is our own, because customers cannot share the system's.
//!
//! `getaddrinfo` blocks a thread for as long as a customer's name servers are silent, so a few
//! silent names stop the look-ups of all. Here one thread asks for thousands of names at a time.
//!
//! ```text
//! callers ──ask──▶ cache (known, waiting; behind one lock) ──requests──▶ event_loop (one thread)
//!    ▲                ▲                                                    │ lookups: what to
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
mod shared;
mod source_ports;
mod tcp;
mod waiter;
mod watched_files;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use cache::{Asked, Cache, MOMENT};
use shared::{Shared, State};
use waiter::News;
pub use watched_files::Files;

/// How names are looked up.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// Asked in place of the servers of resolv.conf, if there are any.
    pub servers: Vec<SocketAddr>,
    /// getaddrinfo is called instead, for LDAP, mDNS and whatever else it knows.
    pub system: bool,
    pub files: Files,
}

/// Why there are no addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// There are none, or the servers failed; in a sentence.
    Failed(String),
    /// The name has been looked up since then. The look-up goes on, for the next caller.
    Pending(Instant),
    /// Meanwhile this machine had no socket to ask from, so it may be its own fault.
    Starved(String),
}

/// The resolver. A clone is the same one; its threads end when the last is dropped.
#[derive(Clone)]
pub struct Resolver(Arc<Handle>);

/// Dropping this ends the threads; they themselves hold only [`Shared`].
struct Handle(Arc<Shared>);

impl Resolver {
    /// Fails only when the system has no threads or sockets to give.
    pub fn start(config: ResolverConfig) -> io::Result<Resolver> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let most_requests = match config.system {
            true => getaddrinfo::MOST_REQUESTS,
            false => lookups::MAX_IN_FLIGHT,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                cache: Cache::new(most_requests),
                is_shut_down: false,
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
        Ok(Resolver(Arc::new(Handle(shared))))
    }

    /// The addresses of a name without brackets, those first that should be tried first. Waits
    /// for a moment at the longest, and not beyond `deadline`.
    pub fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, LookupError> {
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
                    self.shared().lock().cache.leave(host, &waiter);
                }
                (news, since)
            }
        };
        let (error, text) = match news {
            Some(News::Answer(Ok(addresses))) => return Ok(addresses),
            Some(News::ShutDown) => return Err(shut_down(host)),
            Some(News::Answer(Err(text))) => (LookupError::Failed(text.to_string()), text),
            None => (LookupError::Pending(since), host.into()),
        };
        let mut state = self.shared().lock();
        if !state.has_starved_since(since) {
            return Err(error);
        }
        // The next caller is to find out whether it is over.
        state.cache.forget(host);
        Err(LookupError::Starved(format!(
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
        let present = state.cache.present(host, now);
        self.pass_requests(state);
        present
    }

    /// Puts the address that answered first, for as long as the name has it.
    pub fn prefer(&self, host: &str, addr: IpAddr) {
        self.shared().lock().cache.prefer(host, addr);
    }

    /// Ends every wait, now and from now on.
    pub fn shut_down(&self) {
        let mut state = self.shared().lock();
        state.is_shut_down = true;
        let waiters = state.cache.take_all_waiters();
        drop(state);
        for waiter in waiters {
            waiter.notify(News::ShutDown);
        }
    }

    fn ask(&self, host: &str, now: Instant) -> Result<Asked, LookupError> {
        let shared = self.shared();
        let mut state = shared.lock();
        if state.is_shut_down {
            return Err(shut_down(host));
        }
        let asked = state.cache.ask(host, now);
        self.pass_requests(state);
        Ok(asked)
    }

    /// Wakes a thread that looks up names, if there is a request.
    fn pass_requests(&self, mut state: MutexGuard<'_, State>) {
        if state.cache.requested() == 0 {
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

fn shut_down(host: &str) -> LookupError {
    LookupError::Failed(format!("{host} was not looked up: outhook is ending"))
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.requested.notify_all();
        self.0.wake();
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
#[path = "tests/event_loop.rs"]
mod tests;
