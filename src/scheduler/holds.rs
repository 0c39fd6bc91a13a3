//! What changes from outside while the scheduler works: rules, and endpoints that are held; and
//! what it tells of its endpoints.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Now, Scheduler};
use crate::delivery::endpoint_snapshot::EndpointSnapshot;
use crate::delivery::hold::{Cause, Hold, covers};
use crate::delivery::record::Notice;
use crate::delivery::rules::EndpointRules;
use crate::delivery::{DeadReason, Job};
use crate::scheduler::lane::{EndpointEvent, Lane};

/// Lanes in one report.
const REPORTED: usize = 1000;

/// URLs that are remembered to be gone. Beyond that each message is told so itself.
const MOST_GONE: usize = 10_000;

/// How long messages are put off for an endpoint to which nothing is to be sent at all, before
/// it is asked again.
const DISABLED: Duration = Duration::from_secs(600);

/// The same where `outhook endpoints resume` brings them back.
const HELD: Duration = Duration::from_secs(3600);

impl Scheduler {
    /// From now on these hold. What is queued keeps its lane.
    pub fn set_rules(&mut self, rules: EndpointRules, now: Now) {
        self.rules = rules;
        self.take_out_held(|_| true, now);
        // What waits for one that is not disabled any more may come.
        for id in self.lanes.ids() {
            self.lanes.change(id, |lane| lane.set_disabled(false));
            self.update_turn(id, now.mono);
        }
    }

    /// These are all holds that there are.
    pub fn set_holds(&mut self, all: Vec<(Arc<str>, Hold)>, now: Now) {
        let before = std::mem::take(&mut self.holds);
        for (key, hold) in &all {
            self.holds.add(key.clone(), *hold, now.mono);
        }
        for (key, _) in &all {
            // It may end sooner than was known.
            self.update_turn_of(key, now);
        }
        for (key, hold) in all {
            if !before.iter().any(|(old, _)| *old == key) {
                self.tell_held(key, hold, now);
            }
        }
        for (key, _) in before.iter() {
            if !self.holds.iter().any(|(new, _)| new == key) {
                self.changes.push((key.clone(), EndpointEvent::Lifted));
                self.update_turn_of(key, now);
            }
        }
        self.take_out_held(|_| true, now);
    }

    /// Nothing is sent to a URL, or an origin, from now on.
    pub fn hold(&mut self, key: Arc<str>, hold: Hold, now: Now) {
        if self.holds.add(key.clone(), hold, now.mono) {
            self.tell_held(key.clone(), hold, now);
            // Its lane may be one of all URLs there, or of those that begin so.
            let is_its = |lane: &str| key.starts_with(lane) || covers(&key, lane);
            self.take_out_held(is_its, now);
        }
        // What waits in its backlog may have to wait less.
        self.update_turn_of(&key, now);
    }

    /// It is sent to again, and at once, closed or not.
    pub fn resume(&mut self, key: &str, now: Now) {
        for lifted in self.holds.lift(key) {
            self.changes.push((lifted, EndpointEvent::Lifted));
        }
        let is_meant = |lane: &str, _: &Lane| covers(key, lane) || covers(lane, key);
        let meant = self.lanes.change_each(is_meant, |id, lane| {
            lane.try_now(now.mono);
            id
        });
        for id in meant {
            self.update_turn(id, now.mono);
        }
    }

    fn update_turn_of(&mut self, name: &str, now: Now) {
        if let Some(id) = self.lanes.find(name) {
            self.update_turn(id, now.mono);
        }
    }

    /// For whom it waits, if nothing is to be sent to its endpoint now: the URL or origin that is
    /// held, or its lane.
    pub(super) fn held_by(&self, job: &Job, now: Now) -> Option<Arc<str>> {
        let endpoint = &job.delivery.message.endpoint;
        if self.rules.find(endpoint).is_some_and(|rule| rule.disabled) {
            return Some(self.lanes.name(job.lane).clone());
        }
        let keys = [&endpoint.url, &endpoint.origin];
        let mut keys = keys.into_iter().filter(|_| !self.holds.is_empty());
        keys.find(|key| self.holds.find_exact(key, now.mono).is_some())
            .cloned()
    }

    /// How long it is to wait, if nothing is to be sent to its endpoint now.
    pub(super) fn held(&self, job: &Job, now: Now) -> Option<Duration> {
        let endpoint = &job.delivery.message.endpoint;
        if self.rules.find(endpoint).is_some_and(|rule| rule.disabled) {
            return Some(DISABLED);
        }
        let hold = self.holds.find(endpoint, now.mono)?;
        Some(hold.left(now.mono).unwrap_or(HELD).min(HELD))
    }

