//! A key, and the time within which it signs.

use super::key::Key;

/// A key, and the time within which it signs: Unix milliseconds, the first in it, the last not.
#[derive(Debug)]
pub struct TimedKey {
    pub key: Key,
    pub from: u64,
    pub until: u64,
    /// How receivers know it, where the scheme says it.
    pub id: Option<Box<str>>,
    /// Anybody may guess it.
    pub short: bool,
}

impl TimedKey {
    /// A key that signs at any time.
    pub fn always(key: Key) -> TimedKey {
        TimedKey {
            key,
            from: 0,
            until: u64::MAX,
            id: None,
            short: false,
        }
    }

    pub fn signs_at(&self, ms: u64) -> bool {
        (self.from..self.until).contains(&ms)
    }
}
