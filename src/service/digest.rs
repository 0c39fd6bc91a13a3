//! Which of many like lines are written. Pure.
//!
//! Of one kind and place the first line is written at once. What follows is counted, and told after
//! ten seconds, a minute, ten minutes and then each hour, as long as it goes on. Within ten seconds
//! only a few places of a kind may begin; all others are counted together. So a flood of thousands
//! makes tens of lines, one place or many, and nothing of it goes uncounted.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a line the next one comes; the last of these from then on.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];

/// Who was quiet for so long, and for two of its pauses, begins anew.
const QUIET: Duration = PAUSES[2];

/// So many places of a kind may begin within the first pause.
const MOST_BEGINS: usize = 10;

/// Places of a kind that are remembered.
const MOST_PLACES: usize = 1000;

/// See the module's header. `T` is what a line needs to know of one of those that it counts.
#[derive(Debug)]
pub struct Digest<K, T> {
    kinds: HashMap<K, Kind<T>>,
    /// When there may be something to tell.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Kind<T> {
    places: HashMap<Arc<str>, Series<T>>,
    others: Option<Series<T>>,
    /// Since when places have begun, and how many.
    begins: (Instant, usize),
}

/// The lines of one place.
#[derive(Debug)]
struct Series<T> {
    told_at: Instant,
    seen_at: Instant,
    /// Lines so far, but the first.
    lines: usize,
    /// Those that were not told yet, and one of them.
    more: u64,
    example: Option<T>,
}

/// A line that counts.
#[derive(Debug, PartialEq)]
pub struct More<K, T> {
    pub kind: K,
    /// If not there, several.
    pub place: Option<Arc<str>>,
    pub count: u64,
    pub within: Duration,
    /// One of these.
    pub example: T,
}

impl<K, T> Default for Digest<K, T> {
    fn default() -> Self {
        Digest {
            kinds: HashMap::new(),
            next: None,
        }
    }
}

impl<K: Copy + Eq + Hash, T> Digest<K, T> {
    /// One more of this kind and place. It is given back if it is to be told at once.
    pub fn note(
        &mut self,
        kind: K,
        place: &str,
        example: impl FnOnce() -> T,
        now: Instant,
    ) -> Option<T> {
        let kind = self.kinds.entry(kind).or_insert_with(|| Kind {
            places: HashMap::new(),
            others: None,
            begins: (now, 0),
        });
        if let Some(series) = kind.places.get_mut(place) {
            if series.is_due_at_once(now) {
                series.begin_line(now);
                return Some(example());
            }
            series.add(example, now);
            self.next = earlier(self.next, series.due());
            return None;
        }
        if kind.may_begin(now) {
            let series = Series::new(now);
            kind.places.insert(place.into(), series);
            return Some(example());
        }
        let others = kind.others.get_or_insert_with(|| Series::new(now));
        if others.is_due_at_once(now) {
            // It waits for more, as it counts several.
            *others = Series::new(now);
        }
        others.add(example, now);
        self.next = earlier(self.next, others.due());
        None
    }

    /// What is to be told by now.
    pub fn due(&mut self, now: Instant) -> Vec<More<K, T>> {
        match self.next {
            Some(next) if next <= now => self.take(now, |series| series.due() <= Some(now)),
            _ => Vec::new(),
        }
    }

    /// All that was counted and not told: the end has come.
    pub fn rest(&mut self, now: Instant) -> Vec<More<K, T>> {
        self.take(now, |_| true)
    }

    /// When [`Digest::due`] has something to tell.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    fn take(&mut self, now: Instant, is_due: impl Fn(&Series<T>) -> bool) -> Vec<More<K, T>> {
        let mut told = Vec::new();
        let mut next = None;
        for (&name, kind) in &mut self.kinds {
            let places = kind.places.iter_mut();
            let places = places.map(|(place, series)| (Some(place), series));
            for (place, series) in places.chain(kind.others.iter_mut().map(|s| (None, s))) {
                if series.more > 0 && is_due(series) {
                    told.extend(series.tell(name, place.cloned(), now));
                }
                next = earlier(next, series.due());
            }
            kind.forget(now);
        }
        self.next = next;
        told
    }
}

impl<T> Kind<T> {
    /// Whether one more place may begin now.
    fn may_begin(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.begins.0) >= PAUSES[0] {
            self.begins = (now, 0);
        }
        if self.begins.1 >= MOST_BEGINS {
            return false;
        }
        if self.places.len() >= MOST_PLACES {
            self.forget(now);
        }
        let has_room = self.places.len() < MOST_PLACES;
        self.begins.1 += usize::from(has_room);
        has_room
    }

    fn forget(&mut self, now: Instant) {
        self.places.retain(|_, series| !series.is_over(now));
        self.others.take_if(|series| series.is_over(now));
    }
}

impl<T> Series<T> {
    /// The first line is written now.
    fn new(now: Instant) -> Series<T> {
        Series {
            told_at: now,
            seen_at: now,
            lines: 0,
            more: 0,
            example: None,
        }
    }

    fn pause(&self) -> Duration {
        PAUSES[self.lines.min(PAUSES.len() - 1)]
    }

    fn add(&mut self, example: impl FnOnce() -> T, now: Instant) {
        self.seen_at = now;
        self.more += 1;
        self.example.get_or_insert_with(example);
    }

