//! Messages that must go one after another (`orderKey`). Pure.
//!
//! Of each key one message is under way; later ones stand behind it. When one is put off into the
//! store, all behind it follow, in order, and the key remembers who is away: what comes in the
//! meantime is sent after them. A key is forgotten when nothing of it is left.
//!
//! The store gives back what is parked in the order in which it is due, through the stream, which
//! is read in order. So when one comes back, all that were due well before it have been given to
//! someone too: who of them has not come here went to another replica, or is lost.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::delivery::Delivery;

/// What was due so long (ms) before another comes back before it. Dues are reckoned by two
/// clocks, and rounded.
const SURE_MS: u64 = 1000;

/// What comes back so long (ms) before it is due has been brought back by an operator, alone.
const EARLY_MS: u64 = 100;

/// What must follow others is due so long (ms) from now at least.
const FOLLOW_MS: u64 = 50;

/// A key of which nothing has come for so long (ms) after the last was due is forgotten.
const GRACE_MS: u64 = 60_000;

/// Messages that are remembered to be away, over all keys. The order of those beyond that is
/// the one in which they are due.
const MOST_AWAY: usize = 100_000;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Chains {
    chains: HashMap<Arc<str>, Chain>,
    queued: usize,
    away: usize,
}

#[derive(Debug, Default)]
struct Chain {
    /// Whether one is under way here.
    active: bool,
    queue: VecDeque<Delivery>,
    /// Those in the store, by their places in line, all after those in `queue`; and their places.
    away: BTreeMap<i64, Away>,
    places: HashMap<Arc<str>, i64>,
    /// When the last of them is due, in Unix milliseconds.
    last_due: u64,
    /// The URL for whose hold the first of them is away: it comes back when that is lifted.
    held: Option<Arc<str>>,
}

#[derive(Debug)]
struct Away {
    id: Arc<str>,
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
        let before = chain.away.len();
        let wait = chain.comes_back(&delivery.message.id, now_ms);
        self.away -= before - chain.away.len();
        if let Some(due) = wait {
            self.send_away(&delivery, due);
            return Admission::Park(delivery, due);
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
                for away in chain.away.values_mut() {
                    away.due = away.due.min(now_ms);
                }
                chain.last_due = chain.last_due.min(now_ms);
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
        let room = MOST_AWAY.saturating_sub(self.away);
        let out = chain.queue_leaves(due + 1, room);
        self.queued -= out.len();
        let first = chain.first_place() - 1;
        chain.note(first, id.into(), due);
        self.away += out.len().min(room) + 1;
        out
    }

    /// One that is here is parked until `due` without having been admitted.
    pub fn send_away(&mut self, delivery: &Delivery, due: u64) {
        let Some(key) = delivery.message.overrides.order_key.clone() else {
            return;
        };
        let chain = self.chains.entry(key).or_default();
        let id = &*delivery.message.id;
        match chain.places.get(id).copied() {
            Some(place) => chain.note(place, id.into(), due),
            None if self.away < MOST_AWAY => {
                let last = chain.away.last_key_value().map_or(0, |(place, _)| *place);
                chain.note(last + 1, id.into(), due);
                self.away += 1;
            }
            None => chain.last_due = chain.last_due.max(due),
        }
    }

    /// Takes out the queues in which something is that `is_old` says must not wait here any
    /// longer, whole, to be parked from `due` on. The one under way stays.
    pub fn extract(
        &mut self,
        is_old: impl Fn(&Delivery) -> bool,
        due: u64,
    ) -> Vec<(Delivery, u64)> {
        let mut all = Vec::new();
        for chain in self.chains.values_mut() {
            if chain.queue.iter().any(&is_old) {
                let room = MOST_AWAY.saturating_sub(self.away);
                let out = chain.queue_leaves(due + 1, room);
                self.away += out.len().min(room);
                all.extend(out);
            }
        }
        self.queued -= all.len();
        all
    }

