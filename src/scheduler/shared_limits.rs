//! Limits that hold for all replicas together: what the lanes claim from the lender, and its answers. Pure.

use std::sync::Arc;
use std::time::Instant;

use super::{Now, Scheduler};
use crate::delivery::limits::{CALM, Claim, Grant, Standing};
use crate::scheduler::lane::Lane;

/// The claim of one lane, and whether it takes account of the last answer.
pub type LaneClaim = (Arc<str>, Claim, bool);

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct SharedLimits {
    /// None where each replica has its own limits.
    standing: Option<Standing>,
    claims: Vec<LaneClaim>,
}

impl SharedLimits {
    /// None where each replica has its own limits.
    pub fn standing(&self) -> Option<Standing> {
        self.standing
    }

    /// A lane has a new claim.
    pub fn note(&mut self, name: Arc<str>, claim: Claim) {
        self.claims.push((name, claim, false));
    }
}

impl Scheduler {
    /// From now on there is a lender.
    pub fn share_limits(&mut self, now: Instant) {
        self.shared_limits.standing = Some(Standing {
            is_away: false,
            calm_until: now,
            replicas: 1,
        });
    }

    /// The new claims since the last call.
    pub fn claims(&mut self) -> Vec<LaneClaim> {
        std::mem::take(&mut self.shared_limits.claims)
    }

    /// The lender's answers.
    pub fn take_grants(&mut self, grants: Vec<(Arc<str>, Grant)>, now: Now) {
        let Some(standing) = &mut self.shared_limits.standing else {
            return;
        };
        let most = grants.iter().map(|(_, grant)| grant.replicas).max();
        standing.replicas = standing.replicas.max(most.unwrap_or(1));
        if std::mem::take(&mut standing.is_away) {
            standing.calm_until = now.mono + CALM;
            let standing = *standing;
            self.for_shared(now, |lane| lane.share_again(standing, now.mono));
        }
        for (name, grant) in grants {
            let id = self.lanes.find(&name);
            let claim = id.and_then(|id| {
                self.lanes.change(id, |lane| {
                    lane.grant(&grant, now.mono);
                    lane.claim(true, now.mono).unwrap_or_default()
                })
            });
            // The lane may have been forgotten meanwhile.
            let claim = (name, claim.unwrap_or_default(), true);
            self.shared_limits.claims.push(claim);
            if let Some(id) = id {
                self.update_turn(id, now.mono);
                self.park_stranded(id, now);
            }
        }
    }

    /// The lender cannot be reached.
    pub fn lose_lender(&mut self, now: Now) {
        let Some(standing) = self.shared_limits.standing.as_mut().filter(|s| !s.is_away) else {
            return;
        };
        standing.is_away = true;
        let standing = *standing;
        self.for_shared(now, |lane| lane.keep_share(standing, now.mono));
    }

    fn for_shared(&mut self, now: Now, mut act: impl FnMut(&mut Lane)) {
        let shared = self.lanes.change_each(
            |_, lane| lane.is_shared(),
            |id, lane| {
                act(lane);
                id
            },
        );
        for id in shared {
            self.update_turn(id, now.mono);
        }
    }
}
