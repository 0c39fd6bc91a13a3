//! A delivery that the scheduler has taken in: with what its endpoint asks for. Pure.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::delivery::rules::EndpointRule;

/// A delivery, the rule that it is made by, and the lane in which it is counted. Not `Clone`, as
/// a delivery is not.
#[derive(Debug)]
pub struct Job {
    pub delivery: Delivery,
    /// What the operator has set for its endpoint.
    pub rule: Option<Arc<EndpointRule>>,
    pub lane: LaneId,
}

/// The place of a lane in the scheduler, which alone can find the lane there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneId {
    pub slot: u32,
    /// Lanes are forgotten and their places used again: how often that has happened to this one.
    pub generation: u32,
}

#[cfg(test)]
impl Job {
    /// A job like any other.
    pub fn example() -> Job {
        use crate::message::Message;
        use crate::message::boot_time::BootTime;
        use crate::message::endpoint::Endpoint;
        let raw = br#"{"url":"http://h/","webhookId":"a","data":1}"#.to_vec();
        let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
        let message = Message::parse(raw, 1000, || unreachable!(), endpoint).unwrap();
        let now = BootTime::default();
        Job::of(Delivery::new(message, "test".into(), 0, now))
    }

    /// By no rule, in the first lane.
    pub fn of(delivery: Delivery) -> Job {
        Job {
            delivery,
            rule: None,
            lane: LaneId {
                slot: 0,
                generation: 0,
            },
        }
    }
}
