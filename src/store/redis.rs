//! Redis: how to connect.
//!
//! A connection is asked something at once, because a server that wants a password accepts it
//! all the same. After any I/O error it is thrown away (see `connection.rs`).

use std::fmt;
use std::time::Duration;

use redis::RedisError;

use super::StoreError;
use super::connection::{At, Connection, REFUSES_PING, Server};
use super::discovery::{self, Place, Several};
use super::error::About;
use super::odd::Odd;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach Redis, as configured.
#[derive(Clone, Default)]
pub struct RedisConfig {
    /// `host:port`, a `redis://`, `rediss://`, `redis+unix://` or `unix://` URL, or several hosts
    /// behind `redis+sentinel://` or `redis+cluster://` (and `rediss+…`).
    pub address: String,
    pub username: Option<String>,
    pub password: Option<String>,
    /// What the sentinels want, which is not what the server wants.
    pub sentinel_password: Option<String>,
    /// PEM certificates to trust for TLS, and no others.
    pub ca: Option<Vec<u8>>,
    /// The hash tag of all keys, which says what node of a cluster has them.
    pub tag: String,
}

/// A Redis server that can be connected to.
#[derive(Clone)]
pub struct Redis {
    server: Server,
    place: Place,
    shown: String,
    /// The hash tag of all keys.
    tag: String,
    /// What was found there and is not ours.
    pub(super) odd: Odd,
}

impl Redis {
    /// Checks the address, and connects to nothing yet. The error shows the
    /// address without its user and password.
    pub fn new(config: &RedisConfig) -> Result<Redis, StoreError> {
        let address = config.address.trim();
        let Some(several) = Several::parse(address) else {
            let server = parse(address, config, true)?;
            return Ok(Redis {
                shown: shown(&server),
                tag: config.tag.clone(),
                server,
                place: Place::Fixed,
                odd: Odd::default(),
            });
        };
        let all = 0..several.len();
        let seeds: Result<Vec<Server>, StoreError> = all
            .map(|n| {
                let url = several.url(n, !several.sentinel);
                parse(&url, config, !several.sentinel)
            })
            .collect();
        let place = match (several.sentinel, several.master()) {
            (true, "") => {
                return Err(StoreError::new(format!(
                    "{}: it must end in /, and the name of the master",
                    hidden(address)
                )));
            }
            (true, master) => Place::Sentinel(seeds?, master.to_owned()),
            (false, _) => Place::Cluster(seeds?, config.tag.clone()),
        };
        let server = parse(&several.url(0, true), config, true)?;
        let shown = hidden(address);
        Ok(Redis {
            server,
            place,
            shown,
            tag: config.tag.clone(),
            odd: Odd::default(),
        })
    }

    /// Opens a connection that has answered a PING. Answers are waited for `read_limit`.
    pub fn connect(&self, read_limit: Duration) -> Result<Connection, StoreError> {
        let limit = CONNECT_TIMEOUT.min(read_limit);
        let server = discovery::locate(&self.place, &self.server, limit, &self.about(true))?;
        let open = || {
            let mut connection = server.connect(limit)?;
            match redis::cmd("PING").query::<()>(&mut connection) {
                Err(e) if e.code() != Some(REFUSES_PING) => return Err(e),
                _ => {}
            }
            let good = match self.place {
                Place::Sentinel(..) => discovery::is_master(&mut connection)?,
                Place::Fixed | Place::Cluster(..) => true,
            };
            connection.set_read_limit(read_limit);
            connection.set_write_limit(WRITE_TIMEOUT.min(read_limit));
            Ok((connection, good))
        };
        match open().map_err(|e| self.connect_error(&e))? {
            (connection, true) => Ok(connection),
            (_, false) => Err(StoreError::new(format!(
                "{}: what the sentinels call the master is none yet",
                self.shown
            ))),
        }
    }

    /// The name that this logs in by.
    pub fn user(&self) -> &str {
        self.server.username.as_deref().unwrap_or("default")
    }

    /// Adds to a refused SUBSCRIBE what would let it pass.
    pub fn refused_channel(&self, refusal: &StoreError, channel: &str) -> StoreError {
        let user = self.user();
        refusal.with(&format!(
            "; SUBSCRIBE {channel} must be allowed: ACL SETUSER {user} +subscribe &{channel}"
        ))
    }

    /// Says what went wrong, where, and what may help.
    pub fn error(&self, e: &RedisError) -> StoreError {
        self.about(false).explain(e)
    }

    /// The same, of a connection that is new.
    pub(super) fn connect_error(&self, e: &RedisError) -> StoreError {
        self.about(true).explain(e)
    }

    fn about(&self, is_new: bool) -> About<'_> {
        About {
            shown: &self.shown,
            user: self.user(),
            tag: &self.tag,
            is_tls: self.server.tls.is_some(),
            is_fixed: matches!(self.place, Place::Fixed),
            is_new,
        }
    }
}

/// The address without user and password.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Reads a single address, and adds what is configured beside it; user and password are the
/// server's, and not the sentinels'.
fn parse(address: &str, config: &RedisConfig, is_server: bool) -> Result<Server, StoreError> {
    let url = if address.contains("://") {
        address.to_owned()
    } else {
        format!("redis://{address}")
    };
    let parsed = Server::parse(&url, config.ca.as_deref());
    let parsed = parsed.map_err(|e| StoreError::new(format!("--redis-ca-file: {e}")))?;
    let mut server = parsed.ok_or_else(|| {
        StoreError::new(format!(
            "{}: it must be host:port or a redis://, rediss:// or unix:// URL, or \
             redis+sentinel://host:port,…/master or redis+cluster://host:port,…",
            hidden(address)
        ))
    })?;
    let password = match is_server {
        true => &config.password,
        false => &config.sentinel_password,
    };
    if let Some(username) = config.username.as_ref().filter(|_| is_server) {
        server.username = Some(username.clone());
    }
    if let Some(password) = password {
        server.password = Some(password.clone());
    }
    Ok(server)
}

/// What stands before the @ may be a password.
fn hidden(address: &str) -> String {
    let (before, rest) = address.rsplit_once('@').unwrap_or(("", address));
    match (before, before.split_once("://")) {
        ("", _) => rest.to_owned(),
        (_, Some((scheme, _))) => format!("{scheme}://…@{rest}"),
        _ => format!("…@{rest}"),
    }
}

fn shown(server: &Server) -> String {
    match (&server.at, &server.tls) {
        (At::Tcp(host, port), Some(_)) => format!("rediss://{host}:{port}"),
        (At::Tcp(host, port), None) => format!("redis://{host}:{port}"),
        (At::Unix(path), _) => format!("unix://{}", path.display()),
    }
}
