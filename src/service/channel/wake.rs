//! How the timer is woken. It hears of many things, and waits in one place.
//!
//! A `Select` over all its channels would do, but costs twice: it registers with each of them and
//! deregisters again, and a sender holds the channel's lock while it wakes the timer, which then
//! waits for that lock. So a thread that sends to the timer also wakes it, through a
//! [`WakingSender`]. Dropping such a sender, or a [`Waker`], wakes it too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{SendError, Sender, TrySendError};
use crossbeam_utils::sync::{Parker, Unparker};

/// Wakes the [`WaitingParker`]: at each call, and when it is dropped.
#[derive(Clone, Debug)]
pub struct Waker(Unparker);

/// Sleeps until it is woken. A wake-up while it is awake is remembered. So a thread that looks at
/// all its work after each sleep does not miss work that comes while it looks.
#[derive(Debug)]
pub struct WaitingParker(Parker);

/// A sender to a thread that sleeps.
#[derive(Debug)]
pub struct WakingSender<T> {
    // Dropped in this order: the woken thread finds the channel closed.
    to: Sender<T>,
    waker: Waker,
}

/// Room in a channel to which the sleeping thread sends. The receiver wakes it, but only if it has
/// asked.
#[derive(Clone)]
pub struct CapacitySignal {
    wanted: Arc<AtomicBool>,
    waker: Waker,
}

/// Both ends.
pub fn waker() -> (Waker, WaitingParker) {
    let parker = Parker::new();
    (Waker(parker.unparker().clone()), WaitingParker(parker))
}

impl Waker {
    pub fn wake(&self) {
        self.0.unpark();
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.wake();
    }
}

impl WaitingParker {
    /// Blocks until woken, or until then.
    pub fn sleep(&self, until: Option<Instant>) {
        match until {
            Some(until) => self.0.park_deadline(until),
            None => self.0.park(),
        }
    }
}

#[cfg(test)]
impl WaitingParker {
    /// Sleeps, and fails if nobody wakes it.
    pub fn sleep_until_woken(&self) {
        let until = Instant::now() + std::time::Duration::from_secs(60);
        self.sleep(Some(until));
        assert!(Instant::now() < until, "not woken");
    }
}

impl CapacitySignal {
    pub fn new(waker: Waker) -> Self {
        let wanted = Arc::new(AtomicBool::new(false));
        CapacitySignal { wanted, waker }
    }

    /// There was none. To be called before looking once more.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// There is some.
    pub fn made(&self) {
        if self.wanted.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}

impl<T> WakingSender<T> {
    pub fn new(to: Sender<T>, waker: Waker) -> Self {
        WakingSender { to, waker }
    }

    /// Blocks while the channel is full.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let sent = self.to.send(value);
        self.waker.wake();
        sent
    }

    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let sent = self.to.try_send(value);
        self.waker.wake();
        sent
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl<T> Clone for WakingSender<T> {
    fn clone(&self) -> Self {
        WakingSender::new(self.to.clone(), self.waker.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::{TryRecvError, bounded};

    use super::*;

    fn is_woken(parker: &WaitingParker) -> bool {
        let soon = Instant::now() + Duration::from_millis(20);
        parker.sleep(Some(soon));
        Instant::now() < soon
    }

    #[test]
    fn what_is_sent_wakes_and_so_does_the_end() {
        let (waker, parker) = waker();
        let (to, from) = bounded(1);
        let inlet = WakingSender::new(to, waker);
        let sender = thread::spawn(move || {
            for n in 0..1000 {
                inlet.send(n).unwrap();
            }
        });
        let mut next = 0;
        loop {
            match from.try_recv() {
                Ok(n) => {
                    assert_eq!(n, next);
                    next += 1;
                }
                Err(TryRecvError::Empty) => parker.sleep_until_woken(),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        assert_eq!(next, 1000);
        sender.join().unwrap();
    }

    #[test]
    fn being_woken_while_awake_is_remembered_once() {
        let (waker, parker) = waker();
        waker.wake();
        waker.wake();
        parker.sleep_until_woken();
        assert!(!is_woken(&parker));
        drop(waker);
        parker.sleep_until_woken();
    }

    #[test]
    fn who_makes_room_wakes_only_who_wants_some() {
        let (waker, parker) = waker();
        let room = CapacitySignal::new(waker);
        room.made();
        assert!(!is_woken(&parker));
        room.want();
        room.made();
        parker.sleep_until_woken();
        room.made();
        assert!(!is_woken(&parker));
    }
}
