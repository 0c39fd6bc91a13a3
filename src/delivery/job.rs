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
    /// The key of its lane.
    pub lane: Arc<str>,
}

#[cfg(test)]
impl Job {
    /// By no rule, in the lane of its origin.
    pub fn of(delivery: Delivery) -> Job {
        let lane = delivery.message.endpoint.origin.clone();
        Job {
            delivery,
            rule: None,
            lane,
        }
    }
}
