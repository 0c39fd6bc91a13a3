//! Entries of the stream: how long they are ours, and what happens to those that are ours no longer. Pure.
//!
//! An entry is ours from before it was read until its lease ends; then others take it over. An entry in
//! memory is renewed or leaves by half of that time. So only in a process that was suspended can an entry
//! outlive its lease, and such a process first drops everything that has lapsed. The store finds what it
//! misses: each script that moves an entry looks whether the entry is still ours.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::{Now, Scheduler};
use crate::delivery::receipt::Receipt;
use crate::delivery::record::{Move, Record};
use crate::delivery::{Delivery, Job, LaneId};
use crate::message::entry::EntryId;
use crate::scheduler::lane::HealthSignal;

/// The entries that are here. None is here twice.
#[derive(Debug, Default)]
pub struct Leases {
    /// Entries of active deliveries.
    active: HashSet<EntryId>,
    /// Entries that the ledger is moving, with the lane to whose backlog they go, if to one. A second copy
    /// that comes meanwhile would be delivered, too.
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

    /// The ledger will move it. False if that was so already.
    pub fn hand_over(&mut self, entry: EntryId) -> bool {
        self.moving.insert(entry, None).is_none()
    }

    /// The same, to the backlog of this lane.
    pub fn defer(&mut self, entry: EntryId, lane: LaneId) {
        self.moving.insert(entry, Some(lane));
    }

    /// The ledger has moved it. Answers the lane to whose backlog it went, if to one.
    fn end_move(&mut self, entry: EntryId) -> Option<LaneId> {
        self.moving.remove(&entry).flatten()
    }

    /// The first delivery has come: from now on it matters when this process is suspended.
    pub fn begin(&mut self, now: Now) {
        self.awake.get_or_insert(now);
    }

    /// How long this process was suspended, if it was: no wait of the timer is that long.
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
    /// To be called first whenever time has passed. If this process was suspended, it drops the entries
    /// that have lapsed meanwhile. Answers how long the suspension was, and how many entries it dropped, if
    /// any.
    pub fn wake(&mut self, now: Now) -> Option<(Duration, usize)> {
        let near = self.limits.parking.near_window();
        let passed = self.leases.suspension(near, now)?;
        let dropped = self.drop_lapsed(now);
        self.renew_waiting(now);
        self.housekeeping.hurry(now.mono);
        (dropped > 0).then_some((passed, dropped))
    }

    /// Renews entries that would otherwise outlive their leases while they wait.
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

    /// All jobs that are queued or wait for a time.
    fn all_waiting(&self) -> impl Iterator<Item = &Job> {
        let queued = self.lanes.iter().flat_map(|(_, lane)| lane.queue.iter());
        queued.chain(self.waiting.deliveries())
    }

    /// Drops these entries where they are queued or wait. Answers how many it found.
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

    /// The intake has found this number of copies before they were accepted.
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

/// Renews the lease of a delivery that stays here, and notes the attempts that were made.
pub fn renew(delivery: &mut Delivery, outbox: &mut VecDeque<Record>, now: Now) {
    if let Some(entry) = delivery.entry {
        delivery.lease_renewed_at = now.boot;
        delivery.renewed = true;
        let made = delivery.attempts.made_at_entry();
        outbox.push_back(Move::Note(entry, made).into());
    }
}
