//! What is queued in a lane, for whoever looks for some of it. Pure.

use std::collections::VecDeque;

use super::Lane;
use crate::delivery::Delivery;

impl Lane {
    /// What is due and waits for its turn.
    pub fn queue(&self) -> impl Iterator<Item = &Delivery> {
        self.ready.iter()
    }

    /// Takes out all that is queued. The turn lists must be cleared with it.
    pub fn clear(&mut self) -> VecDeque<Delivery> {
        self.turn = None;
        std::mem::take(&mut self.ready)
    }

    /// Takes out of the queue the one that was received first, if that was before `received`.
    pub fn take_older(&mut self, received: u64) -> Option<Delivery> {
        let free = self.ready.iter().enumerate();
        let free = free.filter(|(_, d)| d.message.overrides.order_key.is_none());
        let (at, oldest) = free.min_by_key(|(_, d)| d.received)?;
        (oldest.received < received).then(|| self.ready.remove(at))?
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
}
