//! Keys by the names that messages give (`secret`). It holds what was read, for workers, which
//! never wait for it.
//!
//! A worker looks into the table. If a name is missing or some seconds old, one thread
//! (`service/secret_loader.rs`) is asked to read it from a directory or Redis, and the delivery is
//! postponed for a moment. A name in use is read again before it is old, so its deliveries are not
//! postponed. Old keys still sign only if they cannot be read: so a Redis that is away stops only
//! names that were never read.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::warn;

use crate::trust::log_throttle::{LogThrottle, and_others};
use crate::trust::secret::Secret;
use crate::trust::signing::Signing;

/// How long keys sign after they were read. If they are used after half of it, they are read again.
const FRESH: Duration = Duration::from_secs(10);
const HALF: Duration = Duration::from_secs(5);

/// Old keys still sign if they were asked for less than this long ago, or if a read has failed
/// within the last `FRESH`.
const GRACE: Duration = Duration::from_secs(5);

/// When to look again at a name that is being read: after as long as it has taken so far, within
/// these bounds.
const SOONEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_secs(30);

/// Names that may be wanted at a time. Others are asked for with their next message.
const WANTED: usize = 1024;

/// Names that are known, in each part of the table. Beyond that they are read again.
const MOST_KNOWN: usize = 1024;
const PARTS: usize = 64;

/// Schemes for which the keys of one name are kept prepared.
const MOST_PREPARED: usize = 8;

/// The most that a value may hold, in bytes and keys.
pub const MAX_VALUE: usize = 64 << 10;
const MAX_KEYS: usize = 16;

/// The result of reading a name: its keys, or a sentence without a secret that says why there are
/// none.
pub type Read = Result<Vec<Secret>, String>;

/// The state of a name. The sentences contain the name.
#[derive(Debug)]
pub enum Found {
    Signing(Arc<Signing>),
    /// It is being read; look again after this time.
    Unread {
        again: Duration,
        text: String,
    },
    /// There is no key of this name that could sign.
    Missing(String),
}

/// For workers.
#[derive(Clone)]
pub struct Keyring {
    table: Arc<Table>,
    wanted: Sender<Arc<str>>,
}

/// For the thread that reads.
pub struct Requests {
    table: Arc<Table>,
    wanted: Receiver<Arc<str>>,
}

struct Table {
    parts: [Mutex<HashMap<Arc<str>, Slot>>; PARTS],
    hasher: RandomState,
    /// Counts reloads. Keys that were read in an earlier epoch must be read again.
    epoch: AtomicU64,
    /// When a read failed, if none has succeeded since: milliseconds from `begun` on, plus one.
    failed: AtomicU64,
    begun: Instant,
    /// The names of which the log has said that there is no key.
    throttle: Mutex<LogThrottle>,
    /// The place that secrets are read from, for sentences.
    place: String,
}

struct Slot {
    /// `None` before it was read.
    content: Option<Read>,
    checked: Instant,
    epoch: u64,
    /// It is wanted, and not read yet.
    is_asked: bool,
    /// Since when there is no key, or only old ones.
    awaited: Option<Instant>,
    /// Keys that are ready to sign, by the contract of the endpoint.
    prepared: Vec<Prepared>,
}

struct Prepared {
    own: Option<Arc<Signing>>,
    signing: Result<Arc<Signing>, String>,
}

/// A table, and the names that are wanted. `place`: where secrets are read from.
pub fn keyring(place: String) -> (Keyring, Requests) {
    let (send, wanted) = bounded(WANTED);
    let table = Arc::new(Table {
        parts: std::array::from_fn(|_| Mutex::default()),
        hasher: RandomState::new(),
        epoch: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        begun: Instant::now(),
        throttle: Mutex::default(),
        place,
    });
    let keyring = Keyring {
        table: table.clone(),
        wanted: send,
    };
    (keyring, Requests { table, wanted })
}

/// The keys in a value: one a line. The error does not show it.
pub fn keys_of(value: &Secret) -> Read {
    // Blanks stay and are refused where they are wrong, as in a file with one key.
    let lines = value.expose().lines();
    let keys: Vec<Secret> = lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| Secret::new(line.to_owned()))
        .collect();
    match keys.len() {
        0 => Err("it is empty; it must hold a key, or several, one a line".into()),
        1..=MAX_KEYS => Ok(keys),
        n => Err(format!("it holds {n} keys; at most {MAX_KEYS} are allowed")),
    }
}

