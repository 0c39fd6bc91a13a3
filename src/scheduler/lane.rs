//! One endpoint's queue, how much it may have at a time, and what is known of its health. Pure.
//!
//! An answer is a sign of life, whatever it says of its message, except those by which an endpoint
//! says that it is in trouble (429, 502, 503, 504). Faults without a sign of life between them
//! close the lane: a whole window of them, or one that names a time, or one that took long where
//! there has never been an answer.
//! What comes for a closed lane waits in its backlog in Redis, where there is one, and spends no
//! attempts. When its pause is over, one delivery is the probe: if it fails, the next pause is
//! twice as long; if not, the lane opens with a window that grows by one with each answer, so that
//! a host that just came back is not run over.

mod backlog;
mod health_signal;
mod pacing;
mod queue;
mod share;
mod strand;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::delivery::Job;
use crate::delivery::history::History;
use crate::delivery::hold::Cause;

pub use backlog::{Backlog, Weight};
pub use health_signal::{HealthSignal, health_signal};

/// What a lane may have in flight before its first answer.
const FIRST_WINDOW: usize = 4;

/// An endpoint that takes longer to answer is not trusted with more than its part of the workers.
const SLOW: Duration = Duration::from_secs(1);

/// A lane with a rate may be late by so much, and make up for it.
const CATCH_UP: Duration = Duration::from_millis(20);

/// What all lanes keep to.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The largest window.
    pub window: usize,
    /// The first pause of a lane that closes, and the longest.
    pub backoff_base: Duration,
    pub backoff_max: Duration,
}

/// How far an endpoint is trusted with workers that others need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It answers, and soon.
    Trusted,
    /// Nothing was ever sent to it.
    Untried,
    /// It is slow, or has not answered yet.
    Unproven,
    /// It is closed.
    Failing,
}

/// What changed, to be told once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EndpointEvent {
    Failing {
        pause: Duration,
    },
    Healthy,
    /// Nothing is sent to it, for so long or until that is lifted.
    Held {
        cause: Cause,
        left: Option<Duration>,
    },
    Lifted,
}

/// The deliveries for one endpoint that are due, and the state of the endpoint.
#[derive(Debug)]
pub struct Lane {
    ready: VecDeque<Job>,
    busy: usize,
    /// Deliveries for it that are active, wherever they stand, and their bytes.
    active: usize,
    bytes: usize,
    /// Its place in the scheduler's turn lists, where it may stand once.
    pub turn: Option<u64>,
    /// Whether a wake-up for it stands in the scheduler's heap.
    pub alarm: Option<Instant>,
    pub history: History,
    window: usize,
    /// The largest window, and the least time between two beginnings, if there is one.
    cap: usize,
    min_interval: Option<Duration>,
    /// When the next may begin, by `pace` or because outhook is not ready for it.
    next_start: Option<Instant>,
    /// Closed until then. Once that has passed and until an answer comes, one delivery at a
    /// time is the probe.
    closed: Option<Instant>,
    /// Faults since the last sign of life, each weighed by the window of its time.
    faults: f64,
    /// Pauses since then.
    pauses: u32,
    trusted: bool,
    /// Seconds that it takes to answer, of late.
    avg_response_secs: Option<f64>,
    /// What of it waits in the store.
    pub backlog: Backlog,
    /// The operator has switched it off.
    pub is_disabled: bool,
    /// What has waited for longer is given up, if that is not as for all.
    max_age: Option<Duration>,
    last_used: Instant,
    share: Option<Box<share::Share>>,
}

impl Lane {
    pub fn new(limits: &LaneLimits, now: Instant) -> Lane {
        Lane {
            ready: VecDeque::new(),
            busy: 0,
            active: 0,
            bytes: 0,
            turn: None,
            alarm: None,
            history: History::default(),
            window: FIRST_WINDOW.min(limits.window),
            cap: limits.window,
            min_interval: None,
            next_start: None,
            closed: None,
            faults: 0.0,
            pauses: 0,
            trusted: false,
            avg_response_secs: None,
            backlog: Backlog::default(),
            is_disabled: false,
            max_age: None,
            last_used: now,
            share: None,
        }
    }

    /// One that has failed, as far as others or an earlier life know: it begins with a probe.
    pub fn on_probation(limits: &LaneLimits, now: Instant) -> Lane {
        Lane {
            closed: Some(now),
            window: 1,
            ..Lane::new(limits, now)
        }
    }

    /// A delivery for it has become active.
    pub fn enter(&mut self, bytes: usize) {
        self.active += 1;
        self.bytes += bytes;
    }

    /// One is not active any more.
    pub fn leave(&mut self, bytes: usize) {
        self.active -= 1;
        self.bytes -= bytes;
    }

    /// Adds a delivery that is due.
    pub fn push(&mut self, job: Job) {
        self.ready.push_back(job);
    }

    /// The one rule of the turn lists: a lane stands in them, once, while it has work and room
    /// and is not closed. True when it must now be put into one.
    pub fn should_queue(&self, now: Instant) -> bool {
        self.turn.is_none() && self.has_room(now) && self.has_queue()
    }

    fn has_room(&self, now: Instant) -> bool {
        !self.is_paced(now)
            && match self.closed {
                None => self.busy < self.window(),
                Some(until) => now >= until && self.busy == 0,
            }
    }

