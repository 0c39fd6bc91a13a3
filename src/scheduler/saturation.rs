//! Notices when deliveries wait for workers. Pure.
//!
//! Throughput is workers divided by answer time, so too few workers look like slow endpoints and a growing
//! queue. [`Saturation`] is told at each moment whether all workers are busy, and answers what to log: once
//! when they have been busy for [`LONG`] without a break, seldom while it goes on, and once when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Now, Scheduler};

/// All workers must be busy for this time before it is logged, and not all of them for as long before it is
/// over. So no two events are closer to each other.
const LONG: Duration = Duration::from_secs(10);

/// How long after the first time it is logged again, and so on. The last of these repeats.
const AGAIN: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];

/// What to log.
#[derive(Debug, PartialEq)]
pub enum LoadEvent {
    Saturated(Load),
    /// It is over, after it lasted this long.
    Relieved {
        lasted: Duration,
    },
}

/// How the workers are used while all are busy that may be.
#[derive(Debug, PartialEq)]
pub struct Load {
    pub lasted: Duration,
    pub workers: usize,
    /// Fewer than `workers`, if endpoints that are not trusted hold all that they may.
    pub busy: usize,
    /// Deliveries that are due.
    pub queued: usize,
    /// Workers at endpoints that are not trusted: new, slow or failing ones.
    pub untrusted: usize,
    /// The endpoint that holds most, and how many.
    pub first: Option<(Arc<str>, usize)>,
    /// Attempts that have ended, each second.
    pub per_second: f64,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Saturation {
    /// Since when all have been busy, and the attempts that had ended by then.
    busy: Option<(Instant, u64)>,
    /// Since when not all have been busy.
    free: Option<Instant>,
    /// A saturation that was logged and is not over.
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    begun: Instant,
    attempts: u64,
    /// When it is logged again, if it goes on.
    next: Instant,
    said: usize,
}

/// What [`Saturation::observe`] answers.
#[derive(Debug, PartialEq)]
enum Event {
    Saturated { lasted: Duration, attempts: u64 },
    Relieved { lasted: Duration },
}

impl Saturation {
    /// `attempts` have ended so far.
    fn observe(&mut self, all_busy: bool, attempts: u64, now: Instant) -> Option<Event> {
        if !all_busy {
            self.busy = None;
            let free = *self.free.get_or_insert(now);
            let over = self.episode.is_some() && now.saturating_duration_since(free) >= LONG;
            let episode = self.episode.take_if(|_| over)?;
            let lasted = free.saturating_duration_since(episode.begun);
            return Some(Event::Relieved { lasted });
        }
        self.free = None;
        let (begun, before) = *self.busy.get_or_insert((now, attempts));
        if self.episode.is_none() && now.saturating_duration_since(begun) < LONG {
            return None;
        }
        let episode = self.episode.get_or_insert(Episode {
            begun,
            attempts: before,
            next: now,
            said: 0,
        });
        if now < episode.next {
            return None;
        }
        episode.next = now + AGAIN[episode.said.min(AGAIN.len() - 1)];
        episode.said += 1;
        Some(Event::Saturated {
            lasted: now.saturating_duration_since(episode.begun),
            attempts: attempts - episode.attempts,
        })
    }

    /// When `observe` may have something to say though nothing has happened.
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.episode, self.busy, self.free) {
            (None, Some((since, _)), _) => Some(since + LONG),
            (Some(episode), Some(_), _) => Some(episode.next),
            (Some(_), None, Some(since)) => Some(since + LONG),
            _ => None,
        }
    }
}

impl Scheduler {
    /// What to log of the workers. To be called when everything has been handed out that may be.
    pub fn observe_load(&mut self, now: Now) -> Option<LoadEvent> {
        let all_busy = self.has_no_worker();
        let attempts = self.tally.stats().attempts;
        match self.saturation.observe(all_busy, attempts, now.mono)? {
            Event::Relieved { lasted } => Some(LoadEvent::Relieved { lasted }),
            Event::Saturated { lasted, attempts } => {
                let lanes = self.lanes.iter();
                let first = lanes.max_by_key(|(_, lane)| lane.in_flight());
                Some(LoadEvent::Saturated(Load {
                    lasted,
                    workers: self.limits.workers,
                    busy: self.workers.in_flight(),
                    queued: self.queued(),
                    untrusted: self.lanes.tally().untrusted_in_flight,
                    first: first.map(|(key, lane)| (key.clone(), lane.in_flight())),
                    per_second: attempts as f64 / lasted.as_secs_f64(),
                }))
            }
        }
    }

