//! When a lane's next delivery may begin, apart from its window.

use std::time::{Duration, Instant};

use super::{CATCH_UP, Lane};

impl Lane {
    /// Whether its rate, its own or its part of one, lets another begin.
    pub(super) fn is_paced(&self, now: Instant) -> bool {
        self.next_start.is_some_and(|slot| slot > now) || !self.is_granted(now)
    }

    /// When its rate lets another begin, if that is later than now, and known.
    pub(super) fn paced_until(&self, now: Instant) -> Option<Instant> {
        self.next_start
            .filter(|slot| *slot > now)
            .max(self.next_start(now))
    }

    /// One has begun.
    pub(super) fn spend(&mut self, now: Instant) {
        if let Some(pace) = self.min_interval
            && !self.use_start(now)
        {
            // From the slot and not from now: what is late by a little does not make the
            // rate lower.
            let late = now.checked_sub(CATCH_UP).unwrap_or(now);
            self.next_start = Some(self.next_start.map_or(now, |slot| slot.max(late)) + pace);
        }
    }

    /// Nothing was sent: what that would have taken of its rate is given back, and for so long
    /// nothing else begins.
    pub(super) fn defer(&mut self, pause: Duration, now: Instant) {
        if pause.is_zero() {
            return;
        }
        if let (Some(pace), Some(slot), false) =
            (self.min_interval, self.next_start, self.return_start(now))
        {
            self.next_start = slot.checked_sub(pace);
        }
        self.next_start = self.next_start.max(Some(now + pause));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::limits::{Grant, LEAD, LOAN, RETRY, Standing};
    use crate::delivery::rules::EndpointRule;
    use crate::delivery::{Delivery, Job};
    use crate::message::Message;
    use crate::message::endpoint::Endpoint;
    use crate::message::timestamp::BootTime;
    use crate::scheduler::lane::{HealthSignal, LaneLimits};

    fn job() -> Job {
        let raw = br#"{"url":"http://h/","webhookId":"a","data":1}"#.to_vec();
        let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
        let message = Message::parse(raw, 1000, || unreachable!(), endpoint).unwrap();
        Job::of(Delivery::new(
            message,
            "test".into(),
            0,
            BootTime::default(),
        ))
    }

    #[test]
    fn what_was_not_sent_costs_nothing_of_the_rate() {
        let (now, pace) = (Instant::now(), Duration::from_secs(20));
        let limits = LaneLimits {
            window: 4,
            backoff_base: pace,
            backoff_max: pace,
        };
        let mut lane = Lane::new(&limits, now);
        lane.min_interval = Some(pace);
        lane.push(job());
        let pause = Duration::from_millis(25);
        for n in 0..5 {
            let at = now + n * pause;
            lane.push(job());
            assert!(lane.take(at).is_some(), "{n}");
            assert!(lane.take(at).is_none(), "it has a rate");
            lane.release(HealthSignal::None { pause }, &limits, at);
            assert_eq!(lane.opens(at), Some(at + pause));
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
            lane.push(job());
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
        assert_eq!(lane.opens(now), Some(now + 150 * MS));
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
        let second = lane.opens(later).unwrap();
        assert!(lane.take(second).is_some());
        let next = lane.opens(second).unwrap();
        assert!(next - later >= 2 * pace, "half of the rate");
        assert!(lane.take(next + pace).is_none(), "two at a time");
    }
}