impl Keyring {
    /// The signing for a name. `own` is the signing of the endpoint: its scheme is used, its keys
    /// are not. Does not wait.
    pub fn find(&self, name: &Arc<str>, own: Option<&Arc<Signing>>, now: Instant) -> Found {
        let table = &*self.table;
        let epoch = table.epoch.load(Ordering::Relaxed);
        let mut part = table.part(name);
        if part.len() >= MOST_KNOWN && !part.contains_key(name) {
            // Names come from producers. Made-up names must not fill the memory, or drive out known
            // ones.
            part.retain(|_, slot| matches!(slot.content, Some(Ok(_))));
            if part.len() >= MOST_KNOWN {
                part.clear();
            }
        }
        let slot = part
            .entry(name.clone())
            .or_insert_with(|| Slot::new(now, epoch));
        let age = now.saturating_duration_since(slot.checked);
        let is_old = slot.content.is_none() || age > FRESH || slot.epoch != epoch;
        if (is_old || age > HALF) && !slot.is_asked {
            slot.is_asked = self.wanted.try_send(name.clone()).is_ok();
        }
        if is_old {
            let since = *slot.awaited.get_or_insert(now);
            let waited = now.saturating_duration_since(since);
            // Keys that have changed must not sign any more, and a secret that was just added must
            // not be refused.
            let must_do = matches!(slot.content, Some(Ok(_)))
                && (waited >= GRACE || table.has_failed_at(now));
            if !must_do {
                return Found::Unread {
                    again: waited.clamp(SOONEST, LATEST),
                    text: format!("secret {name}: it is not read yet from {}", table.place),
                };
            }
        }
        match slot.prepare(own) {
            Ok(signing) => Found::Signing(signing),
            Err(e) => {
                let text = format!("secret {name}: {e} ({})", table.place);
                drop(part);
                table.log(name, &text, now);
                Found::Missing(text)
            }
        }
    }

    /// The same for a caller that may wait for a moment: a delivery that was queued for long finds
    /// old keys, and would find old ones again if it were queued once more.
    pub fn find_soon(&self, name: &Arc<str>, own: Option<&Arc<Signing>>) -> Found {
        let mut found = self.find(name, own, Instant::now());
        for ms in [1, 2, 4, 8, 10] {
            if !matches!(found, Found::Unread { .. }) {
                break;
            }
            thread::sleep(Duration::from_millis(ms));
            found = self.find(name, own, Instant::now());
        }
        found
    }

    /// All names must be read again before they sign.
    pub fn read_again(&self) {
        self.table.epoch.fetch_add(1, Ordering::Relaxed);
    }
}

impl Requests {
    /// Waits for names that must be read. `None` when no worker is left.
    pub fn next(&self, most: usize) -> Option<Vec<Arc<str>>> {
        let first = self.wanted.recv().ok()?;
        let others = self.wanted.try_iter().take(most - 1);
        Some(std::iter::once(first).chain(others).collect())
    }

    /// The epoch and time to note before a read, for [`put`](Requests::put).
    pub fn epoch(&self) -> u64 {
        self.table.epoch.load(Ordering::Relaxed)
    }

    /// Stores the result of a read. `epoch` and `begun`: as noted before it.
    pub fn put(&self, name: &Arc<str>, read: Read, epoch: u64, begun: Instant) {
        self.table.failed.store(0, Ordering::Relaxed);
        let mut part = self.table.part(name);
        let slot = part
            .entry(name.clone())
            .or_insert_with(|| Slot::new(begun, epoch));
        (slot.checked, slot.epoch, slot.is_asked) = (begun, epoch, false);
        slot.awaited = None;
        let content = Some(read);
        if slot.content != content {
            slot.content = content;
            slot.prepared.clear();
        }
    }

    /// Nothing can be read now.
    pub fn note_failure(&self, now: Instant) {
        let after = now.saturating_duration_since(self.table.begun).as_millis() as u64;
        self.table.failed.store(after + 1, Ordering::Relaxed);
    }

    /// These could not be read: workers that need them ask again.
    pub fn give_back(&self, names: &[Arc<str>]) {
        for name in names {
            if let Some(slot) = self.table.part(name).get_mut(name) {
                slot.is_asked = false;
            }
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

impl Table {
    fn log(&self, name: &Arc<str>, text: &str, now: Instant) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let news = throttle.admit(name, now);
        drop(throttle);
        if let Some(others) = news {
            let others = and_others(others, "secrets");
            warn!("{text}: messages that name it are not sent{others}");
        }
    }

    fn has_failed_at(&self, now: Instant) -> bool {
        let failed = self.failed.load(Ordering::Relaxed);
        let now = now.saturating_duration_since(self.begun).as_millis() as u64;
        failed > 0 && now.saturating_sub(failed - 1) < FRESH.as_millis() as u64
    }

    fn part(&self, name: &str) -> MutexGuard<'_, HashMap<Arc<str>, Slot>> {
        let n = self.hasher.hash_one(name) as usize % PARTS;
        self.parts[n].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(now: Instant, epoch: u64) -> Slot {
        Slot {
            content: None,
            checked: now,
            epoch,
            is_asked: false,
            awaited: None,
            prepared: Vec::new(),
        }
    }

    fn prepare(&mut self, own: Option<&Arc<Signing>>) -> Result<Arc<Signing>, String> {
        let same = |known: &Option<Arc<Signing>>| match (known, own) {
            (Some(known), Some(own)) => Arc::ptr_eq(known, own),
            (known, own) => known.is_none() && own.is_none(),
        };
        if let Some(ready) = self.prepared.iter().find(|ready| same(&ready.own)) {
            return ready.signing.clone();
        }
        let secrets = match &self.content {
            Some(Ok(secrets)) => secrets,
            Some(Err(e)) => return Err(e.clone()),
            None => return Err("it is not read".into()),
        };
        let signing = Signing::with_secrets(own.map(|own| &**own), secrets).map(Arc::new);
        // After each reload of the endpoints file they are others.
        if self.prepared.len() == MOST_PREPARED {
            self.prepared.clear();
        }
        self.prepared.push(Prepared {
            own: own.cloned(),
            signing: signing.clone(),
        });
        signing
    }
}

#[cfg(test)]
mod tests;
