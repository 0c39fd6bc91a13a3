//! Names to addresses, with a deadline that the system's resolver does not have.
//!
//! `getaddrinfo` blocks for as long as it likes, so a few threads of this module's own call
//! it, and a worker waits for the answer no longer than its attempt may take. Answers are
//! kept for [`TTL`], failures for [`NEGATIVE_TTL`]; a name is looked up once however many
//! workers want it. IP literals never come here to wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// getaddrinfo tells no TTL; half a minute is what long-lived clients commonly assume.
const TTL: Duration = Duration::from_secs(30);
const NEGATIVE_TTL: Duration = Duration::from_secs(2);
const THREADS: usize = 4;
/// Names waiting for a thread, and names remembered. Both are bounds, not tuning.
const MAX_QUEUED: usize = 1024;
const MAX_CACHED: usize = 16 * 1024;

/// A name could not be resolved, and why.
#[derive(Debug, Clone)]
pub struct DnsFailed(String);

impl fmt::Display for DnsFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DnsFailed {}

/// Shared by all agents; a clone is the same resolver.
#[derive(Clone)]
pub struct Names {
    shared: Arc<Shared>,
    queue: Sender<String>,
}

struct Shared {
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    names: HashMap<String, Name>,
    closed: bool,
}

enum Name {
    Pending,
    Known {
        answer: Result<Vec<IpAddr>, DnsFailed>,
        until: Instant,
    },
}

impl Names {
    /// Starts the resolver's threads. They end when the last clone is dropped.
    pub fn start(_: NamesConfig) -> std::io::Result<Names> {
        let (queue, jobs) = bounded(MAX_QUEUED);
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            changed: Condvar::new(),
        });
        for n in 1..=THREADS {
            let (jobs, shared) = (jobs.clone(), shared.clone());
            thread::Builder::new()
                .name(format!("resolver-{n}"))
                .spawn(move || look_up(&jobs, &shared))?;
        }
        Ok(Names { shared, queue })
    }

    /// Ends every wait, now and from now on.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }

    /// The addresses of `host`, waiting no longer than until `deadline`.
    pub fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, LookUpError> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let mut table = self.shared.lock();
        loop {
            if table.closed {
                return Err(LookUpError::Failed("resolver is closed".into()));
            }
            match table.names.get(host) {
                Some(Name::Known { answer, until }) if *until > Instant::now() => {
                    return answer.clone().map_err(|e| LookUpError::Failed(e.0));
                }
                Some(Name::Pending) => {}
                _ => self.enqueue(&mut table, host)?,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LookUpError::TimedOut(format!(
                    "no address of {host} in time"
                )));
            }
            let waited = self.shared.changed.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn enqueue(&self, table: &mut Table, host: &str) -> Result<(), LookUpError> {
        if table.names.len() >= MAX_CACHED {
            let now = Instant::now();
            table.names.retain(|_, name| match name {
                Name::Pending => true,
                Name::Known { until, .. } => *until > now,
            });
        }
        match self.queue.try_send(host.to_owned()) {
            Ok(()) => {
                table.names.insert(host.to_owned(), Name::Pending);
                Ok(())
            }
            Err(TrySendError::Full(_)) => {
                let text = format!("{MAX_QUEUED} names wait for the DNS server already");
                Err(LookUpError::Failed(text))
            }
            Err(TrySendError::Disconnected(_)) => unreachable!("the threads outlive `queue`"),
        }
    }
}

pub enum LookUpError {
    Failed(String),
    TimedOut(String),
}
#[derive(Debug, Default)]
pub struct NamesConfig;
impl Names {
    pub fn prefer(&self, _: &str, _: IpAddr) {}
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing in here leaves the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A resolver thread: ends when the queue is closed.
fn look_up(jobs: &Receiver<String>, shared: &Shared) {
    for host in jobs {
        let answer = match (host.as_str(), 0).to_socket_addrs() {
            Ok(found) => Ok(found.map(|a| a.ip()).collect::<Vec<_>>()),
            Err(e) => Err(DnsFailed(format!("{host}: {e}"))),
        };
        let ttl = if answer.is_ok() { TTL } else { NEGATIVE_TTL };
        let mut table = shared.lock();
        if let Entry::Occupied(mut name) = table.names.entry(host) {
            name.insert(Name::Known {
                answer,
                until: Instant::now() + ttl,
            });
        }
        drop(table);
        shared.changed.notify_all();
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}
