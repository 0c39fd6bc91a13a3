//! Messages that name a secret which is missing, or not read yet. Pure.
//!
//! The scheduler looks for the secret before the message takes room, starts or workers of its endpoint. The
//! worker looks again when it signs. No message is sent unsigned. It waits for the secret, because a producer
//! may be quicker than the operator; but not for ever, because the name may be wrong. It waits in Redis: in
//! memory it would take the room of other messages for its endpoint.

use std::time::Duration;

use super::{Disposition, Now, Scheduler};
use crate::delivery::{Attempt, AttemptResult, DeadReason, FailureKind, Job};
use crate::trust::keyring::Found;

/// Each wait is as long as the message has waited already, within these bounds.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// It is given up this long after it came, or after its `deliverAt`.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A secret that is being read is there soon. A few messages wait for it in memory, for this time at most.
const SOON: Duration = Duration::from_millis(100);
const FEW: usize = 32;
const FEW_OF_HEALTHY: usize = 256;

/// The other messages wait in Redis, for this time at least.
const UNREAD: Duration = Duration::from_secs(1);

/// Without Redis, a message is given up when its secret could not be read for this time.
const MOST_UNREAD: Duration = Duration::from_secs(30);

impl Scheduler {
    /// The result that an attempt would have, if there is no key for it now.
    pub(super) fn unsigned(&self, job: &Job, now: Now) -> Option<Attempt> {
        let name = job.delivery.message.overrides.secret.as_ref()?;
        let own = (job.rule.as_ref()).and_then(|rule| rule.signing.as_ref());
        let (kind, text) = match self.keyring.as_ref()?.find(name, own, now.mono) {
            Found::Signing(_) => return None,
            Found::Unread { again, text } => (FailureKind::SecretUnread { again }, text),
            Found::Missing(text) => (FailureKind::NoSecret, text),
        };
        Some(Attempt {
            at: now.unix_ms,
            took: Duration::ZERO,
            result: AttemptResult::Failure { kind, text },
        })
    }

    /// Whether this is the result of an attempt that could not be signed.
    pub(super) fn is_unsigned(&self, attempt: &Attempt) -> bool {
        match attempt.failure_kind() {
            Some(FailureKind::NoSecret | FailureKind::SecretUnread { .. }) => true,
            // Without a store it must end.
            Some(FailureKind::Unsigned) => !self.has_store(),
            _ => false,
        }
    }

    /// Puts off a delivery that cannot be signed, or gives it up.
    pub(super) fn wait_for_secret(
        &mut self,
        mut job: Job,
        attempt: Attempt,
        now: Now,
    ) -> Disposition {
        let since = job.delivery.message.deliver_at.unwrap_or_default();
        let waited = now.unix_ms.saturating_sub(since.max(job.delivery.received));
        let waited = Duration::from_millis(waited);
        let near = self.limits.parking.near_window();
        let at_once = near.map(|_| Duration::ZERO);
        let wait = match attempt.failure_kind() {
            Some(FailureKind::SecretUnread { again }) => {
                let lane = self.lanes.get(job.lane);
                let few = lane.is_none_or(|lane| match lane.is_healthy() {
                    true => lane.active() <= FEW_OF_HEALTHY,
                    false => lane.active() <= FEW,
                });
                match near {
                    None if again >= MOST_UNREAD => None,
                    Some(_) if again > SOON || !few => Some((again.max(UNREAD), at_once)),
                    near => Some((again, near)),
                }
            }
            Some(FailureKind::NoSecret) if near.is_some() && waited < PATIENCE => {
                Some((waited.clamp(SHORTEST, LONGEST), at_once))
            }
            _ => None,
        };
        let text = match &attempt.result {
            AttemptResult::Failure { text, .. } => text.clone(),
            AttemptResult::Response { .. } => String::new(),
        };
        match attempt.failure_kind() {
            Some(FailureKind::SecretUnread { .. }) => job.delivery.note_unmade(attempt),
            _ => job.delivery.last = Some(attempt),
        }
        if let Some((after, near)) = wait {
            return self.wait(job, after, near, now);
        }
        let detail = format!("{text}: it was not sent, as it could not be signed");
        self.bury(job, DeadReason::NoSecret, detail, now)
    }
}
