//! All lanes, and what they weigh together. Pure.
//!
//! A lane is changed only through this file, so that the sums are always true. A delivery finds its lane by
//! name once, when it is assigned, and from then on by [`LaneId`], because a name may be as long as a URL. A
//! slot is used again when its lane is forgotten, so an id has the generation of the slot too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::waiting::Due;
use super::{Now, Scheduler};
use crate::delivery::{DeadReason, Job, LaneId};
use crate::scheduler::lane::{EndpointEvent, Health, HealthSignal, Lane, Weight};

/// See the module's header.
#[derive(Debug, Default)]
pub struct Lanes {
    ids: HashMap<Arc<str>, LaneId>,
    slots: Vec<Slot>,
    /// Slots that are free.
    free: Vec<u32>,
    /// The sum of the weights of all lanes.
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

    /// Adds a lane that is not here yet.
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

    /// Changes a lane, if it is here.
    pub fn change<T>(&mut self, id: LaneId, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        let known = slot.generation == id.generation;
        let (_, lane) = slot.lane.as_mut().filter(|_| known)?;
        Some(weighed(&mut self.tally, lane, change))
    }

    /// Changes the lanes for which `which` is true. Answers what each change answered.
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

    /// Takes jobs for which `is_meant` is true out of the queues of `which` lanes.
    pub fn extract(
        &mut self,
        which: impl Fn(&str, &Lane) -> bool,
        is_meant: impl Fn(&Job) -> bool,
    ) -> Vec<Job> {
        let out = self.change_each(which, |_, lane| lane.queue.extract(&is_meant));
        out.into_iter().flatten().collect()
    }

    /// Forgets the lanes for which `which` is true.
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

impl Scheduler {
    /// The lane of this name. It is a new one if there was none.
    pub(super) fn find_lane(&mut self, name: &Arc<str>, now: Instant) -> LaneId {
        match self.lanes.find(name) {
            Some(id) => id,
            None => self.add_lane(name, Lane::new(&self.limits.lanes, now), now),
        }
    }

    /// The same for an endpoint that has failed, for other replicas or in an earlier life.
    pub(super) fn find_on_probation(&mut self, name: &Arc<str>, now: Instant) -> LaneId {
        match self.lanes.find(name) {
            Some(id) => id,
            None => self.add_lane(name, Lane::on_probation(&self.limits.lanes, now), now),
        }
    }

    fn add_lane(&mut self, name: &Arc<str>, lane: Lane, now: Instant) -> LaneId {
        self.housekeeping.note_lane(now);
        self.lanes.insert(name.clone(), lane)
    }

    /// Puts a changed lane where it belongs: into the rotation, or among the alarms.
    pub(super) fn update_turn(&mut self, id: LaneId, now: Instant) {
        let rotation = &mut self.rotation;
        let updated = self.lanes.change(id, |lane| {
            let claim = lane.claim(false, now);
            if lane.should_queue(now) {
                lane.set_turn(rotation.push(id, lane.class()));
            }
            let due = lane.room_at(now).filter(|_| !lane.queue.is_empty());
            (claim, due, lane.backlog.has_some())
        });
        let (claim, due, has_backlog) = updated.expect("whoever updates its turn has it");
        if let Some(claim) = claim {
            self.shared_limits.note(self.lanes.name(id).clone(), claim);
        }
        if let Some(due) = due {
            self.wake_lane(id, due);
        }
        if has_backlog {
            self.ask(id, now);
        }
    }

    /// Has the lane looked at again at this time.
    pub(super) fn wake_lane(&mut self, id: LaneId, due: Instant) {
        if self.lanes.change(id, |lane| lane.set_alarm(due)) == Some(true) {
            self.waiting.set(due, Due::Lane(id));
        }
    }

    /// Something has changed at an endpoint, which goes to the log.
    pub(super) fn note_event(&mut self, id: LaneId, event: Option<EndpointEvent>) {
        let event = event.map(|event| (self.lanes.name(id).clone(), event));
        self.events.extend(event);
    }

    /// A worker has given back a delivery: its lane learns from the result.
    pub(super) fn release(&mut self, id: LaneId, signal: HealthSignal, now: Now) {
        let limits = self.limits.lanes;
        let released = self.lanes.change(id, |lane| {
            let is_probe = lane.breaker().health(now.mono) == Health::Probing;
            (is_probe, lane.release(signal, &limits, now.mono))
        });
        let (is_probe, event) = released.expect("it has a delivery in flight");
        if let Some(EndpointEvent::Failing { .. }) = event {
            self.defer_queue(id, now);
        }
        self.note_event(id, event);
        self.update_turn(id, now.mono);
        self.park_stranded(id, now);
        if is_probe && matches!(signal, HealthSignal::Fault { .. }) && !self.has_store() {
            self.count_for_all(id, now);
        }
    }

    /// Without a store, messages behind a failing endpoint must come to an end too: a failed probe counts as
    /// an attempt for each of them.
    fn count_for_all(&mut self, id: LaneId, now: Now) {
        let queue = self.lanes.change(id, |lane| lane.queue.extract(|_| true));
        for mut job in queue.unwrap_or_default() {
            job.delivery.attempts.add();
            if job.delivery.attempts.made() < self.limits.attempts(&job) {
                self.enqueue(job, now);
            } else {
                let detail = "its endpoint could not be reached; the attempts of others to the \
                              same one were counted for it";
                self.bury(job, DeadReason::Exhausted, detail.into(), now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
