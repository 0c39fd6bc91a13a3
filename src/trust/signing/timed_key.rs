//! A key, and the time within which it signs.

use super::key::Key;

/// A key, and the time within which it signs: Unix milliseconds, `from` inclusive, `until`
/// exclusive.
#[derive(Debug)]
pub struct TimedKey {
    pub key: Key,
    pub from: u64,
    pub until: u64,
    /// The id that receivers know it by, if the scheme sends one.
    pub id: Option<Box<str>>,
    /// It is so short that it can be guessed.
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
