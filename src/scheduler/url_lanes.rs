//! URLs with lanes of their own, which stand apart from their origin. Pure.
//!
//! On a shared host each URL may be somebody else. A 429, or a wish for a pause, is about the URL
//! that said it: that one gets a lane, and so a backlog, of its own, and the others go on. Only when
//! several URLs of an origin say so at once is it about the origin. What keeps an origin from being
//! reached at all (connections, TLS, names, time-outs) is about the origin always.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Now, Scheduler};
use crate::delivery::hold::covers;
use crate::delivery::{Attempt, AttemptResult, Job, LaneId};
use crate::message::endpoint::Endpoint;
use crate::scheduler::lane::HealthSignal;

/// So many URLs of an origin that ask for a pause at once speak for the origin.
const SEVERAL: usize = 3;

/// URLs that stand apart at most; beyond that each speaks for its origin.
const MOST: usize = 10_000;

/// See the module's header.
#[derive(Debug, Default)]
pub struct UrlLanes(HashSet<Arc<str>>);

impl UrlLanes {
    /// The lane of its own that a URL has, if it has one.
    pub fn find(&self, endpoint: &Endpoint) -> Option<&Arc<str>> {
        // Most of the time there is none.
        match self.0.is_empty() {
            true => None,
            false => self.0.get(&endpoint.url),
        }
    }

    /// Forgets those that have no lane any more.
    pub fn forget(&mut self, has_lane: impl Fn(&str) -> bool) {
        self.0.retain(|url| has_lane(url));
    }
}

impl Scheduler {
    /// If what came of this attempt is about its URL alone, that one stands apart from now on, and
    /// the origin has answered. False if it is not.
    pub(super) fn set_apart(
        &mut self,
        job: &mut Job,
        attempt: &Attempt,
        signal: HealthSignal,
        now: Now,
    ) -> bool {
        let HealthSignal::Fault {
            retry_after: wish,
            took,
        } = signal
        else {
            return false;
        };
        let is_its_own = match attempt.result {
            AttemptResult::Response { status, .. } => status == 429 || wish.is_some(),
            AttemptResult::Failure { .. } => false,
        };
        if !is_its_own || !self.may_stand_apart(job, now) {
            return false;
        }
        let url = job.delivery.message.endpoint.url.clone();
        self.url_lanes.0.insert(url.clone());
        let bytes = job.delivery.bytes();
        // It may be known: others to it may have been under way when it was set apart.
        let limits = self.limits.lanes;
        let own = self.find_lane(&url, now.mono);
        let origin = std::mem::replace(&mut job.lane, own);
        let event = self.lanes.change(own, |lane| {
            lane.enter(bytes);
            lane.back_off(wish, &limits, now.mono)
        });
        self.note_event(own, event.flatten());
        self.release(origin, HealthSignal::Alive { took }, now);
        self.lanes.change(origin, |lane| lane.leave(bytes));
        self.move_queue(origin, &url, own, now);
        true
    }

    /// What stands in the origin's queue for it waits with it.
    fn move_queue(&mut self, origin: LaneId, url: &str, own: LaneId, now: Now) {
        let is_meant = |job: &Job| job.delivery.message.endpoint.url.as_ref() == url;
        let queue = self
            .lanes
            .change(origin, |lane| lane.queue.extract(is_meant));
        for mut job in queue.unwrap_or_default() {
            let bytes = job.delivery.bytes();
            self.lanes.change(origin, |lane| lane.leave(bytes));
            self.lanes.change(own, |lane| lane.enter(bytes));
            job.lane = own;
            self.defer(job, own, now);
        }
    }

    fn may_stand_apart(&self, job: &Job, now: Now) -> bool {
        let endpoint = &job.delivery.message.endpoint;
        let is_of_origin =
            *self.lanes.name(job.lane) == endpoint.origin && endpoint.url != endpoint.origin;
        // What an operator has set for the host holds for all of it together.
        let rule = job.rule.as_ref();
        let is_limited = rule.is_some_and(|r| r.max_in_flight.is_some() || r.pace.is_some());
        if !is_of_origin || is_limited || !self.has_store() {
            return false;
        }
        let same = self.url_lanes.0.iter().filter(|url| {
            let lane = self
                .lanes
                .find(url)
                .and_then(|id| self.lanes.get(id))
                .and_then(|lane| lane.breaker().failing_until(now.mono));
            lane.is_some() && **url != endpoint.url && covers(&endpoint.origin, url)
        });
        self.url_lanes.0.len() < MOST && same.count() + 1 < SEVERAL
    }

    /// A backlog of a URL was found in the store: it stood apart, for others or before.
    pub(super) fn note_apart(&mut self, name: &Arc<str>) {
        if self.limits.lane_by_url || self.url_lanes.0.len() >= MOST {
            return;
        }
        if let Ok(endpoint) = Endpoint::parse(name)
            && endpoint.url == *name
            && endpoint.origin != *name
        {
            self.url_lanes.0.insert(name.clone());
        }
    }
}
