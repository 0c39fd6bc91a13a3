//! How many attempts a lane may have at a time, and when its next may begin. Pure.
//!
//! The window grows by one with each answer, up to a cap, and is one again after a back-off. So an endpoint
//! that has just come back is not run over. A rate is a least interval between two beginnings. Limits that
//! hold for all replicas are lent (`Share`).

use std::time::{Duration, Instant};

use super::LaneLimits;
use super::share::{Load, Share};
use crate::delivery::limits::{Claim, Grant, Standing};
use crate::delivery::rules::EndpointRule;

/// What a lane may have in flight before its first answer.
const FIRST_WINDOW: usize = 4;

/// A lane with a rate may be late by this time, and make up for it.
const CATCH_UP: Duration = Duration::from_millis(20);

/// A healthy endpoint has the messages in memory that it delivers in this time (seconds).
const AHEAD: f64 = 2.0;

/// It may always have this number.
const LEAST: usize = 4;

/// See the module's header.
#[derive(Debug)]
pub struct Pacing {
    window: usize,
    /// The largest window.
    cap: usize,
    /// The least time between two beginnings, if there is one.
    min_interval: Option<Duration>,
    /// When the next may begin, because of the interval or because outhook is not ready for it.
    next_start: Option<Instant>,
    share: Option<Box<Share>>,
}

impl Pacing {
    pub fn new(limits: &LaneLimits) -> Pacing {
        Pacing {
            window: FIRST_WINDOW.min(limits.window),
            cap: limits.window,
            min_interval: None,
            next_start: None,
            share: None,
        }
    }

    /// Takes over what the operator has set. `standing`: limits hold for all replicas together.
    pub fn apply_rule(
        &mut self,
        rule: Option<&EndpointRule>,
        limits: &LaneLimits,
        standing: Option<Standing>,
        now: Instant,
    ) {
        let set = rule.and_then(|rule| rule.max_in_flight);
        self.cap = set.unwrap_or(limits.window);
        self.window = self.window.min(self.cap);
        self.min_interval = rule.and_then(|rule| rule.pace);
        let is_limited = set.is_some() || self.min_interval.is_some();
        let Some(standing) = standing.filter(|_| is_limited || self.share.is_some()) else {
            return;
        };
        let new = || Box::new(Share::new(standing, now));
        let share = self.share.get_or_insert_with(new);
        share.set(rule);
        self.min_interval = share.min_interval();
    }

    /// An answer came.
    pub fn widen(&mut self) {
        self.window = (self.window + 1).min(self.cap);
    }

    /// It is failing, or an operator wants it tried: one at a time at first.
    pub fn narrow(&mut self) {
        self.window = 1;
    }

    pub fn window(&self) -> usize {
        self.window
    }

    /// Whether one more may begin now besides those in flight, as far as rates and shared limits go.
    pub fn allows(&self, in_flight: usize, now: Instant) -> bool {
        let is_time = self.next_start.is_none_or(|at| at <= now);
        let share = self.share.as_ref();
        is_time && share.is_none_or(|share| share.allows(in_flight as u32, now))
    }

    /// When the next may begin, if that is later than now, and known.
    pub fn next_start(&self, now: Instant) -> Option<Instant> {
        let lent = self.lender().and_then(|share| share.next_start(now));
        self.next_start.max(lent).filter(|at| *at > now)
    }

    /// How many can begin by `until`.
    pub fn starts_until(&self, until: Instant, now: Instant) -> usize {
        let lent = self.lender().map(|share| share.first_start(now));
        let first = self.next_start.max(lent).max(Some(now)).unwrap_or(now);
        match (until.checked_duration_since(first), self.min_interval) {
            (None, _) => 0,
            // The first, and one more after each interval.
            (Some(left), Some(interval)) => {
                1 + (left.as_nanos() / interval.as_nanos().max(1)) as usize
            }
            (Some(_), None) => usize::MAX,
        }
    }

    /// One has begun.
    pub fn begin(&mut self, now: Instant) {
        let Some(interval) = self.min_interval else {
            return;
        };
        match self.lender_mut() {
            Some(share) => share.use_start(now),
            None => {
                // The interval counts from the time at which it might have begun: being a little late
                // does not make the rate lower.
                let late = now.checked_sub(CATCH_UP).unwrap_or(now);
                let at = self.next_start.map_or(now, |at| at.max(late));
                self.next_start = Some(at + interval);
            }
        }
    }

