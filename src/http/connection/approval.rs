//! What is remembered of a kept connection from when the address guard last approved it.

use std::sync::Arc;
use std::time::Instant;

use crate::trust::guard::Guard;

/// Which guard approved a kept connection, and for how long that holds.
#[derive(Debug)]
pub struct Approval {
    pub guard: Arc<Guard>,
    /// How often names had come to lead elsewhere by then ([`Resolver::changes`]).
    ///
    /// [`Resolver::changes`]: crate::http::resolver::Resolver::changes
    pub changes: u64,
    pub until: Instant,
}

impl Approval {
    pub fn holds(&self, guard: &Arc<Guard>, changes: u64, now: Instant) -> bool {
        Arc::ptr_eq(&self.guard, guard) && self.changes == changes && now < self.until
    }
}
