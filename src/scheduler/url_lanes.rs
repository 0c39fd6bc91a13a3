//! URLs with lanes of their own, which stand apart from their origin. Pure.
//!
//! On a shared host each URL may belong to somebody else. A 429 or a `Retry-After` is about the URL that
//! answered it: that URL gets its own lane, and so its own backlog, and the other URLs go on. Only when
//! several URLs of an origin answer so at once is it about the origin. A failure to reach the origin at all
//! (connection, TLS, name, time-out) is always about the origin.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Now, Scheduler};
use crate::delivery::hold::covers;
use crate::delivery::{Attempt, AttemptResult, Job, LaneId};
use crate::message::endpoint::Endpoint;
use crate::scheduler::lane::HealthSignal;

/// This number of URLs of an origin that ask for a pause at once speak for the origin.
const SEVERAL: usize = 3;

/// The most URLs that stand apart. Beyond that each URL speaks for its origin.
const MOST: usize = 10_000;

/// See the module's header.
#[derive(Debug, Default)]
pub struct UrlLanes(HashSet<Arc<str>>);

impl UrlLanes {
    /// The lane of its own that a URL has, if it has one.
    pub fn find(&self, endpoint: &Endpoint) -> Option<&Arc<str>> {
        // Most of the time no URL has one.
        match self.0.is_empty() {
            true => None,
            false => self.0.get(&endpoint.url),
        }
    }

    /// Forgets URLs that have no lane any more.
    pub fn forget(&mut self, has_lane: impl Fn(&str) -> bool) {
        self.0.retain(|url| has_lane(url));
    }
}

impl Scheduler {
    /// If the result of this attempt is about its URL alone, the URL stands apart from now on, and the
    /// origin counts as having answered. False if the result is about the origin.
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
        // It may have its lane already: several attempts may have been under way.
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

    /// Messages for it in the queue of the origin wait with it.
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
        // A limit that an operator has set holds for the whole host together.
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

    /// A backlog of a URL was found in the store: it stood apart, for other replicas or in an earlier life.
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
