//! What the ledger writes of keys: whose turn it is, and that the next may come.

use std::time::Duration;

use super::Ledger;
use super::batch::Batch;
use crate::delivery::receipt::{Receipt, Turn, Why};
use crate::store::StoreError;

impl Ledger {
    /// Lets those go that follow heads that were delivered.
    pub(super) fn advance(&mut self, held: &mut Batch, limit: Duration) -> Result<(), StoreError> {
        if !held.advanced.is_empty() {
            self.store.advance(&held.advanced, limit)?;
            held.advanced.clear();
        }
        Ok(())
    }

    /// Asks whose turn it is. Those whose turn it is go back to the timer; the others are in the
    /// store then.
    pub(super) fn queue(
        &mut self,
        held: &mut Batch,
        receipt: &mut Receipt,
        limit: Duration,
    ) -> Result<(), StoreError> {
        if held.queued.is_empty() {
            return Ok(());
        }
        let turns = self.store.queue(&held.queued, limit)?;
        for (delivery, turn) in held.queued.drain(..).zip(turns) {
            let turn = turn.unwrap_or_else(|why| match why {
                // The answer to the same request was lost.
                Why::Gone if self.recent.repeats => Turn::Follows,
                _ => Turn::Lost,
            });
            if turn == Turn::Lost {
                self.recent.lapsed.extend(delivery.entry);
            }
            receipt.turns.push((delivery, turn));
        }
        Ok(())
    }
}
