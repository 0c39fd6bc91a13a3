//! One exchange: a request on its way, and what comes back.
//!
//! [`Exchange`] says where to, until when, and on what. `opener.rs` takes a kept connection for it or makes
//! one, `address_guard.rs` judges where that leads, and `transport.rs` speaks on it for ureq. Blocks until
//! the exchange's deadline at the longest.

mod address_guard;
mod buffers;
mod opener;
mod transport;

use std::sync::Arc;
use std::time::Instant;

use crate::http::connection::Dialer;
use crate::http::pool::Pool;
use crate::http::proxy::Gate;
use crate::http::tls::TrustStore;
use crate::message::endpoint::Endpoint;
use crate::trust::guard::Guard;
use crate::trust::login::Identity;

pub use opener::NoLookup;

/// What all exchanges share.
#[derive(Debug)]
pub struct Shared {
    pub pool: Pool,
    pub dialer: Dialer,
    /// The guard of the options.
    pub guard: Arc<Guard>,
}

/// Where an exchange goes, and whom it trusts to be there.
#[derive(Debug, Clone)]
pub struct Target {
    pub endpoint: Arc<Endpoint>,
    /// Exchanges with the same key may share a connection: it names the origin, whom we trust there, and who
    /// we are. Through which proxy an origin is reached depends on the origin alone.
    pub key: Arc<str>,
    pub trust: Arc<TrustStore>,
    /// Who we are there, for a server that asks.
    pub identity: Option<Identity>,
    /// Certificates are not verified.
    pub insecure: bool,
    /// In place of the guard of the options.
    pub guard: Option<Arc<Guard>>,
    /// The proxy that leads to it.
    pub gate: Option<Arc<Gate>>,
}

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub shared: Arc<Shared>,
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
