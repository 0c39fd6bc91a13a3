//! The faults of a run: what failed, where, and from when to when. Also the numbers that they are
//! drawn by.

use std::sync::Mutex;
use std::time::Duration;

use super::clock::{At, Span, now, seconds};
use crate::support::dice::Dice;

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// The process of a replica.
    Process(usize),
    /// What is between a replica and Redis.
    RedisPath(usize),
    Server,
    /// What is between the replicas and an endpoint.
    EndpointPath(usize),
    Endpoint(usize),
}

#[derive(Debug, Clone)]
pub struct Fault {
    pub on: On,
    pub what: String,
    pub span: Span,
}

impl Fault {
    pub fn line(&self) -> String {
        let to = self.span.to.map_or("…".into(), seconds);
        let (from, on, what) = (seconds(self.span.from), self.on, &self.what);
        format!("{from} – {to}  {on:?}: {what}")
    }
}

/// All of them, by number.
pub struct Faults {
    all: Mutex<Vec<Fault>>,
    shows: bool,
}

impl Faults {
    /// `shows`: each is printed when it is over.
    pub fn new(shows: bool) -> Faults {
        Faults {
            all: Mutex::default(),
            shows,
        }
    }

    pub fn begin(&self, on: On, what: &str) -> usize {
        let mut all = self.all.lock().unwrap();
        let span = Span {
            from: now(),
            to: None,
        };
        let what = what.to_owned();
        all.push(Fault { on, what, span });
        all.len() - 1
    }

    pub fn end(&self, number: usize) {
        let mut all = self.all.lock().unwrap();
        all[number].span.to = Some(now());
        if self.shows {
            println!("{}", all[number].line());
        }
    }

    pub fn all(&self) -> Vec<Fault> {
        self.all.lock().unwrap().clone()
    }
}

/// Deals all cards in a random order, again and again, so that a short run has each kind too.
pub struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    pub fn new(cards: &[T]) -> Deck<T> {
        Deck {
            cards: cards.to_vec(),
            left: Vec::new(),
        }
    }

    pub fn draw(&mut self, dice: &mut Dice) -> T {
        if self.left.is_empty() {
            self.left = self.cards.clone();
        }
        let n = dice.index(self.left.len());
        self.left.swap_remove(n)
    }
}

/// Sleeps, but not beyond `end`.
pub fn rest(length: Duration, end: At) {
    std::thread::sleep(length.min(end.saturating_sub(now())));
}