    /// When what was counted is told.
    fn due(&self) -> Option<Instant> {
        (self.more > 0).then(|| self.told_at + self.pause())
    }

    /// It was quiet for long enough for a line that counts nothing.
    fn is_due_at_once(&self, now: Instant) -> bool {
        self.more == 0 && now >= self.told_at + self.pause()
    }

    /// It was quiet for so long that it begins anew.
    fn is_over(&self, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(self.seen_at);
        self.more == 0 && quiet >= QUIET.max(2 * self.pause())
    }

    fn begin_line(&mut self, now: Instant) {
        let lines = self.lines + 1;
        let lines = if self.is_over(now) { 0 } else { lines };
        *self = Series {
            lines,
            ..Series::new(now)
        };
    }

    fn tell<K>(&mut self, kind: K, place: Option<Arc<str>>, now: Instant) -> Option<More<K, T>> {
        let example = self.example.take()?;
        let count = std::mem::take(&mut self.more);
        let within = now.saturating_duration_since(self.told_at);
        self.told_at = now;
        self.lines += 1;
        Some(More {
            kind,
            place,
            count,
            within,
            example,
        })
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    type Lines = Digest<u8, u64>;

    #[test]
    fn a_flood_at_one_place_makes_one_line_and_then_few() {
        let mut digest = Lines::default();
        let begun = Instant::now();
        let mut counts = Vec::new();
        let mut firsts = 0;
        // One each tenth of a second, for a day.
        for n in 0..864_000u64 {
            let now = begun + SEC / 10 * n as u32;
            counts.extend(digest.due(now).into_iter().map(|more| more.count));
            firsts += u64::from(digest.note(1, "h", || n, now).is_some());
        }
        assert_eq!(firsts, 1);
        assert_eq!(counts[..4], [99, 600, 6000, 36_000]);
        assert_eq!(counts.len(), 26);
    }

    #[test]
    fn many_places_at_once_are_told_together() {
        let mut digest = Lines::default();
        let now = Instant::now();
        let at_once = (0..1000).filter(|n| digest.note(1, &n.to_string(), || *n, now).is_some());
        assert_eq!(at_once.count(), MOST_BEGINS);
        // Another kind is not held up by that.
        assert_eq!(digest.note(2, "h", || 7, now), Some(7));
        let due = digest.next().unwrap();
        assert_eq!(due, now + 10 * SEC);
        assert!(digest.due(due - SEC).is_empty());
        let more = digest.due(due);
        assert_eq!(more.len(), 1);
        assert_eq!(
            (more[0].place.clone(), more[0].count, more[0].within),
            (None, 1000 - MOST_BEGINS as u64, 10 * SEC)
        );
        assert_eq!(digest.next(), None);
    }

    #[test]
    fn after_a_long_quiet_the_next_is_told_at_once_and_all_begins_anew() {
        let mut digest = Lines::default();
        let begun = Instant::now();
        assert_eq!(digest.note(1, "h", || 0, begun), Some(0));
        assert_eq!(digest.note(1, "h", || 1, begun + 9 * SEC), None);
        assert_eq!(digest.due(begun + 10 * SEC)[0].count, 1);
        // The next line may come a minute later.
        assert_eq!(digest.note(1, "h", || 2, begun + 69 * SEC), None);
        assert_eq!(digest.due(begun + 70 * SEC)[0].example, 2);
        let later = begun + 3000 * SEC;
        assert_eq!(digest.note(1, "h", || 3, later), Some(3));
        assert_eq!(digest.note(1, "h", || 4, later), None);
        assert_eq!(digest.next(), Some(later + 10 * SEC));
        assert_eq!(digest.rest(later + SEC)[0].within, SEC);
    }

    /// The model is a count: what was noted is told once, at once or in a line that counts it, and
    /// punctually.
    #[test]
    fn whatever_comes_is_counted_once_and_told_in_time_in_few_lines() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut digest = Lines::default();
            let begun = Instant::now();
            let (mut now, mut noted, mut told, mut lines) = (begun, 0u64, 0u64, 0u64);
            let places = random.u32(1..40);
            for step in 0..2000 {
                let wait = match random.u8(0..10) {
                    0 => Duration::from_secs(random.u64(0..4000)),
                    _ => Duration::from_millis(random.u64(0..2000)),
                };
                let until = now + wait;
                while let Some(next) = digest.next().filter(|next| *next <= until) {
                    let more = digest.due(next);
                    assert!(!more.is_empty(), "seed {seed} step {step}: idle wake");
                    told += more.iter().map(|more| more.count).sum::<u64>();
                    lines += more.len() as u64;
                }
                now = until;
                let (kind, place) = (random.u8(0..3), random.u32(0..places).to_string());
                noted += 1;
                let at_once = digest.note(kind, &place, || noted, now).is_some();
                told += u64::from(at_once);
                lines += u64::from(at_once);
            }
            let left: u64 = digest.rest(now).iter().map(|more| more.count).sum();
            assert_eq!(told + left, noted, "seed {seed}");
            assert_eq!(digest.next(), None, "seed {seed}");
            let tens = (now - begun).as_secs() / 10 + 1;
            let most = tens * 3 * (MOST_BEGINS as u64 + 1) + 4 * 3 * u64::from(places);
            assert!(lines <= most, "seed {seed}: {lines} lines");
        }
    }
}
