//! The ledger: the one thread that makes true in the store what the timer has decided.
//!
//! It takes records from a bounded channel, writes them in batches, one request a kind, and
//! keeps at what the store refuses: nothing is skipped, and while the ledger is full the timer
//! hands out no new work. It blocks in the store, nowhere else. It ends with its input, and
//! then within [`Ledger::patience`] even if the store is gone.

mod batch;
mod letters;
mod outcome;
mod written;

use std::time::{Duration, Instant};

use log::warn;

use crate::delivery::Job;
use crate::delivery::receipt::Receipt;
use crate::delivery::record::{Notice, NoticeKind, Record};
use crate::delivery::status_update::Disposition;
use crate::service::boot_clock::boot_time;
use crate::service::channel::byte_bound::{BlockingReceiver, Weighed};
use crate::service::channel::wake::WakingSender;
use crate::service::channel::work_queue::WorkSender;
use crate::service::drain::{Drain, DrainTrigger};
use crate::service::outage::OutageTracker;
use crate::store::{Store, StoreError};

use batch::Batch;
use outcome::Errors;
use written::Recent;

/// The channel's bound, and that of what is held.
pub const CAPACITY: usize = 256;

/// Receipts that may wait for the timer.
pub const RECEIPTS: usize = 16;

/// What one write may take. Redis under a long command is not dead yet.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The least a write gets, even when the time is over.
const LAST_LIMIT: Duration = Duration::from_millis(200);

/// How often it is told that something is given up.
const COMPLAIN: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug, Default)]
pub struct LedgerSummary {
    /// Dead letters kept.
    pub letters: u64,
    /// What could not be kept before the end, by id.
    pub lost: Vec<String>,
    /// What is still an entry of the stream, but will be delivered again.
    pub again: u64,
}

/// What connects it with the timer and the workers.
pub struct Ends {
    // First, as it wakes the timer when it is dropped, also in a panic.
    pub records: BlockingReceiver<Record>,
    /// What became of entries, for the timer, which takes them at once.
    pub receipts: WakingSender<Receipt>,
    /// For deliveries whose attempt has been noted.
    pub work: WorkSender<Job>,
    pub drain: Drain,
    /// Tells whoever hears to the last that all that was given to this is written, or given up.
    pub last: Option<DrainTrigger>,
}

/// See the module's header.
pub struct Ledger {
    ends: Ends,
    store: Box<dyn Store>,
    patience: Duration,
    begin_within: Duration,
    outage: OutageTracker,
    recent: Recent,
}

