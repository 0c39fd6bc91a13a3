//! The connection from the timer and the ledger to the workers: one queue, and a list of idle
//! workers.
//!
//! Not a channel, for two reasons. A channel wakes the worker that has waited longest, whose stack
//! and memory are cold. Here the worker that became idle last is woken, and workers that are not
//! needed touch nothing. And a channel spins before it sleeps: at a few hundred messages a second
//! that costs a third of all CPU. Here a worker yields only while others are at work, when more is
//! about to come and switching threads would cost most.
//!
//! Nor is a worker woken for each piece of work. At most one worker per processor is waking at a
//! time. Each one that arrives wakes the next, if there is still work. Meanwhile workers that are
//! awake take what they can. So a few threads serve quick endpoints, however many workers there
//! are, and slow endpoints soon have all of them.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_utils::sync::{Parker, Unparker};

/// Gives work. When the last sender is dropped, the workers take what is queued, and end.
pub struct WorkSender<T>(Arc<Queue<T>>);

/// One worker's end: an iterator that blocks.
pub struct WorkReceiver<T> {
    queue: Arc<Queue<T>>,
    parker: Parker,
}

struct Queue<T> {
    workers: usize,
    /// How many workers may be waking at a time.
    most_waking: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Idle workers; the one that became idle last is last.
    idle: Vec<Unparker>,
    /// Workers that have been woken and have not looked yet. While there is work and an idle
    /// worker, there is at least one.
    waking: usize,
    givers: usize,
}

/// For this many workers, and as many pieces of work.
pub fn queue<T>(workers: usize) -> (WorkSender<T>, Vec<WorkReceiver<T>>) {
    let queue = Arc::new(Queue {
        workers,
        most_waking: thread::available_parallelism().map_or(1, NonZero::get),
        state: Mutex::new(State {
            waiting: VecDeque::with_capacity(workers),
            idle: Vec::with_capacity(workers),
            waking: 0,
            givers: 1,
        }),
    });
    let taker = |_| WorkReceiver {
        queue: queue.clone(),
        parker: Parker::new(),
    };
    let takers = (0..workers).map(taker).collect();
    (WorkSender(queue), takers)
}

impl<T> WorkSender<T> {
    /// Never blocks.
    ///
    /// # Panics
    /// When there is more than one piece a worker: no more is given than may be in flight.
    pub fn give(&self, work: T) {
        let mut state = self.0.state();
        assert!(
            state.waiting.len() < self.0.workers,
            "more than may be in flight"
        );
        state.waiting.push_back(work);
        let idle = self.0.next_to_wake(&mut state);
        drop(state);
        if let Some(idle) = idle {
            idle.unpark();
        }
    }

    /// Whether this is the last sender.
    pub fn is_last(&self) -> bool {
        self.0.state().givers == 1
    }
}

impl<T> Clone for WorkSender<T> {
    fn clone(&self) -> Self {
        self.0.state().givers += 1;
        WorkSender(self.0.clone())
    }
}

impl<T> Drop for WorkSender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.givers -= 1;
        if state.givers == 0 {
            state.waking += state.idle.len();
            state.idle.drain(..).for_each(|idle| idle.unpark());
        }
    }
}

impl<T> Iterator for WorkReceiver<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let (mut yielded, mut woken) = (false, false);
        loop {
            let mut state = self.queue.state();
            state.waking -= usize::from(std::mem::take(&mut woken));
            if let Some(work) = state.waiting.pop_front() {
                let next = self.queue.next_to_wake(&mut state);
                drop(state);
                if let Some(next) = next {
                    next.unpark();
                }
                return Some(work);
            }
            if state.givers == 0 {
                return None;
            }
            let others = self.queue.workers - state.idle.len() - 1;
            if others > 0 && !yielded {
                drop(state);
                yielded = true;
                thread::yield_now();
            } else {
                state.idle.push(self.parker.unparker().clone());
                drop(state);
                self.parker.park();
                woken = true;
            }
        }
    }
}

impl<T> Queue<T> {
    /// The worker to wake now, if there is work and not enough workers are waking.
    fn next_to_wake(&self, state: &mut State<T>) -> Option<Unparker> {
        let on_their_way = state.waking >= self.most_waking.min(state.waiting.len());
        let next = if on_their_way { None } else { state.idle.pop() };
        state.waking += usize::from(next.is_some());
        next
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, JoinHandle};

    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    /// One worker a taker: each tells who it is with what it took.
    fn start(takers: Vec<WorkReceiver<u32>>) -> (Vec<JoinHandle<()>>, Receiver<(usize, u32)>) {
        let (tell, told) = bounded(takers.len());
        let start = |(n, taker): (usize, WorkReceiver<u32>)| {
            let tell = tell.clone();
            thread::spawn(move || taker.for_each(|work| tell.send((n, work)).unwrap()))
        };
        (takers.into_iter().enumerate().map(start).collect(), told)
    }

    fn wait_until_idle(giver: &WorkSender<u32>, count: usize) {
        while giver.0.state().idle.len() < count {
            thread::yield_now();
        }
    }

    #[test]
    fn who_became_idle_last_works_next() {
        let (giver, takers) = queue(3);
        let (workers, told) = start(takers);
        wait_until_idle(&giver, 3);
        giver.give(0);
        let (last, _) = told.recv().unwrap();
        for work in 1..100 {
            wait_until_idle(&giver, 3);
            giver.give(work);
            assert_eq!(told.recv(), Ok((last, work)));
        }
        drop(giver);
        workers.into_iter().for_each(|w| w.join().unwrap());
    }

    #[test]
    fn all_is_taken_once_and_the_end_comes_after_it() {
        const WORKERS: usize = 8;
        let (giver, takers) = queue(WORKERS);
        let (workers, told) = start(takers);
        let other = giver.clone();
        let mut seen = vec![false; 100_000];
        let mut given = 0;
        let mut taken = 0;
        while given < seen.len() {
            // Now all at once, now one by one, so that workers sleep and do not.
            let batch = if given % 3 == 0 { WORKERS } else { 1 };
            while given - taken < batch && given < seen.len() {
                [&giver, &other][given % 2].give(given as u32);
                given += 1;
            }
            if given % 1000 == 0 {
                wait_until_idle(&giver, WORKERS - (given - taken));
            }
            let (_, work) = told.recv().unwrap();
            assert!(!std::mem::replace(&mut seen[work as usize], true), "twice");
            taken += 1;
        }
        drop((giver, other));
        workers.into_iter().for_each(|w| w.join().unwrap());
        taken += told.try_iter().count();
        assert_eq!(taken, given);
    }

    #[test]
    #[should_panic(expected = "more than may be in flight")]
    fn more_than_a_piece_a_worker_is_a_defect() {
        let (giver, _takers) = queue(2);
        (0..3).for_each(|work| giver.give(work));
    }
}
