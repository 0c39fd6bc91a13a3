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
//! Read [`table`] first (what a caller gets, and how long it waits), then [`flights`],
//! [`look_up`] and [`question`] (how a name is asked for), then [`edge`]. All but [`edge`],
//! [`stream`], [`files`], [`system`] and this file are pure: `now` is an argument. Callers
//! block, each on a [`waiter`] of its own; the thread blocks in poll(2) alone.

mod conf;
mod crowd;
mod edge;
mod files;
mod flights;
mod hosts;
mod line;
mod look_up;
mod net;
mod numbers;
mod ports;
mod question;
mod report;
mod stream;
mod system;
mod table;
mod waiter;
mod wire;

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use files::Files;
use report::seconds;
use table::{Asked, MOMENT, Table};
use waiter::{News, Waiter};

/// How names are looked up.
#[derive(Debug, Clone)]
pub struct NamesConfig {
    /// Asked in place of the servers of resolv.conf, if there are any.
    pub servers: Vec<SocketAddr>,
    /// getaddrinfo is called instead, for LDAP, mDNS and whatever else it knows.
    pub system: bool,
    /// So many callers may wait for a silent name for long.
    pub patient: usize,
    pub files: Files,
}

/// Why there are no addresses, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUpError {
    /// There are none, or the servers failed.
    Failed(String),
    /// The time was over. The look-up goes on, for the next who asks.
    TimedOut(String),
    /// Meanwhile this machine had no socket to ask from, so it may be its own fault.
    Starved(String),
}

impl fmt::Display for LookUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookUpError::Failed(text)
            | LookUpError::TimedOut(text)
            | LookUpError::Starved(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for LookUpError {}

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
            true => system::MOST_REQUESTS,
            false => flights::MAX_IN_FLIGHT,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                table: Table::new(config.patient, most_requests),
                closed: false,
                ended: false,
                asleep: false,
                starved: None,
            }),
            requested: Condvar::new(),
            wake,
        });
        match config.system {
            true => system::start(&shared)?,
            false => edge::start(shared.clone(), woken, config.files, config.servers)?,
        }
        Ok(Names(Arc::new(Handle(shared))))
    }

    /// The addresses of a name without brackets, those first that should be tried first. Waits
    /// until `deadline` at the longest.
    pub fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, LookUpError> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let begun = Instant::now();
        let (waiter, before) = match self.ask(host, begun)? {
            Asked::Known(addresses) => return Ok(addresses),
            Asked::Failed(text) => return Err(LookUpError::Failed(text.to_string())),
            Asked::Wait(waiter, before) => (waiter, before),
        };
        let moment = begun + MOMENT;
        let mut news = waiter.wait(moment.min(deadline));
        let mut why = "";
        if news.is_none() && before.is_none() && moment < deadline {
            (news, why) = self.wait_on(host, &waiter, begun, deadline);
        }
        if news.is_none() {
            self.shared().lock().table.leave(host, &waiter);
        }
        let error = match (news, before) {
            (Some(News::Answer(Ok(addresses))), _) => return Ok(addresses),
            (Some(News::Closed), _) => return Err(closed(host)),
            (Some(News::Answer(Err(text))), _) | (None, Some(text)) => {
                LookUpError::Failed(text.to_string())
            }
            (None, None) => {
                let waited = seconds(begun.elapsed());
                LookUpError::TimedOut(format!(
                    "{host} is still being looked up: no answer within {waited}{why}"
                ))
            }
        };
        let mut state = self.shared().lock();
        Err(match state.has_starved_since(begun) {
            true => {
                // The next who asks is to find out whether it is over.
                state.table.forget(host);
                LookUpError::Starved(format!(
                    "{error}; outhook had no socket to ask from: raise the limit of open files \
                 (ulimit -n, LimitNOFILE=), or lower --workers or --max-idle-connections"
                ))
            }
            false => error,
        })
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
        if state.table.requested() > 0 {
            let asleep = std::mem::take(&mut state.asleep);
            drop(state);
            shared.requested.notify_one();
            if asleep {
                shared.wake();
            }
        }
        Ok(asked)
    }

    /// Waits longer than a moment, unless that is too many. Says why, if it has to stop.
    fn wait_on(
        &self,
        host: &str,
        waiter: &Waiter,
        begun: Instant,
        deadline: Instant,
    ) -> (Option<News>, &'static str) {
        let mut now = Instant::now();
        let place = self.shared().lock().table.wait_on(host, now);
        let (news, why) = loop {
            {
                let state = &mut self.shared().lock();
                if state.has_starved_since(begun) {
                    break (None, "");
                }
                if state.table.must_leave(host, &place, now) {
                    break (None, ", and too many others wait for names");
                }
            }
            let news = waiter.wait((now + MOMENT).min(deadline));
            now = Instant::now();
            if news.is_some() || now >= deadline {
                break (news, "");
            }
        };
        self.shared().lock().table.leave_place(host, &place);
        (news, why)
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

fn closed(host: &str) -> LookUpError {
    LookUpError::Failed(format!("{host} was not looked up: outhook is ending"))
}

impl State {
    fn has_starved_since(&self, begun: Instant) -> bool {
        self.starved.is_some_and(|at| at >= begun)
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

    /// Passes on what has been found out.
    fn publish(&self, news: &[look_up::Publication], now: Instant) {
        let mut state = self.lock();
        let told: Vec<_> = news
            .iter()
            .filter_map(|n| state.table.learn(n, now))
            .collect();
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
#[path = "tests/edge.rs"]
mod tests;