    /// Forgets keys of which nothing is here, and whose others have been away for too long.
    pub fn forget(&mut self, now_ms: u64) {
        self.chains.retain(|_, chain| {
            let waits = now_ms <= chain.last_due.saturating_add(GRACE_MS);
            let stays = chain.active || !chain.queue.is_empty() || !chain.away.is_empty() && waits;
            if !stays {
                self.away -= chain.away.len();
            }
            stays
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
    /// One has come. Answers until when it must be parked, if others go before it; otherwise it
    /// is not away any more.
    fn comes_back(&mut self, id: &str, now_ms: u64) -> Option<u64> {
        let Some(place) = self.places.get(id).copied() else {
            let follow = (self.last_due + 1).max(now_ms + FOLLOW_MS);
            return (!self.away.is_empty()).then_some(follow);
        };
        let due = self.away[&place].due;
        while let Some(first) = self.away.first_entry() {
            let elsewhere = first.get().due + SURE_MS <= due && now_ms + EARLY_MS >= due;
            if *first.key() < place && !elsewhere {
                // Late enough to be sure the next time.
                return Some((self.last_due + 1).max(now_ms + SURE_MS + FOLLOW_MS));
            }
            let own = *first.key() == place;
            self.places.remove(&first.remove().id);
            if own {
                break;
            }
        }
        None
    }

    fn note(&mut self, place: i64, id: Arc<str>, due: u64) {
        self.places.insert(id.clone(), place);
        self.away.insert(place, Away { id, due });
        self.last_due = self.last_due.max(due);
    }

    fn first_place(&self) -> i64 {
        self.away.first_key_value().map_or(0, |(place, _)| *place)
    }

    /// The queue is parked, one by one from `due` on, before those that are away already; of
    /// `room` of them that is remembered.
    fn queue_leaves(&mut self, due: u64, room: usize) -> Vec<(Delivery, u64)> {
        let out: Vec<_> = std::mem::take(&mut self.queue)
            .into_iter()
            .zip(due..)
            .collect();
        let noted = out.len().min(room);
        let first = self.first_place() - noted as i64;
        for ((delivery, due), place) in out.iter().zip(first..).take(noted) {
            self.note(place, (*delivery.message.id).into(), *due);
        }
        self.last_due = self.last_due.max(due + out.len() as u64);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::tests::model::delivery;

    fn keyed(id: &str) -> Delivery {
        let mut delivery = delivery(id, 1);
        delivery.message.overrides.order_key = Some("k".into());
        delivery
    }

    fn admit(chains: &mut Chains, id: &str, now: u64) -> Option<u64> {
        match chains.admit(keyed(id), now) {
            Admission::Go(_) => None,
            Admission::Queued => panic!("one at a time here"),
            Admission::Park(_, due) => Some(due),
        }
    }

    #[test]
    fn one_that_is_away_for_longer_is_waited_for() {
        let mut chains = Chains::default();
        chains.send_away(&keyed("a"), 1000);
        chains.send_away(&keyed("b"), 1001);
        chains.send_away(&keyed("a"), 200_000);
        assert!(admit(&mut chains, "b", 70_000) > Some(200_000));
        assert_eq!(admit(&mut chains, "a", 200_000), None);
    }

    #[test]
    fn one_that_went_elsewhere_is_waited_for_until_what_was_due_well_after_it_comes() {
        let mut chains = Chains::default();
        chains.send_away(&keyed("a"), 1000);
        chains.send_away(&keyed("b"), 1001);
        // Perhaps `a` is just behind it.
        let again = admit(&mut chains, "b", 1001).expect("not yet");
        assert!(again >= 1000 + SURE_MS);
        // An operator has brought it back, alone.
        let again = admit(&mut chains, "b", again - 500).expect("not yet");
        assert_eq!(admit(&mut chains, "b", again), None);
        assert_eq!(chains.away, 0);
    }

    #[test]
    fn no_more_are_remembered_than_may_be_and_all_go_in_the_end() {
        let mut chains = Chains::default();
        let ids: Vec<String> = (0..MOST_AWAY + 10).map(|n| n.to_string()).collect();
        for (due, id) in (1000..).zip(&ids) {
            chains.send_away(&keyed(id), due);
        }
        assert_eq!(chains.away, MOST_AWAY);
        for (now, id) in (1000..).zip(&ids) {
            assert_eq!(admit(&mut chains, id, now), None, "{id}");
            chains.settled("k");
        }
        assert!(chains.is_empty());
    }
}
