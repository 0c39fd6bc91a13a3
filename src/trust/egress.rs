//! How connections leave this machine: from which address, and through which proxy. Pure.

mod bypass;
mod proxy;
mod source;

use std::sync::Arc;

use crate::message::endpoint::Endpoint;

pub use bypass::Bypass;
pub use proxy::{Kind, Login, Proxy};
pub use source::Source;

/// How connections to receivers leave this machine.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    pub source: Source,
    pub proxy: Option<Arc<Proxy>>,
    /// Receivers that are reached without the proxy.
    pub bypass: Bypass,
}

impl Egress {
    /// Whether a receiver is connected to without a proxy. Depends on its origin alone.
    pub fn is_direct(&self, endpoint: &Endpoint) -> bool {
        self.proxy.is_none() || self.bypass.covers(endpoint.host(), endpoint.port())
    }
}
