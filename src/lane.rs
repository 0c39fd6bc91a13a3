//! One endpoint's queue, how much it may have at a time, and what is known of its health. Pure.
//!
//! An answer is a sign of life, whatever it says of its message, except those by which an endpoint
//! says that it is in trouble (429, 502, 503, 504). Faults without a sign of life between them
//! close the lane: a whole window of them, or one that names a time. A closed lane's backlog
//! stays where it is and spends no attempts. When its pause is over, one delivery is the probe:
//! if it fails, the next pause is twice as long; if not, the lane opens with a window that grows
//! by one with each answer, so that a host that just came back is not run over.

mod pacing;
mod queue;
mod share;
mod strand;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::delivery::{Attempt, Delivery, Exchange, FaultKind};
use crate::history::History;
use crate::hold::Cause;

/// What a lane may have in flight before its first answer.
const FIRST_WINDOW: usize = 4;

/// An endpoint that takes longer to answer is not trusted with more than its part of the workers.
const SLOW: Duration = Duration::from_secs(1);

/// A lane with a rate may be late by so much, and make up for it.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Appointments are made for at most so many deliveries a second, and for an endpoint that may not
/// keep them: each is then a message that goes back to Redis for nothing.
const MOST_APPOINTED: f64 = 20_000.0;
const MOST_HOPED: f64 = 1000.0;

/// No appointment is made for later than this on the ground of what is queued alone.
const LONGEST_AHEAD: Duration = Duration::from_secs(10);

/// What all lanes keep to.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The largest window.
    pub window: usize,
    /// The first pause of a lane that closes, and the longest.
    pub pause: Duration,
    pub longest_pause: Duration,
}

/// What an attempt says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sign {
    Alive {
        took: Duration,
    },
    /// It cannot be reached, or says that it cannot serve; perhaps until when.
    Fault {
        wish: Option<Duration>,
    },
    /// Nothing: outhook cut the attempt short, or is itself to blame. Others would fare no better
    /// for so long.
    None {
        pause: Duration,
    },
}

impl Sign {
    pub const NOTHING: Sign = Sign::None {
        pause: Duration::ZERO,
    };
}

