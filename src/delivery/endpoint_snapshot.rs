//! What one replica knows of its endpoints, for `outhook endpoints`. As JSON it is the form in
//! which replicas answer through Redis.

use serde::{Deserialize, Serialize};

/// See the module's header.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndpointSnapshots {
    /// Its name among the group's consumers.
    pub replica: String,
    /// The busiest first.
    pub lanes: Vec<EndpointSnapshot>,
    /// How many lanes were asked for and are left out.
    pub more: usize,
}

impl EndpointSnapshots {
    /// `known`: its endpoints, and how many are left out.
    pub fn of(replica: String, (lanes, more): (Vec<EndpointSnapshot>, usize)) -> EndpointSnapshots {
        EndpointSnapshots {
            replica,
            lanes,
            more,
        }
    }

    /// About how many bytes it takes in memory.
    pub fn len(&self) -> usize {
        let texts = |lane: &EndpointSnapshot| {
            lane.endpoint.len() + lane.state.len() + lane.last_error.as_ref().map_or(0, String::len)
        };
        let lanes = self.lanes.iter();
        lanes
            .map(|lane| size_of::<EndpointSnapshot>() + texts(lane))
            .sum()
    }
}

/// One endpoint, as one replica sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndpointSnapshot {
    /// The name of its lane: an origin, a URL, or the prefix of a rule.
    pub endpoint: String,
    /// `healthy`, `failing`, `probing` or `disabled`.
    pub state: String,
    /// Milliseconds until a probe, if it is failing.
    pub probe_in_ms: Option<u64>,
    pub in_flight: usize,
    /// How many attempts it may have at a time now.
    pub window: usize,
    /// Messages in memory that are due or wait for a retry.
    pub queued: usize,
    /// When the first that is queued was received, in Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// Since when no attempt has delivered, if the last one did not. Unix milliseconds.
    pub failing_since_ms: Option<u64>,
    /// The share of the last attempts that delivered, 0 to 1.
    pub success: Option<f64>,
    /// Response times, rounded up to the next half octave.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub last_error: Option<String>,
    /// Unix milliseconds.
    pub last_error_ms: Option<u64>,
}
