//! What has arrived at the sink, and when.
//!
//! Written by the sink's threads, without a lock, and read by the main thread, which may
//! wait here until a given number of messages has arrived.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::Result;

/// With nothing new for so long it is over. Longer than outhook's longest default pause
/// between two attempts, 9.6 s.
const STALLED: Duration = Duration::from_secs(20);

pub struct Tally {
    epoch: Instant,
    /// Of each number, nanoseconds since `epoch`; 0 for not yet.
    arrivals: Box<[AtomicU64]>,
    distinct: AtomicUsize,
    doubled: AtomicUsize,
    foreign: AtomicUsize,
    connections: AtomicUsize,
    resumed: AtomicUsize,
    late: AtomicUsize,
    answered: AtomicUsize,
    waiter: Thread,
    wake_at: AtomicUsize,
}

impl Tally {
    /// For numbers below `capacity`. The thread that calls this is the one that may wait.
    pub fn new(capacity: usize) -> Tally {
        Tally {
            epoch: Instant::now(),
            arrivals: (0..capacity).map(|_| AtomicU64::new(0)).collect(),
            distinct: AtomicUsize::new(0),
            doubled: AtomicUsize::new(0),
            foreign: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            waiter: thread::current(),
            wake_at: AtomicUsize::new(usize::MAX),
        }
    }

    /// Begins anew; only while nobody posts.
    pub fn reset(&self) {
        for arrival in &self.arrivals {
            arrival.store(0, Ordering::Relaxed);
        }
        for count in [
            &self.distinct,
            &self.doubled,
            &self.foreign,
            &self.connections,
            &self.resumed,
            &self.late,
            &self.answered,
        ] {
            count.store(0, Ordering::SeqCst);
        }
    }

    /// The time, as arrivals are noted.
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A request came over a session of TLS that was resumed.
    pub fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer that takes its time went out.
    pub fn answered(&self, late: bool) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.late.fetch_add(usize::from(late), Ordering::Relaxed);
    }

    /// A request came. `number` is None if its body was not one of ours.
    pub fn arrived(&self, number: Option<usize>) {
        let Some(slot) = number.and_then(|n| self.arrivals.get(n)) else {
            self.foreign.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let now = (self.now().as_nanos() as u64).max(1);
        let order = Ordering::Relaxed;
        if slot.compare_exchange(0, now, order, order).is_err() {
            self.doubled.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // The waiter stores its wish and then looks at the count; here the count is raised
        // and then the wish is looked at. So one of the two sees the other.
        let distinct = self.distinct.fetch_add(1, Ordering::SeqCst) + 1;
        if distinct >= self.wake_at.load(Ordering::SeqCst) {
            self.waiter.unpark();
        }
    }

    /// Waits until so many different messages have arrived. False when it stalls.
    pub fn wait_for(&self, wanted: usize) -> bool {
        self.wake_at.store(wanted, Ordering::SeqCst);
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let distinct = self.distinct.load(Ordering::SeqCst);
            if distinct >= wanted {
                return true;
            }
            if distinct > seen {
                (seen, since) = (distinct, Instant::now());
            } else if since.elapsed() > STALLED {
                return false;
            }
            thread::park_timeout(STALLED / 20);
        }
    }

    /// Waits for the messages below `expected`. An error unless they come once each, and nothing
    /// else does.
    pub fn finish(&self, expected: usize) -> Result<()> {
        self.wait_for(expected);
        self.check(expected)
    }

    /// An error unless the messages below `expected` came once each, and nothing else.
    pub fn check(&self, expected: usize) -> Result<()> {
        let [distinct, doubled, foreign] =
            [&self.distinct, &self.doubled, &self.foreign].map(|n| n.load(Ordering::SeqCst));
        if distinct == expected && doubled == 0 && foreign == 0 {
            return Ok(());
        }
        let missing = expected.saturating_sub(distinct);
        Err(format!(
            "of {expected} messages {missing} are missing, {doubled} came again, {foreign} are not as sent"
        )
        .into())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn resumptions(&self) -> usize {
        self.resumed.load(Ordering::Relaxed)
    }

    /// The share of answers that went out too late.
    pub fn late(&self) -> f64 {
        let [late, all] = [&self.late, &self.answered].map(|n| n.load(Ordering::Relaxed) as f64);
        late / all.max(1.0)
    }

    /// When the messages below `count` arrived; zero for those that did not.
    pub fn arrivals(&self, count: usize) -> Vec<Duration> {
        let arrivals = self.arrivals[..count].iter();
        arrivals
            .map(|a| Duration::from_nanos(a.load(Ordering::Relaxed)))
            .collect()
    }
}
