//! Sessions: a thread that reads messages from Redis uses one connection after another.

use std::time::Instant;

use super::{Closed, Intake};
use crate::service::drain::Drain;
use crate::service::outage::OutageTracker;
use crate::store::StoreError;

/// Why a session ended before the drain.
pub enum End {
    Closed,
    Failed(StoreError),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        End::Closed
    }
}

impl From<StoreError> for End {
    fn from(e: StoreError) -> Self {
        End::Failed(e)
    }
}

/// A thread that reads messages from Redis.
pub trait Reader {
    /// What outlives a connection.
    type Progress;

    /// One connection, from connecting to its end. `Ok`: the drain began.
    fn session(
        &mut self,
        progress: &mut Self::Progress,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End>;

    fn outage(&mut self) -> &mut OutageTracker;

    /// A session has failed, and the delay after it is over.
    fn resume(_progress: &mut Self::Progress, _failure: &StoreError, _now: Instant) {}
}

/// Runs sessions until the drain begins or the timer has ended.
pub fn run_sessions<R: Reader>(
    reader: &mut R,
    mut progress: R::Progress,
    intake: &mut Intake,
    drain: &Drain,
) {
    while !drain.has_begun() {
        match reader.session(&mut progress, intake, drain) {
            Ok(()) | Err(End::Closed) => return,
            Err(End::Failed(e)) => {
                let delay = reader.outage().begin(&e);
                if drain.wait(delay) {
                    return;
                }
                R::resume(&mut progress, &e, Instant::now());
            }
        }
    }
}
