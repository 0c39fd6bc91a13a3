//! Files and sockets, at the start of a command that needs many: the limit is raised, and what
//! an operator should know of it is said.

use log::{info, warn};

use crate::service::descriptors::{describe_shortage, raise_descriptor_limit};

/// Raises the limit, and says when it changed, or is too small for so many workers.
pub fn prepare(workers: Option<usize>) {
    let raised = raise_descriptor_limit();
    if raised.now != raised.before {
        let (before, now) = (raised.before, raised.now);
        info!("files and sockets: limit raised from {before} to {now}, the hard limit");
    }
    if let Some(error) = &raised.refused {
        let now = raised.now;
        warn!("files and sockets: the limit of {now} cannot be raised to the hard one: {error}");
    }
    let shortage = workers.and_then(|workers| describe_shortage(workers, raised.now));
    if let Some(sentence) = shortage {
        warn!("{sentence}");
    }
}

/// What is to be said when the limit, raised as `serve` would, is too small for so many workers.
pub fn look_for_shortage(workers: usize) -> Option<String> {
    describe_shortage(workers, raise_descriptor_limit().now)
}
