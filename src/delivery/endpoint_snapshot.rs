//! What one replica knows of its endpoints, for `outhook endpoints`. As JSON it is the form in
//! which replicas answer through Redis.

use serde::{Deserialize, Serialize};

/// See the module's header.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndpointSnapshots {
    /// Its name among the group's consumers.
    pub replica: String,
    /// Those with the most to do first.
    pub lanes: Vec<EndpointSnapshot>,
    /// Lanes that were asked for and are left out.
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

    /// Its bytes in memory, about.
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
    /// An origin, or what else its lane is named by.
    pub endpoint: String,
    /// `healthy`, `failing`, `probing` or `disabled`.
    pub state: String,
    /// Milliseconds until a probe, if it is failing.
    pub probe_in_ms: Option<u64>,
    pub in_flight: usize,
    /// Attempts that it may have at a time, now.
    pub window: usize,
    /// Due, or waiting for a retry, in memory.
    pub queued: usize,
    /// When the first that is queued was received, in Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// Since when no attempt has delivered, if the last one did not. Unix milliseconds.
    pub failing_since_ms: Option<u64>,
    /// The part of the last attempts that delivered, 0 to 1.
    pub success: Option<f64>,
    /// Answer times, to the next half octave.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub last_error: Option<String>,
    /// Unix milliseconds.
    pub last_error_ms: Option<u64>,
}
