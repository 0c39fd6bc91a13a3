//! What follows from the moves of one kind that the store has written: attempts begin, the timer
//! gets its receipt, and dead letters are told of.

use std::collections::HashSet;
use std::time::Instant;

use super::letters::LetterLog;
use super::{Ledger, LedgerSummary};
use crate::delivery::parked::Until;
use crate::delivery::receipt::{Receipt, Turn, Unmoved, Why};
use crate::delivery::record::Move;
use crate::delivery::{DeadLetter, DeadReason};
use crate::message::entry::EntryId;

/// Entries that are remembered to be others'. What is written of them comes soon after.
const MOST_LAPSED: usize = 10_000;

/// What the ledger remembers of what it has written.
#[derive(Default)]
pub struct Recent {
    /// When it was last told that something is given up.
    pub(super) complained: Option<Instant>,
    /// Whether what is to be written was refused before, or its answer lost.
    pub(super) repeats: bool,
    /// Entries that turned out to be others', of late.
    lapsed: HashSet<EntryId>,
    /// What was said of dead letters.
    pub(super) letters: LetterLog,
}

impl Recent {
    pub(super) fn has_lapsed(&self, entry: Option<EntryId>) -> bool {
        entry.is_some_and(|entry| self.lapsed.contains(&entry))
    }

    /// Whether others have what was to be moved. What is gone may be so because the answer to the same
    /// request was lost before.
    fn is_lost(&self, why: Option<Why>) -> bool {
        match why {
            Some(Why::Taken) => true,
            Some(Why::Gone) => !self.repeats,
            Some(Why::Copy | Why::Reused | Why::Follows) | None => false,
        }
    }

    fn remember(&mut self, entry: Option<EntryId>, is_lost: bool) {
        let Some(entry) = entry else { return };
        if is_lost {
            if self.lapsed.len() > MOST_LAPSED {
                self.lapsed.clear();
            }
            self.lapsed.insert(entry);
        } else {
            // Ours again.
            self.lapsed.remove(&entry);
        }
    }
}

impl Ledger {
    /// Answers those that are to be written again. `is_late`: it took the store so long that the
    /// leases of attempts that were noted are over by now, or end during the attempts.
    pub(super) fn conclude(
        &mut self,
        moves: Vec<Move>,
        unmoved: &Unmoved,
        is_late: bool,
        receipt: &mut Receipt,
        summary: &mut LedgerSummary,
    ) -> Vec<Move> {
        let (mut again, mut kept, mut reused) = (Vec::new(), Vec::new(), Vec::new());
        for (n, one) in moves.into_iter().enumerate() {
            let why = unmoved.get(&n).copied();
            let is_lost = self.recent.is_lost(why);
            match one {
                Move::Settle(_) | Move::Advance(..) => {}
                Move::Queue(delivery) => {
                    let turn = match why {
                        None => Turn::Head,
                        Some(Why::Follows) => Turn::Follows,
                        // The answer to the same request was lost.
                        Some(_) if !is_lost => Turn::Follows,
                        Some(_) => Turn::Lost,
                    };
                    self.recent.remember(delivery.entry, turn == Turn::Lost);
                    receipt.turns.push((*delivery, turn));
                }
                Move::Note(entry, _) => {
                    self.recent.remember(Some(entry), is_lost);
                    receipt.lapsed.extend(is_lost.then_some(entry));
                }
                Move::Begin(_) if is_late => again.push(one),
                // A repetition takes nothing away, so who is not there is not ours.
                Move::Begin(job) => {
                    self.recent.remember(job.delivery.entry, why.is_some());
                    match why {
                        Some(_) => receipt.not_begun.push(*job),
                        None => self.ends.work.give(*job),
                    }
                }
                Move::Bury(letter) => {
                    self.recent.remember(letter.entry, is_lost);
                    receipt.moved.extend(letter.entry);
                    match is_lost {
                        true => receipt.not_buried += u64::from(was_accepted(&letter)),
                        false => kept.push(letter),
                    }
                }
                Move::Park(parked) => {
                    self.recent.remember(parked.entry, is_lost);
                    receipt.moved.extend(parked.entry);
                    match parked.until {
                        Until::Due(_) => receipt.not_parked += u64::from(is_lost),
                        Until::Released { .. } => receipt.not_deferred += u64::from(is_lost),
                    }
                    let is_reused = why == Some(Why::Reused);
                    // Where the answer to the same request was lost, it may be a copy of itself.
                    let is_copy = why == Some(Why::Copy) && !self.recent.repeats;
                    receipt.copies += u64::from(is_copy);
                    receipt.not_appended += u64::from(parked.is_late && (is_copy || is_reused));
                    reused.extend(is_reused.then_some(parked));
                }
            }
        }
        receipt.reused += reused.len() as u64;
        summary.letters += (kept.len() + reused.len()) as u64;
        if !(kept.is_empty() && reused.is_empty()) {
            let (place, now) = (self.store.place(), Instant::now());
            let letters = &mut self.recent.letters;
            kept.iter()
                .for_each(|letter| letters.note(letter, &place, now));
            reused
                .iter()
                .for_each(|parked| letters.note_reused(parked, &place, now));
        }
        again
    }
}

/// Letters of messages that were refused are of none that the timer has counted.
fn was_accepted(letter: &DeadLetter) -> bool {
    !matches!(
        letter.reason,
        DeadReason::Rejected(_) | DeadReason::IdReused
    )
}
