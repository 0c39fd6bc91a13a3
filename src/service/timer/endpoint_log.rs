//! The log lines about endpoints (failing, back, held) and about leases that others took over.

use std::time::Duration;

use log::{info, warn};

use crate::delivery::hold::Cause;
use crate::message::log_name::log_name;
use crate::scheduler::lane::EndpointEvent;

/// An endpoint has changed.
pub fn log_change(endpoint: &str, change: EndpointEvent) {
    let time = humantime::format_duration;
    let endpoint = log_name(endpoint);
    match change {
        EndpointEvent::Failing { pause } => warn!(
            "{endpoint}: failing, no attempt for {}: it does not answer, or says that it cannot \
             serve; its messages wait, and then one of them is tried; see --endpoint-backoff-base",
            time(pause)
        ),
        EndpointEvent::Healthy => info!("{endpoint}: healthy again"),
        EndpointEvent::Held { cause, left } => {
            let left = left.map_or("until it is resumed".to_owned(), |left| {
                let left = Duration::from_millis(left.as_millis() as u64);
                format!("for {}", time(left))
            });
            let why = match cause {
                Cause::Paused => "an operator has paused it",
                Cause::Gone => "it answered 410 Gone (see --gone-ttl)",
            };
            warn!(
                "{endpoint}: held {left}: {why}; its messages wait; outhook endpoints resume \
                 lifts that"
            );
        }
        EndpointEvent::Lifted => info!("{endpoint}: no longer held"),
    }
}

/// This process stood still for so long, and others have taken over what it held.
pub fn log_suspension(length: Duration, dropped: usize) {
    let length = humantime::format_duration(Duration::from_millis(length.as_millis() as u64));
    warn!(
        "outhook was not running for {length} (stopped, frozen or asleep): the leases of {dropped} \
         messages ran out meanwhile; they are left to whoever takes them over"
    );
}

/// Entries turned out to be others'.
pub fn log_lapsed(count: u64) {
    warn!(
        "{count} messages were taken over by others before this could move or try them: they are \
         dropped here, and theirs; was this cut off from Redis, or stopped, for longer than 5 s?"
    );
}
