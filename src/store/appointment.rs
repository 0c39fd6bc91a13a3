//! When the next parked message is due, as far as this process has parked it: whoever brings it back
//! need not look before, and is woken when it is earlier than was known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Due times in Unix milliseconds. A clone is the same one.
#[derive(Clone)]
pub struct Appointment {
    /// What is missing to the end of time, so that the default is never.
    earliest: Arc<AtomicU64>,
    /// Nobody here brings back anything any more.
    is_over: Arc<AtomicBool>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Appointment {
    /// `wake`: wakes whoever brings back what is due.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Appointment {
        Appointment {
            earliest: Arc::default(),
            is_over: Arc::default(),
            wake: Arc::new(wake),
        }
    }

    /// One was parked until then.
    pub fn note(&self, due: u64) {
        let left = u64::MAX - due;
        if self.earliest.fetch_max(left, Ordering::SeqCst) < left {
            (self.wake)();
        }
    }

    /// When the next is due of those that were noted since the last [`Appointment::take`].
    pub fn next(&self) -> Option<u64> {
        let left = self.earliest.load(Ordering::SeqCst);
        (left > 0).then_some(u64::MAX - left)
    }

    /// Nothing is brought back here from now on: what is due is for others. Answers when the next is
    /// due of what was noted for us.
    pub fn end(&self) -> Option<u64> {
        self.is_over.store(true, Ordering::SeqCst);
        self.next()
    }

    /// See [`Appointment::end`].
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Forgets what was noted; to be called before looking at what is parked.
    pub fn take(&self) {
        self.earliest.store(0, Ordering::SeqCst);
    }
}
