//! The ways out. A delivery that leaves is taken out of every count, and a record in the outbox tells the
//! ledger what must become true of it in the store. Pure.

use std::time::Duration;

use super::room::MOST_UNPROVEN;
use super::{Now, Scheduler};
use crate::delivery::parked::{Parked, Until};
use crate::delivery::record::{Move, Notice, Record};
use crate::delivery::status_update::{Disposition, StatusUpdate};
use crate::delivery::{DeadReason, Delivery, Job, LaneId};
use crate::scheduler::lane::Weight;

impl Scheduler {
    /// A delivery was made: its entry may go.
    pub(super) fn deliver(&mut self, job: &Job) -> Disposition {
        self.settle(job);
        self.tally.deliver();
        let record = match (job.delivery.entry, &job.delivery.head) {
            (Some(entry), Some(key)) => Some(Move::Advance(entry, key.clone())),
            (entry, _) => entry.map(Move::Settle),
        };
        self.outbox.extend(record.map(Record::Move));
        Disposition::Delivered
    }

    /// A delivery is given up.
    pub(super) fn bury(
        &mut self,
        job: Job,
        reason: DeadReason,
        detail: String,
        now: Now,
    ) -> Disposition {
        self.settle(&job);
        let disposition = Disposition::Dead(reason);
        let told = self.told(&job.delivery, disposition, now);
        self.hand_over(&job);
        self.tally.bury();
        let letter = job.delivery.bury(reason, detail, now.unix_ms);
        self.outbox.push_back(Move::Bury(letter.into()).into());
        self.outbox.extend(told);
        disposition
    }

    /// Another replica has it and is responsible for it. It leaves without a trace.
    pub(super) fn lapse(&mut self, job: &Job) {
        self.settle(job);
        self.tally.lapse();
    }

    /// It waits in the store until `due`, in Unix milliseconds.
    pub(super) fn park(&mut self, mut job: Job, due: u64, now: Now) -> Disposition {
        // If it becomes too old before, it comes back to be given up.
        let due = due.min(self.limits.latest(&job).max(now.unix_ms));
        self.note_failure(&mut job);
        let after = Duration::from_millis(due.saturating_sub(now.unix_ms));
        let is_late = job.delivery.is_late;
        // Other replicas may have heard it too. Its status is told by the replica that gets the entry.
        let once = (self.limits.bridge || is_late) && job.delivery.entry.is_none();
        let disposition = Disposition::Parked { after };
        let told = self.told(&job.delivery, disposition, now);
        self.leave(&job);
        self.hand_over(&job);
        self.tally.park(is_late);
        let mut parked = Parked::new(job.delivery, Until::Due(due));
        parked.once = once;
        self.outbox.push_back(Move::Park(parked.into()).into());
        self.outbox.extend(told.filter(|_| !once));
        disposition
    }

    /// Puts it at the end of the backlog of `lane` in the store, or back at the beginning if it has just
    /// come from there. A message that memory alone holds goes to the stream instead, and comes back as
    /// an entry: a repeated request would double it in a list.
    pub(super) fn defer(&mut self, job: Job, lane: LaneId, now: Now) -> Disposition {
        let first = job.delivery.backlog.as_ref() == Some(self.lanes.name(lane));
        self.defer_to(job, lane, first, now)
    }

    /// The same, at the beginning if it is `first`.
    pub(super) fn defer_to(
        &mut self,
        mut job: Job,
        lane: LaneId,
        first: bool,
        now: Now,
    ) -> Disposition {
        if job.delivery.entry.is_none() {
            return self.park(job, now.unix_ms, now);
        }
        if self.is_one_too_many(&job, now) {
            if job.delivery.backlog.is_some() {
                return self.bury_for_room(job, now);
            }
            // The oldest message makes room for it.
            self.lanes.change(lane, |lane| lane.backlog.bury_one());
        }
        self.note_failure(&mut job);
        let told = self.told(&job.delivery, Disposition::Deferred, now);
        self.leave(&job);
        if let Some(entry) = job.delivery.entry {
            self.leases.defer(entry, lane);
        }
        self.tally.defer();
        let knows_oldest = self.lanes.change(lane, |lane| {
            lane.set_max_age(job.rule.as_deref());
            lane.backlog.defer();
            lane.backlog.knows_oldest()
        });
        if knows_oldest == Some(false) {
            self.set_oldest(lane, job.delivery.received, now);
        }
        let name = self.lanes.name(lane).clone();
        let parked = Parked::new(job.delivery, Until::Released { name, first });
        self.outbox.push_back(Move::Park(parked.into()).into());
        self.outbox.extend(told);
        Disposition::Deferred
    }

    /// The queue of a lane that has begun to fail goes to the beginning of its backlog. A message that
    /// memory alone holds goes only if there is no room for it, because it needs no store.
    pub(super) fn defer_queue(&mut self, id: LaneId, now: Now) {
        if !self.has_store() {
            return;
        }
        let queue = self.lanes.change(id, |lane| {
            lane.queue.extract(|job| job.delivery.entry.is_some())
        });
        for job in queue.unwrap_or_default().into_iter().rev() {
            self.defer_to(job, id, true, now);
        }
        // A store that is away must not stop messages that need none.
        while !self.room().has_unproven(Weight::default())
            && self.outbox.len() < MOST_UNPROVEN
            && let Some(job) = self
                .lanes
                .change(id, |lane| lane.queue.pop_last())
                .flatten()
        {
            self.defer(job, id, now);
        }
    }

    /// Writes down why its endpoint fails: the replica that gives it up may not know that.
    fn note_failure(&self, job: &mut Job) {
        if job.delivery.attempts.made() == 0
            && let Some(failure) = self.endpoint_failure(job)
        {
            job.delivery.failed_before = Some(failure);
        }
    }

    /// The status of a message that leaves without an attempt. It stands behind the move in the outbox,
    /// because the ledger drops it if another replica turns out to have the entry.
    pub(super) fn told(
        &self,
        delivery: &Delivery,
        disposition: Disposition,
        now: Now,
    ) -> Option<Record> {
        self.limits.tells.then(|| {
            let update = StatusUpdate::of(delivery, false, now.unix_ms);
            Notice::Status(update(disposition).into()).into()
        })
    }

    /// It is not active any more, and the next of its key may go.
    fn settle(&mut self, job: &Job) {
        self.leave(job);
        self.advance(&job.delivery);
    }

    /// The ledger will move its entry.
    fn hand_over(&mut self, job: &Job) {
        if let Some(entry) = job.delivery.entry {
            self.leases.hand_over(entry);
        }
    }

    /// It is not active any more.
    fn leave(&mut self, job: &Job) {
        let bytes = job.delivery.bytes();
        self.forget(&job.delivery);
        let is_askable = self.lanes.change(job.lane, |lane| {
            lane.leave(bytes);
            lane.backlog.is_askable()
        });
        if is_askable == Some(true) {
            self.recalls.look_at(job.lane);
        }
    }

    /// The same for a delivery that is in no lane.
    pub(super) fn forget(&mut self, delivery: &Delivery) {
        self.tally.leave(delivery.bytes());
        if let Some(entry) = delivery.entry {
            self.leases.leave(entry);
        }
    }
}
