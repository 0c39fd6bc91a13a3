//! Messages whose secret is not there, or not read yet. Pure.
//!
//! It is looked for before a message takes any of the room, starts or workers of its endpoint, and again
//! when it is signed. None is sent unsigned. It waits for whoever puts the secret there, as a producer may be quicker; but
//! not for ever, as the name may be wrong. It waits in Redis: in memory it would take the room of others
//! of its endpoint, who have done nothing.

use std::time::Duration;

use super::{Disposition, Now, Scheduler};
use crate::delivery::{Attempt, AttemptResult, DeadReason, FailureKind, Job};
use crate::trust::keyring::Found;

/// It waits for as long as it has waited already, within these.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// It is given up so long after it came, or after its `deliverAt`.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A secret that is being read is soon there: few wait for that in memory, so long at most.
const SOON: Duration = Duration::from_millis(100);
const FEW: usize = 32;
const FEW_OF_HEALTHY: usize = 256;

/// The others, at least so long.
const UNREAD: Duration = Duration::from_secs(1);

/// Where there is no Redis to wait in, a secret that cannot be read is given up after so long.
const MOST_UNREAD: Duration = Duration::from_secs(30);

impl Scheduler {
    /// What an attempt would come to, if there is no key for it now.
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

    /// Whether this came of an attempt that could not be signed.
    pub(super) fn is_unsigned(&self, attempt: &Attempt) -> bool {
        match attempt.failure_kind() {
            Some(FailureKind::NoSecret | FailureKind::SecretUnread { .. }) => true,
            // Where nothing can be parked it must end.
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
        // What came of a true attempt says more than that it is read.
        let says_more = !matches!(
            attempt.failure_kind(),
            Some(FailureKind::SecretUnread { .. })
        );
        let last = job.delivery.last.as_ref();
        if says_more || last.is_none_or(|last| last.postponed().is_some()) {
            job.delivery.last = Some(attempt);
        }
        if let Some((after, near)) = wait {
            return self.wait(job, after, near, now);
        }
        let detail = format!("{text}: it was not sent, as it could not be signed");
        self.bury(job, DeadReason::NoSecret, detail, now)
    }
}
