//! The lane of one endpoint: its queue, and the parts that decide what may go to it. Pure. `tests.rs` says
//! by example what a lane does; begin there.
//!
//! - [`Breaker`] knows whether the endpoint is healthy, and backs off while it fails.
//! - [`Pacing`](pacing::Pacing) has the window, the rate, and what is lent of limits that hold for all
//!   replicas.
//! - [`Backlog`] knows what of it waits in Redis.
//! - [`History`](history::History) is for whoever asks how it has done.
//!
//! Each of these changes its own state, and the lane tells them what has happened.

mod backlog;
mod breaker;
mod event;
mod health_signal;
mod history;
mod pacing;
mod queue;
mod share;
#[cfg(test)]
mod tests;
mod weight;

use std::time::{Duration, Instant};

use crate::delivery::Job;
use crate::delivery::limits::{Claim, Grant, Standing};
use crate::delivery::rules::EndpointRule;

pub use backlog::Backlog;
pub use breaker::{Breaker, Class, Health};
pub use event::EndpointEvent;
pub use health_signal::{HealthSignal, health_signal};
use history::History;
use pacing::Pacing;
use queue::Queue;
use share::Load;
pub use weight::Weight;

/// What all lanes keep to.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The largest window.
    pub window: usize,
    /// The first back-off of a lane that fails, and the longest.
    pub backoff_base: Duration,
    pub backoff_max: Duration,
}

/// The deliveries for one endpoint that are due, and the state of the endpoint.
#[derive(Debug)]
pub struct Lane {
    pub queue: Queue,
    in_flight: usize,
    /// Deliveries for it that are active, wherever they stand, and their bytes.
    active: usize,
    bytes: usize,
    /// Its place in the scheduler's turn lists, where it may stand once.
    turn: Option<u64>,
    /// When a wake-up for it in the scheduler's heap is due.
    alarm: Option<Instant>,
    breaker: Breaker,
    pacing: Pacing,
    pub backlog: Backlog,
    pub history: History,
    /// A rule has switched the endpoint off.
    is_disabled: bool,
    /// A message that has waited for longer is given up, if the rule of the endpoint says so.
    max_age: Option<Duration>,
    last_used: Instant,
}

impl Lane {
    pub fn new(limits: &LaneLimits, now: Instant) -> Lane {
        Lane {
            queue: Queue::default(),
            in_flight: 0,
            active: 0,
            bytes: 0,
            turn: None,
            alarm: None,
            breaker: Breaker::default(),
            pacing: Pacing::new(limits),
            backlog: Backlog::default(),
            history: History::default(),
            is_disabled: false,
            max_age: None,
            last_used: now,
        }
    }

    /// For an endpoint that has failed, for other replicas or in an earlier life: it begins with a probe.
    pub fn on_probation(limits: &LaneLimits, now: Instant) -> Lane {
        let mut lane = Lane::new(limits, now);
        lane.breaker = Breaker::on_probation(now);
        lane.pacing.narrow();
        lane
    }

    /// Takes over what the operator has set. `standing`: limits hold for all replicas together.
    pub fn apply_rule(
        &mut self,
        rule: Option<&EndpointRule>,
        limits: &LaneLimits,
        standing: Option<Standing>,
        now: Instant,
    ) {
        self.pacing.apply_rule(rule, limits, standing, now);
    }

    /// Takes over how long its messages may wait.
    pub fn set_max_age(&mut self, rule: Option<&EndpointRule>) {
        self.max_age = rule.and_then(|rule| rule.max_age);
    }

    /// How long its messages may wait, if its rule says so.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    pub fn set_disabled(&mut self, is_disabled: bool) {
        self.is_disabled = is_disabled;
    }

    /// Whether a rule has switched the endpoint off.
    pub fn is_disabled(&self) -> bool {
        self.is_disabled
    }
}

/// The deliveries of a lane.
impl Lane {
    /// A delivery for it has become active.
    pub fn enter(&mut self, bytes: usize) {
        self.active += 1;
        self.bytes += bytes;
    }

