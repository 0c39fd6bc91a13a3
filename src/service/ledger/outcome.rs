//! What came of the writes of one batch, and what is said of dead letters.

use std::collections::BTreeMap;

use log::warn;

use crate::delivery::DeadLetter;
use crate::store::StoreError;

/// Of several errors the first.
pub struct FirstError(pub Result<(), StoreError>);

impl FirstError {
    /// Whether it went well.
    pub fn keep(&mut self, result: Result<(), StoreError>) -> bool {
        let good = result.is_ok();
        if self.0.is_ok() {
            self.0 = result;
        }
        good
    }

    /// Whether all went well, or was refused, which may be so for one kind alone.
    pub fn lets_go_on(&self) -> bool {
        self.0.as_ref().err().is_none_or(StoreError::is_refusal)
    }
}

/// One line a batch and reason, once it is kept: a flood of dead letters is not a flood of
/// lines.
pub fn log_letters<'a>(letters: impl Iterator<Item = &'a DeadLetter>, place: &str) {
    let mut reasons: BTreeMap<String, (usize, &DeadLetter)> = BTreeMap::new();
    for letter in letters {
        let reason = reasons.entry(letter.reason.to_string());
        reason.or_insert((0, letter)).0 += 1;
    }
    for (reason, (count, letter)) in reasons {
        let more = match count {
            1 => String::new(),
            _ => format!(" and {} more", count - 1),
        };
        let (name, detail) = (letter.name(), &letter.detail);
        let to = letter.url.as_deref().map(|u| format!(" to {u}"));
        let to = to.unwrap_or_default();
        warn!("dead ({reason}): {name}{to}{more}, kept in {place}: {detail}");
    }
}
