//! What the model believes of endpoints: windows, closing, trust, turns.

use std::time::Duration;

use super::*;
use crate::delivery::AttemptResult;

/// Whether endpoints may have one more worker that are not trusted, and that fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hope {
    pub others: bool,
    pub failing: bool,
}

/// What the model believes of an endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    /// 0: nothing has gone to it yet.
    pub(super) window: usize,
    pub(super) faults: f64,
    pub(super) pauses: u32,
    pub(super) closed: Option<Instant>,
    /// outhook is not ready for it until then.
    pub(super) paused: Option<Instant>,
    pub(super) trusted: bool,
    /// It has answered.
    pub(super) answers: bool,
    /// Others that were served since it could be.
    pub(super) passed: usize,
}

impl Model {
    /// Whether the endpoint must get one more delivery, if there is one.
    pub(super) fn can_fly(&self, host: u64, hope: Hope) -> bool {
        self.may_fly(host, hope, 1)
    }

    /// The same, if one that has never answered gets `first` at a time.
    pub(super) fn may_fly(&self, host: u64, hope: Hope, first: usize) -> bool {
        let flying = |job: &&Job| self.states[&*job.delivery.message.id].host == host;
        let busy = self.flying.iter().filter(flying).count();
        let host = &self.hosts[host as usize];
        let window = match host.window {
            _ if !host.answers => first,
            known => known,
        };
        let room = match host.closed {
            None => busy < window,
            Some(until) => busy == 0 && self.now().mono >= until,
        };
        let paused = host.paused.is_some_and(|until| until > self.now().mono);
        let is_allowed = host.trusted || hope.others && (host.closed.is_none() || hope.failing);
        room && !paused && is_allowed
    }

    /// A message for an endpoint of which nothing is known yet: if others have failed there, it
    /// begins with a probe.
    pub(super) fn meet(&mut self, host: u64, attempts: u32, now: Now) {
        let is_known = self.states.values().any(|known| known.host == host);
        if !is_known && attempts > 0 && self.limits.parking.is_possible() {
            let host = &mut self.hosts[host as usize];
            (host.closed, host.window) = (Some(now.mono), 1);
        }
    }

    /// Whether there is no reason to turn away one that is ready.
    pub(super) fn must_stay(&self, id: &str) -> bool {
        let host = self.states[id].host;
        let is_healthy = |host: &Host| host.answers && host.closed.is_none();
        // A message that leaves in this step may have been there before this one was looked at.
        let is_here = |state| is_active(state) || state == State::Leaving;
        let others = self
            .states
            .iter()
            .filter(|(other, known)| *other != id && known.host == host && is_here(known.state));
        let has_backlog = self.states.values();
        let mut has_backlog = has_backlog.filter(|k| k.host == host && k.state == State::Deferred);
        is_healthy(&self.hosts[host as usize])
            && others.count() == 0
            && has_backlog.next().is_none()
    }

    /// What an answer, or the lack of one, does to what is known of an endpoint.
    /// True when it was a probe, and failed.
    pub(super) fn learn(&mut self, host: u64, result: &AttemptResult, took: Duration) -> bool {
        let (now, limits) = (self.now().mono, self.limits.lanes);
        let host = &mut self.hosts[host as usize];
        if host.window == 0 {
            host.window = limits.window.min(4);
        }
        let wish = match result {
            // Nobody was asked.
            AttemptResult::Failure { kind, .. } if *kind == FailureKind::Refused => return false,
            AttemptResult::Failure { kind, .. } => match kind.postponed() {
                Some(pause) => {
                    host.paused = host.paused.max(Some(now + pause));
                    return false;
                }
                None => None,
            },
            AttemptResult::Response {
                status,
                retry_after,
                ..
            } if *status == 503 => *retry_after,
            AttemptResult::Response { .. } => {
                *host = Host {
                    window: (host.window + 1).min(limits.window),
                    trusted: took < Duration::from_secs(1),
                    answers: true,
                    passed: match host.trusted == (took < Duration::from_secs(1)) {
                        true => host.passed,
                        false => 0,
                    },
                    paused: host.paused,
                    ..Host::default()
                };
                return false;
            }
        };
        if host.trusted {
            // It goes to the end of the other list.
            host.passed = 0;
        }
        host.trusted = false;
        let probe = host.closed.is_some_and(|until| until <= now);
        let is_hopeless = !host.answers && took >= Duration::from_secs(1);
        host.faults += if is_hopeless {
            1.0
        } else {
            1.0 / host.window as f64
        };
        match host.closed {
            Some(until) if until > now => {
                host.closed = Some(until.max(now + wish.unwrap_or_default()));
            }
            None if wish.is_none() && host.faults < 0.999 => {}
            _ => {
                let pause = limits.backoff_base * 2u32.pow(host.pauses.min(20));
                let pause = pause.min(limits.backoff_max).max(wish.unwrap_or_default());
                host.pauses += 1;
                host.window = 1;
                host.closed = Some(now + pause);
            }
        }
        probe
    }

    /// A failed probe is an attempt of all that stand behind it, where nothing can be parked.
    pub(super) fn count_for_all(&mut self, host: u64) -> Vec<String> {
        let most = self.limits.schedule.attempts;
        let mut dead = Vec::new();
        for (id, known) in &mut self.states {
            if known.host == host && known.state == State::Ready {
                known.attempts += 1;
                if known.attempts >= most {
                    known.state = State::Dead(DeadReason::Exhausted);
                    dead.push(id.clone());
                }
            }
        }
        dead
    }

    /// `host` is served. Of the others that could have been, none may be passed over again
    /// before each has had its turn.
    pub(super) fn pass_others(&mut self, host: u64, hope: Hope) {
        for other in 0..self.hosts.len() as u64 {
            let ready = |k: &Known| k.host == other && k.state == State::Ready;
            // Who is not trusted stands behind those who may be.
            let trusted = self.hosts[other as usize].trusted;
            let could = trusted && self.states.values().any(ready) && self.can_fly(other, hope);
            let passed = match could && other != host {
                true => self.hosts[other as usize].passed + 1,
                false => 0,
            };
            assert!(passed < self.hosts.len(), "passed over {passed} times");
            self.hosts[other as usize].passed = passed;
        }
    }

    /// What the model believes of each endpoint is what its lane does.
    pub(super) fn check_gates(&self) {
        for (n, host) in self.hosts.iter().enumerate() {
            let lane = self.scheduler.lanes.named(&format!("http://h{n}/"));
            let closed = lane.and_then(|l| l.breaker().failing_until(self.now().mono));
            let believed = host.closed.filter(|t| *t > self.now().mono);
            assert_eq!(closed, believed, "{host:?} {lane:?}");
            let here = self.states.values();
            let here = here.filter(|k| k.host == n as u64 && is_active(k.state));
            let (mut count, mut bytes) = (0, 0);
            for known in here {
                (count, bytes) = (count + 1, bytes + known.bytes);
            }
            let held = lane.map_or((0, 0), |lane| (lane.active(), lane.bytes()));
            assert_eq!(held, (count, bytes));
        }
    }
}
