//! How much a lane takes of the workers and the memory that all lanes share. Pure.

use super::Lane;

/// See the module's header; also the sum of it over all lanes.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Weight {
    /// Workers that it holds though it is not trusted.
    pub untrusted_in_flight: usize,
    /// Of these, the ones of a failing lane.
    pub failing: usize,
    /// Deliveries of it that are active, if it is not healthy, and their bytes.
    pub unproven: usize,
    pub unproven_bytes: usize,
    /// 1 if it is failing and has a probe, or asks for one.
    pub probes: usize,
    /// 1 if a message is under way for it, and it is not healthy.
    pub expected: usize,
    /// 1 if any delivery of it is active.
    pub occupied: usize,
    /// Deliveries that wait for their turn.
    pub queued: usize,
}

impl Weight {
    pub fn of(lane: &Lane) -> Weight {
        let (is_healthy, is_failing) = (lane.is_healthy(), lane.breaker.is_failing());
        let (if_failing, unless_healthy) = (usize::from(is_failing), usize::from(!is_healthy));
        let is_coming = lane.backlog.is_coming();
        Weight {
            untrusted_in_flight: match lane.breaker.is_trusted() {
                true => 0,
                false => lane.in_flight,
            },
            failing: if_failing * lane.in_flight,
            unproven: unless_healthy * lane.active,
            unproven_bytes: unless_healthy * lane.bytes,
            probes: usize::from(is_failing && (is_coming || lane.active > 0)),
            expected: usize::from(!is_healthy && is_coming),
            occupied: usize::from(lane.active > 0),
            queued: lane.queue.len(),
        }
    }

    /// One lane's weight has changed in the sum of all.
    pub fn replace(&mut self, before: Weight, after: Weight) {
        let change = |sum: &mut usize, before: usize, after: usize| *sum = *sum - before + after;
        change(
            &mut self.untrusted_in_flight,
            before.untrusted_in_flight,
            after.untrusted_in_flight,
        );
        change(&mut self.failing, before.failing, after.failing);
        change(&mut self.unproven, before.unproven, after.unproven);
        change(
            &mut self.unproven_bytes,
            before.unproven_bytes,
            after.unproven_bytes,
        );
        change(&mut self.probes, before.probes, after.probes);
        change(&mut self.expected, before.expected, after.expected);
        change(&mut self.occupied, before.occupied, after.occupied);
        change(&mut self.queued, before.queued, after.queued);
    }
}
