//! Messages that go one after another (`orderKey`). Pure.
//!
//! Of each key and origin one message, the head, is in play. The store says which message that is, and
//! keeps the followers: the scheduler hands it each message with a key, and treats the head that comes
//! back like any other message. Without a store the followers wait here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Now, Scheduler};
use crate::delivery::receipt::Turn;
use crate::delivery::record::Move;
use crate::delivery::status_update::Disposition;
use crate::delivery::{Delivery, Job};

/// The messages behind the head of each key, where there is no store.
#[derive(Debug, Default)]
pub struct Followers {
    keys: HashMap<Arc<str>, VecDeque<Job>>,
    count: usize,
    /// Messages whose turn has come within one call of the scheduler.
    released: VecDeque<Job>,
}

impl Followers {
    /// A message has come. Answers it, as the head, if its key has none.
    fn admit(&mut self, key: Arc<str>, mut job: Job) -> Option<Job> {
        if let Some(others) = self.keys.get_mut(&key) {
            others.push_back(job);
            self.count += 1;
            return None;
        }
        self.keys.insert(key.clone(), VecDeque::new());
        job.delivery.head = Some(key);
        Some(job)
    }

    /// The head is settled. The next message is the head, and must be routed.
    fn advance(&mut self, key: &Arc<str>) {
        let Some(others) = self.keys.get_mut(key) else {
            return;
        };
        let Some(mut next) = others.pop_front() else {
            self.keys.remove(key);
            return;
        };
        self.count -= 1;
        next.delivery.head = Some(key.clone());
        self.released.push_back(next);
    }

    /// A message whose turn has come.
    pub fn pop_released(&mut self) -> Option<Job> {
        self.released.pop_front()
    }

    pub fn len(&self) -> usize {
        self.count
    }
}

impl Scheduler {
    /// Routes a message that has come, if it is its turn.
    pub(super) fn line_up(&mut self, job: Job, now: Now) {
        let delivery = &job.delivery;
        let key = delivery.message.group().filter(|_| delivery.head.is_none());
        let go = match key {
            Some(key) => self.followers.admit(key, job),
            None => Some(job),
        };
        if let Some(job) = go {
            self.route(job, now);
        }
    }

    /// Whether the store must first say that it is its turn.
    pub(super) fn is_to_queue(&self, delivery: &Delivery) -> bool {
        let has_key = delivery.message.overrides.order_key.is_some();
        has_key && delivery.head.is_none() && self.has_store()
    }

    /// Asks the store whether it is its turn. A message that memory alone holds goes to the stream that
    /// is dealt in order, and comes back from there.
    pub(super) fn queue(&mut self, delivery: Delivery, now: Now) {
        if delivery.entry.is_some() {
            self.tally.queue();
            self.outbox.push_back(Move::Queue(delivery.into()).into());
            return;
        }
        let job = self.assign_lane(delivery, now);
        match self.is_one_too_many(&job, now) {
            true => self.bury_for_room(job, now),
            false => self.park(job, now.unix_ms, now),
        };
    }

    /// The store has said whose turn it is.
    pub(super) fn take_turn(&mut self, mut delivery: Delivery, turn: Turn, now: Now) {
        self.tally.end_queueing();
        if turn == Turn::Follows {
            self.tally.defer();
            self.outbox
                .extend(self.told(&delivery, Disposition::Deferred, now));
            return self.forget(&delivery);
        }
        if turn == Turn::Lost || self.limits.parking.has_lapsed(&delivery, now) {
            self.tally.lapse();
            return self.forget(&delivery);
        }
        delivery.head = delivery.message.group();
        let job = self.assign_lane(delivery, now);
        self.route(job, now);
    }

    /// A delivery is settled: the next of its key may go. The store sees to that itself.
    pub(super) fn advance(&mut self, delivery: &Delivery) {
        if let Some(key) = &delivery.head
            && !self.has_store()
        {
            self.followers.advance(key);
        }
    }
}
