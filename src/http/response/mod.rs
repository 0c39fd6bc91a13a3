//! What a receiver answers, as bytes: the head of an answer, and the body that nobody waits for.
//! Pure.

mod head;
mod unread_body;

#[cfg(any(test, feature = "fuzzing"))]
pub use head::MAX_HEAD;
pub use head::{BodyLength, Head, HeadReader, Keep};
pub use unread_body::UnreadBody;