    /// A delivery for it is not active any more.
    pub fn leave(&mut self, bytes: usize) {
        self.active -= 1;
        self.bytes -= bytes;
    }

    /// Takes out all that is queued. The turn lists must be cleared with it.
    pub fn clear(&mut self) -> Vec<Job> {
        self.turn = None;
        self.queue.split_off(0)
    }

    /// Takes out the jobs that will not begin by `until`: all jobs if the endpoint fails or outhook itself is
    /// not ready for it, and those over its rate otherwise.
    pub fn take_stranded(&mut self, now: Instant, until: Instant) -> Vec<Job> {
        let stays = match self.breaker.is_failing() {
            true => 0,
            false => self.pacing.starts_until(until, now),
        };
        self.queue.split_off(stays)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Deliveries for it that are active.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Bytes of these.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Deliveries of it that are queued or in flight.
    pub fn in_play(&self) -> usize {
        self.queue.len() + self.in_flight
    }

    /// How many messages a healthy endpoint should have in play, if `workers` are its part of all.
    pub fn ahead(&self, workers: usize) -> usize {
        let response_secs = self.breaker.response_secs().unwrap_or_default();
        self.pacing.ahead(workers, response_secs)
    }

    /// Whether nothing of it is active, no turn or wake-up is due, and it has rested for so long that its
    /// state is out of date.
    pub fn is_forgettable(&self, now: Instant, rest: Duration) -> bool {
        let idle = self.active == 0 && self.turn.is_none() && self.alarm.is_none();
        let idle = idle && self.breaker.failing_until(now).is_none() && self.backlog.is_over();
        idle && now.saturating_duration_since(self.last_used) >= rest
    }
}

/// The turn of a lane.
impl Lane {
    /// The one rule of the rotation: a lane stands in it, once, while it has work and room. True if it must
    /// be put there now.
    pub fn should_queue(&self, now: Instant) -> bool {
        self.turn.is_none() && self.has_room(now) && !self.queue.is_empty()
    }

    fn has_room(&self, now: Instant) -> bool {
        let limit = self.breaker.limit(self.pacing.window(), now);
        self.in_flight < limit && self.pacing.allows(self.in_flight, now)
    }

    /// When it has room again without an answer, if that is later than now.
    pub fn room_at(&self, now: Instant) -> Option<Instant> {
        self.breaker
            .failing_until(now)
            .max(self.pacing.next_start(now))
    }

    /// It stands in the rotation now, at this place.
    pub fn set_turn(&mut self, place: u64) {
        self.turn = Some(place);
    }

    /// Its place in the rotation is nobody's any more.
    pub fn drop_turn(&mut self) {
        self.turn = None;
    }

    /// Whether this place in the rotation is its own.
    pub fn has_turn(&self, place: u64) -> bool {
        self.turn == Some(place)
    }

    /// It must be looked at at this time. False if a wake-up is set that is not later.
    pub fn set_alarm(&mut self, at: Instant) -> bool {
        // The wake-up that is set may be that of an earlier and longer back-off.
        let is_first = self.alarm.is_none_or(|known| known > at);
        if is_first {
            self.alarm = Some(at);
        }
        is_first
    }

    /// A wake-up for it was due. An earlier one may have taken its place.
    pub fn end_alarm(&mut self, now: Instant) {
        self.alarm = self.alarm.filter(|at| *at > now);
    }

    /// Its turn has come. Hands out the next delivery, unless there is no room any more.
    pub fn take(&mut self, now: Instant) -> Option<Job> {
        self.turn = None;
        let next = match self.has_room(now) {
            true => self.queue.pop(),
            false => None,
        };
        if next.is_some() {
            self.pacing.begin(now);
            self.in_flight += 1;
        }
        self.last_used = now;
        next
    }

