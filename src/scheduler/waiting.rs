//! The heap of things that wait in memory for a time: deliveries for their next attempt, lanes for the end
//! of a back-off. Pure. Of equal times the first in is the first out.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::delivery::{Job, LaneId};

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    alarms: BinaryHeap<Reverse<Alarm>>,
    /// Deliveries among the alarms.
    deliveries: usize,
    sequence: u64,
}

/// What is due.
#[derive(Debug)]
pub(super) enum Due {
    Delivery(Box<Job>),
    /// A lane may have something to do: its back-off is over, or its rate allows the next attempt.
    Lane(LaneId),
}

/// Something that is to be done at a time.
#[derive(Debug)]
struct Alarm {
    at: Instant,
    sequence: u64,
    due: Due,
}

impl Waiting {
    pub fn set(&mut self, at: Instant, due: Due) {
        self.deliveries += usize::from(matches!(due, Due::Delivery(_)));
        self.sequence += 1;
        let sequence = self.sequence;
        self.alarms.push(Reverse(Alarm { at, sequence, due }));
    }

    /// How many deliveries wait.
    pub fn len(&self) -> usize {
        self.deliveries
    }

    /// When the first is due.
    pub fn first(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse(first)| first.at)
    }

    /// Takes the first, if it is due.
    pub fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.first()? > now {
            return None;
        }
        let Reverse(first) = self.alarms.pop()?;
        self.deliveries -= usize::from(matches!(first.due, Due::Delivery(_)));
        Some(first.due)
    }

    /// The deliveries, in no order.
    pub fn deliveries(&self) -> impl Iterator<Item = &Job> {
        self.alarms
            .iter()
            .filter_map(|Reverse(alarm)| match &alarm.due {
                Due::Delivery(job) => Some(&**job),
                Due::Lane(_) => None,
            })
    }

    /// Takes out the deliveries for which `which` is true, with the times at which they are due.
    pub fn extract(&mut self, which: impl Fn(Instant, &Job) -> bool) -> Vec<(Instant, Job)> {
        let mut out = Vec::new();
        let keep = std::mem::take(&mut self.alarms).into_iter();
        let keep = keep.filter_map(|Reverse(alarm)| match alarm.due {
            Due::Delivery(job) if which(alarm.at, &job) => {
                out.push((alarm.at, *job));
                None
            }
            due => Some(Reverse(Alarm { due, ..alarm })),
        });
        self.alarms = keep.collect();
        self.deliveries -= out.len();
        out
    }

    /// Changes each delivery, but not the time at which it is due.
    pub fn change_each(&mut self, mut change: impl FnMut(Instant, &mut Job)) {
        let mut alarms = std::mem::take(&mut self.alarms).into_vec();
        for Reverse(alarm) in &mut alarms {
            if let Due::Delivery(job) = &mut alarm.due {
                change(alarm.at, job);
            }
        }
        self.alarms = alarms.into();
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Alarm {}
