//! One clock for all records of a run.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Since the run began.
pub type At = Duration;

pub fn now() -> At {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed()
}

/// A span of time; without an end it is not over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub from: At,
    pub to: Option<At>,
}

impl Span {
    pub fn overlaps(&self, from: At, to: At) -> bool {
        self.from <= to && self.to.is_none_or(|end| end >= from)
    }
}

pub fn seconds(at: At) -> String {
    format!("{:8.3}", at.as_secs_f64())
}
