//! One exchange: where to, until when, and on what. What opens its connection, judges where that
//! leads and speaks on it has it from here.

use std::sync::Arc;
use std::time::Instant;

use super::{Connections, Target};

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub connections: Arc<Connections>,
    pub to: Target,
    pub begun: Instant,
    pub end: Instant,
    /// When the name was first asked for, for this message.
    pub asked: Instant,
    /// Whether a connection that rests may be used.
    pub may_reuse: bool,
    /// Whether the body of an answer is wanted whatever the status, and gets all the time.
    pub wants_body: bool,
    /// How many bytes the request is expected to have.
    pub expected: usize,
}
