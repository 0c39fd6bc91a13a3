//! Redis: how to connect.
//!
//! Rules that the crate's behaviour forces on us. Every connection gets both socket
//! timeouts, as the crate clears them after connecting; after any I/O error it is thrown
//! away, as a late reply would answer the next question; and it is asked something at
//! once, because a server that wants a password accepts the connection all the same.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError,
    TlsCertificates,
};

use super::StoreError;
use super::discovery::{self, Place, Several};
use super::odd::Odd;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Unanswered data or probes end a connection after this, where no reply is awaited.
const TCP_DEAD: Duration = Duration::from_secs(10);

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
    info: ConnectionInfo,
    place: Place,
    shown: String,
    /// What was found there and is not ours.
    pub(super) odd: Odd,
}

impl Redis {
    /// Checks the address, and connects to nothing yet. The error shows the
    /// address without its user and password.
    pub fn new(config: &RedisConfig) -> Result<Redis, StoreError> {
        let address = config.address.trim();
        let wrong = |e: StoreError| StoreError::new(format!("{}: {e}", hidden(address)));
        let Some(several) = Several::parse(address) else {
            let info = settled(parse(address).map_err(wrong)?, config, true)?;
            let shown = shown(info.addr());
            let place = Place::Fixed;
            return Ok(Redis {
                info,
                place,
                shown,
                odd: Odd::default(),
            });
        };
        let all = 0..several.len();
        let seeds: Result<Vec<ConnectionInfo>, StoreError> = all
            .map(|n| {
                let seed = parse(&several.url(n, !several.sentinel)).map_err(wrong)?;
                settled(seed, config, !several.sentinel)
            })
            .collect();
        let place = match (several.sentinel, several.master()) {
            (true, "") => {
                let e = "it must end in /, and the name of the master";
                return Err(wrong(StoreError::new(e)));
            }
            (true, master) => Place::Sentinel(seeds?, master.to_owned()),
            (false, _) => Place::Cluster(seeds?, config.tag.clone()),
        };
        let info = settled(parse(&several.url(0, true)).map_err(wrong)?, config, true)?;
        let shown = hidden(address);
        Ok(Redis {
            info,
            place,
            shown,
            odd: Odd::default(),
        })
    }

    /// Opens a connection that has answered a PING. Reads time out after `read_timeout`.
    pub fn connect(&self, read_timeout: Duration) -> Result<Connection, StoreError> {
        let limit = CONNECT_TIMEOUT.min(read_timeout);
        let info = discovery::locate(&self.place, &self.info, limit, self)?;
        let open = || {
            let mut connection = Client::open(info)?.get_connection_with_timeout(limit)?;
            connection.set_read_timeout(Some(read_timeout))?;
            connection.set_write_timeout(Some(WRITE_TIMEOUT.min(read_timeout)))?;
            redis::cmd("PING").query::<()>(&mut connection)?;
            let good = match self.place {
                Place::Sentinel(..) => discovery::is_master(&mut connection)?,
                Place::Fixed | Place::Cluster(..) => true,
            };
            Ok((connection, good))
        };
        match open().map_err(|e| self.error(&e))? {
            (connection, true) => Ok(connection),
            (_, false) => Err(StoreError::new(format!(
                "{}: what the sentinels call the master is none yet",
                self.shown
            ))),
        }
    }

    /// Says what went wrong, where, and what may help.
    pub fn error(&self, e: &RedisError) -> StoreError {
        // Of a pipeline or transaction, what the first of its commands was told.
        let first = e.clone().into_server_errors();
        let first = first.as_deref().and_then(<[_]>::first).map(|(_, e)| e);
        let text = match first {
            Some(first) => first.to_string(),
            None if e.is_timeout() => "no answer in time".to_owned(),
            None => e.to_string(),
        };
        let code = first.map(|first| first.code()).or(e.code());
        // Within a script that has no code of its own.
        let denied = code == Some("NOPERM") || text.contains("user executing the script");
        let hint = match code {
            _ if denied => "; the Redis user lacks a permission",
            Some("NOAUTH" | "WRONGPASS") => "; see --redis-password",
            Some("WRONGTYPE") => {
                "; a key that outhook uses holds something else: rename or delete it"
            }
            Some("OOM") => "; see maxmemory in the Redis configuration",
            Some("READONLY") => "; this is a replica, outhook needs the master",
            Some("MOVED" | "ASK") if matches!(self.place, Place::Fixed) => {
                "; this is a cluster: see redis+cluster:// at --redis-address"
            }
            _ if e.kind() == redis::ErrorKind::AuthenticationFailed => "; see --redis-password",
            _ => "",
        };
        let code = code.filter(|c| *c != "LOADING").unwrap_or_default();
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

/// Reads a single address.
fn parse(address: &str) -> Result<ConnectionInfo, StoreError> {
    let url = if address.contains("://") {
        address.to_owned()
    } else {
        format!("redis://{address}")
    };
    let info = url.as_str().into_connection_info().ok();
    info.filter(|info| !is_port_0(info.addr())).ok_or_else(|| {
        StoreError::new(
            "it must be host:port or a redis://, rediss:// or unix:// URL, or \
             redis+sentinel://host:port,…/master or redis+cluster://host:port,…",
        )
    })
}

/// Adds what is configured beside the address; user and password are the server's, and not the
/// sentinels'.
fn settled(
    mut info: ConnectionInfo,
    config: &RedisConfig,
    server: bool,
) -> Result<ConnectionInfo, StoreError> {
    let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    if let Some(ca) = &config.ca {
        if !tls {
            let e = "--redis-ca-file: it is for a rediss:// address";
            return Err(StoreError::new(e));
        }
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(ca.clone()),
        };
        let with_ca = Client::build_with_tls(info, certificates);
        let with_ca = with_ca.map_err(|e| StoreError::new(format!("--redis-ca-file: {e}")))?;
        info = with_ca.get_connection_info().clone();
    }
    let mut settings = info.redis_settings().clone().set_skip_set_lib_name();
    let password = match server {
        true => &config.password,
        false => &config.sentinel_password,
    };
    if let Some(username) = config.username.as_ref().filter(|_| server) {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
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

/// What stands before the @ may be a password.
fn hidden(address: &str) -> String {
    let (before, rest) = address.rsplit_once('@').unwrap_or(("", address));
    match (before, before.split_once("://")) {
        ("", _) => rest.to_owned(),
        (_, Some((scheme, _))) => format!("{scheme}://…@{rest}"),
        _ => format!("…@{rest}"),
    }
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