    /// Nothing was sent: the attempt costs nothing of the rate, and no other begins during `pause`.
    pub fn put_off(&mut self, pause: Duration, now: Instant) {
        if pause.is_zero() {
            return;
        }
        let lender = self.lender_mut();
        let is_returned = lender.is_some_and(|share| share.return_start(now));
        if let (Some(interval), Some(at), false) = (self.min_interval, self.next_start, is_returned)
        {
            self.next_start = at.checked_sub(interval);
        }
        self.next_start = self.next_start.max(Some(now + pause));
    }

    /// How many messages a healthy endpoint should have in play, if `workers` are its part of all: as many
    /// as it delivers soon.
    pub fn ahead(&self, workers: usize, response_secs: f64) -> usize {
        let parallel = self.cap.min(workers.max(1)) as f64;
        let mut ahead = AHEAD * parallel / response_secs.max(1e-6);
        if let Some(interval) = self.min_interval.filter(|interval| !interval.is_zero()) {
            ahead = ahead.min(AHEAD / interval.as_secs_f64());
        }
        (ahead as usize).max(LEAST)
    }

    /// Whether limits of it hold for all replicas together.
    pub fn is_shared(&self) -> bool {
        self.share.is_some()
    }

    /// See [`Share::claim`].
    pub fn claim(&mut self, anew: bool, load: Load, now: Instant) -> Option<Claim> {
        self.share.as_mut()?.claim(anew, load, now)
    }

    /// The lender has answered.
    pub fn grant(&mut self, grant: &Grant, load: Load) {
        if let Some(share) = &mut self.share {
            share.grant(grant, load);
            self.min_interval = share.min_interval();
        }
    }

    /// The lender cannot be reached: it keeps what it has.
    pub fn keep_share(&mut self, standing: Standing, now: Instant) {
        let Some(share) = &mut self.share else {
            return;
        };
        share.keep(standing);
        self.min_interval = share.min_interval();
        // The last start may have been just now.
        self.next_start = self
            .min_interval
            .map(|interval| self.next_start.unwrap_or(now).max(now + interval));
    }

    /// The lender can be reached again.
    pub fn share_again(&mut self, standing: Standing, now: Instant) {
        if let Some(share) = &mut self.share {
            share.share_again(standing, now);
        }
    }

    /// The share, unless the lender cannot be reached.
    fn lender(&self) -> Option<&Share> {
        self.share.as_deref().filter(|share| !share.is_away())
    }

    fn lender_mut(&mut self) -> Option<&mut Share> {
        self.share.as_deref_mut().filter(|share| !share.is_away())
    }

