//! Endpoints to which nobody sends: those that are held, and those that a rule switches off. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::{Now, Scheduler};
use crate::delivery::hold::{Cause, Hold, Holds, covers};
use crate::delivery::record::Notice;
use crate::delivery::rules::EndpointRules;
use crate::delivery::{DeadReason, Delivery, Job};
use crate::scheduler::lane::{EndpointEvent, Lane};

/// The most URLs that are remembered to be gone. Beyond that each message finds it out itself.
const MOST_GONE: usize = 10_000;

/// How long messages are put off for an endpoint that a rule switches off, before they look again.
const DISABLED: Duration = Duration::from_secs(600);

/// The same for an endpoint that is held: `outhook endpoints resume` brings them back.
const HELD: Duration = Duration::from_secs(3600);

impl Scheduler {
    /// Takes over new rules. Queued messages keep their lanes.
    pub fn set_rules(&mut self, rules: EndpointRules, now: Now) {
        self.rules = rules;
        self.take_out_held(|_| true, now);
        // Messages for an endpoint that is not disabled any more may come.
        for id in self.lanes.ids() {
            self.lanes.change(id, |lane| lane.set_disabled(false));
            self.update_turn(id, now.mono);
        }
    }

    /// Takes over all holds that there are.
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
                self.events.push((key.clone(), EndpointEvent::Lifted));
                self.update_turn_of(key, now);
            }
        }
        self.take_out_held(|_| true, now);
    }

    /// Nothing is sent to a URL, or an origin, from now on.
    pub fn hold(&mut self, key: Arc<str>, hold: Hold, now: Now) {
        if self.holds.add(key.clone(), hold, now.mono) {
            self.tell_held(key.clone(), hold, now);
            // Its lane may be that of the whole origin, or of a prefix.
            let is_its = |lane: &str| key.starts_with(lane) || covers(&key, lane);
            self.take_out_held(is_its, now);
        }
        // Messages in its backlog may have to wait less.
        self.update_turn_of(&key, now);
    }

    /// Attempts go to it again, and at once, even if it is failing.
    pub fn resume(&mut self, key: &str, now: Now) {
        for lifted in self.holds.lift(key) {
            self.events.push((lifted, EndpointEvent::Lifted));
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

    /// The name of the backlog in which it waits, if nothing may be sent to its endpoint now: the URL or
    /// the origin that is held, or its lane.
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

    /// How long it waits, if nothing may be sent to its endpoint now.
    pub(super) fn held(&self, job: &Job, now: Now) -> Option<Duration> {
        held(&self.rules, &self.holds, &job.delivery, now)
    }

    /// Puts off a message for a held endpoint. Without a store it would wait here for ever.
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

    /// A URL answered 410. Without a store its messages are tried all the same: they must end somehow.
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
        self.events.push((key, EndpointEvent::Held { cause, left }));
    }

    /// Takes messages for held endpoints out of the queues of `which` lanes. A message that waits for a
    /// retry is looked at when it is due.
    fn take_out_held(&mut self, which: impl Fn(&str) -> bool, now: Now) {
        if self.holds.is_empty() && self.rules.len() == 0 {
            return;
        }
        let (rules, holds) = (&self.rules, &self.holds);
        let is_held = |job: &Job| held(rules, holds, &job.delivery, now).is_some();
        for job in self.lanes.extract(|name, _| which(name), is_held) {
            let after = self.held(&job, now).unwrap_or_default();
            self.hold_back(job, after, now);
        }
        self.route_released(now);
    }
}

/// How long it waits, if nothing may be sent to its endpoint now.
fn held(rules: &EndpointRules, holds: &Holds, delivery: &Delivery, now: Now) -> Option<Duration> {
    let endpoint = &delivery.message.endpoint;
    if rules.find(endpoint).is_some_and(|rule| rule.disabled) {
        return Some(DISABLED);
    }
    let hold = holds.find(endpoint, now.mono)?;
    Some(hold.left(now.mono).unwrap_or(HELD).min(HELD))
}
