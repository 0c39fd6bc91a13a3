//! The ledger: the one thread that makes true in the store what the timer has decided.
//!
//! It takes records from a bounded channel, writes them in batches, one request a kind, and
//! keeps at what the store refuses: nothing is skipped, and while the ledger is full the timer
//! hands out no new work. It blocks in the store, nowhere else. It ends with its input, and
//! then within [`Ledger::patience`] even if the store is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use log::warn;

use crate::delivery::{DeadLetter, Delivery};
use crate::drain::{Drain, DrainTrigger};
use crate::entry::EntryId;
use crate::places::Place;
use crate::record::{Parked, Record, Told};
use crate::report as endpoints;
use crate::store::{Store, StoreError};
use crate::trouble::Trouble;
use crate::waker::Room;
use crate::work::Giver;

/// The channel's bound, and that of what is held.
pub const CAPACITY: usize = 256;

/// Bytes held at most: one request should not block Redis for everyone.
const BYTES: usize = 1 << 20;

/// What one write may take. Redis under a long command is not dead yet.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The least a write gets, even when the time is over.
const LAST_LIMIT: Duration = Duration::from_millis(200);

/// How often it is told that something is given up.
const COMPLAIN: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
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
    pub work: Giver<Delivery>,
    /// For the timer, which waits for room in `records`.
    pub room: Room,
    pub drain: Drain,
    /// Tells whoever hears to the last that all that was given to this is written, or given up.
    pub last: Option<DrainTrigger>,
    /// How long the store may stay away once the service is to end.
    pub patience: Duration,
    pub trouble: Trouble,
    /// When it was last told that something is given up.
    pub complained: Option<Instant>,
}

/// Records that are not written yet, by kind.
#[derive(Default)]
struct Held {
    settled: Vec<EntryId>,
    notes: Vec<(EntryId, u32)>,
    begun: Vec<Delivery>,
    letters: Vec<DeadLetter>,
    parked: Vec<Parked>,
    told: Vec<Told>,
    gone: Vec<(Arc<str>, Duration)>,
    answers: Vec<(Arc<str>, Box<endpoints::Report>)>,
    /// That there will be no more but what is heard until this is known.
    has_last_call: bool,
    count: usize,
    bytes: usize,
}

impl Ledger {
    /// Works until `records` ends. Owns it, so that after a panic it is closed before `room`
    /// wakes the timer, which would sleep on otherwise.
    pub fn run(mut self, records: Receiver<Place<Record>>) -> Report {
        let mut report = Report::default();
        let mut held = Held::default();
        let mut deadline = None;
        let mut gave_up = false;
        loop {
            if !held.fill(&records, &self.room) {
                return report;
            }
            if gave_up {
                // What is still heard would be lost.
                self.last = None;
                give_up(std::mem::take(&mut held), &mut report);
                continue;
            }
            let begun = Instant::now();
            let written = match held.count {
                0 => Ok(()),
                _ => self.write(&mut held, &mut report, deadline),
            };
            match written {
                Ok(()) if std::mem::take(&mut held.has_last_call) => self.last = None,
                Ok(()) => self.trouble.end(),
                Err(e) => {
                    let pause = self.trouble.begin(&e);
                    // The end, a drain's or that of all work, began after this write did.
                    if deadline.is_none() && (self.work.is_last() || self.drain.has_begun()) {
                        deadline = Some(begun + self.patience);
                    }
                    // What is still to come is not tried any more: each try may take long.
                    gave_up = !self.waits(pause, deadline);
                    if gave_up {
                        self.last = None;
                        give_up(std::mem::take(&mut held), &mut report);
                    }
                }
            }
        }
    }

