//! A moment on the clock that leases are measured by. Pure: `service/boot_clock.rs` reads that clock.

use std::time::Duration;

/// A moment on a clock that runs while the machine sleeps. Leases are measured by it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// `since_boot`: the time since the machine was started.
    pub fn new(since_boot: Duration) -> BootTime {
        BootTime(since_boot)
    }

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: BootTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
