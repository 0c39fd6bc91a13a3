//! One moment, on all clocks.

use std::time::Instant;

use crate::message::boot_time::BootTime;

/// One moment on all clocks: `mono` orders and measures, `boot` measures leases, `unix_ms` is
/// written down.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub mono: Instant,
    pub boot: BootTime,
    pub unix_ms: u64,
}
