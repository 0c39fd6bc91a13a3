//! What changed at an endpoint. `service/timer/endpoint_log.rs` makes the log line of it.

use std::time::Duration;

use crate::delivery::hold::Cause;

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EndpointEvent {
    Failing {
        pause: Duration,
    },
    Healthy,
    /// Nothing is sent to it, for so long or until that is lifted.
    Held {
        cause: Cause,
        left: Option<Duration>,
    },
    Lifted,
}