    /// One of its deliveries came back. Answers what that changed at the endpoint.
    pub fn release(
        &mut self,
        signal: HealthSignal,
        limits: &LaneLimits,
        now: Instant,
    ) -> Option<EndpointEvent> {
        debug_assert!(self.in_flight > 0, "a lane got back more than it gave");
        let class = self.class();
        self.in_flight -= 1;
        self.last_used = now;
        let event = match signal {
            HealthSignal::None { pause } => {
                self.pacing.put_off(pause, now);
                None
            }
            HealthSignal::Alive { took } => {
                self.pacing.widen();
                self.breaker.answer(took).then_some(EndpointEvent::Healthy)
            }
            HealthSignal::Fault { retry_after, took } => {
                let (was_failing, window) = (self.breaker.is_failing(), self.pacing.window());
                let pause = self.breaker.fault(retry_after, took, window, limits, now);
                pause.and_then(|pause| {
                    self.pacing.narrow();
                    (!was_failing).then_some(EndpointEvent::Failing { pause })
                })
            }
        };
        if self.class() != class {
            // If it has a turn, it goes to the end of another list.
            self.turn = None;
        }
        event
    }
}

/// The health of a lane.
impl Lane {
    /// Begins a back-off, at least as long as `retry_after`. Answers what that changed.
    pub fn back_off(
        &mut self,
        retry_after: Option<Duration>,
        limits: &LaneLimits,
        now: Instant,
    ) -> Option<EndpointEvent> {
        let was_failing = self.breaker.is_failing();
        let pause = self.breaker.back_off(retry_after, limits, now);
        self.pacing.narrow();
        (!was_failing).then_some(EndpointEvent::Failing { pause })
    }

    /// An operator says that the endpoint is well: it is tried at once, with one delivery at first.
    pub fn try_now(&mut self, now: Instant) {
        self.pacing.narrow();
        self.breaker.end_back_off(now);
    }

    /// Whether it is healthy, and until when it is not.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Whether it has answered and is not failing.
    pub fn is_healthy(&self) -> bool {
        !self.breaker.is_failing() && self.breaker.has_answered()
    }

    /// Whether it is being tried for the first time, and has not answered yet.
    pub fn is_awaited(&self) -> bool {
        !self.breaker.is_failing() && !self.breaker.has_answered() && self.in_flight > 0
    }

    /// Whether it is probing, and has nothing here to be tried with.
    pub fn needs_probe(&self, now: Instant) -> bool {
        self.breaker.health(now) == Health::Probing && self.active == 0
    }

    /// Attempts that it may have at a time, as things stand.
    pub fn window(&self) -> usize {
        match self.breaker.is_failing() {
            false => self.pacing.window(),
            true => 1,
        }
    }

    pub fn class(&self) -> Class {
        self.breaker.class(self.in_flight)
    }
}

/// Limits that hold for all replicas together.
impl Lane {
    pub fn is_shared(&self) -> bool {
        self.pacing.is_shared()
    }

    /// Its claim for the lender, if it differs from the last one. `anew`: there was an answer.
    pub fn claim(&mut self, anew: bool, now: Instant) -> Option<Claim> {
        match self.is_shared() {
            true => self.pacing.claim(anew, self.load(now), now),
            false => None,
        }
    }

    /// The lender has answered.
    pub fn grant(&mut self, grant: &Grant, now: Instant) {
        self.pacing.grant(grant, self.load(now));
    }

    /// The lender cannot be reached: it keeps what it has.
    pub fn keep_share(&mut self, standing: Standing, now: Instant) {
        self.pacing.keep_share(standing, now);
    }

    /// The lender can be reached again: it is asked for what the lane has.
    pub fn share_again(&mut self, standing: Standing, now: Instant) {
        self.pacing.share_again(standing, now);
    }

    fn load(&self, now: Instant) -> Load {
        let limit = self.breaker.limit(self.pacing.window(), now);
        Load {
            busy: self.in_flight as u32,
            queued: self.queue.len() as u32,
            room: limit.saturating_sub(self.in_flight) as u32,
        }
    }

    /// Places that it has by a loan that is not over.
    #[cfg(test)]
    pub fn places(&self, now: Instant) -> u32 {
        self.pacing.places(self.in_flight, now)
    }
}
