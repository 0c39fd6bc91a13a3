//! Which messages may stay in memory. Pure.
//!
//! Memory belongs to endpoints that answer. A failing endpoint has one probe there, an endpoint that has
//! never answered a few messages, and all of these together an eighth of the memory. A healthy endpoint has
//! the messages that it delivers within two seconds. All other messages are deferred when they come. So no
//! endpoint can stop the intake.

use super::{Limits, Now};
use crate::delivery::Job;
use crate::scheduler::lane::{Lane, Weight};

/// An endpoint that has never answered has at most this many messages, and at most this part of the room
/// that is left for all such endpoints.
pub(super) const MOST_UNPROVEN: usize = 64;
const UNPROVEN_EACH: usize = 8;

/// How much room there is, and what all lanes hold of it.
#[derive(Debug)]
pub struct Room<'a> {
    pub limits: &'a Limits,
    pub held: &'a Weight,
}

impl Room<'_> {
    /// Whether a due message may stay in its lane. Otherwise it must be deferred.
    pub fn may_hold(&self, job: &Job, lane: &Lane, now: Now) -> bool {
        // It is counted already.
        let others = lane.active().saturating_sub(1);
        let breaker = lane.breaker();
        if job.delivery.backlog.is_some() {
            // It was asked for.
            return !breaker.is_failing() || others == 0;
        }
        let is_full =
            others > 0 && (others >= self.limits.share || lane.bytes() > self.limits.share_bytes);
        if is_full {
            return false;
        }
        if breaker.is_failing() && job.delivery.entry.is_none() {
            return others < MOST_UNPROVEN && self.has_unproven(Weight::default());
        }
        if let Some(left) = breaker.failing_for(now.mono) {
            let soon = self.limits.parking.near_window().unwrap_or_default() / 2;
            let goes_first = lane.backlog.is_over();
            return left <= soon && goes_first && others == 0 && self.has_first();
        }
        if !lane.is_healthy() {
            // What it holds is counted already, with this one.
            let most = self.unproven_each() + usize::from(self.has_unproven(Weight::of(lane)));
            return others < most.max(usize::from(self.has_first()));
        }
        let ahead = self.ahead(lane);
        // Messages of the backlog get the other half.
        let ahead = match lane.backlog.has_some() {
            true => ahead.div_ceil(2),
            false => ahead,
        };
        lane.in_play() < ahead || job.delivery.attempts.made() > 0
    }

    /// How many messages a healthy endpoint should have in play.
    pub fn ahead(&self, lane: &Lane) -> usize {
        let workers = self.limits.workers / self.held.occupied.max(1);
        lane.ahead(workers).min(self.limits.share)
    }

    /// Whether all lanes that are not healthy hold less than they may, not counting `own`.
    pub fn has_unproven(&self, own: Weight) -> bool {
        self.held.unproven - own.unproven < self.limits.unproven_share()
            && self.held.unproven_bytes - own.unproven_bytes < self.limits.unproven_share_bytes()
    }

    /// Whether a lane without messages may have its first one, though others have used up the room for
    /// all of them: a new endpoint must be tried.
    fn has_first(&self) -> bool {
        self.held.unproven <= self.limits.max_active / 2
            && self.held.unproven_bytes <= self.limits.max_active_bytes / 2
    }

    /// Whether one more message may be asked for a lane that is not healthy, besides those under way.
    pub fn has_one_more(&self) -> bool {
        let count = self.held.unproven + self.held.expected;
        count < (self.limits.max_active / 2).max(1)
            && self.held.unproven_bytes < (self.limits.max_active_bytes / 2).max(1)
    }

    /// How many messages each lane may have that has never answered.
    fn unproven_each(&self) -> usize {
        if self.held.unproven_bytes >= self.limits.unproven_share_bytes() {
            return 0;
        }
        let left = self
            .limits
            .unproven_share()
            .saturating_sub(self.held.unproven);
        (left / UNPROVEN_EACH).min(MOST_UNPROVEN)
    }
}
