//! Where dead letters go: Redis, or a file of JSON lines. Blocking I/O without threads of
//! its own; knows nothing of scheduling.

pub mod keys;
mod ndjson;
mod redis;

use std::fmt;
use std::time::Duration;

use crate::delivery::DeadLetter;

pub use ndjson::Ndjson;
pub use redis::{DeadStream, Redis, RedisConfig};

/// Keeps dead letters.
pub trait DeadStore: Send {
    /// Keeps all of `letters`, or answers why it could not; then the same letters are
    /// offered again. Blocks for `limit` at most.
    fn bury(&mut self, letters: &[DeadLetter], limit: Duration) -> Result<(), StoreError>;

    /// Where they went, for the log.
    fn place(&self) -> String;
}

/// Why the store did not take something, in words for the operator.
#[derive(Debug)]
pub struct StoreError {
    text: String,
    /// What the server calls it (`NOAUTH`, `OOM`); empty when it cannot be reached.
    code: String,
}

impl StoreError {
    pub fn new(text: impl Into<String>) -> Self {
        StoreError {
            text: text.into(),
            code: String::new(),
        }
    }

    /// Two errors of one code are the same trouble, whatever their words: a server that
    /// goes away is reset, then refused, then loading.
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StoreError {}