/// What changed, to be told once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    Closed {
        pause: Duration,
    },
    Opened,
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
    ready: VecDeque<Delivery>,
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
    pace: Option<Duration>,
    /// When the next may begin, by `pace` or because outhook is not ready for it.
    slot: Option<Instant>,
    /// Closed until then. Once that has passed and until an answer comes, one delivery at a
    /// time is the probe.
    closed: Option<Instant>,
    /// Faults since the last sign of life, each weighed by the window of its time.
    faults: f64,
    /// Pauses since then.
    pauses: u32,
    trusted: bool,
    /// Seconds that it takes to answer, of late.
    takes: Option<f64>,
    /// The time that was given to the last message put off for want of room.
    appointment: Option<Instant>,
    used: Instant,
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
            pace: None,
            slot: None,
            closed: None,
            faults: 0.0,
            pauses: 0,
            trusted: false,
            takes: None,
            appointment: None,
            used: now,
            share: None,
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
    pub fn push(&mut self, delivery: Delivery) {
        self.ready.push_back(delivery);
    }

    /// The one rule of the turn lists: a lane stands in them, once, while it has work and room
    /// and is not closed. True when it must now be put into one.
    pub fn enters(&self, now: Instant) -> bool {
        self.turn.is_none() && self.has_room(now) && self.has_queue()
    }

    fn has_room(&self, now: Instant) -> bool {
        !self.is_paced(now)
            && match self.closed {
                None => self.busy < self.window,
                Some(until) => now >= until && self.busy == 0,
            }
    }

    /// Its turn has come: hands out the next delivery, unless the gate has closed since.
    pub fn take(&mut self, now: Instant) -> Option<Delivery> {
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
        self.used = now;
        next
    }

    /// One of its deliveries came back. Answers what changed by it.
    pub fn release(&mut self, sign: Sign, limits: &LaneLimits, now: Instant) -> Option<Change> {
        debug_assert!(self.busy > 0, "a lane got back more than it gave");
        self.busy -= 1;
        self.used = now;
        match sign {
            Sign::None { pause } => {
                self.defer(pause, now);
                None
            }
            Sign::Alive { took } => self.live(took),
            Sign::Fault { wish } => self.fault(wish, limits, now),
        }
    }

    fn live(&mut self, took: Duration) -> Option<Change> {
        let took_s = took.as_secs_f64();
        let takes = self.takes.get_or_insert(took_s);
        *takes += (took_s - *takes) / 8.0;
        self.faults = 0.0;
        self.pauses = 0;
        self.trusted = took < SLOW;
        self.window = (self.window + 1).min(self.cap);
        // An answer that was under way when the lane closed opens it too: it is alive.
        self.closed.take().map(|_| Change::Opened)
    }

    fn fault(
        &mut self,
        wish: Option<Duration>,
        limits: &LaneLimits,
        now: Instant,
    ) -> Option<Change> {
        self.trusted = false;
        self.faults += 1.0 / self.window as f64;
        match self.closed {
            None if wish.is_none() && self.faults < 1.0 - 1e-6 => return None,
            // It was under way when the lane closed; a longer wish still counts.
            Some(until) if now < until => {
                self.closed = Some(until.max(now + wish.unwrap_or_default()));
                return None;
            }
            None | Some(_) => {}
        }
        let doubled = limits
            .pause
            .saturating_mul(2u32.saturating_pow(self.pauses));
        let pause = doubled
            .min(limits.longest_pause)
            .max(wish.unwrap_or_default());
        self.pauses += 1;
        self.window = 1;
        let before = self.closed.replace(now + pause);
        before.is_none().then_some(Change::Closed { pause })
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
            Some(_) => 1,
            None => self.window,
        }
    }

    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Workers that it holds on no better ground than hope.
    pub fn doubt(&self) -> usize {
        if self.trusted { 0 } else { self.busy }
    }

    pub fn is_trusted(&self) -> bool {
        self.trusted
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

    /// A time at which one more message may come, for which there is no room now: after the
    /// last one that was sent away so, at the speed of the endpoint, and not before half of the
    /// `here` messages before it are done.
    pub fn appoint(&mut self, now: Instant, here: usize) -> Instant {
        let gap = self.gap(self.cap as f64);
        let from = self
            .from(now, here, gap)
            .max(self.appointment.unwrap_or(now));
        let next = from + Duration::from_secs_f64(gap).max(self.pace.unwrap_or_default());
        self.appointment = Some(next);
        next
    }

    /// The same for the one that is the `rank`-th of its key, of which there are so many, and
    /// which goes after all before it.
    pub fn appoint_in_line(&self, now: Instant, here: usize, rank: usize, keys: usize) -> Instant {
        let gap = self.gap(self.cap.min(keys.max(1)) as f64);
        // Its share of what all keys get.
        let own = gap * keys.max(1) as f64;
        let gap = gap.max(self.pace.unwrap_or_default().as_secs_f64());
        self.from(now, here, gap) + Duration::from_secs_f64(own * (rank + 1) as f64)
    }

    /// Seconds between two messages, of which so many can be under way at a time.
    fn gap(&self, parallel: f64) -> f64 {
        let most = match self.trusted {
            true => MOST_APPOINTED,
            false => MOST_HOPED,
        };
        self.takes.unwrap_or_default().max(parallel / most) / parallel
    }

    fn from(&self, now: Instant, here: usize, gap: f64) -> Instant {
        let half = Duration::from_secs_f64(here as f64 / 2.0 * gap).min(LONGEST_AHEAD);
        (now + half).max(self.closed.unwrap_or(now))
    }

    /// Nothing of it is active, no turn or wake-up is due, and it has rested so long that what
    /// is known of it is old.
    pub fn is_forgettable(&self, now: Instant, rest: Duration) -> bool {
        let idle = self.active == 0 && self.turn.is_none() && self.alarm.is_none();
        let idle = idle && self.closed_until(now).is_none();
        idle && now.saturating_duration_since(self.used) >= rest
    }
}

/// What `attempt` says of its endpoint.
pub fn sign(attempt: &Attempt) -> Sign {
    match &attempt.result {
        Exchange::Answer {
            status: 429 | 502..=504,
            retry_after,
            ..
        } => Sign::Fault { wish: *retry_after },
        Exchange::Answer { .. } => Sign::Alive { took: attempt.took },
        Exchange::Fault {
            kind: FaultKind::Internal,
            ..
        } => Sign::NOTHING,
        Exchange::Fault { kind, .. } => match kind.postponed() {
            Some(pause) => Sign::None { pause },
            None => Sign::Fault { wish: None },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its key and its place in the map: below a kibibyte for an endpoint at rest.
    #[test]
    fn a_lane_is_small() {
        assert!(size_of::<Lane>() <= 384, "{}", size_of::<Lane>());
    }
}
