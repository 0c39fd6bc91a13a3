//! Entries of the stream: for how long they are ours, and what becomes of those that are not any
//! more. Pure.
//!
//! An entry is ours from before it was read until its lease ends; then others take it over. What
//! stands here is renewed or leaves by half of that. So nothing outlives its lease here but in a
//! process that was suspended, and such a process drops what is not its own before it does
//! anything else. What it has missed even so, the store finds: each script that moves an entry
//! looks whether it is still ours.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::{Now, Scheduler};
use crate::delivery::receipt::Receipt;
use crate::delivery::record::{Move, Record};
use crate::delivery::{Delivery, Job, LaneId};
use crate::message::entry::EntryId;
use crate::scheduler::lane::HealthSignal;

/// The entries that are held here; none is held twice.
#[derive(Debug, Default)]
pub struct Leases {
    /// Those of active deliveries.
    active: HashSet<EntryId>,
    /// Those that the ledger is to move, and to whose backlog if to one. Another copy that comes
    /// meanwhile would be moved too, and delivered.
    moving: HashMap<EntryId, Option<LaneId>>,
    /// When this process was last known to be awake.
    awake: Option<Now>,
}

impl Leases {
    /// An entry has come. False if it is here already.
    pub fn enter(&mut self, entry: EntryId) -> bool {
        !self.moving.contains_key(&entry) && self.active.insert(entry)
    }

    /// It is not active any more.
    pub fn leave(&mut self, entry: EntryId) {
        self.active.remove(&entry);
    }

    /// It is on its way to the ledger, to be moved. False if it was that already.
    pub fn hand_over(&mut self, entry: EntryId) -> bool {
        self.moving.insert(entry, None).is_none()
    }

    /// The same, to the backlog of this lane.
    pub fn defer(&mut self, entry: EntryId, lane: LaneId) {
        self.moving.insert(entry, Some(lane));
    }

    /// The ledger has moved it. Answers to whose backlog, if to one.
    fn end_move(&mut self, entry: EntryId) -> Option<LaneId> {
        self.moving.remove(&entry).flatten()
    }

    /// From the first delivery on it matters for how long this process could not look.
    pub fn begin(&mut self, now: Now) {
        self.awake.get_or_insert(now);
    }

    /// For how long it could not look, if that was more than what there is to wait for.
    fn suspension(&mut self, near: Option<Duration>, now: Now) -> Option<Duration> {
        let before = self.awake.replace(now).unwrap_or(now);
        let passed = now.boot.since(before.boot);
        // The machine was asleep for the rest.
        let awake = now.mono.saturating_duration_since(before.mono);
        let near = near?;
        let is_long = passed >= near / 4 || passed.saturating_sub(awake) >= near / 16;
        is_long.then_some(passed)
    }

    /// Active deliveries that are entries.
    pub fn len(&self) -> usize {
        self.active.len()
    }
}

impl Scheduler {
    /// To be called before anything else when time has passed: if it was more than what there is
    /// to wait for, this process was suspended, and what has lapsed meanwhile is dropped. Answers
    /// for how long, and how many were dropped, if any.
    pub fn wake(&mut self, now: Now) -> Option<(Duration, usize)> {
        let near = self.limits.parking.near_window();
        let passed = self.leases.suspension(near, now)?;
        let dropped = self.drop_lapsed(now);
        self.renew_waiting(now);
        self.housekeeping.hurry(now.mono);
        (dropped > 0).then_some((passed, dropped))
    }

    /// Renews what waits and would outlive its lease.
    fn renew_waiting(&mut self, now: Now) {
        let (parking, outbox) = (self.limits.parking, &mut self.outbox);
        let near = parking.near_window().unwrap_or_default();
        self.waiting.change_each(|due, job| {
            let left = due.saturating_duration_since(now.mono);
            if parking.age(&job.delivery, now) + left > near {
                renew(&mut job.delivery, outbox, now);
            }
        });
    }

    fn drop_lapsed(&mut self, now: Now) -> usize {
        let lapsed: HashSet<EntryId> = self
            .all_waiting()
            .filter(|job| self.limits.parking.has_lapsed(&job.delivery, now))
            .filter_map(|job| job.delivery.entry)
            .collect();
        self.drop_entries(&lapsed, now)
    }

    /// All that stand somewhere here.
    fn all_waiting(&self) -> impl Iterator<Item = &Job> {
        let queued = self.lanes.iter().flat_map(|(_, lane)| lane.queue.iter());
        queued.chain(self.waiting.deliveries())
    }

    /// Drops those of these entries that stand here. Answers how many did.
    fn drop_entries(&mut self, entries: &HashSet<EntryId>, now: Now) -> usize {
        if entries.is_empty() {
            return 0;
        }
        let is_lost = |job: &Job| {
            job.delivery
                .entry
                .is_some_and(|entry| entries.contains(&entry))
        };
        let mut lost = self.lanes.extract(|_, _| true, is_lost);
        let waited = self.waiting.extract(|_, job| is_lost(job));
        lost.extend(waited.into_iter().map(|(_, job)| job));
        let count = lost.len();
        for job in lost {
            self.lapse(&job);
        }
        self.route_released(now);
        count
    }

    /// So many copies came, and were found out before they were accepted.
    pub fn count_copies(&mut self, count: u64) {
        self.tally.count_copies(count);
    }

    /// What the ledger has found out.
    pub fn take_receipt(&mut self, receipt: Receipt, now: Now) {
        for entry in &receipt.moved {
            if let Some(lane) = self.leases.end_move(*entry) {
                self.note_deferred(lane);
            }
        }
        self.tally.correct(&receipt);
        for job in receipt.not_begun {
            self.workers.give_back();
            self.release(job.lane, HealthSignal::NOTHING, now);
            self.lapse(&job);
        }
        for (delivery, turn) in receipt.turns {
            self.take_turn(delivery, turn, now);
        }
        self.drop_entries(&receipt.lapsed.into_iter().collect(), now);
        self.route_released(now);
    }
}

/// Renews the lease of one that stays here, and notes what attempts were made at it.
pub fn renew(delivery: &mut Delivery, outbox: &mut VecDeque<Record>, now: Now) {
    if let Some(entry) = delivery.entry {
        delivery.lease_renewed_at = now.boot;
        delivery.renewed = true;
        let made = delivery.attempts.made_at_entry();
        outbox.push_back(Move::Note(entry, made).into());
    }
}
