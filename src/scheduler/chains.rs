//! Messages that must go one after another (`orderKey`). Pure.
//!
//! Of each key one message is under way; later ones stand behind it. When one is put off into the
//! store, all behind it follow, in order, and the key remembers who is away: what comes in the
//! meantime is sent after them. A key is forgotten when nothing of it is left.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::delivery::Delivery;

/// The first of those who are away is waited for until so long (ms) after it was due: another
/// replica may have got it, an operator may have taken it out, or Redis may have lost it.
const GRACE_MS: u64 = 60_000;

/// What must follow one that should be back by now is put off for so long (ms): a part of how
/// late that is, as it may never come.
const FOLLOW_MS: std::ops::RangeInclusive<u64> = 50..=5000;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Chains {
    chains: HashMap<Arc<str>, Chain>,
    queued: usize,
}

#[derive(Debug, Default)]
struct Chain {
    /// Whether one is under way here.
    active: bool,
    queue: VecDeque<Delivery>,
    /// Those in the store, in their order, after all in `queue`.
    away: VecDeque<Away>,
    /// The URL for whose hold the first of them is away: it comes back when that is lifted.
    held: Option<Arc<str>>,
}

#[derive(Debug)]
struct Away {
    id: Box<str>,
    /// When it is due, in Unix milliseconds.
    due: u64,
}

/// What becomes of a message with a key.
#[derive(Debug)]
pub enum Admission {
    /// It is its turn.
    Go(Delivery),
    /// It stands in the queue.
    Queued,
    /// Others before it are in the store: it is to be parked until then (Unix ms).
    Park(Delivery, u64),
}

impl Chains {
    /// A message has come. One without a key may go.
    pub fn admit(&mut self, delivery: Delivery, now_ms: u64) -> Admission {
        let Some(key) = delivery.message.overrides.order_key.clone() else {
            return Admission::Go(delivery);
        };
        let chain = self.chains.entry(key).or_default();
        let id = &delivery.message.id;
        let late = |away: &Away| now_ms > away.due.saturating_add(GRACE_MS);
        while chain
            .away
            .front()
            .is_some_and(|away| late(away) && away.id != *id)
        {
            chain.away.pop_front();
        }
        match chain.away.iter().position(|away| away.id == *id) {
            Some(0) => {
                chain.away.pop_front();
            }
            None if chain.away.is_empty() => {}
            found => {
                let due = chain.follow(found, now_ms);
                match found {
                    Some(at) => chain.away[at].due = due,
                    None => chain.away.push_back(Away {
                        id: id.clone(),
                        due,
                    }),
                }
                return Admission::Park(delivery, due);
            }
        }
        if chain.active {
            chain.queue.push_back(delivery);
            self.queued += 1;
            return Admission::Queued;
        }
        chain.active = true;
        Admission::Go(delivery)
    }

    /// The one under way is to be parked because nothing may be sent to `url`.
    pub fn hold(&mut self, key: &str, url: Arc<str>) {
        if let Some(chain) = self.chains.get_mut(key) {
            chain.held = Some(url);
        }
    }

    /// Those that are away for a hold that is lifted are brought back now, before they are due.
    pub fn lift(&mut self, is_lifted: impl Fn(&str) -> bool, now_ms: u64) {
        for chain in self.chains.values_mut() {
            if chain.held.take_if(|url| is_lifted(url)).is_some() {
                for away in &mut chain.away {
                    away.due = away.due.min(now_ms);
                }
            }
        }
    }

    /// The one under way is settled. Answers the next.
    pub fn settled(&mut self, key: &str) -> Option<Delivery> {
        let chain = self.chains.get_mut(key)?;
        let next = chain.queue.pop_front();
        self.queued -= usize::from(next.is_some());
        chain.active = next.is_some();
        if !chain.active && chain.away.is_empty() {
            self.chains.remove(key);
        }
        next
    }

    /// The one under way is parked until `due`. Answers those that must follow it, and when.
    pub fn parked(&mut self, key: &str, id: &str, due: u64) -> Vec<(Delivery, u64)> {
        let Some(chain) = self.chains.get_mut(key) else {
            return Vec::new();
        };
        chain.active = false;
        let queue = std::mem::take(&mut chain.queue);
        self.queued -= queue.len();
        let out = chain.leave(queue, due + 1);
        chain.away.push_front(Away { id: id.into(), due });
        out
    }

    /// One that has just come is parked until `due` without having been admitted.
    pub fn sent_away(&mut self, key: Arc<str>, id: &str, due: u64) {
        let chain = self.chains.entry(key).or_default();
        if !chain.away.iter().any(|away| &*away.id == id) {
            chain.away.push_back(Away { id: id.into(), due });
        }
    }

    /// Takes out the queues in which something is that `is_old` says must not wait here any
    /// longer, whole, to be parked from `due` on. The one under way stays.
    pub fn extract(
        &mut self,
        is_old: impl Fn(&Delivery) -> bool,
        due: u64,
    ) -> Vec<(Delivery, u64)> {
        let mut out = Vec::new();
        for chain in self.chains.values_mut() {
            if !chain.queue.iter().any(&is_old) {
                continue;
            }
            let queue = std::mem::take(&mut chain.queue);
            out.extend(chain.leave(queue, due + 1));
        }
        self.queued -= out.len();
        out
    }

    /// Forgets keys of which nothing is here, and whose others have been away for too long.
    pub fn forget(&mut self, now_ms: u64) {
        self.chains.retain(|_, chain| {
            let waits = |away: &Away| now_ms <= away.due.saturating_add(GRACE_MS);
            chain.active || !chain.queue.is_empty() || chain.away.iter().any(waits)
        });
    }

    /// Messages in queues.
    pub fn queued(&self) -> usize {
        self.queued
    }

    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }
}

impl Chain {
    /// When one may come back that must follow all that are away, or those before the `at`-th.
    fn follow(&self, at: Option<usize>, now_ms: u64) -> u64 {
        let late = self
            .away
            .front()
            .map_or(0, |a| now_ms.saturating_sub(a.due));
        let pause = (late / 4).clamp(*FOLLOW_MS.start(), *FOLLOW_MS.end());
        let before = self.away.iter().take(at.unwrap_or(usize::MAX));
        let last = before.map(|a| a.due).max().unwrap_or_default();
        last.max(now_ms + pause) + 1
    }

    /// `queue` is parked, one by one from `due` on, before those that are away already.
    fn leave(&mut self, queue: VecDeque<Delivery>, due: u64) -> Vec<(Delivery, u64)> {
        let out: Vec<_> = queue.into_iter().zip(due..).collect();
        for (delivery, due) in out.iter().rev() {
            let (id, due) = (delivery.message.id.clone(), *due);
            self.away.push_front(Away { id, due });
        }
        out
    }
}
