//! What came of the writes of one batch, and what is said of dead letters.

use std::collections::BTreeMap;

use log::warn;

use crate::delivery::DeadLetter;
use crate::delivery::parked::Parked;
use crate::store::StoreError;

/// What came of several requests.
#[derive(Default)]
pub struct Errors {
    first: Option<StoreError>,
    /// One was not answered, or all would be refused. What is refused may be so for one kind alone.
    pub is_away: bool,
}

impl Errors {
    /// What was answered, if it went well.
    pub fn keep<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(answer) => Some(answer),
            Err(e) => {
                self.is_away |= !e.is_refusal();
                self.first.get_or_insert(e);
                None
            }
        }
    }

    pub fn into_result(self) -> Result<(), StoreError> {
        self.first.map_or(Ok(()), Err)
    }
}

/// One line a batch and reason, once it is kept: a flood of dead letters is not a flood of
/// lines.
pub fn log_letters(letters: &[Box<DeadLetter>], place: &str) {
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

/// The same of messages that have the ids of others, which came before.
pub fn log_reused(reused: &[Box<Parked>], place: &str) {
    if let Some(first) = reused.first() {
        let (id, url, more) = (&first.id, &first.url, reused.len() - 1);
        warn!(
            "dead (id_reused): {id} to {url} and {more} more, kept in {place}: other messages with \
             these ids came before, within --bridge-dedup"
        );
    }
}
