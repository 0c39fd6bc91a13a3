//! The ledger: the one thread that makes true in the store what the timer has decided.
//!
//! It takes records from a bounded channel, writes them in batches, one request a kind, and
//! keeps at what the store refuses: nothing is skipped, and while the ledger is full the timer
//! hands out no new work. It blocks in the store, nowhere else. It ends with its input, and
//! then within [`Ledger::patience`] even if the store is gone.

mod batch;
mod keys;
mod outcome;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use log::warn;

use crate::delivery::parked::{Parked, Until};
use crate::delivery::receipt::{Receipt, Unmoved, Why};
use crate::delivery::record::Record;
use crate::delivery::status_update::Disposition;
use crate::delivery::{DeadLetter, DeadReason, Job};
use crate::message::entry::EntryId;
use crate::service::channel::wake::{CapacitySignal, WakingSender};
use crate::service::channel::work_queue::WorkSender;
use crate::service::clock::boot_time;
use crate::service::drain::{Drain, DrainTrigger};
use crate::service::outage::OutageTracker;
use crate::service::places::Place;
use crate::store::{Store, StoreError};

use batch::Batch;
use outcome::{FirstError, log_letters};

/// The channel's bound, and that of what is held.
pub const CAPACITY: usize = 256;

/// Receipts that may wait for the timer.
pub const RECEIPTS: usize = 16;

/// What one write may take. Redis under a long command is not dead yet.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The least a write gets, even when the time is over.
const LAST_LIMIT: Duration = Duration::from_millis(200);

/// Entries that are remembered to be others'. What is written of them comes soon after.
const MOST_LAPSED: usize = 10_000;

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

/// See the module's header.
pub struct Ledger {
    pub store: Box<dyn Store>,
    /// For deliveries whose attempt has been noted.
    pub work: WorkSender<Job>,
    /// For the timer, which waits for room in `records`.
    pub room: CapacitySignal,
    /// What became of entries, for the timer too, which takes them at once.
    pub receipts: WakingSender<Receipt>,
    pub drain: Drain,
    /// Tells whoever hears to the last that all that was given to this is written, or given up.
    pub last: Option<DrainTrigger>,
    /// How long the store may stay away once the service is to end.
    pub patience: Duration,
    /// How old a note may be when the attempt begins for which it was made.
    pub begin_within: Duration,
    pub trouble: OutageTracker,
    pub recent: Recent,
}

/// What the ledger remembers of what it has written.
#[derive(Default)]
pub struct Recent {
    /// When it was last told that something is given up.
    complained: Option<Instant>,
    /// Whether what is to be written was refused before, or its answer lost.
    repeats: bool,
    /// Entries that turned out to be others', of late.
    lapsed: HashSet<EntryId>,
}

impl Ledger {
    /// Works until `records` ends. Owns it, so that after a panic it is closed before `room`
    /// wakes the timer, which would sleep on otherwise.
    pub fn run(mut self, records: Receiver<Place<Record>>) -> LedgerSummary {
        let mut report = LedgerSummary::default();
        let mut held = Batch::default();
        let mut deadline = None;
        let mut gave_up = false;
        loop {
            if !held.fill(&records, &self.room) {
                return report;
            }
            if gave_up {
                // What is still heard would be lost.
                self.last = None;
                std::mem::take(&mut held).give_up(&mut report);
                continue;
            }
            let begun = Instant::now();
            let written = match held.is_empty() {
                true => Ok(()),
                false => self.write(&mut held, &mut report, deadline),
            };
            match written {
                Ok(()) => {
                    self.trouble.end();
                    if std::mem::take(&mut held.has_last_call) {
                        self.last = None;
                    }
                }
                Err(e) => {
                    let pause = self.trouble.begin(&e);
                    // The end of all work began after this write did. A drain knows when it
                    // began, and the store gets all of its time.
                    let end = self.drain.begun_at();
                    let end = end.or(self.work.is_last().then_some(begun));
                    deadline = deadline.or(end.map(|end| end + self.patience));
                    // What is still to come is not tried any more: each try may take long.
                    gave_up = !self.waits(pause, deadline);
                    if gave_up {
                        self.last = None;
                        std::mem::take(&mut held).give_up(&mut report);
                    }
                }
            }
        }
    }

