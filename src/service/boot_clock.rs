//! The clock that leases are measured by: it runs while the machine sleeps, as the clock of Redis
//! does. `Instant` may stop then, so after a sleep a process would believe that it still has
//! entries that others took over long ago.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::message::boot_time::BootTime;

#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;

/// Elsewhere (macOS, the BSDs) this one counts sleep.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Now.
pub fn boot_time() -> BootTime {
    let time = clock_gettime(CLOCK);
    BootTime::new(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_goes_as_fast_as_any_other_clock() {
        let (before, begun) = (boot_time(), Instant::now());
        while begun.elapsed() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        let passed = boot_time().since(before);
        assert!(passed >= Duration::from_millis(5), "{passed:?}");
        assert!(
            passed <= begun.elapsed() + Duration::from_millis(1),
            "{passed:?}"
        );
    }
}
