//! One exchange: where to, until when, and on what. What opens its connection, judges where that
//! leads and speaks on it has it from here.

mod address_guard;
mod buffers;
pub mod opener;
mod transport;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::connection::socket::Sockets;
use crate::http::pool::Pool;
use crate::http::proxy::Gate;
use crate::http::resolver::Names;
use crate::http::tls::Trust;
use crate::message::endpoint::Endpoint;
use crate::trust::egress::Egress;
use crate::trust::guard::Guard;
use crate::trust::login::Identity;

/// What all exchanges share.
#[derive(Debug)]
pub struct Connections {
    pub pool: Pool,
    pub sockets: Arc<Sockets>,
    pub names: Names,
    pub connect_timeout: Duration,
    pub egress: Egress,
    pub guard: Arc<Guard>,
}

/// Where an exchange goes, and whom it trusts to be there.
#[derive(Debug, Clone)]
pub struct Target {
    pub endpoint: Arc<Endpoint>,
    /// What may share a connection: an origin, and whom it trusts. Through which proxy it is reached
    /// depends on the origin alone.
    pub key: Arc<str>,
    pub trust: Arc<Trust>,
    /// Who we are there, for whoever asks.
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