    /// Writes each kind, settlements first: they free memory, and are taken even by a server
    /// that has none left. What the server refuses stays; the first error is answered.
    fn write(
        &mut self,
        held: &mut Held,
        report: &mut Report,
        deadline: Option<Instant>,
    ) -> Result<(), StoreError> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let most = WRITE_LIMIT.min(self.patience.max(LAST_LIMIT));
        let limit = left.map_or(most, |left| left.clamp(LAST_LIMIT, most));
        let mut first = Ok(());
        let mut keep = |result: Result<(), StoreError>| match result {
            Ok(()) => true,
            Err(e) => {
                if first.is_ok() {
                    first = Err(e);
                }
                false
            }
        };
        if !held.settled.is_empty() && keep(self.store.settle(&held.settled, limit)) {
            held.settled.clear();
        }
        if !held.notes.is_empty() && keep(self.store.note(&held.notes, limit)) {
            held.notes.clear();
        }
        if !held.begun.is_empty() {
            let begun = held.begun.iter();
            let notes = begun.filter_map(|d| d.entry.map(|entry| (entry, d.next_attempt())));
            if keep(self.store.note(&notes.collect::<Vec<_>>(), limit)) {
                for delivery in held.begun.drain(..) {
                    self.work.give(delivery);
                }
            }
        }
        if !held.letters.is_empty() && keep(self.store.bury(&held.letters, limit)) {
            report.letters += held.letters.len() as u64;
            tell(&held.letters, &self.store.place());
            held.letters.clear();
        }
        if !held.parked.is_empty() && keep(self.store.park(&held.parked, limit)) {
            held.parked.clear();
        }
        if !held.told.is_empty() {
            let told = self.store.tell(&held.told, limit);
            if keep(self.unless_refused("what became of messages", told)) {
                held.told.clear();
            }
        }
        if !held.gone.is_empty() {
            let gone = self.store.gone(&held.gone, limit);
            if keep(self.unless_refused("which endpoints are gone", gone)) {
                held.gone.clear();
            }
        }
        if !held.answers.is_empty() {
            // Whoever asked does not wait for a second try.
            let answers = std::mem::take(&mut held.answers);
            let answered = self.store.answer(&answers, limit);
            keep(self.unless_refused("answers to operators", answered));
        }
        held.recount();
        first
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
                let quiet = self.complained.is_some_and(|at| now - at < COMPLAIN);
                if !quiet {
                    warn!("redis refuses to keep {what}: {e}");
                    self.complained = Some(now);
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

impl Held {
    /// Takes records while there is room here, and tells who waits for room there; waits for
    /// one if there is nothing to do. False when all is done, and there will be no more.
    ///
    /// That it may wait before it has told is no harm: a channel that is full is so by half
    /// with whole records, as one that is large takes at most half of it (`extra_places`).
    fn fill(&mut self, records: &Receiver<Place<Record>>, room: &Room) -> bool {
        while self.count == 0 && !self.has_last_call {
            match records.recv() {
                Ok(place) => self.add(place),
                Err(_) => return false,
            }
        }
        while self.count < CAPACITY && self.bytes < BYTES {
            match records.try_recv() {
                Ok(place) => self.add(place),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        room.made();
        true
    }

    fn add(&mut self, place: Place<Record>) {
        let Some(record) = place else {
            return;
        };
        self.count += usize::from(!matches!(record, Record::LastCall));
        self.bytes += record.len();
        match record {
            Record::Settle(entry) => self.settled.push(entry),
            Record::Note(entry, attempts) => self.notes.push((entry, attempts)),
            Record::Begin(delivery) => self.begun.push(delivery),
            Record::Bury(letter) => self.letters.push(letter),
            Record::Park(parked) => self.parked.push(parked),
            Record::Tell(told) => self.told.push(*told),
            Record::Gone(url, length) => self.gone.push((url, length)),
            Record::Answer(key, report) => self.answers.push((key, report)),
            Record::LastCall => self.has_last_call = true,
        }
    }

    fn recount(&mut self) {
        self.count = self.settled.len()
            + self.notes.len()
            + self.begun.len()
            + self.letters.len()
            + self.parked.len()
            + self.told.len()
            + self.gone.len()
            + self.answers.len();
        let letters = self.letters.iter().map(|l| l.message.len());
        let parked = self.parked.iter().map(|p| p.message.len());
        let begun = self.begun.iter().map(|d| d.message.raw().len());
        self.bytes = letters.chain(parked).chain(begun).sum();
    }
}

/// The end has come before the store: what memory alone held is lost, and is named at the end.
fn give_up(held: Held, report: &mut Report) {
    let begun = held.begun.into_iter().map(Record::Begin);
    let letters = held.letters.into_iter().map(Record::Bury);
    let parked = held.parked.into_iter().map(Record::Park);
    report.again += held.settled.len() as u64;
    for record in begun.chain(letters).chain(parked) {
        if let Some(name) = record.loss() {
            report.lost.push(name);
        }
    }
}

/// One line a batch and reason, once it is kept: a flood of dead letters is not a flood of
/// lines.
fn tell(letters: &[DeadLetter], place: &str) {
    let mut reasons: BTreeMap<String, (usize, &DeadLetter)> = BTreeMap::new();
    for letter in letters {
        let reason = reasons.entry(letter.reason.to_string());
        reason.or_insert((0, letter)).0 += 1;
    }
    for (reason, (count, letter)) in reasons {
        let more = match count {
            1 => String::new(),
            _ => format!(" and {} more", count - 1),
        };
        let (name, detail) = (letter.name(), &letter.detail);
        let to = letter.url.as_deref().map(|u| format!(" to {u}"));
        let to = to.unwrap_or_default();
        warn!("dead ({reason}): {name}{to}{more}, kept in {place}: {detail}");
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::waker::waker;

    #[test]
    fn who_waits_for_room_is_told_of_all_that_was_taken_at_once() {
        let (waker, sleeper) = waker();
        let room = Room::new(waker);
        let (to, from) = bounded(2);
        for seq in 0..2 {
            to.send(Some(Record::Settle(EntryId { ms: 1, seq })))
                .unwrap();
        }
        room.want();
        assert!(Held::default().fill(&from, &room));
        sleeper.sleep_until_woken();
    }
}
