//! What the ledger holds and has not written yet.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};

use super::{CAPACITY, LedgerSummary};
use crate::delivery::endpoint_snapshot as endpoints;
use crate::delivery::parked::Parked;
use crate::delivery::record::Record;
use crate::delivery::status_update::StatusUpdate;
use crate::delivery::{DeadLetter, Delivery, Job};
use crate::message::entry::EntryId;
use crate::service::channel::wake::CapacitySignal;
use crate::service::places::Place;

/// Bytes held at most: one request should not block Redis for everyone.
const BYTES: usize = 1 << 20;

/// What is refused may stand here beside so much else.
const MOST_REFUSED: usize = 2048;
const MOST_REFUSED_BYTES: usize = 8 << 20;

/// Records that are not written yet, by kind.
#[derive(Default)]
pub(super) struct Batch {
    pub settled: Vec<EntryId>,
    pub advanced: Vec<(EntryId, Arc<str>)>,
    pub queued: Vec<Delivery>,
    pub notes: Vec<(EntryId, u32)>,
    pub begun: Vec<Job>,
    pub letters: Vec<DeadLetter>,
    pub parked: Vec<Parked>,
    pub told: Vec<StatusUpdate>,
    pub gone: Vec<(Arc<str>, Duration)>,
    pub answers: Vec<(Arc<str>, Box<endpoints::EndpointSnapshots>)>,
    /// That there will be no more but what is heard until this is known.
    pub has_last_call: bool,
    count: usize,
    bytes: usize,
    /// Of these, what was left by the last write.
    refused: (usize, usize),
}

impl Batch {
    /// Takes records while there is room here, and tells who waits for room there; waits for
    /// one if there is nothing to do. False when all is done, and there will be no more.
    ///
    /// That it may wait before it has told is no harm: a channel that is full is so by half
    /// with whole records, as one that is large takes at most half of it (`extra_places`).
    pub fn fill(&mut self, records: &Receiver<Place<Record>>, room: &CapacitySignal) -> bool {
        while self.count == 0 && !self.has_last_call {
            match records.recv() {
                Ok(place) => self.add(place),
                Err(_) => return false,
            }
        }
        // What a full server refuses must not keep out the settlements that make room there.
        let count = CAPACITY + self.refused.0.min(MOST_REFUSED);
        let bytes = BYTES + self.refused.1.min(MOST_REFUSED_BYTES);
        while self.count < count && self.bytes < bytes {
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
            Record::Advance(entry, key) => self.advanced.push((entry, key)),
            Record::Queue(delivery) => self.queued.push(delivery),
            Record::Note(entry, attempts) => self.notes.push((entry, attempts)),
            Record::Begin(job) => self.begun.push(job),
            Record::Bury(letter) => self.letters.push(letter),
            Record::Park(parked) => self.parked.push(parked),
            Record::Tell(told) => self.told.push(*told),
            Record::Gone(url, length) => self.gone.push((url, length)),
            Record::Answer(key, report) => self.answers.push((key, report)),
            Record::LastCall => self.has_last_call = true,
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn recount(&mut self) {
        self.count = self.settled.len()
            + self.advanced.len()
            + self.queued.len()
            + self.notes.len()
            + self.begun.len()
            + self.letters.len()
            + self.parked.len()
            + self.told.len()
            + self.gone.len()
            + self.answers.len();
        let letters = self.letters.iter().map(|l| l.message.len());
        let parked = self.parked.iter().map(|p| p.message.len());
        let begun = self.begun.iter().map(|job| &job.delivery);
        let held = begun.chain(&self.queued);
        let held = held.map(|d| d.message.raw().len());
        self.bytes = letters.chain(parked).chain(held).sum();
        self.refused = (self.count, self.bytes);
    }

    /// The end has come before the store: what memory alone held is lost, and is named at the end.
    pub fn give_up(self, report: &mut LedgerSummary) {
        let begun = self.begun.into_iter().map(Record::Begin);
        let letters = self.letters.into_iter().map(Record::Bury);
        let parked = self.parked.into_iter().map(Record::Park);
        report.again += (self.settled.len() + self.advanced.len()) as u64;
        for record in begun.chain(letters).chain(parked) {
            if let Some(name) = record.loss() {
                report.lost.push(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::service::channel::wake::waker;

    #[test]
    fn who_waits_for_room_is_told_of_all_that_was_taken_at_once() {
        let (waker, parker) = waker();
        let room = CapacitySignal::new(waker);
        let (to, from) = bounded(2);
        for seq in 0..2 {
            to.send(Some(Record::Settle(EntryId::new(1, seq)))).unwrap();
        }
        room.want();
        assert!(Batch::default().fill(&from, &room));
        parker.sleep_until_woken();
    }

    #[test]
    fn what_a_full_server_refuses_does_not_keep_out_what_makes_room_there() {
        let room = CapacitySignal::new(waker().0);
        let (to, from) = bounded(CAPACITY);
        let mut held = Batch::default();
        let offer = |held: &mut Batch, seq| {
            to.send(Some(Record::Settle(EntryId::new(1, seq)))).unwrap();
            held.fill(&from, &room)
        };
        for seq in 0..CAPACITY as u64 {
            assert!(offer(&mut held, seq));
        }
        held.recount();
        assert!(offer(&mut held, 10_000));
        assert_eq!(held.settled.len(), CAPACITY + 1);
    }
}
