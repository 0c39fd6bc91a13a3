//! What a receiver answers, as bytes: the head of an answer, and the body that nobody waits for.
//! Pure.

pub mod head;
pub mod unread_body;
