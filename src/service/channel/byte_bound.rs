//! The channels between the timer and those that block: sources, and the ledger. They are bounded by
//! count and by bytes, as a message may have a hundred bytes or a million.
//!
//! The timer never blocks, and sleeps in one place. So its own ends are a [`TryReceiver`] and a
//! [`TrySender`], and whoever has the other end wakes it: by sending, by making the room that it has
//! asked for, and by going away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};

use super::wake::{CapacitySignal, Waker, WakingSender};

/// Bytes for each place.
const PLACE: usize = 64 << 10;

/// What has a size in bytes, which does not change on the way.
pub trait Weighed {
    fn bytes(&self) -> usize;
}

/// The other end is gone.
#[derive(Debug)]
pub struct Closed;

/// To the timer, for a thread that may block.
pub struct BlockingSender<T> {
    to: WakingSender<T>,
    budget: Arc<Budget>,
}

/// The timer's end of that.
pub struct TryReceiver<T> {
    // Dropped in this order: whoever waits for room finds the channel closed.
    from: Receiver<T>,
    budget: ClosingBudget,
    /// It was taken out when it was looked for.
    next: Option<T>,
    is_open: bool,
}

/// From the timer, which is woken once there is the room that it lacked.
pub struct TrySender<T> {
    to: Sender<T>,
    budget: Arc<Budget>,
    room: CapacitySignal,
}

/// The other end of that, for a thread that may block.
pub struct BlockingReceiver<T> {
    // Dropped in this order: the timer, which is woken, finds the channel closed.
    from: Receiver<T>,
    budget: ClosingBudget,
    room: CapacitySignal,
}

/// The timer is woken by `waker`.
pub fn to_timer<T: Weighed>(places: usize, waker: Waker) -> (BlockingSender<T>, TryReceiver<T>) {
    let (to, from) = bounded(places);
    let budget = Budget::for_places(places);
    let sender = BlockingSender {
        to: WakingSender::new(to, waker),
        budget: budget.clone(),
    };
    let receiver = TryReceiver {
        from,
        budget: ClosingBudget(budget),
        next: None,
        is_open: true,
    };
    (sender, receiver)
}

/// The timer is woken by `waker`.
pub fn from_timer<T: Weighed>(places: usize, waker: Waker) -> (TrySender<T>, BlockingReceiver<T>) {
    let (to, from) = bounded(places);
    let budget = Budget::for_places(places);
    let room = CapacitySignal::new(waker);
    let sender = TrySender {
        to,
        budget: budget.clone(),
        room: room.clone(),
    };
    let receiver = BlockingReceiver {
        from,
        budget: ClosingBudget(budget),
        room,
    };
    (sender, receiver)
}

impl<T: Weighed> BlockingSender<T> {
    /// Blocks while the channel is full. Its bytes may be exceeded by one message a sender.
    pub fn send(&self, value: T) -> Result<(), Closed> {
        self.budget.wait();
        self.budget.take(value.bytes());
        self.to.send(value).map_err(|_| Closed)
    }
}

impl<T> Clone for BlockingSender<T> {
    fn clone(&self) -> Self {
        BlockingSender {
            to: self.to.clone(),
            budget: self.budget.clone(),
        }
    }
}

impl<T: Weighed> TryReceiver<T> {
    pub fn try_recv(&mut self) -> Option<T> {
        self.next.take().or_else(|| self.look())
    }

    /// Whether there is something to take, or the end has come.
    pub fn has_news(&mut self) -> bool {
        self.next = self.try_recv();
        self.next.is_some() || !self.is_open
    }

    /// Whether the end had not come when this was last looked at.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn len(&self) -> usize {
        self.from.len() + usize::from(self.next.is_some())
    }

    fn look(&mut self) -> Option<T> {
        match self.from.try_recv() {
            Ok(value) => {
                self.budget.0.give_back(value.bytes());
                Some(value)
            }
            Err(e) => {
                self.is_open = e == TryRecvError::Empty;
                None
            }
        }
    }
}

impl<T: Weighed> TrySender<T> {
    /// What there is no room for comes back, and then its lack is noted.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.offer(value) {
            Err(TrySendError::Full(value)) => {
                self.room.want();
                // Some may have been made just before.
                self.offer(value)
            }
            sent => sent,
        }
    }

    pub fn len(&self) -> usize {
        self.to.len()
    }

    fn offer(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.budget.is_spent() {
            return Err(TrySendError::Full(value));
        }
        let bytes = value.bytes();
        self.budget.take(bytes);
        let sent = self.to.try_send(value);
        if sent.is_err() {
            self.budget.give_back(bytes);
        }
        sent
    }
}

impl<T: Weighed> BlockingReceiver<T> {
    /// Blocks while there is nothing, until then.
    pub fn recv_until(&self, until: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let received = match until {
            Some(until) => self.from.recv_deadline(until)?,
            None => self.from.recv()?,
        };
        Ok(self.taken(received))
    }

    pub fn try_recv(&self) -> Option<T> {
        self.from.try_recv().ok().map(|value| self.taken(value))
    }

    /// Wakes the timer if it lacks room. To be called once a good many are taken: whoever is woken for
    /// each comes for each.
    pub fn tell_room(&self) {
        self.room.made();
    }

    #[cfg(test)]
    pub fn recv_within(&self, time: std::time::Duration) -> Option<T> {
        self.recv_until(Some(Instant::now() + time)).ok()
    }

    fn taken(&self, value: T) -> T {
        self.budget.0.give_back(value.bytes());
        value
    }
}

/// Bytes that may stand in a channel, and who waits for some of them.
struct Budget {
    most: usize,
    used: AtomicUsize,
    is_closed: AtomicBool,
    waiting: Mutex<()>,
    freed: Condvar,
}

/// Nobody waits for room, or lacks any, once this is dropped.
struct ClosingBudget(Arc<Budget>);

impl Drop for ClosingBudget {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
        self.0.wake_all();
    }
}

impl Budget {
    fn for_places(places: usize) -> Arc<Budget> {
        Arc::new(Budget {
            most: places * PLACE,
            used: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            waiting: Mutex::new(()),
            freed: Condvar::new(),
        })
    }

    /// What is closed will say so itself.
    fn is_spent(&self) -> bool {
        self.used.load(Ordering::SeqCst) >= self.most && !self.is_closed.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        if !self.is_spent() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while self.is_spent() {
            let woken = self.freed.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What has no bytes costs nothing here.
    fn take(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        if before >= self.most && before - bytes < self.most {
            self.wake_all();
        }
    }

    /// Whoever has looked holds the lock until it waits, so it is not missed.
    fn wake_all(&self) {
        drop(self.waiting.lock());
        self.freed.notify_all();
    }
}

#[cfg(test)]
mod tests;