    /// Writes each kind, settlements first: they free memory, and are taken even by a server
    /// that has none left. What the server refuses stays; the first error is answered.
    fn write(
        &mut self,
        held: &mut Batch,
        report: &mut LedgerSummary,
        deadline: Option<Instant>,
    ) -> Result<(), StoreError> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let most = WRITE_LIMIT.min(self.patience.max(LAST_LIMIT));
        let limit = left.map_or(most, |left| left.clamp(LAST_LIMIT, most));
        let mut receipt = Receipt::default();
        let mut first = FirstError(Ok(()));
        if !held.settled.is_empty() && first.keep(self.store.settle(&held.settled, limit)) {
            held.settled.clear();
        }
        if first.lets_go_on() {
            first.keep(self.advance(held, limit));
        }
        if first.lets_go_on() {
            first.keep(self.queue(held, &mut receipt, limit));
        }
        // A store that does not answer would not answer the rest either, and each wait for it
        // would be one more of this length.
        if first.lets_go_on() {
            first.keep(self.note(held, &mut receipt, limit));
        }
        if first.lets_go_on() {
            first.keep(self.bury(held, &mut receipt, report, limit));
        }
        if first.lets_go_on() {
            first.keep(self.park(held, &mut receipt, report, limit));
        }
        if first.lets_go_on() {
            first.keep(self.notify(held, limit));
        }
        held.recount();
        self.recent.repeats = first.0.is_err();
        if !receipt.is_empty() {
            // Fails only when the timer has ended, and nobody counts any more.
            let _ = self.receipts.send(receipt);
        }
        first.0
    }

    /// Notes attempts. Those that were about to begin do, or are given back.
    fn note(
        &mut self,
        held: &mut Batch,
        receipt: &mut Receipt,
        limit: Duration,
    ) -> Result<(), StoreError> {
        if !held.notes.is_empty() {
            let lost = self.store.note(&held.notes, limit)?;
            let entries: Vec<_> = held.notes.drain(..).map(|(entry, _)| Some(entry)).collect();
            let lost = self.sort_out(&entries, &lost);
            receipt
                .lapsed
                .extend(lost.iter().filter_map(|n| entries[*n]));
        }
        if held.begun.is_empty() {
            return Ok(());
        }
        let begun = held.begun.iter();
        let notes =
            begun.filter_map(|job| Some((job.delivery.entry?, job.delivery.next_attempt())));
        let asked = boot_time();
        let lost = self.store.note(&notes.collect::<Vec<_>>(), limit)?;
        // Their leases may be over by now, or end during the attempts: they are asked for again.
        if boot_time().since(asked) > self.begin_within {
            return Ok(());
        }
        let lost: HashSet<usize> = lost.iter().map(|unmoved| unmoved.index).collect();
        for (n, job) in held.begun.drain(..).enumerate() {
            match lost.contains(&n) {
                true => {
                    self.recent.lapsed.extend(job.delivery.entry);
                    receipt.not_begun.push(job);
                }
                false => self.work.give(job),
            }
        }
        Ok(())
    }

    fn bury(
        &mut self,
        held: &mut Batch,
        receipt: &mut Receipt,
        report: &mut LedgerSummary,
        limit: Duration,
    ) -> Result<(), StoreError> {
        if held.letters.is_empty() {
            return Ok(());
        }
        let lost = self.store.bury(&held.letters, limit)?;
        let entries: Vec<_> = held.letters.iter().map(|l| l.entry).collect();
        let lost = self.sort_out(&entries, &lost);
        receipt.moved.extend(entries.into_iter().flatten());
        let letters = held.letters.drain(..).enumerate();
        let (kept, lost): (Vec<_>, Vec<_>) = letters.partition(|(n, _)| !lost.contains(n));
        // The others were never accepted.
        let is_counted = |(_, letter): &&(usize, DeadLetter)| {
            !matches!(
                letter.reason,
                DeadReason::Rejected(_) | DeadReason::IdReused
            )
        };
        receipt.not_buried += lost.iter().filter(is_counted).count() as u64;
        report.letters += kept.len() as u64;
        log_letters(kept.iter().map(|(_, letter)| letter), &self.store.place());
        Ok(())
    }

    fn park(
        &mut self,
        held: &mut Batch,
        receipt: &mut Receipt,
        report: &mut LedgerSummary,
        limit: Duration,
    ) -> Result<(), StoreError> {
        if held.parked.is_empty() {
            return Ok(());
        }
        let unmoved = self.store.park(&held.parked, limit)?;
        self.count_copies(&held.parked, &unmoved, receipt);
        report.letters += receipt.reused;
        let deferred = held.parked.iter();
        let deferred: Vec<bool> = deferred
            .map(|p| matches!(p.until, Until::Released { .. }))
            .collect();
        let entries: Vec<_> = held.parked.drain(..).map(|p| p.entry).collect();
        let lost = self.sort_out(&entries, &unmoved);
        let not_deferred = lost.iter().filter(|index| deferred[**index]).count();
        receipt.not_deferred += not_deferred as u64;
        receipt.not_parked += (lost.len() - not_deferred) as u64;
        receipt.moved.extend(entries.into_iter().flatten());
        Ok(())
    }

    /// Counts the copies of what was heard before, and tells of those that are none.
    fn count_copies(&self, parked: &[Parked], unmoved: &[Unmoved], receipt: &mut Receipt) {
        let those = |why| unmoved.iter().filter(move |u| u.why == why);
        let reused: Vec<&Parked> = those(Why::Reused).map(|u| &parked[u.index]).collect();
        if let Some(first) = reused.first() {
            let (id, url, more) = (&first.id, &first.url, reused.len() - 1);
            warn!(
                "dead (id_reused): {id} to {url} and {more} more, kept in {}: other messages with \
                 these ids came before, within --bridge-dedup",
                self.store.place()
            );
        }
        receipt.reused += reused.len() as u64;
        // Where the answer to the same request was lost, they may be copies of themselves.
        let mut dropped = reused;
        if !self.recent.repeats {
            let copies: Vec<&Parked> = those(Why::Copy).map(|u| &parked[u.index]).collect();
            receipt.copies += copies.len() as u64;
            dropped.extend(copies);
        }
        receipt.not_appended += dropped.iter().filter(|p| p.is_late).count() as u64;
    }

    /// Which of `entries` others have, and remembers them for a while. What is gone may be so
    /// because the answer to the same request was lost before.
    fn sort_out(&mut self, entries: &[Option<EntryId>], unmoved: &[Unmoved]) -> HashSet<usize> {
        let is_lost = |u: &&Unmoved| match u.why {
            Why::Taken => true,
            Why::Gone => !self.recent.repeats,
            Why::Copy | Why::Reused => false,
        };
        let lost: HashSet<usize> = unmoved.iter().filter(is_lost).map(|u| u.index).collect();
        if self.recent.lapsed.len() > MOST_LAPSED {
            self.recent.lapsed.clear();
        }
        for (n, entry) in entries.iter().enumerate() {
            match (entry, lost.contains(&n)) {
                (Some(entry), true) => drop(self.recent.lapsed.insert(*entry)),
                // Ours again.
                (Some(entry), false) => drop(self.recent.lapsed.remove(entry)),
                (None, _) => {}
            }
        }
        lost
    }

    /// Writes what no message depends on.
    fn notify(&mut self, held: &mut Batch, limit: Duration) -> Result<(), StoreError> {
        // Of what others have they tell themselves.
        held.told.retain(|told| {
            let is_lapsed = told
                .entry
                .is_some_and(|entry| self.recent.lapsed.contains(&entry));
            !is_lapsed || told.disposition == Disposition::Delivered
        });
        let mut first = FirstError(Ok(()));
        if !held.told.is_empty() {
            let told = self.store.tell(&held.told, limit);
            if first.keep(self.unless_refused("what became of messages", told)) {
                held.told.clear();
            }
        }
        if !held.gone.is_empty() {
            let gone = self.store.gone(&held.gone, limit);
            if first.keep(self.unless_refused("which endpoints are gone", gone)) {
                held.gone.clear();
            }
        }
        if !held.answers.is_empty() {
            // Whoever asked does not wait for a second try.
            let answers = std::mem::take(&mut held.answers);
            let answered = self.store.answer(&answers, limit);
            first.keep(self.unless_refused("answers to operators", answered));
        }
        first.0
    }

    /// What no message depends on is given up when the server refuses it: deliveries must not
    /// stop for it.
    fn unless_refused(
        &mut self,
        what: &str,
        result: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match result {
            Err(e) if e.is_refusal() => {
                let now = Instant::now();
                let quiet = self.recent.complained.is_some_and(|at| now - at < COMPLAIN);
                if !quiet {
                    warn!("redis refuses to keep {what}: {e}");
                    self.recent.complained = Some(now);
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Waits before the next try. False when there is no time for one.
    fn waits(&self, pause: Duration, deadline: Option<Instant>) -> bool {
        match deadline {
            // Woken by the drain; the pause starts anew, shorter.
            None => {
                self.drain.wait(pause);
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