    /// Places that it has by a loan that is not over.
    #[cfg(test)]
    pub fn places(&self, in_flight: usize, now: Instant) -> u32 {
        let share = self.share.as_ref();
        share.map_or(0, |share| share.places(in_flight as u32, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Job;
    use crate::delivery::limits::{Grant, LEAD, LOAN, RETRY, Standing};
    use crate::delivery::rules::EndpointRule;
    use crate::scheduler::lane::{HealthSignal, Lane, LaneLimits};

    #[test]
    fn what_was_not_sent_costs_nothing_of_the_rate() {
        let (now, pace) = (Instant::now(), Duration::from_secs(20));
        let limits = LaneLimits {
            window: 4,
            backoff_base: pace,
            backoff_max: pace,
        };
        let mut lane = Lane::new(&limits, now);
        let rule = EndpointRule::of_limits(None, Some(pace));
        lane.apply_rule(Some(&rule), &limits, None, now);
        lane.queue.push(Job::example());
        let pause = Duration::from_millis(25);
        for n in 0..5 {
            let at = now + n * pause;
            lane.queue.push(Job::example());
            assert!(lane.take(at).is_some(), "{n}");
            assert!(lane.take(at).is_none(), "it has a rate");
            lane.release(HealthSignal::None { pause }, &limits, at);
            assert_eq!(lane.room_at(at), Some(at + pause));
        }
    }

    fn shared(rule: EndpointRule, now: Instant) -> Lane {
        let mut lane = Lane::new(&LIMITS, now);
        let standing = Standing {
            is_away: false,
            calm_until: now,
            replicas: 1,
        };
        lane.apply_rule(Some(&rule), &LIMITS, Some(standing), now);
        for _ in 0..9 {
            lane.queue.push(Job::example());
        }
        lane
    }

    fn grant(at: Instant) -> Grant {
        Grant {
            asked: at,
            answered: at,
            held: 0,
            goal: 0,
            replicas: 2,
            starts: 0,
            wait: Duration::ZERO,
        }
    }

    const MS: Duration = Duration::from_millis(1);
    const LIMITS: LaneLimits = LaneLimits {
        window: 8,
        backoff_base: MS,
        backoff_max: MS,
    };

    #[test]
    fn a_place_that_others_lack_is_not_used_again_once_it_is_given_back() {
        let now = Instant::now();
        let mut lane = shared(EndpointRule::of_limits(Some(4), None), now);
        let claim = lane.claim(false, now).unwrap();
        assert_eq!((claim.held, claim.wanted), (0, 4));
        assert!(claim.due().is_some_and(|due| due <= now + RETRY));
        assert!(lane.take(now).is_none(), "it has none yet");
        let (held, goal) = (3, 1);
        lane.grant(
            &Grant {
                held,
                goal,
                ..grant(now)
            },
            now,
        );
        // Lent are three, but it has begun nothing with them.
        let claim = lane.claim(true, now).unwrap();
        assert_eq!(claim.held, 1);
        assert!(claim.due().is_some_and(|due| due <= now), "at once");
        assert!(lane.take(now).is_some() && lane.take(now).is_none());
        // And nothing begins once the loan is over.
        lane.release(HealthSignal::NOTHING, &LIMITS, now);
        assert!(lane.take(now + LOAN).is_none());
        assert_eq!(lane.claim(false, now + LOAN).unwrap().held, 0);
    }

    #[test]
    fn starts_are_used_at_their_times_and_not_much_later() {
        let (now, pace) = (Instant::now(), 10 * MS);
        let mut lane = shared(EndpointRule::of_limits(None, Some(pace)), now);
        let claim = lane.claim(false, now).unwrap();
        assert!(claim.starts > 0 && claim.pace > pace, "{claim:?}");
        lane.grant(
            &Grant {
                starts: 3,
                wait: 150 * MS,
                ..grant(now)
            },
            now,
        );
        let claim = lane.claim(true, now).unwrap();
        assert!(lane.take(now).is_none());
        assert_eq!(lane.room_at(now), Some(now + 150 * MS));
        // What is behind these is asked for before they are over.
        assert_eq!(claim.due(), Some(now + 150 * MS + claim.pace * 3 - LEAD));
        let at = now + 150 * MS;
        assert!(lane.take(at).is_some() && lane.take(at).is_none());
        assert!(lane.take(at + 11 * MS).is_some());
        // Two are under way, but places are not limited.
        let claim = lane.claim(true, at + 11 * MS).unwrap();
        assert_eq!((claim.held, claim.renew_at), (0, None));
        assert!(lane.take(at + 200 * MS).is_none(), "it has gone to waste");
    }

    #[test]
    fn without_a_lender_it_keeps_its_part() {
        let (now, pace) = (Instant::now(), 10 * MS);
        let mut lane = shared(EndpointRule::of_limits(Some(4), Some(pace)), now);
        lane.claim(false, now);
        let (held, goal) = (2, 2);
        lane.grant(
            &Grant {
                held,
                goal,
                ..grant(now)
            },
            now,
        );
        let standing = Standing {
            is_away: true,
            calm_until: now,
            replicas: 2,
        };
        lane.keep_share(standing, now);
        let later = now + 10 * LOAN;
        assert!(lane.take(later).is_some() && lane.take(later).is_none());
        // It was late, and makes up for that.
        let second = lane.room_at(later).unwrap();
        assert!(lane.take(second).is_some());
        let next = lane.room_at(second).unwrap();
        assert!(next - later >= 2 * pace, "half of the rate");
        assert!(lane.take(next + pace).is_none(), "two at a time");
    }
}
