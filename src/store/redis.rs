//! Redis: how to connect.
//!
//! Rules that the crate's behaviour forces on us. Every connection gets both socket
//! timeouts, as the crate clears them after connecting; after any I/O error it is thrown
//! away, as a late reply would answer the next question; and it is asked something at
//! once, because a server that wants a password accepts the connection all the same.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError};

use super::StoreError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Unanswered data or probes end a connection after this, where no reply is awaited.
const TCP_DEAD: Duration = Duration::from_secs(10);

/// How to reach Redis, as configured.
#[derive(Clone, Default)]
pub struct RedisConfig {
    /// `host:port` or a `redis://`, `rediss://`, `redis+unix://` or `unix://` URL.
    pub address: String,
    pub username: Option<String>,
    pub password: Option<String>,
}

/// A Redis server that can be connected to.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    shown: String,
}

impl Redis {
    /// Checks the address, and connects to nothing yet. The error shows the
    /// address without its user and password.
    pub fn new(config: &RedisConfig) -> Result<Redis, StoreError> {
        let info = connection_info(config)?;
        let shown = shown(info.addr());
        let client = Client::open(info).map_err(|e| StoreError::new(e.to_string()))?;
        Ok(Redis { client, shown })
    }

    /// Opens a connection that has answered a PING. Reads time out after `read_timeout`.
    pub fn connect(&self, read_timeout: Duration) -> Result<Connection, StoreError> {
        let open = || {
            let limit = CONNECT_TIMEOUT.min(read_timeout);
            let mut connection = self.client.get_connection_with_timeout(limit)?;
            connection.set_read_timeout(Some(read_timeout))?;
            connection.set_write_timeout(Some(WRITE_TIMEOUT.min(read_timeout)))?;
            redis::cmd("PING").query::<()>(&mut connection)?;
            Ok(connection)
        };
        open().map_err(|e| self.error(&e))
    }

    /// Says what went wrong, where, and what may help.
    pub fn error(&self, e: &RedisError) -> StoreError {
        let text = if e.is_timeout() {
            "no answer in time".to_owned()
        } else {
            e.to_string()
        };
        let hint = match e.code() {
            Some("NOAUTH" | "WRONGPASS") => "; see --redis-password",
            Some("NOPERM") => "; the Redis user lacks a permission",
            Some("WRONGTYPE") => {
                "; a key that outhook uses holds something else: rename or delete it"
            }
            Some("OOM") => "; see maxmemory in the Redis configuration",
            Some("READONLY") => "; this is a replica, outhook needs the master",
            _ if e.kind() == redis::ErrorKind::AuthenticationFailed => "; see --redis-password",
            _ => "",
        };
        let code = e.code().filter(|c| *c != "LOADING").unwrap_or_default();
        StoreError {
            text: format!("{}: {text}{hint}", self.shown),
            code: code.to_owned(),
        }
    }
}

/// The address without user and password.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn connection_info(config: &RedisConfig) -> Result<ConnectionInfo, StoreError> {
    let address = config.address.trim();
    let url = if address.contains("://") {
        address.to_owned()
    } else {
        format!("redis://{address}")
    };
    let info = url
        .as_str()
        .into_connection_info()
        .ok()
        .filter(|info| !is_port_0(info.addr()));
    let Some(info) = info else {
        // What stands before the @ may be a password.
        let (secret, rest) = address.rsplit_once('@').unwrap_or(("", address));
        let hidden = if secret.is_empty() { "" } else { "…@" };
        return Err(StoreError::new(format!(
            "{hidden}{rest}: it must be host:port or a redis://, rediss:// or unix:// URL"
        )));
    };
    let mut settings = info.redis_settings().clone().set_skip_set_lib_name();
    if let Some(username) = &config.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &config.password {
        settings = settings.set_password(password);
    }
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_DEAD / 2)
        .with_interval(TCP_DEAD / 5);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(TCP_DEAD);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

fn is_port_0(addr: &ConnectionAddr) -> bool {
    match addr {
        ConnectionAddr::Tcp(_, port) | ConnectionAddr::TcpTls { port, .. } => *port == 0,
        _ => false,
    }
}

fn shown(addr: &ConnectionAddr) -> String {
    match addr {
        ConnectionAddr::TcpTls { .. } => format!("rediss://{addr}"),
        ConnectionAddr::Unix(_) => format!("unix://{addr}"),
        _ => format!("redis://{addr}"),
    }
}
