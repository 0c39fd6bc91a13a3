//! Keeps a log readable: one line a minute for each name, a few names a minute, the others are counted.
//! Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a name is silent after its line.
const EVERY: Duration = Duration::from_secs(60);

/// Names that get a line of their own in that time.
const MOST_LOGGED: usize = 20;

/// Names that are counted in that time.
const MOST_COUNTED: usize = 10_000;

/// See the module's header.
#[derive(Debug, Default)]
pub struct LogThrottle {
    /// When each name had its last line.
    logged: HashMap<Arc<str>, Instant>,
    /// Names that had no line, since `others_since`.
    others: HashSet<Arc<str>>,
    others_since: Option<Instant>,
}

impl LogThrottle {
    /// Whether a line for this name may be written now. The number is that of the names that had no
    /// line meanwhile: the line should say it.
    pub fn admit(&mut self, name: &Arc<str>, now: Instant) -> Option<usize> {
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= EVERY;
        if self.logged.get(name).is_some_and(|at| !is_over(at)) {
            return None;
        }
        if self.logged.len() >= MOST_LOGGED {
            self.logged.retain(|_, at| !is_over(at));
        }
        let is_one_of_them = self.others_since.is_some_and(|at| is_over(&at));
        if self.logged.len() >= MOST_LOGGED && !is_one_of_them {
            if self.others.len() < MOST_COUNTED {
                self.others.insert(name.clone());
            }
            self.others_since.get_or_insert(now);
            return None;
        }
        self.logged.insert(name.clone(), now);
        if !is_one_of_them {
            return Some(0);
        }
        self.others.remove(name);
        self.others_since = None;
        Some(std::mem::take(&mut self.others).len())
    }
}

/// The end of a line: how many other names it is true of.
pub fn and_others(count: usize, what: &str) -> String {
    match count {
        0 => String::new(),
        n => format!(" (and {n} other {what}, which are not listed)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_line_a_minute_and_many_names_are_counted() {
        let (mut throttle, now) = (LogThrottle::default(), Instant::now());
        let name = |n: usize| -> Arc<str> { format!("n{n}").into() };
        for n in 0..MOST_LOGGED {
            assert_eq!(throttle.admit(&name(n), now), Some(0));
            assert_eq!(throttle.admit(&name(n), now), None, "once");
        }
        for _ in 0..2 {
            for n in 0..2 * MOST_COUNTED {
                assert_eq!(throttle.admit(&name(n), now), None);
            }
        }
        assert!(throttle.others.len() <= MOST_COUNTED && throttle.logged.len() <= MOST_LOGGED);
        let later = now + EVERY;
        let others = throttle.admit(&name(0), later);
        assert_eq!(others, Some(MOST_COUNTED));
        assert_eq!(throttle.admit(&name(1), later), Some(0));
        assert_eq!(throttle.admit(&name(1), later), None);
    }
}
