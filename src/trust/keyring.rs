//! Keys by the names that messages give (`secret`): what was read of them, for workers, who wait for
//! nothing.
//!
//! A worker looks into the table. What is not there, or is some seconds old, is asked of one thread
//! (`service/secret_loader.rs`), which reads a directory or Redis, and the delivery is put off for a
//! moment. What is in use is read again before it is old, so that nothing is put off. Only where it cannot
//! be read does what is old still sign: so a Redis that is away stops only names that were never read.

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

/// What was read signs for so long, and is asked for again after half of it, when it is used.
const FRESH: Duration = Duration::from_secs(10);
const HALF: Duration = Duration::from_secs(5);

/// What is old signs all the same when it was asked for so long ago, or anything could not be read
/// within the last `FRESH`.
const GRACE: Duration = Duration::from_secs(5);

/// A name that is being read is looked at again after so long, and after as long as it has taken so
/// far, within these.
const SOONEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_secs(30);

/// Names wanted at a time. What does not fit is asked for with the next message.
const WANTED: usize = 1024;

/// Names known, in each part of the table. Beyond that they are read again.
const MOST_KNOWN: usize = 1024;
const PARTS: usize = 64;

/// Schemes for which the keys of one name are kept prepared.
const MOST_PREPARED: usize = 8;

/// The most that a value may hold, in bytes and keys.
pub const MAX_VALUE: usize = 64 << 10;
const MAX_KEYS: usize = 16;

/// What is read of a name: its keys, or why there are none, in a sentence without a secret.
pub type Read = Result<Vec<Secret>, String>;

/// What is known of a name. The sentences name it.
#[derive(Debug)]
pub enum Found {
    Signing(Arc<Signing>),
    /// It is being read; look again after so long.
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
    /// What was read in an earlier one is to be read again.
    epoch: AtomicU64,
    /// When something could not be read, if nothing was since: milliseconds from `begun` on, and one.
    failed: AtomicU64,
    begun: Instant,
    /// Of which names the log has said that there is no key.
    throttle: Mutex<LogThrottle>,
    /// Where secrets are read from, for sentences.
    place: String,
}

struct Slot {
    /// None before it was read.
    content: Option<Read>,
    checked: Instant,
    epoch: u64,
    /// It is wanted, and not read yet.
    is_asked: bool,
    /// Since when there is nothing, or nothing but what is old.
    awaited: Option<Instant>,
    /// Ready to sign, by what the endpoint's own signing is.
    prepared: Vec<Prepared>,
}

struct Prepared {
    own: Option<Arc<Signing>>,
    signing: Result<Arc<Signing>, String>,
}

/// A table, and what is wanted of it. `place`: where secrets are read from.
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
    /// What signs in the name's stead. `own`: how the endpoint is signed to otherwise; its keys are not
    /// used. Waits for nothing.
    pub fn find(&self, name: &Arc<str>, own: Option<&Arc<Signing>>, now: Instant) -> Found {
        let table = &*self.table;
        let epoch = table.epoch.load(Ordering::Relaxed);
        let mut part = table.part(name);
        if part.len() >= MOST_KNOWN && !part.contains_key(name) {
            // Names come from producers: whoever makes them up must not fill the memory, nor drive out
            // those that are known.
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
            // What has changed must not sign any more, and who has just added it must not see it denied.
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

    /// The same for whoever may wait for a moment: what stood in a queue for long is old, and would be old
    /// again if it stood there once more.
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

    /// All is to be read again before it signs.
    pub fn read_again(&self) {
        self.table.epoch.fetch_add(1, Ordering::Relaxed);
    }
}

impl Requests {
    /// Waits for names that are to be read. `None` when nobody wants any more.
    pub fn next(&self, most: usize) -> Option<Vec<Arc<str>>> {
        let first = self.wanted.recv().ok()?;
        let others = self.wanted.try_iter().take(most - 1);
        Some(std::iter::once(first).chain(others).collect())
    }

    /// What must be known before something is read that is then [`put`](Requests::put).
    pub fn epoch(&self) -> u64 {
        self.table.epoch.load(Ordering::Relaxed)
    }

    /// Notes what was read. `epoch` and `begun`: as they were before.
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

    /// These could not be read: whoever needs them asks again.
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
