//! Endpoints to which nothing is sent for now, because an operator said so or because they
//! answered 410. Pure.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::endpoint::Endpoint;

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `outhook endpoints pause`.
    Paused,
    /// It answered 410.
    Gone,
}

/// One hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hold {
    pub cause: Cause,
    /// `None`: until it is lifted.
    pub until: Option<Instant>,
}

/// All holds, each by its URL or its origin; an origin stands for all its URLs.
#[derive(Debug, Default, Clone)]
pub struct Holds(HashMap<Arc<str>, Hold>);

impl Holds {
    pub fn find(&self, endpoint: &Endpoint, now: Instant) -> Option<Hold> {
        // Most of the time there are none.
        if self.0.is_empty() {
            return None;
        }
        self.find_exact(&endpoint.url, now)
            .or_else(|| self.find_exact(&endpoint.origin, now))
    }

    /// The hold of just this URL or origin.
    pub fn find_exact(&self, key: &str, now: Instant) -> Option<Hold> {
        self.0.get(key).copied().filter(|hold| hold.is_on(now))
    }

    /// Returns whether that changes anything.
    pub fn add(&mut self, key: Arc<str>, hold: Hold, now: Instant) -> bool {
        let before = self.0.insert(key, hold);
        before.is_none_or(|before| {
            // Several replicas may report that it is gone, each by its own clock.
            let same = before.cause == hold.cause
                && (before.until == hold.until || hold.cause == Cause::Gone);
            !same || !before.is_on(now)
        })
    }

    /// Lifts the holds of a URL, or of an origin and all its URLs. Returns which.
    pub fn lift(&mut self, key: &str) -> Vec<Arc<str>> {
        let lifted = self.0.keys().filter(|held| covers(key, held));
        let lifted: Vec<Arc<str>> = lifted.cloned().collect();
        self.0.retain(|held, _| !lifted.contains(held));
        lifted
    }

    /// Drops those whose time is over.
    pub fn forget(&mut self, now: Instant) {
        self.0.retain(|_, hold| hold.is_on(now));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Hold)> {
        self.0.iter()
    }
}

impl Hold {
    fn is_on(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// How long it lasts from now on, if it has an end.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now))
    }
}

/// Whether `url` is `key`, or a URL of the origin `key`.
pub fn covers(key: &str, url: &str) -> bool {
    match url.strip_prefix(key) {
        Some(rest) => rest.is_empty() || !key.ends_with('/') && rest.starts_with(['/', '?']),
        None => false,
    }
}

/// The name of a hold, from what an operator writes: a URL without a path stands for its whole
/// origin.
pub fn key(text: &str) -> Result<Arc<str>, String> {
    let endpoint = Endpoint::parse(text)?;
    let after = text.split_once("://").map_or("", |(_, after)| after);
    match after.contains(['/', '?']) {
        true => Ok(endpoint.url),
        false => Ok(endpoint.origin),
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Paused => "paused",
            Cause::Gone => "gone",
        })
    }
}

impl FromStr for Cause {
    type Err = ();

    fn from_str(text: &str) -> Result<Cause, ()> {
        match text {
            "paused" => Ok(Cause::Paused),
            "gone" => Ok(Cause::Gone),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_or_its_origin_is_held_until_its_time_and_lifted_with_it() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut holds = Holds::default();
        let gone = Hold {
            cause: Cause::Gone,
            until: Some(later),
        };
        let paused = Hold {
            cause: Cause::Paused,
            until: None,
        };
        let url = |text: &str| Endpoint::parse(text).unwrap();
        assert!(holds.add(key("http://h/a").unwrap(), gone, now));
        assert!(!holds.add(key("http://h/a").unwrap(), gone, now), "no news");
        assert_eq!(holds.find(&url("http://h/a"), now), Some(gone));
        assert_eq!(holds.find(&url("http://h/a/b"), now), None);
        assert_eq!(holds.find(&url("http://h/a"), later), None);
        assert!(holds.add(key("http://H:80").unwrap(), paused, now));
        assert_eq!(holds.find(&url("http://h/a/b"), later), Some(paused));
        assert_eq!(holds.find(&url("http://h:81/"), later), None);
        assert!(holds.lift("http://h/").is_empty());
        assert_eq!(holds.lift("http://h").len(), 2, "its URLs too");
        assert!(holds.is_empty());
    }

    #[test]
    fn an_origin_covers_its_urls_and_no_others() {
        assert!(covers("http://h", "http://h/a") && covers("http://h", "http://h"));
        assert!(!covers("http://h", "http://h2/") && !covers("http://h", "http://h:1/"));
        assert!(!covers("http://h/a", "http://h/ab") && covers("http://h/a", "http://h/a"));
        assert_eq!(&*key("http://H.").unwrap(), "http://h");
        assert_eq!(&*key("http://h?a'b").unwrap(), "http://h/?a'b");
    }
}
