//! HTTP: one attempt, from a delivery to what came of it.
//!
//! Everything from `ureq::unversioned` is used in this folder and nowhere else. Blocks for
//! at most `--timeout`; knows nothing of scheduling, retries or Redis.

mod names;
mod resolver;
mod transport;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderValue, Request, Response, header};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, Body, Error};

use crate::backoff::parse_retry_after;
use crate::delivery::{Attempt, Delivery, Exchange, FaultKind};
use crate::endpoint::MAX_URL_BYTES;
use crate::when::unix_ms;
use names::Names;
pub use names::{Files, NamesConfig};
use resolver::DnsFailed;
use transport::{ConnectFailed, StaleConnection, TcpConnector};

/// The `User-Agent` of every request that does not bring its own.
pub const USER_AGENT: &str = concat!("outhook/", env!("CARGO_PKG_VERSION"));

/// Of an answer's body so much is read (a connection can be used again only when all of
/// it was), and so much is kept for the record.
const BODY_READ: u64 = 64 * 1024;
const BODY_KEPT: usize = 1024;

const RESPONSE_HEADER_MAX: usize = 16 * 1024;

/// Connections rest this long at most. Servers commonly close theirs after 5 s or more.
const IDLE: Duration = Duration::from_secs(5);

/// What the client keeps to.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// For the whole attempt: DNS, connect, TLS, sending, status and body.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// Idle connections kept to one origin.
    pub max_idle: usize,
    pub names: NamesConfig,
}

/// Makes attempts. Shared by all workers.
///
/// One small ureq agent an origin: ureq's pool counts all its idle connections several
/// times a request, under one lock, so an agent must never serve many hosts. The map's own
/// lock is held for a look-up only.
pub struct Client {
    config: ureq::config::Config,
    timeout: Duration,
    names: Names,
    tls: Arc<RustlsConnector>,
    agents: Mutex<HashMap<Arc<str>, Pooled>>,
    closed: AtomicBool,
}

struct Pooled {
    agent: Arc<Agent>,
    used: Instant,
}

