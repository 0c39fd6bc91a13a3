//! What came of the writes of one batch.

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
