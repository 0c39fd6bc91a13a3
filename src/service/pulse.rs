//! When Redis last heard of this replica. Other replicas take a silent one for dead, and take over
//! its entries. So a replica that has been silent asks before it tries an entry that it still has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::message::boot_time::BootTime;

/// Others wait for longer than this before they take a silent replica for dead.
pub const TRUSTED: Duration = Duration::from_secs(4);

/// Clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Times>);

/// In milliseconds of the clock that leases are measured by.
#[derive(Debug, Default)]
struct Times {
    last: AtomicU64,
    /// When it was heard again after it had been silent for too long.
    regained: AtomicU64,
}

impl Pulse {
    /// Redis has answered a request of this replica that was sent at `asked`. So it has heard of
    /// this replica no earlier than that.
    pub fn beat(&self, asked: BootTime, answered: BootTime) {
        let asked = ms(asked);
        let last = self.0.last.fetch_max(asked, Ordering::Relaxed);
        if ms(answered).saturating_sub(last) >= TRUSTED.as_millis() as u64 {
            self.0.regained.fetch_max(asked, Ordering::Relaxed);
        }
    }

    /// The time since Redis last heard of this replica, as far as it is known here.
    pub fn age(&self, now: BootTime) -> Duration {
        let last = self.0.last.load(Ordering::Relaxed);
        Duration::from_millis(ms(now).saturating_sub(last))
    }

    /// Whether an entry whose lease was renewed then may have been taken over since.
    pub fn is_in_doubt(&self, leased: BootTime, now: BootTime) -> bool {
        let regained = self.0.regained.load(Ordering::Relaxed);
        self.age(now) >= TRUSTED || ms(leased) < regained
    }
}

fn ms(time: BootTime) -> u64 {
    time.since(BootTime::default()).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_through_a_silence_is_in_doubt() {
        let at = |s: u64| BootTime::new(Duration::from_secs(s));
        let pulse = Pulse::default();
        pulse.beat(at(100), at(100));
        assert!(!pulse.is_in_doubt(at(100), at(101)), "it was read then");
        pulse.beat(at(102), at(102));
        assert!(!pulse.is_in_doubt(at(100), at(105)));
        assert!(
            pulse.is_in_doubt(at(100), at(106)),
            "nobody has heard of us"
        );
        pulse.beat(at(107), at(107));
        assert!(pulse.is_in_doubt(at(106), at(107)), "others may have it");
        assert!(!pulse.is_in_doubt(at(107), at(107)), "it is ours again");
        pulse.beat(at(103), at(103));
        assert_eq!(pulse.age(at(108)), Duration::from_secs(1));
    }
}
