//! What the ledger holds and has not written yet.

use std::collections::BTreeMap;
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;

use super::{CAPACITY, LedgerSummary};
use crate::delivery::record::{Move, MoveKind, Notice, NoticeKind, Record};
use crate::service::channel::byte_bound::BlockingReceiver;

/// Bytes held at most: one request should not block Redis for everyone.
const BYTES: usize = 1 << 20;

/// What is refused may stand here beside so much else.
const MOST_REFUSED: usize = 2048;
const MOST_REFUSED_BYTES: usize = 8 << 20;

/// Records that are not written yet, by kind, in the order in which they are written.
#[derive(Default)]
pub(super) struct Batch {
    pub moves: BTreeMap<MoveKind, Vec<Move>>,
    pub notices: BTreeMap<NoticeKind, Vec<Notice>>,
    /// That there will be no more but what is heard until this is known.
    pub has_last_call: bool,
    count: usize,
    bytes: usize,
    /// Of these, what was left by the last write.
    refused: (usize, usize),
}

impl Batch {
    /// Takes records while there is room here, and tells the timer of the room there; waits for
    /// one, until then, if there is nothing to do. False when all is done, and there will be no more.
    pub fn fill(&mut self, records: &BlockingReceiver<Record>, until: Option<Instant>) -> bool {
        while self.count == 0 && !self.has_last_call {
            match records.recv_until(until) {
                Ok(record) => self.add(record),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        // What a full server refuses must not keep out the settlements that make room there.
        let count = CAPACITY + self.refused.0.min(MOST_REFUSED);
        let bytes = BYTES + self.refused.1.min(MOST_REFUSED_BYTES);
        while self.count < count
            && self.bytes < bytes
            && let Some(record) = records.try_recv()
        {
            self.add(record);
        }
        records.tell_room();
        true
    }

    fn add(&mut self, record: Record) {
        self.bytes += record.bytes();
        match record {
            Record::Move(one) => self.moves.entry(one.kind()).or_default().push(one),
            Record::Notice(one) => self.notices.entry(one.kind()).or_default().push(one),
            Record::LastCall => return self.has_last_call = true,
        }
        self.count += 1;
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes account of what was written: the rest was refused.
    pub fn recount(&mut self) {
        let moves = self.moves.values().flatten().map(Move::bytes);
        let notices = self.notices.values().flatten().map(Notice::bytes);
        (self.count, self.bytes) = moves
            .chain(notices)
            .fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        self.refused = (self.count, self.bytes);
    }

    /// The end has come before the store: what memory alone held is lost, and is named at the end.
    pub fn give_up(self, summary: &mut LedgerSummary) {
        for one in self.moves.into_values().flatten() {
            summary.again += u64::from(matches!(one, Move::Settle(_) | Move::Advance(..)));
            summary.lost.extend(one.loss());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::entry::EntryId;
    use crate::service::channel::byte_bound::from_timer;
    use crate::service::channel::wake::waker;

    fn settle(seq: u64) -> Record {
        Move::Settle(EntryId::new(1, seq)).into()
    }

    #[test]
    fn a_timer_that_waits_for_room_is_told_of_all_that_was_taken_at_once() {
        let (waker, parker) = waker();
        let (to, from) = from_timer(2, waker);
        (0..2).for_each(|seq| to.try_send(settle(seq)).unwrap());
        assert!(to.try_send(settle(2)).is_err());
        assert!(Batch::default().fill(&from, None));
        parker.sleep_until_woken();
        (2..4).for_each(|seq| to.try_send(settle(seq)).unwrap());
    }

    #[test]
    fn what_a_full_server_refuses_does_not_keep_out_what_makes_room_there() {
        let (to, from) = from_timer(CAPACITY, waker().0);
        let mut batch = Batch::default();
        let offer = |batch: &mut Batch, seq| {
            to.try_send(settle(seq)).unwrap();
            batch.fill(&from, None)
        };
        for seq in 0..CAPACITY as u64 {
            assert!(offer(&mut batch, seq));
        }
        batch.recount();
        assert!(offer(&mut batch, 10_000));
        assert_eq!(batch.moves[&MoveKind::Settle].len(), CAPACITY + 1);
    }
}
