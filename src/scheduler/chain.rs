//! The messages of one `orderKey`: who is under way, queued, back, or away. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::delivery::Delivery;

/// What was due so long (ms) before another comes back before it. Dues are reckoned by two
/// clocks, and rounded.
pub const SURE_MS: u64 = 1000;

/// What comes back so long (ms) before it is due has been brought back by an operator, alone.
const EARLY_MS: u64 = 100;

/// What is new and must follow others is due so long (ms) from now at least.
const FOLLOW_MS: u64 = 50;

/// One that is back waits here for no more than so many before it: room is for those whose turn
/// is near.
const MOST_BEFORE: i64 = 32;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Chain {
    /// Whether one is under way here.
    pub active: bool,
    pub queue: VecDeque<Delivery>,
    /// Those that are back before others that go before them, and since when, by their places.
    pub back: BTreeMap<i64, (Delivery, u64)>,
    /// Those in the store, by their places in line, all after those in `queue`; and their places.
    pub away: BTreeMap<i64, Away>,
    pub places: HashMap<Arc<str>, i64>,
    /// When the last of them is due, in Unix milliseconds.
    pub last_due: u64,
    /// The URL for whose hold the first of them is away: it comes back when that is lifted.
    pub held: Option<Arc<str>>,
}

#[derive(Debug)]
pub struct Away {
    pub id: Arc<str>,
    /// When it is due, in Unix milliseconds.
    pub due: u64,
}

/// What one that has come is to do.
pub enum Turn {
    Now,
    /// Others before it must be back soon.
    Wait(i64),
    /// It is due anew.
    Later(u64),
}

/// What tells a message from others of its key, wherever it has been.
pub fn name(delivery: &Delivery) -> Arc<str> {
    format!("{} {}", delivery.received, delivery.message.id).into()
}

impl Chain {
    /// One has come. Unless it is to come later, it is not away any more.
    pub fn comes_back(&mut self, id: Arc<str>, now_ms: u64) -> Turn {
        let Some(place) = self.places.remove(&id) else {
            let follow = (self.last_due + 1).max(now_ms + FOLLOW_MS);
            return match self.away.is_empty() {
                true => Turn::Now,
                false => Turn::Later(follow),
            };
        };
        let Some(Away { due, .. }) = self.away.remove(&place) else {
            return Turn::Now;
        };
        while let Some(first) = self.away.first_entry() {
            let elsewhere = first.get().due + SURE_MS <= due && now_ms + EARLY_MS >= due;
            if *first.key() >= place || !elsewhere {
                break;
            }
            self.places.remove(&first.remove().id);
        }
        let Some(first) = self.first_place().filter(|first| *first < place) else {
            return Turn::Now;
        };
        let mut before = self.away.range(..place).map(|(_, away)| away.due);
        let due = before.next().max(before.next_back()).unwrap_or_default();
        if due <= now_ms + SURE_MS && place - first <= MOST_BEFORE {
            return Turn::Wait(place);
        }
        let due = (due + 1).max(now_ms + FOLLOW_MS);
        self.note(place, id, due);
        Turn::Later(due)
    }

    /// Those that are back, and have nobody before them any more, stand in the queue.
    pub fn line_up(&mut self) {
        let end = self.first_place();
        while let Some(first) = self.back.first_entry() {
            if end.is_some_and(|end| *first.key() > end) {
                break;
            }
            self.queue.push_back(first.remove().0);
        }
    }

    /// Those that are back are parked again, one by one from `due` on.
    pub fn back_leaves(&mut self, due: u64) -> Vec<(Delivery, u64)> {
        let back = std::mem::take(&mut self.back).into_iter().zip(due..);
        back.map(|((place, (delivery, _)), due)| {
            self.note(place, name(&delivery), due);
            (delivery, due)
        })
        .collect()
    }

    pub fn note(&mut self, place: i64, id: Arc<str>, due: u64) {
        self.places.insert(id.clone(), place);
        self.away.insert(place, Away { id, due });
        self.last_due = self.last_due.max(due);
    }

    /// Of those away.
    pub fn first_place(&self) -> Option<i64> {
        self.away.first_key_value().map(|(place, _)| *place)
    }
}
