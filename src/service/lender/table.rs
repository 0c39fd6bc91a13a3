//! The claims of lanes, and the questions that are not answered yet. Pure.
//!
//! No question is sent for an endpoint before its lane has taken account of the last answer: its
//! claim would be out of date.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::delivery::limits::{Claim, Grant};

/// The question for one endpoint.
pub type Question = (Arc<str>, Claim);

/// See the module's header.
#[derive(Debug, Default)]
pub struct Table(HashMap<Arc<str>, Entry>);

#[derive(Debug, Default)]
struct Entry {
    claim: Claim,
    /// The question that was sent, until the lane has taken account of the answer.
    asked: Option<Claim>,
    /// Places that are noted in Redis as ours.
    lent: u32,
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        self.claim.due().filter(|_| self.asked.is_none())
    }

    /// The lane has given up its places, and Redis does not know it yet.
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

    /// The questions that are due by then, up to `most`.
    pub fn take_due(&mut self, by: Instant, most: usize) -> Vec<Question> {
        let is_due = |e: &Entry| e.is_to_return() || e.due().is_some_and(|due| due <= by);
        let due = self.0.iter_mut().filter(|(_, entry)| is_due(entry));
        due.take(most)
            .map(|(endpoint, entry)| {
                let claim = entry.claim.at(by);
                entry.asked = Some(claim);
                (endpoint.clone(), claim)
            })
            .collect()
    }

    /// When the next question is due.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let due = |entry: &Entry| match entry.is_to_return() {
            true => Some(now),
            false => entry.due(),
        };
        self.0.values().filter_map(due).min()
    }

    /// The questions were answered. Returns the grants for the lanes.
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

    /// The questions were not answered.
    pub fn take_back(&mut self, questions: &[Question]) {
        for (endpoint, _) in questions {
            if let Some(entry) = self.0.get_mut(endpoint) {
                entry.asked = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn claim(held: u32, wanted: u32, at: Option<Instant>) -> Claim {
        Claim {
            limit: 4,
            held,
            wanted,
            renew_at: at,
            ..Claim::default()
        }
    }

    fn grant(held: u32, at: Instant) -> Grant {
        Grant {
            asked: at,
            answered: at,
            held,
            goal: held,
            replicas: 1,
            starts: 0,
            wait: Duration::ZERO,
        }
    }

    #[test]
    fn nothing_is_asked_again_before_the_lane_has_taken_account_of_the_answer() {
        let (now, mut table) = (Instant::now(), Table::default());
        let key: Arc<str> = "h".into();
        table.note(key.clone(), claim(0, 2, Some(now)), false);
        let due = table.take_due(now, 9);
        assert_eq!(due.len(), 1);
        // On its way, answered, and changed in between.
        assert!(table.take_due(now, 9).is_empty());
        assert_eq!(table.take_answers(due, vec![grant(2, now)]).len(), 1);
        table.note(key.clone(), claim(0, 3, Some(now)), false);
        assert!(table.take_due(now, 9).is_empty() && table.next_due(now).is_none());
        table.note(key, claim(2, 3, Some(now)), true);
        assert_eq!(table.take_due(now, 9).len(), 1);
    }

    #[test]
    fn what_is_not_held_any_more_is_returned_and_then_forgotten() {
        let (now, mut table) = (Instant::now(), Table::default());
        let key: Arc<str> = "h".into();
        table.note(key.clone(), claim(0, 1, Some(now)), false);
        let due = table.take_due(now, 9);
        table.take_answers(due, vec![grant(1, now)]);
        // Its lane was forgotten: it says nothing of a time.
        table.note(key.clone(), Claim::default(), true);
        let due = table.take_due(now, 9);
        assert!(due[0].1.is_idle());
        table.take_back(&due);
        let due = table.take_due(now, 9);
        assert_eq!(due.len(), 1, "the answer was lost");
        assert!(table.take_answers(due, vec![grant(0, now)]).is_empty());
        assert!(table.0.is_empty());
    }
}