impl Weighed for Record {
    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Ledger {
    /// `patience`: how long the store may stay away once the service is to end. `begin_within`: how
    /// old a note may be when the attempt begins for which it was made.
    pub fn new(
        ends: Ends,
        store: Box<dyn Store>,
        patience: Duration,
        begin_within: Duration,
        outage: OutageTracker,
    ) -> Ledger {
        Ledger {
            ends,
            store,
            patience,
            begin_within,
            outage,
            recent: Recent::default(),
        }
    }

    /// Works until the timer has ended.
    pub fn run(mut self) -> LedgerSummary {
        let mut summary = LedgerSummary::default();
        let mut batch = Batch::default();
        let mut deadline = None;
        let mut gave_up = false;
        loop {
            let is_over = !batch.fill(&self.ends.records, self.recent.letters.next());
            self.recent.letters.tell(Instant::now());
            if is_over {
                self.recent.letters.end(Instant::now());
                return summary;
            }
            if gave_up {
                // What is still heard would be lost.
                self.ends.last = None;
                std::mem::take(&mut batch).give_up(&mut summary);
                continue;
            }
            let begun = Instant::now();
            let written = match batch.is_empty() {
                true => Ok(()),
                false => self.write(&mut batch, &mut summary, deadline),
            };
            match written {
                Ok(()) => {
                    self.outage.end();
                    if std::mem::take(&mut batch.has_last_call) {
                        self.ends.last = None;
                    }
                }
                Err(e) => {
                    let pause = self.outage.begin(&e);
                    // The end of all work began after this write did. A drain knows when it
                    // began, and the store gets all of its time.
                    let end = self.ends.drain.begun_at();
                    let end = end.or(self.ends.work.is_last().then_some(begun));
                    deadline = deadline.or(end.map(|end| end + self.patience));
                    // What is still to come is not tried any more: each try may take long.
                    gave_up = !self.waits(pause, deadline);
                    if gave_up {
                        self.ends.last = None;
                        std::mem::take(&mut batch).give_up(&mut summary);
                    }
                }
            }
        }
    }

    /// Writes each kind. What the server refuses stays; the first error is answered.
    fn write(
        &mut self,
        batch: &mut Batch,
        summary: &mut LedgerSummary,
        deadline: Option<Instant>,
    ) -> Result<(), StoreError> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let most = WRITE_LIMIT.min(self.patience.max(LAST_LIMIT));
        let limit = left.map_or(most, |left| left.clamp(LAST_LIMIT, most));
        let mut receipt = Receipt::default();
        let mut errors = Errors::default();
        for (kind, moves) in std::mem::take(&mut batch.moves) {
            let asked = boot_time();
            // A store that does not answer would not answer the rest either, and each wait for it
            // would be one more of this length.
            let written = match errors.is_away {
                true => None,
                false => errors.keep(self.store.write(kind, &moves, limit)),
            };
            let left = match written {
                Some(unmoved) => {
                    let is_late = boot_time().since(asked) > self.begin_within;
                    self.conclude(moves, &unmoved, is_late, &mut receipt, summary)
                }
                None => moves,
            };
            if !left.is_empty() {
                batch.moves.insert(kind, left);
            }
        }
        for (kind, notices) in std::mem::take(&mut batch.notices) {
            if errors.is_away {
                batch.notices.insert(kind, notices);
            } else {
                errors.keep(self.notify(kind, notices, batch, limit));
            }
        }
        batch.recount();
        let written = errors.into_result();
        self.recent.repeats = written.is_err();
        if !receipt.is_empty() {
            // Fails only when the timer has ended, and nobody counts any more.
            let _ = self.ends.receipts.send(receipt);
        }
        written
    }

    /// Writes what no message depends on. It is given up when the server refuses it: deliveries must
    /// not stop for it.
    fn notify(
        &mut self,
        kind: NoticeKind,
        mut notices: Vec<Notice>,
        batch: &mut Batch,
        limit: Duration,
    ) -> Result<(), StoreError> {
        // What others have they tell of themselves.
        notices.retain(|notice| match notice {
            Notice::Status(update) => {
                update.disposition == Disposition::Delivered
                    || !self.recent.has_lapsed(update.entry)
            }
            _ => true,
        });
        if notices.is_empty() {
            return Ok(());
        }
        match self.store.notify(kind, &notices, limit) {
            Err(e) if e.is_refusal() => {
                self.complain(kind, &e);
                Ok(())
            }
            Err(e) => {
                // Whoever has asked does not wait for a second try.
                if kind != NoticeKind::Reply {
                    batch.notices.insert(kind, notices);
                }
                Err(e)
            }
            Ok(()) => Ok(()),
        }
    }

    fn complain(&mut self, kind: NoticeKind, e: &StoreError) {
        let now = Instant::now();
        let is_quiet = self.recent.complained.is_some_and(|at| now - at < COMPLAIN);
        if !is_quiet {
            let what = match kind {
                NoticeKind::Status => "what became of messages",
                NoticeKind::Gone => "which endpoints are gone",
                NoticeKind::Reply => "answers to operators",
            };
            warn!("redis refuses to keep {what}: {e}");
            self.recent.complained = Some(now);
        }
    }

    /// Waits before the next try. False when there is no time for one.
    fn waits(&self, pause: Duration, deadline: Option<Instant>) -> bool {
        match deadline {
            // Woken by the drain; the pause starts anew, shorter.
            None => {
                self.ends.drain.wait(pause);
                true
            }
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                std::thread::sleep(pause.min(LAST_LIMIT).min(left));
                !left.is_zero()
            }
        }
    }
}

#[cfg(test)]
mod tests;
