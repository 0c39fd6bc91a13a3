//! The deliveries of a lane that are due and wait for their turn, oldest first. Pure.

use std::collections::VecDeque;

use crate::delivery::Job;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Queue(VecDeque<Job>);

impl Queue {
    pub fn push(&mut self, job: Job) {
        self.0.push_back(job);
    }

    /// Takes out the oldest.
    pub fn pop(&mut self) -> Option<Job> {
        let next = self.0.pop_front();
        if self.0.is_empty() {
            // Its memory would be as large as the rest of the lane, and there may be many lanes.
            self.0 = VecDeque::new();
        }
        next
    }

    /// Takes out the newest.
    pub fn pop_last(&mut self) -> Option<Job> {
        self.0.pop_back()
    }

    /// Takes out all but the oldest `count`.
    pub fn split_off(&mut self, count: usize) -> Vec<Job> {
        self.0.split_off(self.0.len().min(count)).into()
    }

    /// Takes out those of which `which` is true.
    pub fn extract(&mut self, which: impl Fn(&Job) -> bool) -> Vec<Job> {
        if !self.0.iter().any(&which) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.0).into_iter();
        let (out, stay): (Vec<_>, Vec<_>) = all.partition(which);
        self.0 = stay.into();
        out
    }

    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
