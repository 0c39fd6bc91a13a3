//! All lanes, and what they weigh together. Pure.
//!
//! A lane is changed only through here, so that the sums are true at all times. It is found by its
//! name once, when a delivery is assigned to it, and from then on by its place, as a name is as long
//! as a URL. Places are used again, so a place is only right with the generation it is known by.

use std::collections::HashMap;
use std::sync::Arc;

use crate::delivery::{Job, LaneId};
use crate::scheduler::lane::{Lane, Weight};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    ids: HashMap<Arc<str>, LaneId>,
    slots: Vec<Slot>,
    /// Those of them that are free.
    free: Vec<u32>,
    /// What all weigh together.
    tally: Weight,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    lane: Option<(Arc<str>, Lane)>,
}

impl Lanes {
    /// The lane of this name, if it is here.
    pub fn find(&self, name: &str) -> Option<LaneId> {
        self.ids.get(name).copied()
    }

    pub fn get(&self, id: LaneId) -> Option<&Lane> {
        let slot = self.slots.get(id.slot as usize)?;
        let lane = slot.lane.as_ref()?;
        (slot.generation == id.generation).then_some(&lane.1)
    }

    #[cfg(test)]
    pub fn named(&self, name: &str) -> Option<&Lane> {
        self.get(self.find(name)?)
    }

    /// # Panics
    /// If it has been forgotten. A lane is here as long as a delivery of it is active.
    pub fn name(&self, id: LaneId) -> &Arc<str> {
        let slot = &self.slots[id.slot as usize];
        assert!(slot.generation == id.generation, "a lane was forgotten");
        let (name, _) = slot.lane.as_ref().expect("a lane that is not forgotten");
        name
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Lane)> {
        let lanes = self.slots.iter().filter_map(|slot| slot.lane.as_ref());
        lanes.map(|(name, lane)| (name, lane))
    }

    pub fn ids(&self) -> Vec<LaneId> {
        self.ids.values().copied().collect()
    }

    /// The sums over all lanes.
    pub fn tally(&self) -> &Weight {
        &self.tally
    }

    /// Adds one that is not here yet.
    pub fn insert(&mut self, name: Arc<str>, lane: Lane) -> LaneId {
        self.tally.replace(Weight::default(), Weight::of(&lane));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                lane: None,
            });
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.lane = Some((name.clone(), lane));
        let generation = place.generation;
        let id = LaneId { slot, generation };
        let before = self.ids.insert(name, id);
        debug_assert!(before.is_none(), "two lanes of one name");
        id
    }

    /// Changes one, if it is here.
    pub fn change<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        let known = slot.generation == id.generation;
        let (_, lane) = slot.lane.as_mut().filter(|_| known)?;
        Some(weighed(&mut self.tally, lane, change))
    }

    /// Changes those of which `which` is true. Answers what each change did.
    pub fn change_each<T>(
        &mut self,
        which: impl Fn(&str, &Lane) -> bool,
        mut change: impl FnMut(LaneId, &mut Lane) -> T,
    ) -> Vec<T> {
        let mut answers = Vec::new();
        for (slot, at) in (0..).zip(&mut self.slots) {
            let generation = at.generation;
            if let Some((name, lane)) = &mut at.lane
                && which(name, lane)
            {
                let id = LaneId { slot, generation };
                let change = |lane: &mut Lane| change(id, lane);
                answers.push(weighed(&mut self.tally, lane, change));
            }
        }
        answers
    }

    /// Takes out of the queues of `which` lanes what `is_meant` says.
    pub fn extract(
        &mut self,
        which: impl Fn(&str, &Lane) -> bool,
        is_meant: impl Fn(&Job) -> bool,
    ) -> Vec<Job> {
        let out = self.change_each(which, |_, lane| lane.queue.extract(&is_meant));
        out.into_iter().flatten().collect()
    }

    /// Forgets those of which `which` is true.
    pub fn forget(&mut self, which: impl Fn(&Lane) -> bool) {
        for (slot, at) in (0..).zip(&mut self.slots) {
            let forgotten = at.lane.take_if(|(_, lane)| which(lane));
            if let Some((name, lane)) = forgotten {
                self.tally.replace(Weight::of(&lane), Weight::default());
                self.ids.remove(&name);
                at.generation = at.generation.wrapping_add(1);
                self.free.push(slot);
            }
        }
    }
}

fn weighed<T>(tally: &mut Weight, lane: &mut Lane, change: impl FnOnce(&mut Lane) -> T) -> T {
    let before = Weight::of(lane);
    let answer = change(lane);
    let after = Weight::of(lane);
    if after != before {
        tally.replace(before, after);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::scheduler::lane::LaneLimits;

    #[test]
    fn who_knows_a_lane_that_was_forgotten_does_not_find_the_one_in_its_place() {
        let limits = LaneLimits {
            window: 1,
            backoff_base: Duration::ZERO,
            backoff_max: Duration::ZERO,
        };
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let old = lanes.insert("http://old".into(), Lane::new(&limits, now));
        lanes.forget(|_| true);
        assert_eq!((lanes.len(), lanes.find("http://old")), (0, None));
        let new = lanes.insert("http://new".into(), Lane::new(&limits, now));
        assert_eq!((old.slot, lanes.find("http://new")), (new.slot, Some(new)));
        assert!(lanes.get(old).is_none() && lanes.get(new).is_some());
        assert!(lanes.change(old, |lane| lane.enter(1)).is_none());
        assert_eq!(lanes.iter().count(), 1);
    }
}
