//! Limits that hold for all replicas together: what lanes ask of the lender, and what it answers.

use std::sync::Arc;
use std::time::Instant;

use super::{Now, Scheduler};
use crate::delivery::limits::{CALM, Claim, Grant, Standing};
use crate::scheduler::lane::Lane;

/// One lane's claim, and whether it takes account of the last answer.
pub type LaneClaim = (Arc<str>, Claim, bool);

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// None where each replica has its own limits.
    pub standing: Option<Standing>,
    claims: Vec<LaneClaim>,
}

impl Shares {
    /// To be called whenever a lane has changed.
    pub fn note(&mut self, key: &Arc<str>, lane: &mut Lane, now: Instant) {
        let claim = lane.claim(false, now);
        self.claims
            .extend(claim.map(|claim| (key.clone(), claim, false)));
    }
}

impl Scheduler {
    /// From now on there is a lender.
    pub fn share_limits(&mut self, now: Instant) {
        self.shares.standing = Some(Standing {
            is_away: false,
            calm_until: now,
            replicas: 1,
        });
    }

    /// What is to be asked of the lender, since the last call.
    pub fn claims(&mut self) -> Vec<LaneClaim> {
        std::mem::take(&mut self.shares.claims)
    }

    /// The lender's answers.
    pub fn take_grants(&mut self, grants: Vec<(Arc<str>, Grant)>, now: Now) {
        let Some(standing) = &mut self.shares.standing else {
            return;
        };
        let most = grants.iter().map(|(_, grant)| grant.replicas).max();
        standing.replicas = standing.replicas.max(most.unwrap_or(1));
        if std::mem::take(&mut standing.is_away) {
            standing.calm_until = now.mono + CALM;
            let standing = *standing;
            self.for_shared(now, |lane| lane.share_again(standing, now.mono));
        }
        for (key, grant) in grants {
            let claim = self.lanes.change(&key, |lane| {
                lane.grant(&grant, now.mono);
                lane.claim(true, now.mono).unwrap_or_default()
            });
            let Some(claim) = claim else {
                // It was forgotten meanwhile.
                self.shares.claims.push((key, Claim::default(), true));
                continue;
            };
            self.shares.claims.push((key.clone(), claim, true));
            self.update_turn(&key, now.mono);
            self.park_stranded(&key, now);
        }
    }

    /// The lender cannot be reached.
    pub fn lose_lender(&mut self, now: Now) {
        let Some(standing) = self.shares.standing.as_mut().filter(|s| !s.is_away) else {
            return;
        };
        standing.is_away = true;
        let standing = *standing;
        self.for_shared(now, |lane| lane.keep_share(standing, now.mono));
    }

    fn for_shared(&mut self, now: Now, mut act: impl FnMut(&mut Lane)) {
        let keys = self.lanes.change_each(
            |_, lane| lane.is_shared(),
            |key, lane| {
                act(lane);
                key.clone()
            },
        );
        for key in keys {
            self.update_turn(&key, now.mono);
        }
    }
}
