//! What is queued in a lane, for whoever looks for some of it. Pure.

use std::collections::VecDeque;

use super::Lane;
use crate::delivery::Job;

impl Lane {
    /// What is due and waits for its turn.
    pub fn queue(&self) -> impl Iterator<Item = &Job> {
        self.ready.iter()
    }

    /// Takes out all that is queued. The turn lists must be cleared with it.
    pub fn clear(&mut self) -> VecDeque<Job> {
        self.turn = None;
        std::mem::take(&mut self.ready)
    }

    /// Takes out the last that is queued.
    pub fn pop_last(&mut self) -> Option<Job> {
        self.ready.pop_back()
    }

    /// Takes out of the queue what `which` says.
    pub fn extract(&mut self, which: impl Fn(&Job) -> bool) -> Vec<Job> {
        if !self.ready.iter().any(&which) {
            return Vec::new();
        }
        let (out, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ready).into_iter().partition(which);
        self.ready = stay.into();
        out
    }
}