    /// Puts off what is held; without a store it would wait here for ever.
    pub(super) fn hold_back(&mut self, job: Job, after: Duration, now: Now) {
        if let Some(name) = self.held_by(&job, now).filter(|_| self.has_store()) {
            let rule = self.rules.find(&job.delivery.message.endpoint);
            let is_disabled = rule.is_some_and(|rule| rule.disabled);
            let lane = self.find_lane(&name, now.mono);
            self.lanes.change(lane, |lane| {
                lane.set_disabled(lane.is_disabled() || is_disabled)
            });
            self.defer(job, lane, now);
        } else if self.has_store() {
            self.put_off(job, after, now);
        } else {
            let detail = "its endpoint is disabled in the file of --endpoints";
            self.bury(job, DeadReason::Disabled, detail.into(), now);
        }
    }

    /// A URL answered 410. Where nothing can be parked, what comes for it is tried all the
    /// same: it must end somehow.
    pub(super) fn note_gone(&mut self, url: Arc<str>, now: Now) {
        if !self.limits.parking.is_possible() || self.holds.len() >= MOST_GONE {
            return;
        }
        let hold = Hold {
            cause: Cause::Gone,
            until: now.mono.checked_add(self.limits.gone),
        };
        if self.holds.find_exact(&url, now.mono).is_none() && !self.limits.gone.is_zero() {
            self.outbox
                .push_back(Notice::Gone(url.clone(), self.limits.gone).into());
            self.hold(url, hold, now);
        }
    }

    fn tell_held(&mut self, key: Arc<str>, hold: Hold, now: Now) {
        let left = hold.left(now.mono);
        let cause = hold.cause;
        self.changes
            .push((key, EndpointEvent::Held { cause, left }));
    }

    /// What is queued in `which` lanes for endpoints that are held now leaves. What waits for a
    /// retry is looked at when it is due.
    fn take_out_held(&mut self, which: impl Fn(&str) -> bool, now: Now) {
        if self.holds.is_empty() && self.rules.len() == 0 {
            return;
        }
        let mut lanes = std::mem::take(&mut self.lanes);
        let held = |job: &Job| self.held(job, now).is_some();
        let out = lanes.extract(|name, _| which(name), held);
        self.lanes = lanes;
        for job in out {
            let after = self.held(&job, now).unwrap_or_default();
            self.hold_back(job, after, now);
        }
        self.route_released(now);
    }

    /// What is known of the endpoints whose names begin with `prefix`: those with the most to do
    /// first, and how many are left out.
    pub fn report(&self, prefix: &str, now: Now) -> (Vec<EndpointSnapshot>, usize) {
        let lanes = self.lanes.iter();
        let mut lanes: Vec<_> = lanes
            .filter(|(key, _)| key.starts_with(prefix) || covers(key, prefix))
            .collect();
        lanes.sort_by_key(|(key, lane)| {
            (Reverse((lane.breaker().is_failing(), lane.active())), *key)
        });
        let more = lanes.len().saturating_sub(REPORTED);
        let shown = lanes.into_iter().take(REPORTED);
        (
            shown.map(|(key, lane)| told(key, lane, now)).collect(),
            more,
        )
    }
}

fn told(key: &str, lane: &Lane, now: Now) -> EndpointSnapshot {
    let closed = lane.breaker().failing_until(now.mono);
    let ms = |share| {
        let time = lane.history.quantile(share);
        time.map(|t| t.as_secs_f64() * 1000.0)
    };
    let unix_ms = |at: Instant| {
        let ago = now.mono.saturating_duration_since(at);
        now.unix_ms.saturating_sub(ago.as_millis() as u64)
    };
    let state = match (closed, lane.breaker().is_failing()) {
        _ if lane.is_disabled() => "disabled",
        (Some(_), _) => "failing",
        (None, true) => "probing",
        (None, false) => "healthy",
    };
    let error = lane.history.error();
    EndpointSnapshot {
        endpoint: key.to_owned(),
        state: state.into(),
        probe_in_ms: closed.map(|until| (until - now.mono).as_millis() as u64),
        in_flight: lane.in_flight(),
        window: lane.window(),
        queued: lane.active() - lane.in_flight(),
        oldest_ms: lane.queue.iter().next().map(|job| job.delivery.received),
        failing_since_ms: lane.history.failing_since().map(unix_ms),
        success: lane.history.success(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        last_error: error.map(|(_, text)| text.to_owned()),
        last_error_ms: error.map(|(at, _)| unix_ms(at)),
    }
}
