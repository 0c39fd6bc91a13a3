//! What is known of endpoints, for whoever asks (`outhook endpoints list`). Pure.

use std::cmp::Reverse;
use std::time::Instant;

use super::{Now, Scheduler};
use crate::delivery::endpoint_snapshot::EndpointSnapshot;
use crate::delivery::hold::covers;
use crate::scheduler::lane::{Health, Lane};

/// Lanes in one report.
const REPORTED: usize = 1000;

impl Scheduler {
    /// What is known of the endpoints whose names begin with `prefix`: those with the most to do
    /// first, and how many are left out.
    pub fn report(&self, prefix: &str, now: Now) -> (Vec<EndpointSnapshot>, usize) {
        let lanes = self.lanes.iter();
        let mut lanes: Vec<_> = lanes
            .filter(|(key, _)| key.starts_with(prefix) || covers(key, prefix))
            .collect();
        lanes.sort_by_key(|(key, lane)| {
            (Reverse((lane.breaker().is_failing(), lane.active())), *key)
        });
        let more = lanes.len().saturating_sub(REPORTED);
        let shown = lanes.into_iter().take(REPORTED);
        (
            shown.map(|(key, lane)| told(key, lane, now)).collect(),
            more,
        )
    }
}

fn told(key: &str, lane: &Lane, now: Now) -> EndpointSnapshot {
    let health = lane.breaker().health(now.mono);
    let ms = |share| {
        let time = lane.history.quantile(share);
        time.map(|t| t.as_secs_f64() * 1000.0)
    };
    let unix_ms = |at: Instant| {
        let ago = now.mono.saturating_duration_since(at);
        now.unix_ms.saturating_sub(ago.as_millis() as u64)
    };
    let (state, until) = match health {
        _ if lane.is_disabled() => ("disabled", lane.breaker().failing_until(now.mono)),
        Health::Failing { until } => ("failing", Some(until)),
        Health::Probing => ("probing", None),
        Health::Healthy => ("healthy", None),
    };
    let error = lane.history.error();
    EndpointSnapshot {
        endpoint: key.to_owned(),
        state: state.into(),
        probe_in_ms: until.map(|until| (until - now.mono).as_millis() as u64),
        in_flight: lane.in_flight(),
        window: lane.window(),
        queued: lane.active() - lane.in_flight(),
        oldest_ms: lane.queue.iter().next().map(|job| job.delivery.received),
        failing_since_ms: lane.history.failing_since().map(unix_ms),
        success: lane.history.success(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        last_error: error.map(|(_, text)| text.to_owned()),
        last_error_ms: error.map(|(at, _)| unix_ms(at)),
    }
}
