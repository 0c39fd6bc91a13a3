//! Who claims what, and what has been asked for and not answered yet. Pure.
//!
//! An endpoint is not asked for again before its lane has taken account of the last answer: what
//! it says to hold would not be true.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::limits::{Claim, Grant};

/// What is asked for one endpoint.
pub type Question = (Arc<str>, Claim);

/// See the module's header.
#[derive(Debug, Default)]
pub struct Table(HashMap<Arc<str>, Entry>);

#[derive(Debug, Default)]
struct Entry {
    claim: Claim,
    /// What was asked, until the lane has taken account of the answer.
    asked: Option<Claim>,
    /// Places that are noted in Redis as ours.
    lent: u32,
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        self.claim.due().filter(|_| self.asked.is_none())
    }

    /// It holds nothing any more, and Redis does not know it yet.
    fn is_to_return(&self) -> bool {
        self.asked.is_none() && self.claim.is_idle() && self.lent > 0
    }

    fn is_over(&self) -> bool {
        self.asked.is_none() && self.claim.is_idle() && self.lent == 0
    }
}

impl Table {
    /// A lane's claim. `is_anew`: it takes account of the last answer.
    pub fn note(&mut self, endpoint: Arc<str>, claim: Claim, is_anew: bool) {
        let entry = self.0.entry(endpoint.clone()).or_default();
        entry.claim = claim;
        if is_anew {
            entry.asked = None;
        }
        if entry.is_over() {
            self.0.remove(&endpoint);
        }
    }

    /// What is to be asked now, up to `most`.
    pub fn take_due(&mut self, now: Instant, most: usize) -> Vec<Question> {
        let is_due = |e: &Entry| e.is_to_return() || e.due().is_some_and(|due| due <= now);
        let due = self.0.iter_mut().filter(|(_, entry)| is_due(entry));
        due.take(most)
            .map(|(endpoint, entry)| {
                let claim = entry.claim.at(now);
                entry.asked = Some(claim);
                (endpoint.clone(), claim)
            })
            .collect()
    }

    /// When there is something to be asked next.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.values().filter_map(Entry::due).min()
    }

    /// They were answered. Answers what is to be told to the lanes.
    pub fn take_answers(
        &mut self,
        questions: Vec<Question>,
        grants: Vec<Grant>,
    ) -> Vec<(Arc<str>, Grant)> {
        let mut told = Vec::new();
        for ((endpoint, question), grant) in questions.into_iter().zip(grants) {
            let Some(entry) = self.0.get_mut(&endpoint) else {
                continue;
            };
            entry.lent = grant.held;
            if !question.is_idle() {
                told.push((endpoint, grant));
                continue;
            }
            entry.asked = None;
            if entry.claim.is_idle() {
                self.0.remove(&endpoint);
            }
        }
        told
    }

    /// They were not answered.
    pub fn take_back(&mut self, questions: &[Question]) {
        for (endpoint, _) in questions {
            if let Some(entry) = self.0.get_mut(endpoint) {
                entry.asked = None;
            }
        }
    }
}
