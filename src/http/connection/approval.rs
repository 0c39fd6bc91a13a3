//! What is known of a kept connection from when it was last judged.

use std::sync::Arc;
use std::time::Instant;

use crate::trust::guard::Guard;

/// When a kept connection was judged last, and how long that holds.
#[derive(Debug)]
pub struct Judged {
    pub guard: Arc<Guard>,
    /// What the resolver had learned by then.
    pub changes: u64,
    pub until: Instant,
}

impl Judged {
    pub fn holds(&self, guard: &Arc<Guard>, changes: u64, now: Instant) -> bool {
        Arc::ptr_eq(&self.guard, guard) && self.changes == changes && now < self.until
    }
}
