//! The ledger: the one thread that makes true in the store what the timer has decided.
//!
//! It takes records from a bounded channel and writes them in batches, and keeps at a
//! batch until the store has it: nothing is skipped, and while the ledger is full the timer
//! hands out no new work. It blocks in the store, nowhere else. It ends with its input,
//! and then within [`Ledger::patience`] even if the store is gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use log::{error, warn};

use crate::delivery::DeadLetter;
use crate::drain::Drain;
use crate::store::DeadStore;
use crate::trouble::Trouble;

/// The channel's bound, and that of a batch.
pub const CAPACITY: usize = 256;

/// Bytes in a batch after which it is written: a transaction blocks Redis for everyone.
const BATCH_BYTES: usize = 1 << 20;

/// What one write may take. Redis under a long command is not dead yet.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The least a write gets, even when the time is over.
const LAST_LIMIT: Duration = Duration::from_millis(200);

/// Dead letters kept and not kept.
#[derive(Debug, Default)]
pub struct Report {
    pub written: u64,
    /// What could not be kept before the end, by id.
    pub lost: Vec<String>,
}

/// See the module's header.
pub struct Ledger {
    pub store: Box<dyn DeadStore>,
    pub drain: Drain,
    /// How long the store may stay away once the service is to end.
    pub patience: Duration,
}

impl Ledger {
    /// Works until `records` ends.
    pub fn run(mut self, records: &Receiver<DeadLetter>) -> Report {
        let mut report = Report::default();
        let mut trouble = Trouble::new("ledger");
        let mut deadline = None;
        while let Ok(first) = records.recv() {
            let batch = batch(first, records);
            if self.write(&batch, &mut trouble, &mut deadline) {
                report.written += batch.len() as u64;
                self.tell(&batch);
            } else {
                for letter in batch {
                    error!(
                        "lost: {} ({}): {}",
                        letter.name(),
                        letter.reason,
                        letter.detail
                    );
                    report.lost.push(letter.name());
                }
            }
        }
        report
    }

    /// Keeps trying until the batch is written, or the time is over.
    fn write(
        &mut self,
        batch: &[DeadLetter],
        trouble: &mut Trouble,
        deadline: &mut Option<Instant>,
    ) -> bool {
        loop {
            let limit = self
                .remaining(deadline)
                .map_or(WRITE_LIMIT, |left| left.clamp(LAST_LIMIT, WRITE_LIMIT));
            let pause = match self.store.bury(batch, limit) {
                Ok(()) => {
                    trouble.end();
                    return true;
                }
                Err(e) => trouble.begin(&e),
            };
            match self.remaining(deadline) {
                // Woken by the drain; the pause starts anew, shorter.
                None => drop(self.drain.wait(pause)),
                Some(left) if left.is_zero() => return false,
                Some(left) => std::thread::sleep(pause.min(LAST_LIMIT).min(left)),
            }
        }
    }

    /// Once draining, the time that is left; the first call after its beginning starts it.
    fn remaining(&self, deadline: &mut Option<Instant>) -> Option<Duration> {
        if deadline.is_none() && self.drain.has_begun() {
            *deadline = Some(Instant::now() + self.patience);
        }
        deadline.map(|d| d.saturating_duration_since(Instant::now()))
    }

    /// One line a batch and reason, once it is kept: a flood of dead letters is not a flood
    /// of lines.
    fn tell(&self, batch: &[DeadLetter]) {
        let mut reasons: BTreeMap<String, (usize, &DeadLetter)> = BTreeMap::new();
        for letter in batch {
            reasons
                .entry(letter.reason.to_string())
                .or_insert((0, letter))
                .0 += 1;
        }
        for (reason, (count, letter)) in reasons {
            let more = match count {
                1 => String::new(),
                _ => format!(" and {} more", count - 1),
            };
            let (place, name, detail) = (self.store.place(), letter.name(), &letter.detail);
            let to = letter
                .url
                .as_deref()
                .map(|u| format!(" to {u}"))
                .unwrap_or_default();
            warn!("dead ({reason}): {name}{to}{more}, kept in {place}: {detail}");
        }
    }
}

fn batch(first: DeadLetter, records: &Receiver<DeadLetter>) -> Vec<DeadLetter> {
    let mut bytes = first.message.len();
    let mut batch = vec![first];
    while batch.len() < CAPACITY && bytes < BATCH_BYTES {
        let Ok(next) = records.try_recv() else { break };
        bytes += next.message.len();
        batch.push(next);
    }
    batch
}
