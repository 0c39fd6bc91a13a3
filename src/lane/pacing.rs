//! When a lane's next delivery may begin, apart from its window.

use std::time::{Duration, Instant};

use super::{CATCH_UP, Lane};

impl Lane {
    /// Whether its rate, its own or its part of one, lets another begin.
    pub(super) fn is_paced(&self, now: Instant) -> bool {
        self.slot.is_some_and(|slot| slot > now) || !self.is_granted(now)
    }

    /// When its rate lets another begin, if that is later than now, and known.
    pub(super) fn paced_until(&self, now: Instant) -> Option<Instant> {
        self.slot
            .filter(|slot| *slot > now)
            .max(self.next_start(now))
    }

    /// One has begun.
    pub(super) fn spend(&mut self, now: Instant) {
        if let Some(pace) = self.pace
            && !self.use_start(now)
        {
            // From the slot and not from now: what is late by a little does not make the
            // rate lower.
            let late = now.checked_sub(CATCH_UP).unwrap_or(now);
            self.slot = Some(self.slot.map_or(now, |slot| slot.max(late)) + pace);
        }
    }

    /// Nothing was sent: what that would have taken of its rate is given back, and for so long
    /// nothing else begins.
    pub(super) fn defer(&mut self, pause: Duration, now: Instant) {
        if pause.is_zero() {
            return;
        }
        if let (Some(pace), Some(slot), false) = (self.pace, self.slot, self.return_start(now)) {
            self.slot = slot.checked_sub(pace);
        }
        self.slot = self.slot.max(Some(now + pause));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::Delivery;
    use crate::endpoint::Endpoint;
    use crate::lane::{LaneLimits, Sign};
    use crate::message::Message;
    use crate::when::BootTime;

    fn delivery() -> Delivery {
        let raw = br#"{"url":"http://h/","webhookId":"a","data":1}"#.to_vec();
        let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
        let message = Message::parse(raw, 1000, || unreachable!(), endpoint).unwrap();
        Delivery::new(message, "test".into(), 0, BootTime::default())
    }

    #[test]
    fn what_was_not_sent_costs_nothing_of_the_rate() {
        let (now, pace) = (Instant::now(), Duration::from_secs(20));
        let limits = LaneLimits {
            window: 4,
            pause: pace,
            longest_pause: pace,
        };
        let mut lane = Lane::new(&limits, now);
        lane.pace = Some(pace);
        lane.push(delivery());
        let pause = Duration::from_millis(25);
        for n in 0..5 {
            let at = now + n * pause;
            lane.push(delivery());
            assert!(lane.take(at).is_some(), "{n}");
            assert!(lane.take(at).is_none(), "it has a rate");
            lane.release(Sign::None { pause }, &limits, at);
            assert_eq!(lane.opens(at), Some(at + pause));
        }
    }
}
