//! What is said of many names, each now and then. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A name is told of so often, and so many of them in that time; the others are counted.
const EVERY: Duration = Duration::from_secs(60);
const MOST_TOLD: usize = 20;
const MOST_COUNTED: usize = 10_000;

/// Who was told of, and when.
#[derive(Debug, Default)]
pub struct Telling {
    told: HashMap<Arc<str>, Instant>,
    others: HashSet<Arc<str>>,
    others_since: Option<Instant>,
}

impl Telling {
    /// Whether it is to be told of now, and with how many others, of whom nothing was said.
    pub fn is_news(&mut self, name: &Arc<str>, now: Instant) -> Option<usize> {
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= EVERY;
        if self.told.get(name).is_some_and(|at| !is_over(at)) {
            return None;
        }
        if self.told.len() >= MOST_TOLD {
            self.told.retain(|_, at| !is_over(at));
        }
        let is_one_of_them = self.others_since.is_some_and(|at| is_over(&at));
        if self.told.len() >= MOST_TOLD && !is_one_of_them {
            if self.others.len() < MOST_COUNTED {
                self.others.insert(name.clone());
            }
            self.others_since.get_or_insert(now);
            return None;
        }
        self.told.insert(name.clone(), now);
        if !is_one_of_them {
            return Some(0);
        }
        self.others.remove(name);
        self.others_since = None;
        Some(std::mem::take(&mut self.others).len())
    }
}

/// The end of a sentence: how many others it is true of.
pub fn and_others(count: usize, what: &str) -> String {
    match count {
        0 => String::new(),
        n => format!(" (and {n} other {what} that are not told of one by one)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_of_once_a_minute_and_of_many_their_number() {
        let (mut telling, now) = (Telling::default(), Instant::now());
        let name = |n: usize| -> Arc<str> { format!("n{n}").into() };
        for n in 0..MOST_TOLD {
            assert_eq!(telling.is_news(&name(n), now), Some(0));
            assert_eq!(telling.is_news(&name(n), now), None, "once");
        }
        for _ in 0..2 {
            for n in 0..2 * MOST_COUNTED {
                assert_eq!(telling.is_news(&name(n), now), None);
            }
        }
        assert!(telling.others.len() <= MOST_COUNTED && telling.told.len() <= MOST_TOLD);
        let later = now + EVERY;
        let others = telling.is_news(&name(0), later);
        assert_eq!(others, Some(MOST_COUNTED));
        assert_eq!(telling.is_news(&name(1), later), Some(0));
        assert_eq!(telling.is_news(&name(1), later), None);
    }
}
