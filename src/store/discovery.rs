//! Where the server is: at a fixed address, or where sentinels or a cluster say that it is now.
//!
//! Asked before each connection, so that a failover, or a slot that has moved, needs nothing but
//! the reconnect that follows any error.

use std::time::Duration;

use redis::{RedisResult, Value, cmd};

use super::StoreError;
use super::connection::{At, Connection, Server};
use super::error::About;
use super::reply::{bytes, items, text};

/// See the module's header.
#[derive(Clone)]
pub(super) enum Place {
    Fixed,
    /// The master of this name, as one of these says.
    Sentinel(Vec<Server>, String),
    /// The node that has the slot of this hash tag, as one of these says.
    Cluster(Vec<Server>, String),
}

/// The parts of `redis+sentinel://[user:password@]host:port,…/master[/db]`, or of
/// `redis+cluster://[user:password@]host:port,…`.
pub(super) struct Several<'a> {
    tls: bool,
    pub sentinel: bool,
    userinfo: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
}

impl<'a> Several<'a> {
    /// `None`: an address of another form.
    pub fn parse(address: &'a str) -> Option<Several<'a>> {
        let (scheme, rest) = address.split_once("://")?;
        let (tls, sentinel) = match scheme {
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            "redis+cluster" => (false, false),
            "rediss+cluster" => (true, false),
            _ => return None,
        };
        let (userinfo, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Several {
            tls,
            sentinel,
            userinfo,
            hosts: hosts.split(',').collect(),
            path,
        })
    }

    /// The name of the master, where sentinels are asked.
    pub fn master(&self) -> &'a str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The n-th host as a URL of its own; with user, password and database, or without.
    pub fn url(&self, n: usize, whole: bool) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let db = self.path.split_once('/').map_or("", |(_, db)| db);
        match (whole, self.userinfo) {
            (false, _) => format!("{scheme}://{}", self.hosts[n]),
            (true, "") => format!("{scheme}://{}/{db}", self.hosts[n]),
            (true, user) => format!("{scheme}://{user}@{}/{db}", self.hosts[n]),
        }
    }

    pub fn len(&self) -> usize {
        self.hosts.len()
    }
}

/// The address of the server now. `template` is how to connect to it, and `about` what errors say.
pub(super) fn locate(
    place: &Place,
    template: &Server,
    limit: Duration,
    about: &About<'_>,
) -> Result<Server, StoreError> {
    let (seeds, what) = match place {
        Place::Fixed => return Ok(template.clone()),
        Place::Sentinel(seeds, _) => (seeds, "no sentinel answers"),
        Place::Cluster(seeds, _) => (seeds, "no node answers"),
    };
    let mut last = StoreError::new(format!("{}: {what}", about.shown));
    for seed in seeds {
        let found = seed.connect(limit).and_then(|mut connection| match place {
            Place::Sentinel(_, master) => ask_sentinel(&mut connection, master),
            Place::Cluster(_, tag) => ask_cluster(&mut connection, tag),
            Place::Fixed => unreachable!("it has no seeds"),
        });
        match found {
            Ok(Some((host, port))) => {
                // A node that does not know its own address leaves it out.
                let host = match (&*host, &seed.at) {
                    ("" | "?", At::Tcp(known, _)) => known.clone(),
                    _ => host,
                };
                return Ok(template.at(host, port));
            }
            Ok(None) => last = StoreError::new(format!("{}: {}", about.shown, place.unknown())),
            Err(e) => last = about.explain(&e),
        }
    }
    Err(last)
}

impl Place {
    fn unknown(&self) -> String {
        match self {
            Place::Sentinel(_, master) => {
                format!("the sentinels know no master {master:?}; see --redis-address")
            }
            _ => "no node of the cluster has the slot of --redis-prefix".into(),
        }
    }
}

fn ask_sentinel(sentinel: &mut Connection, master: &str) -> RedisResult<Option<(String, u16)>> {
    let address: Option<(String, u16)> = cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(master)
        .query(sentinel)?;
    Ok(address)
}

fn ask_cluster(node: &mut Connection, tag: &str) -> RedisResult<Option<(String, u16)>> {
    let slot: i64 = cmd("CLUSTER").arg("KEYSLOT").arg(tag).query(node)?;
    let ranges: Vec<Value> = cmd("CLUSTER").arg("SLOTS").query(node)?;
    Ok(ranges.into_iter().find_map(|range| owner(range, slot)))
}

/// `[first, last, [host, port, …], …]`: the first node is the master.
fn owner(range: Value, slot: i64) -> Option<(String, u16)> {
    let mut parts = items(Some(range));
    let mut number = || text(parts.next()?)?.parse::<i64>().ok();
    let (first, last) = (number()?, number()?);
    if !(first..=last).contains(&slot) {
        return None;
    }
    let mut node = items(parts.next());
    let host = String::from_utf8(bytes(node.next()?)).ok()?;
    let port = text(node.next()?)?.parse().ok()?;
    Some((host, port))
}

/// Whether the server at this connection takes writes: a master that was just demoted may still
/// be what a sentinel names.
pub(super) fn is_master(connection: &mut Connection) -> RedisResult<bool> {
    let role: Value = cmd("ROLE").query(connection)?;
    let word = items(Some(role)).next().and_then(text);
    Ok(word.as_deref() == Some("master"))
}