    /// Its turn has come: hands out the next job, unless the gate has closed since.
    pub fn take(&mut self, now: Instant) -> Option<Job> {
        self.turn = None;
        let next = match self.has_room(now) {
            true => self.ready.pop_front(),
            false => None,
        };
        if next.is_some() {
            self.spend(now);
        }
        if self.ready.is_empty() {
            // Its room is as large as all the rest of the lane, of which there may be many.
            self.ready = VecDeque::new();
        }
        self.busy += usize::from(next.is_some());
        self.last_used = now;
        next
    }

    /// One of its deliveries came back. Answers what changed by it.
    pub fn release(
        &mut self,
        sign: HealthSignal,
        limits: &LaneLimits,
        now: Instant,
    ) -> Option<EndpointEvent> {
        debug_assert!(self.busy > 0, "a lane got back more than it gave");
        self.busy -= 1;
        self.last_used = now;
        match sign {
            HealthSignal::None { pause } => {
                self.defer(pause, now);
                None
            }
            HealthSignal::Alive { took } => self.live(took),
            HealthSignal::Fault {
                retry_after: wish,
                took,
            } => self.fault(wish, took, limits, now),
        }
    }

    fn live(&mut self, took: Duration) -> Option<EndpointEvent> {
        let took_s = took.as_secs_f64();
        let takes = self.avg_response_secs.get_or_insert(took_s);
        *takes += (took_s - *takes) / 8.0;
        self.faults = 0.0;
        self.pauses = 0;
        self.trusted = took < SLOW;
        self.window = (self.window + 1).min(self.cap);
        // An answer that was under way when the lane closed opens it too: it is alive.
        self.closed.take().map(|_| EndpointEvent::Healthy)
    }

    fn fault(
        &mut self,
        wish: Option<Duration>,
        took: Duration,
        limits: &LaneLimits,
        now: Instant,
    ) -> Option<EndpointEvent> {
        self.trusted = false;
        let is_hopeless = self.avg_response_secs.is_none() && took >= SLOW;
        self.faults += if is_hopeless {
            1.0
        } else {
            1.0 / self.window as f64
        };
        match self.closed {
            None if wish.is_none() && self.faults < 1.0 - 1e-6 => return None,
            // It was under way when the lane closed; a longer wish still counts.
            Some(until) if now < until => {
                self.closed = Some(until.max(now + wish.unwrap_or_default()));
                return None;
            }
            None | Some(_) => {}
        }
        let is_news = self.closed.is_none();
        let change = self.close(wish, limits, now);
        is_news.then_some(change)
    }

    /// Nothing is sent to it for a pause, at least as long as it wishes.
    pub fn close(
        &mut self,
        wish: Option<Duration>,
        limits: &LaneLimits,
        now: Instant,
    ) -> EndpointEvent {
        let doubled = limits
            .backoff_base
            .saturating_mul(2u32.saturating_pow(self.pauses));
        let pause = doubled
            .min(limits.backoff_max)
            .max(wish.unwrap_or_default());
        self.pauses += 1;
        self.window = 1;
        self.closed = self.closed.max(Some(now + pause));
        EndpointEvent::Failing { pause }
    }

    /// When it may be tried again, if it is closed.
    pub fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.closed.filter(|until| *until > now)
    }

    /// When it has room again without an answer, if that is later than now.
    pub fn opens(&self, now: Instant) -> Option<Instant> {
        self.closed_until(now).max(self.paced_until(now))
    }

    /// Whether it is to be tried with one delivery at a time, or not at all.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// An operator says that it is well: it is tried at once, with one delivery at first.
    pub fn try_now(&mut self, now: Instant) {
        self.window = 1;
        if self.closed.is_some() {
            self.closed = Some(now);
            self.pauses = 0;
        }
    }

    /// Attempts that it may have at a time, as things stand.
    pub fn window(&self) -> usize {
        match self.closed {
            None => self.window,
            Some(_) => 1,
        }
    }

    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Workers that it holds on no better ground than hope.
    pub fn untrusted_in_flight(&self) -> usize {
        if self.trusted { 0 } else { self.busy }
    }

    pub fn class(&self) -> Class {
        let is_untried = self.avg_response_secs.is_none() && self.faults == 0.0 && self.busy == 0;
        match self.closed {
            Some(_) => Class::Failing,
            None if self.trusted => Class::Trusted,
            None if is_untried => Class::Untried,
            None => Class::Unproven,
        }
    }

    pub fn has_queue(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Deliveries for it that are active.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Bytes of these.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing of it is active, no turn or wake-up is due, and it has rested so long that what
    /// is known of it is old.
    pub fn is_forgettable(&self, now: Instant, rest: Duration) -> bool {
        let idle = self.active == 0 && self.turn.is_none() && self.alarm.is_none();
        let idle = idle && self.closed_until(now).is_none() && self.backlog.is_over();
        idle && now.saturating_duration_since(self.last_used) >= rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its key and its place in the map: below a kibibyte for an endpoint at rest.
    #[test]
    fn a_lane_is_small() {
        assert!(size_of::<Lane>() <= 400, "{}", size_of::<Lane>());
    }
}
