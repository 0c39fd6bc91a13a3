//! Messages whose secret is not there. Pure.
//!
//! None is sent unsigned. It waits for whoever puts the secret there, as a producer may be quicker; but
//! not for ever, as the name may be wrong.

use std::time::Duration;

use super::{Disposition, Now, Scheduler};
use crate::delivery::verdict::Verdict;
use crate::delivery::{Attempt, DeadReason, Delivery, Exchange};

/// It waits for as long as it has waited already, within these; the longer waits are spent in Redis.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// It is given up so long after it came, or after its `deliverAt`.
const PATIENCE: Duration = Duration::from_secs(3600);

impl Scheduler {
    /// Puts off a delivery for whose secret there is no key, or gives it up.
    pub(super) fn wait_for_secret(
        &mut self,
        mut delivery: Delivery,
        attempt: Attempt,
        now: Now,
    ) -> Disposition {
        let text = match &attempt.result {
            Exchange::Fault { text, .. } => text.clone(),
            Exchange::Answer { .. } => String::new(),
        };
        delivery.last = Some(attempt);
        let since = delivery.message.deliver_at.unwrap_or_default();
        let waited = now.unix_ms.saturating_sub(since.max(delivery.received));
        let waited = Duration::from_millis(waited);
        // Where nothing can be parked it could only wait in memory.
        let near = self.limits.parking.near_window();
        if waited < PATIENCE && near.is_some() {
            let after = waited.clamp(SHORTEST, LONGEST);
            return self.wait(delivery, after, near, now);
        }
        let detail = format!("{text}: it was not sent, as it could not be signed");
        let reason = DeadReason::NoSecret;
        let fate = self.apply_verdict(Verdict::Dead { reason, detail }, delivery, now);
        self.route_released(now);
        fate
    }
}
