//! One endpoint's queue, and how many workers it may hold at a time. Pure.

use std::collections::VecDeque;

use crate::delivery::Delivery;

/// The deliveries for one origin that are due, and the number of those in flight.
#[derive(Debug, Default)]
pub struct Lane {
    ready: VecDeque<Delivery>,
    busy: usize,
    /// Whether the lane stands in the scheduler's turn list, where it may stand once.
    in_turn: bool,
}

impl Lane {
    /// Adds a delivery that is due. True when the lane must now be put into the turn list.
    pub fn push(&mut self, delivery: Delivery, window: usize) -> bool {
        self.ready.push_back(delivery);
        self.enters(window)
    }

    /// Its turn has come: hands out the next delivery, and says whether the lane goes back
    /// to the end of the turn list.
    pub fn take(&mut self, window: usize) -> (Option<Delivery>, bool) {
        self.in_turn = false;
        let next = self.ready.pop_front();
        self.busy += usize::from(next.is_some());
        (next, self.enters(window))
    }

    /// One of its deliveries came back. True when the lane must now be put into the turn list.
    pub fn release(&mut self, window: usize) -> bool {
        debug_assert!(self.busy > 0, "a lane got back more than it gave");
        self.busy -= 1;
        self.enters(window)
    }

    /// Nothing is queued or in flight, and no turn is due: the lane can be forgotten.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.busy == 0 && !self.in_turn
    }

    /// Takes out all that is queued. The turn list must be cleared with it.
    pub fn clear(&mut self) -> VecDeque<Delivery> {
        self.in_turn = false;
        std::mem::take(&mut self.ready)
    }

    /// Takes out of the queue what `which` says.
    pub fn extract(&mut self, which: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        if !self.ready.iter().any(&which) {
            return Vec::new();
        }
        let (out, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ready).into_iter().partition(which);
        self.ready = stay.into();
        out
    }

    /// The one rule of the turn list: a lane stands in it, once, while it has work and room.
    fn enters(&mut self, window: usize) -> bool {
        let enters = !self.in_turn && !self.ready.is_empty() && self.busy < window;
        self.in_turn |= enters;
        enters
    }
}
