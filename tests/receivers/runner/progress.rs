//! How far the messages of one case are: what scripts wait for, and senders report.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What became of one message, in the words of the corpus.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub delivered: bool,
    pub status: Option<u16>,
    /// `dns`, `connect`, `tls`, `timeout`, `protocol`, `internal`; why there was no status.
    pub kind: Option<String>,
    pub text: String,
    /// The sender does not take this message at all, and says why.
    pub refused: Option<String>,
    pub attempts: Option<u32>,
    pub took: Duration,
}

#[derive(Default)]
pub struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    released: usize,
    begun: Vec<Instant>,
    outcomes: Vec<Option<Outcome>>,
    over: bool,
}

impl Progress {
    pub fn of(messages: usize) -> Progress {
        let progress = Progress::default();
        progress.lock().outcomes = vec![None; messages];
        progress
    }

    /// Lets the sender have the next message; beyond the last one it does nothing.
    pub fn release(&self) {
        let mut state = self.lock();
        if state.released < state.outcomes.len() {
            state.released += 1;
            state.begun.push(Instant::now());
        }
        self.changed.notify_all();
    }

    /// Waits until message `n`, counted from 0, may be sent. False: it will not.
    pub fn await_release(&self, n: usize, limit: Duration) -> bool {
        self.wait(limit, |state| state.released > n || state.over);
        self.lock().released > n
    }

    /// Lets the first message go, if that has not been done.
    pub fn release_first(&self) {
        if self.lock().released == 0 {
            self.release();
        }
    }

    pub fn settle(&self, n: usize, mut outcome: Outcome) {
        let mut state = self.lock();
        if let Some(begun) = state.begun.get(n) {
            outcome.took = begun.elapsed();
        }
        if let Some(place) = state.outcomes.get_mut(n) {
            place.get_or_insert(outcome);
        }
        self.changed.notify_all();
    }

    /// Waits until all that was released is settled.
    pub fn await_settled(&self, limit: Duration) -> bool {
        self.wait(limit, |state| state.over || state.is_settled())
    }

    /// Waits until message `n` is settled.
    pub fn await_outcome(&self, n: usize, limit: Duration) -> bool {
        self.wait(limit, |state| state.over || state.outcomes[n].is_some())
    }

    /// Ends every wait.
    pub fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    pub fn outcomes(&self) -> Vec<Option<Outcome>> {
        self.lock().outcomes.clone()
    }

    fn wait(&self, limit: Duration, done: impl Fn(&State) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| !done(state));
        !waited.expect("no panic while it was locked").1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it was locked")
    }
}

impl State {
    fn is_settled(&self) -> bool {
        self.outcomes[..self.released].iter().all(Option::is_some)
    }
}