impl Client {
    /// Fails only when the resolver's threads cannot be started.
    pub fn new(config: ClientConfig) -> io::Result<Client> {
        let names = Names::start(config.names)?;
        let timeout = config.timeout;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Not from the environment: a proxy would be asked to resolve the name.
            .proxy(None)
            .timeout_global(Some(config.timeout))
            .timeout_connect(Some(config.connect_timeout))
            .max_response_header_size(RESPONSE_HEADER_MAX)
            .input_buffer_size(RESPONSE_HEADER_MAX)
            .output_buffer_size(MAX_URL_BYTES + 8 * 1024)
            .max_idle_connections(config.max_idle)
            .max_idle_connections_per_host(config.max_idle)
            .max_idle_age(IDLE)
            .user_agent(USER_AGENT)
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .build();
        Ok(Client {
            config,
            timeout,
            names,
            tls: Arc::default(),
            agents: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Posts one message, once. A pooled connection that turns out to be closed does not
    /// count: the post is repeated at once, on a new one, with what is left of the time.
    // Inlined, its frame would be part of the worker's loop, and every worker that has never
    // worked would hold 8 KiB of memory for it.
    #[inline(never)]
    pub fn attempt(&self, delivery: &Delivery) -> Attempt {
        let at = unix_ms(SystemTime::now());
        let begun = Instant::now();
        let response = match self.post(delivery, None) {
            Err(e) if is_stale(&e) => self.post(delivery, Some(begun.elapsed())),
            response => response,
        };
        let result = match response {
            Ok(response) => answer(response),
            Err(_) if self.is_closed() => Exchange::Fault {
                kind: FaultKind::Cut,
                text: "cut short by the end of the drain".into(),
            },
            Err(e) => fault(&e),
        };
        Attempt {
            at,
            took: begun.elapsed(),
            result,
        }
    }

    /// Cuts all attempts in progress, and fails those to come, as [`FaultKind::Cut`].
    pub fn shutdown(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.names.close();
        for (_, pooled) in self.agents().drain() {
            Agent::clone(&pooled.agent).shutdown();
        }
    }

    /// Forgets agents, and closes connections, that have been idle. To be called now and
    /// then: ureq itself looks at idle connections only when their agent is used.
    pub fn close_idle(&self, now: Instant) {
        self.agents().retain(|_, pooled| {
            let busy = Arc::strong_count(&pooled.agent) > 1;
            busy || now.saturating_duration_since(pooled.used) < IDLE
        });
    }

    /// `spent`: on a first try. The second does without the pool, which may be full of what
    /// made the first fail.
    fn post(&self, delivery: &Delivery, spent: Option<Duration>) -> Result<Response<Body>, Error> {
        let Delivery { message, rule, .. } = delivery;
        let mut request = Request::post(message.endpoint.uri.clone());
        if let Some(method) = rule.as_ref().and_then(|rule| rule.method.clone()) {
            request = request.method(method);
        }
        let headers = request.headers_mut().expect("a vetted URI");
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(rule) = rule {
            for (name, value) in &rule.headers {
                headers.insert(name, value.clone());
            }
            if let Some(name) = &rule.user_agent {
                headers.insert(header::USER_AGENT, name.clone());
            }
        }
        for (name, value) in &message.headers {
            headers.insert(name, value.clone());
        }
        let id = HeaderValue::from_str(&message.id).map_err(|e| Error::Http(e.into()))?;
        headers.insert("webhook-id", id);
        let request = request.body(message.data()).map_err(Error::Http)?;
        let agent = self.agent(&message.endpoint.origin)?;
        let own = self.own_timeout(delivery);
        if own.is_none() && spent.is_none() {
            return agent.run(request);
        }
        let limit = own.unwrap_or(self.timeout);
        let left = limit.saturating_sub(spent.unwrap_or_default());
        let request = agent
            .configure_request(request)
            // Zero would mean no limit.
            .timeout_global(Some(left.max(Duration::from_millis(1))));
        let request = match spent {
            Some(_) => request.max_idle_age(Duration::ZERO),
            None => request,
        };
        agent.run(request.build())
    }

    /// The deadline of this delivery, where it is not the one of all. A message may ask for
    /// less time, not for more.
    fn own_timeout(&self, delivery: &Delivery) -> Option<Duration> {
        let rule = delivery.rule.as_ref().and_then(|rule| rule.timeout);
        let most = rule.unwrap_or(self.timeout);
        match delivery.message.overrides.timeout {
            Some(wish) => Some(wish.min(most)),
            None => rule,
        }
    }

    fn agent(&self, origin: &Arc<str>) -> Result<Arc<Agent>, Error> {
        let mut agents = self.agents();
        // Looked at under the lock, so that no agent escapes `shutdown`.
        if self.is_closed() {
            return Err(Error::ConnectionFailed);
        }
        let used = Instant::now();
        let pooled = agents.entry(origin.clone()).or_insert_with(|| {
            let connector = TcpConnector.chain(SharedTls(self.tls.clone()));
            let agent = Agent::with_parts(self.config.clone(), connector, self.names.clone());
            Pooled {
                agent: Arc::new(agent),
                used,
            }
        });
        pooled.used = used;
        Ok(pooled.agent.clone())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<Arc<str>, Pooled>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One TLS configuration, with its 150 root certificates, for all agents.
#[derive(Debug)]
struct SharedTls(Arc<RustlsConnector>);

impl<In: ureq::unversioned::transport::Transport> Connector<In> for SharedTls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ureq::unversioned::transport::ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained)
    }
}

fn answer(response: Response<Body>) -> Exchange {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| parse_retry_after(v, SystemTime::now()));
    let mut kept = Vec::new();
    let mut reader = response.into_body().into_reader().take(BODY_READ);
    // The status has decided. A body that breaks off, or is not done in time, only costs
    // the connection.
    let _ = reader
        .by_ref()
        .take(BODY_KEPT as u64)
        .read_to_end(&mut kept);
    if kept.len() == BODY_KEPT {
        let _ = io::copy(&mut reader, &mut io::sink());
    }
    Exchange::Answer {
        status,
        retry_after,
        body: kept.into(),
    }
}

fn is_stale(e: &Error) -> bool {
    matches!(e, Error::Other(e) if e.is::<StaleConnection>())
}

fn fault(e: &Error) -> Exchange {
    let kind = match e {
        Error::Timeout(_) => FaultKind::Timeout,
        Error::HostNotFound => FaultKind::Dns,
        Error::Other(e) if e.is::<DnsFailed>() => FaultKind::Dns,
        Error::Other(e) if e.is::<ConnectFailed>() => FaultKind::Connect,
        Error::ConnectionFailed => FaultKind::Connect,
        // A request that cannot even be written.
        Error::Http(_) => FaultKind::Internal,
        Error::Tls(_) | Error::Rustls(_) | Error::TlsRequired => FaultKind::Tls,
        // rustls reports a bad certificate through an I/O error.
        Error::Io(e) if e.get_ref().is_some_and(is_tls) => FaultKind::Tls,
        _ => FaultKind::Broken,
    };
    // The kind has said already what ureq's own prefix says.
    let text = match e {
        Error::Io(e) => e.to_string(),
        Error::Other(e) => e.to_string(),
        e => e.to_string(),
    };
    Exchange::Fault { kind, text }
}

fn is_tls(e: &(dyn StdError + Send + Sync + 'static)) -> bool {
    // rustls is not a dependency of ours, and its type is not worth making it one.
    let text = format!("{e:?}");
    text.contains("Certificate") || text.contains("Alert") || text.contains("Handshake")
}
