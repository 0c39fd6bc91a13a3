//! What stands among our keys and is not ours. It is told once, and left: it may be of a newer
//! outhook, or of somebody who wants it there. It must not stop what stands beside it.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use log::warn;

/// Members that are remembered to have been told of.
const MOST: usize = 1000;

/// Bytes of a member that are shown.
const SHOWN: usize = 100;

/// What has been told of, by all who read from one server.
#[derive(Clone, Default)]
pub struct Odd(Arc<Mutex<HashSet<u64>>>);

impl Odd {
    /// Tells of `member` of `key`, unless that has been done. `what`: what it should be.
    pub fn tell(&self, key: &str, member: &[u8], what: &str) {
        if self.is_news(key, member) {
            let shown = &member[..member.len().min(SHOWN)];
            let shown = shown.escape_ascii();
            warn!("{key}: \"{shown}\" is not {what}: it is left there, and ignored");
        }
    }

    fn is_news(&self, key: &str, member: &[u8]) -> bool {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((key, member));
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MOST && told.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_their_number_is_bounded() {
        let odd = Odd::default();
        assert!(odd.is_news("a", b"x") && odd.is_news("b", b"x") && odd.is_news("a", b"y"));
        assert!(!odd.clone().is_news("a", b"x"), "clones know it");
        let told = (0..2 * MOST).filter(|n| odd.is_news("k", &n.to_le_bytes()));
        assert_eq!(told.count(), MOST - 3);
    }
}
