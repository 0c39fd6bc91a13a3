//! What an attempt says of its endpoint. Pure.

use std::time::Duration;

use crate::delivery::{Attempt, AttemptResult, FailureKind};

/// What an attempt says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HealthSignal {
    Alive {
        took: Duration,
    },
    /// It cannot be reached, or says that it cannot serve; perhaps until when.
    Fault {
        retry_after: Option<Duration>,
        took: Duration,
    },
    /// Nothing: outhook cut the attempt short, or is itself to blame. Others would fare no better
    /// for so long; for no time where only this message is concerned.
    None {
        pause: Duration,
    },
}

impl HealthSignal {
    pub const NOTHING: HealthSignal = HealthSignal::None {
        pause: Duration::ZERO,
    };
}

/// What `attempt` says of its endpoint.
pub fn health_signal(attempt: &Attempt) -> HealthSignal {
    match &attempt.result {
        AttemptResult::Response {
            status: 429 | 502..=504,
            retry_after,
            ..
        } => HealthSignal::Fault {
            retry_after: *retry_after,
            took: attempt.took,
        },
        AttemptResult::Response { .. } => HealthSignal::Alive { took: attempt.took },
        AttemptResult::Failure {
            kind:
                FailureKind::Internal
                | FailureKind::Refused
                | FailureKind::SecretUnread { .. }
                | FailureKind::NoSecret,
            ..
        } => HealthSignal::NOTHING,
        AttemptResult::Failure { kind, .. } => match kind.postponed() {
            Some(pause) => HealthSignal::None { pause },
            None => HealthSignal::Fault {
                retry_after: None,
                took: attempt.took,
            },
        },
    }
}
