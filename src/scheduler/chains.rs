//! Messages that must go one after another (`orderKey`). Pure.
//!
//! Of each key one message is under way; later ones stand behind it. When one is put off into the
//! store, all behind it follow, in order, and the key remembers who is away: what comes in the
//! meantime is sent after them. A key is forgotten when nothing of it is left.
//!
//! The store gives back what is parked in the order in which it is due, but for a little, through
//! the stream, which is read in order. So when one comes back, those before it are here or come
//! soon, and it waits for them here; who does not come went to another replica, or is lost.

use std::collections::HashMap;
use std::sync::Arc;

use super::chain::{Chain, SURE_MS, Turn, name};
use crate::delivery::Delivery;
use crate::entry::EntryId;
use crate::when::BootTime;

/// One that is back waits so long (ms) for those before it that should be back too.
const WAIT_MS: u64 = 1500;

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
        let turn = chain.comes_back(name(&delivery), now_ms);
        self.away -= before - chain.away.len();
        match turn {
            Turn::Now => {}
            Turn::Wait(place) => {
                chain.back.insert(place, (delivery, now_ms));
                self.queued += 1;
                return Admission::Queued;
            }
            Turn::Later(due) => {
                self.send_away(&delivery, due);
                return Admission::Park(delivery, due);
            }
        }
        let go = match chain.active {
            true => {
                chain.queue.push_back(delivery);
                self.queued += 1;
                None
            }
            false => Some(delivery),
        };
        chain.active = true;
        chain.line_up();
        go.map_or(Admission::Queued, Admission::Go)
    }

    /// Whether it is the one that others of its key wait for, and how many of them wait here.
    pub fn is_next(&self, delivery: &Delivery) -> Option<usize> {
        let key = delivery.message.overrides.order_key.as_ref()?;
        let Some(chain) = self.chains.get(key) else {
            return Some(0);
        };
        let place = chain.places.get(&name(delivery)).copied();
        (!chain.active && place == chain.first_place()).then_some(chain.back.len())
    }

    /// How many of its key are away before one that has come; nothing for one without a key.
    pub fn rank(&self, delivery: &Delivery) -> Option<usize> {
        let key = delivery.message.overrides.order_key.as_ref()?;
        Some(
            self.chains
                .get(key)
                .map_or(0, |chain| match chain.places.get(&name(delivery)) {
                    Some(place) => (place - chain.first_place().unwrap_or(*place)).max(0) as usize,
                    None => chain.away.len(),
                }),
        )
    }

    /// Looks at those that wait for others. Where these are long overdue and will not come, one
    /// goes, the next; where they have been put off, those that wait are parked too.
    pub fn overdue(&mut self, now_ms: u64) -> (Vec<Delivery>, Vec<(Delivery, u64)>) {
        let (mut go, mut park) = (Vec::new(), Vec::new());
        for chain in self.chains.values_mut() {
            let Some((place, since)) = chain.back.first_key_value().map(|(p, b)| (*p, b.1)) else {
                continue;
            };
            while let Some(first) = chain.away.first_entry() {
                let late = now_ms >= since.max(first.get().due) + WAIT_MS;
                if *first.key() > place || !late {
                    break;
                }
                chain.places.remove(&first.remove().id);
                self.away -= 1;
            }
            let mut before = chain.away.range(..place).map(|(_, away)| away.due);
            match before.next_back() {
                Some(due) if due > now_ms + SURE_MS => {
                    let out = chain.back_leaves(due + 1);
                    self.away += out.len();
                    park.extend(out);
                }
                Some(_) => {}
                None => {
                    chain.line_up();
                    if !chain.active {
                        go.extend(chain.queue.pop_front());
                        chain.active = true;
                    }
                }
            }
        }
        self.queued -= go.len() + park.len();
        (go, park)
    }

    /// Takes out those that wait for others that are away, to be parked too, from `due` on.
    pub fn give_back(&mut self, due: u64) -> Vec<(Delivery, u64)> {
        let mut all = Vec::new();
        for chain in self.chains.values_mut() {
            let out = chain.back_leaves(due);
            self.away += out.len();
            all.extend(out);
        }
        self.queued -= all.len();
        all
    }

    /// The entries of those queued that `is_old` says have been held for long, and the attempts
    /// made at them, to be renewed at `now`.
    pub fn renew(
        &mut self,
        is_old: impl Fn(&Delivery) -> bool,
        now: BootTime,
    ) -> Vec<(EntryId, u32)> {
        let mut renewed = Vec::new();
        for chain in self.chains.values_mut() {
            let back = chain.back.values_mut().map(|(delivery, _)| delivery);
            for delivery in chain.queue.iter_mut().chain(back).filter(|d| is_old(d)) {
                (delivery.leased, delivery.renewed) = (now, true);
                let made = delivery.attempts - delivery.carried;
                renewed.extend(delivery.entry.map(|entry| (entry, made)));
            }
        }
        renewed
    }

    /// All that stand in queues.
    pub fn all_queued(&self) -> impl Iterator<Item = &Delivery> {
        let chains = self.chains.values();
        chains.flat_map(|chain| {
            let back = chain.back.values().map(|(delivery, _)| delivery);
            chain.queue.iter().chain(back)
        })
    }

    /// Takes out of the queues what `which` says.
    pub fn extract(&mut self, which: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let mut out = Vec::new();
        for chain in self.chains.values_mut() {
            let (gone, stay) = std::mem::take(&mut chain.queue)
                .into_iter()
                .partition(&which);
            chain.queue = stay;
            out.extend(gone);
            let back = std::mem::take(&mut chain.back).into_iter();
            let (gone, stay): (Vec<_>, Vec<_>) =
                back.partition(|(_, (delivery, _))| which(delivery));
            chain.back = stay.into_iter().collect();
            out.extend(gone.into_iter().map(|(_, (delivery, _))| delivery));
        }
        self.queued -= out.len();
        out
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
    pub fn parked(&mut self, delivery: &Delivery, due: u64) -> Vec<(Delivery, u64)> {
        let key = delivery.message.overrides.order_key.as_ref();
        let Some(chain) = key.and_then(|key| self.chains.get_mut(key)) else {
            return Vec::new();
        };
        chain.active = false;
        let queue = std::mem::take(&mut chain.queue);
        let last = due + queue.len() as u64;
        let back = chain.back_leaves(last + 1);
        let mut place = chain.first_place().unwrap_or_default() - 1 - queue.len() as i64;
        let mut out: Vec<_> = queue.into_iter().zip(due + 1..).collect();
        let room = MOST_AWAY.saturating_sub(self.away);
        chain.note(place, name(delivery), due);
        for (follower, due) in out.iter().take(room) {
            place += 1;
            chain.note(place, name(follower), *due);
        }
        chain.last_due = chain.last_due.max(last);
        self.away += 1 + out.len().min(room) + back.len();
        self.queued -= out.len() + back.len();
        out.extend(back);
        out
    }

    /// One that is here is parked until `due` without having been admitted.
    pub fn send_away(&mut self, delivery: &Delivery, due: u64) {
        let Some(key) = delivery.message.overrides.order_key.clone() else {
            return;
        };
        let chain = self.chains.entry(key).or_default();
        let id = name(delivery);
        match chain.places.get(&id).copied() {
            Some(place) => chain.note(place, id, due),
            None if self.away < MOST_AWAY => {
                let last = chain.away.last_key_value().map_or(0, |(place, _)| *place);
                let back = chain.back.last_key_value().map_or(0, |(place, _)| *place);
                chain.note(last.max(back) + 1, id, due);
                self.away += 1;
            }
            None => chain.last_due = chain.last_due.max(due),
        }
    }

    /// One that has come back is not away any more, and goes no further.
    pub fn forget_away(&mut self, delivery: &Delivery) {
        let key = delivery.message.overrides.order_key.as_ref();
        let Some(chain) = key.and_then(|key| self.chains.get_mut(key)) else {
            return;
        };
        let place = chain.places.remove(&name(delivery));
        if place.and_then(|place| chain.away.remove(&place)).is_some() {
            self.away -= 1;
        }
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

    /// Keys.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Messages in queues.
    pub fn queued(&self) -> usize {
        self.queued
    }

    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
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
        let early = chains.admit(keyed("b"), 1001);
        assert!(matches!(early, Admission::Queued));
        assert!(chains.overdue(1001 + WAIT_MS - 1).0.is_empty());
        assert_eq!(chains.overdue(1001 + WAIT_MS).0.len(), 1);
        assert_eq!((chains.away, chains.queued), (0, 0));
        chains.settled("k");
        // Well after it: there is no doubt.
        chains.send_away(&keyed("c"), 1000);
        chains.send_away(&keyed("d"), 1000 + SURE_MS);
        assert_eq!(admit(&mut chains, "d", 1000 + SURE_MS), None);
    }

    #[test]
    fn one_that_is_back_waits_for_the_one_before_it() {
        let mut chains = Chains::default();
        chains.send_away(&keyed("a"), 1001);
        chains.send_away(&keyed("b"), 1000);
        assert!(matches!(chains.admit(keyed("b"), 1000), Admission::Queued));
        // `a` is put off once more, for longer than `b` is to wait.
        chains.send_away(&keyed("a"), 9000);
        let (go, park) = chains.overdue(4000);
        assert_eq!((go.len(), park.len(), park[0].1), (0, 1, 9001));
        assert_eq!(admit(&mut chains, "a", 9000), None);
        assert!(matches!(chains.admit(keyed("b"), 9001), Admission::Queued));
        assert_eq!(chains.settled("k").map(|d| d.message.id), Some("b".into()));
        assert_eq!((chains.away, chains.queued), (0, 0));
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
