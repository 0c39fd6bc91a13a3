//! What an attempt says of its endpoint. Pure.

use std::time::Duration;

use crate::delivery::{Attempt, Exchange, FaultKind};

/// What an attempt says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sign {
    Alive {
        took: Duration,
    },
    /// It cannot be reached, or says that it cannot serve; perhaps until when.
    Fault {
        wish: Option<Duration>,
        took: Duration,
    },
    /// Nothing: outhook cut the attempt short, or is itself to blame. Others would fare no better
    /// for so long.
    None {
        pause: Duration,
    },
}

impl Sign {
    pub const NOTHING: Sign = Sign::None {
        pause: Duration::ZERO,
    };
}

/// What `attempt` says of its endpoint.
pub fn sign(attempt: &Attempt) -> Sign {
    match &attempt.result {
        Exchange::Answer {
            status: 429 | 502..=504,
            retry_after,
            ..
        } => Sign::Fault {
            wish: *retry_after,
            took: attempt.took,
        },
        Exchange::Answer { .. } => Sign::Alive { took: attempt.took },
        Exchange::Fault {
            kind: FaultKind::Internal,
            ..
        } => Sign::NOTHING,
        Exchange::Fault { kind, .. } => match kind.postponed() {
            Some(pause) => Sign::None { pause },
            None => Sign::Fault {
                wish: None,
                took: attempt.took,
            },
        },
    }
}
