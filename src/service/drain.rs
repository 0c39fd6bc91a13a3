//! How every thread learns that the service is to end: a channel that nobody sends on, whose
//! disconnection means "draining". There is no flag that a thread could forget to check. A thread
//! that waits can wait for this too, and the timer, which only waits to be woken, is woken.
//!
//! A drain ends in the same way: [`EndSignals::last`] tells sources that read until the end that
//! everything else is done.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::service::channel::wake::Waker;

/// Begins the drain when dropped.
pub struct DrainTrigger {
    begun_at: Arc<OnceLock<Instant>>,
    _sender: Sender<Never>,
    /// Dropped after it.
    _waker: Waker,
}

/// Knows when the drain has begun. Clones share that.
#[derive(Clone)]
pub struct Drain {
    trigger: Receiver<Never>,
    begun_at: Arc<OnceLock<Instant>>,
}

/// The two signals of the end, for sources.
#[derive(Clone)]
pub struct EndSignals {
    /// The service is to end. A source that can be read again later ends now.
    pub drain: Drain,
    /// All messages that were taken in are settled or kept. A source whose unread messages would be
    /// lost ends only now.
    pub last: Drain,
}

/// No value of it exists.
pub enum Never {}

/// A trigger, and its signal. It also wakes the timer.
pub fn drain(waker: Waker) -> (DrainTrigger, Drain) {
    let (sender, receiver) = bounded(0);
    let begun_at = Arc::new(OnceLock::new());
    let trigger = DrainTrigger {
        begun_at: begun_at.clone(),
        _sender: sender,
        _waker: waker,
    };
    let drain = Drain {
        trigger: receiver,
        begun_at,
    };
    (trigger, drain)
}

impl Drop for DrainTrigger {
    /// Set before the sender is dropped: a thread that finds that the drain has begun also finds
    /// when.
    fn drop(&mut self) {
        let _ = self.begun_at.set(Instant::now());
    }
}

impl Drain {
    pub fn has_begun(&self) -> bool {
        matches!(self.trigger.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// When the drain began, for a thread that could not look at once.
    pub fn begun_at(&self) -> Option<Instant> {
        self.begun_at.get().copied()
    }

    /// Waits until the drain begins, at most for `time`. True when it has begun.
    pub fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        matches!(
            self.trigger.recv_deadline(end),
            Err(RecvTimeoutError::Disconnected)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::service::channel::wake::waker;

    #[test]
    fn who_is_woken_finds_that_it_has_begun() {
        for _ in 0..2000 {
            let (waker, parker) = waker();
            let (trigger, drain) = drain(waker);
            let ender = thread::spawn(move || drop(trigger));
            parker.sleep_until_woken();
            assert!(drain.has_begun());
            ender.join().unwrap();
        }
    }
}
