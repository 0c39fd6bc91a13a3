//! All lanes, by name, and what they weigh together. Pure.
//!
//! A lane is changed only through here, so that the sums are true at all times.

use std::collections::HashMap;
use std::sync::Arc;

use crate::delivery::Job;
use crate::scheduler::lane::{Lane, Weight};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Arc<str>, Lane>,
    /// What all weigh together.
    tally: Weight,
}

impl Lanes {
    pub fn get(&self, name: &str) -> Option<&Lane> {
        self.lanes.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.lanes.contains_key(name)
    }

    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Lane)> {
        self.lanes.iter()
    }

    pub fn names(&self) -> Vec<Arc<str>> {
        self.lanes.keys().cloned().collect()
    }

    /// The sums over all lanes.
    pub fn tally(&self) -> &Weight {
        &self.tally
    }

    pub fn insert(&mut self, name: Arc<str>, lane: Lane) {
        self.tally.replace(Weight::default(), Weight::of(&lane));
        self.lanes.insert(name, lane);
    }

    /// Changes one, if it is here.
    pub fn change<T>(&mut self, name: &str, change: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let lane = self.lanes.get_mut(name)?;
        Some(weighed(&mut self.tally, lane, change))
    }

    /// Changes those of which `which` is true. Answers what each change did.
    pub fn change_each<T>(
        &mut self,
        which: impl Fn(&str, &Lane) -> bool,
        mut change: impl FnMut(&Arc<str>, &mut Lane) -> T,
    ) -> Vec<T> {
        let lanes = self.lanes.iter_mut();
        lanes
            .filter(|(name, lane)| which(name, lane))
            .map(|(name, lane)| weighed(&mut self.tally, lane, |lane| change(name, lane)))
            .collect()
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
        let tally = &mut self.tally;
        self.lanes.retain(|_, lane| {
            let forgets = which(lane);
            if forgets {
                tally.replace(Weight::of(lane), Weight::default());
            }
            !forgets
        });
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