    /// Whether queued deliveries wait for a worker: all workers are busy, or all that endpoints may hold
    /// which are not trusted.
    fn has_no_worker(&mut self) -> bool {
        if self.workers.are_all_busy(&self.limits) {
            return true;
        }
        self.lanes.tally().untrusted_in_flight >= self.limits.untrusted_share()
            && self.has_untrusted_turn()
    }

    /// Whether a lane that is not trusted has its turn.
    fn has_untrusted_turn(&mut self) -> bool {
        while let Some((place, id)) = self.rotation.first_of_others() {
            if self.lanes.get(id).is_some_and(|l| l.has_turn(place)) {
                return true;
            }
            self.rotation.drop_first_of_others();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::{Dice, seeds};

    const SECOND: Duration = Duration::from_secs(1);

    fn saturated(event: Option<Event>) -> Option<Duration> {
        match event {
            Some(Event::Saturated { lasted, .. }) => Some(lasted),
            _ => None,
        }
    }

    #[test]
    fn it_is_said_after_ten_seconds_then_seldom_and_when_it_is_over() {
        let (mut s, start) = (Saturation::default(), Instant::now());
        let mut said = Vec::new();
        for second in 0..8000 {
            if let Some(lasted) = saturated(s.observe(true, second, start + SECOND * second as u32))
            {
                said.push(lasted.as_secs());
            }
        }
        assert_eq!(said, [10, 70, 670, 4270, 7870]);
        let end = start + SECOND * 8000;
        assert_eq!(s.observe(false, 8000, end), None);
        assert_eq!(s.deadline(), Some(end + LONG));
        let lasted = SECOND * 8000;
        let over = s.observe(false, 8000, end + LONG);
        assert_eq!(over, Some(Event::Relieved { lasted }));
        assert_eq!(s.deadline(), None);
    }

    #[test]
    fn a_break_begins_the_ten_seconds_anew_and_does_not_end_what_has_been_said() {
        let (mut s, start) = (Saturation::default(), Instant::now());
        let at = |seconds: u32| start + SECOND * seconds;
        assert_eq!(s.observe(true, 0, at(0)), None);
        assert_eq!(s.observe(false, 0, at(9)), None);
        assert_eq!(s.observe(true, 0, at(9)), None);
        assert_eq!(s.observe(true, 5, at(18)), None);
        let event = s.observe(true, 25, at(19));
        let lasted = SECOND * 10;
        let attempts = 25;
        assert_eq!(event, Some(Event::Saturated { lasted, attempts }));
        assert_eq!(s.observe(false, 30, at(25)), None);
        assert_eq!(s.observe(true, 30, at(34)), None);
        assert_eq!(saturated(s.observe(true, 60, at(79))), Some(SECOND * 70));
    }

    /// Held against a record of all that was observed, in 200 runs of 500 random steps.
    #[test]
    fn whatever_happens_it_is_said_when_it_is_so_and_seldom() {
        let start = Instant::now();
        for seed in seeds(1..201) {
            let mut dice = Dice::new(seed);
            let mut s = Saturation::default();
            let (mut now, mut since, mut state) = (start, start, false);
            let (mut in_episode, mut last, mut said) = (false, None::<Instant>, 0);
            for step in 0..500 {
                dice.step();
                // As the timer: it comes at the deadline at the latest.
                let step_ms = dice.below([20, 3000, 40_000][(seed % 3) as usize]);
                let later = now + Duration::from_millis(step_ms);
                now = s.deadline().map_or(later, |at| later.min(at));
                let all_busy = dice.below(100) < [50, 95, 20][(seed / 3 % 3) as usize];
                if all_busy != state || step == 0 {
                    (state, since) = (all_busy, now);
                }
                let stable = now - since >= LONG;
                let event = s.observe(all_busy, 0, now);
                match &event {
                    None => {
                        assert!(!(stable && all_busy && !in_episode), "{event:?}");
                        assert!(!(stable && !all_busy && in_episode), "{event:?}");
                    }
                    Some(Event::Saturated { .. }) => {
                        assert!(all_busy && (in_episode || stable), "{event:?}");
                        in_episode = true;
                        said += 1;
                    }
                    Some(Event::Relieved { .. }) => {
                        assert!(!all_busy && stable && in_episode, "{event:?}");
                        in_episode = false;
                    }
                }
                if event.is_some() {
                    let apart = last.is_none_or(|last| now - last >= LONG);
                    assert!(apart, "{event:?}");
                    last = Some(now);
                }
                // Or the timer would spin.
                assert!(s.deadline().is_none_or(|at| at > now), "{event:?}");
            }
            let most = (now - start).as_secs() / 20 + 1;
            assert!(said <= most, "{said} of {most}");
        }
    }
}
