//! The name servers: what goes out to them, and what is known of them. Pure: the event loop sends it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evictor::Evictor;
use super::number_map::NumberMap;
use super::packet::Query;
use super::source_ports::{Ask, Random, SocketId, SourcePorts, Token};

/// A server that has said nothing for this long is asked after the others...
const SUSPICIOUS: Duration = Duration::from_secs(2);
/// ...until it gets another chance.
const FORGIVEN: Duration = Duration::from_secs(60);

/// TCP connections at a time. Beyond it, the oldest of the zone with the most has to go.
const MAX_STREAMS: usize = 64;

/// A TCP connection for one question.
pub type StreamId = u64;

/// To be sent, from one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub socket: SocketId,
    pub server: SocketAddr,
    /// In [`Outbox::bytes`].
    pub range: Range<usize>,
}

/// What the event loop is to do.
#[derive(Debug, Default)]
pub struct Outbox {
    pub bytes: Vec<u8>,
    pub datagrams: Vec<Datagram>,
    /// Connections to be made, and the question to be sent on each, with its length before it.
    pub connects: Vec<(StreamId, SocketAddr, Vec<u8>)>,
    pub disconnects: Vec<StreamId>,
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.connects.is_empty() && self.disconnects.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.connects.clear();
        self.disconnects.clear();
    }
}

/// See the module's header.
pub struct NameServers {
    pub ports: SourcePorts,
    pub outbox: Outbox,
    streams: NumberMap<StreamId, (Ask, SocketAddr, Box<str>)>,
    last_stream: StreamId,
    evictor: Evictor,
    /// Connections that have to go, and whose questions have not been told so yet.
    evicted: Vec<StreamId>,
    silent_since: HashMap<SocketAddr, Instant>,
    /// Servers from before EDNS.
    old: HashSet<SocketAddr>,
}

impl NameServers {
    pub fn new(random: Random) -> NameServers {
        NameServers {
            ports: SourcePorts::new(random),
            outbox: Outbox::default(),
            streams: NumberMap::default(),
            last_stream: 0,
            evictor: Evictor::default(),
            evicted: Vec::new(),
            silent_since: HashMap::new(),
            old: HashSet::new(),
        }
    }

    /// Sends a question, under the number it has there already or a new one.
    pub fn send(
        &mut self,
        ask: Ask,
        query: &Query,
        (server, known): (SocketAddr, Option<Token>),
        edns: bool,
        now: Instant,
    ) -> Option<Token> {
        let token = match known {
            Some(token) => token,
            None => self.ports.open(server, ask, now)?,
        };
        self.silent_since.entry(server).or_insert(now);
        let from = self.outbox.bytes.len();
        let edns = edns && !self.old.contains(&server);
        query.write(token.id, edns, &mut self.outbox.bytes);
        self.outbox.datagrams.push(Datagram {
            socket: token.socket,
            server,
            range: from..self.outbox.bytes.len(),
        });
        Some(token)
    }

    /// Asks the same by TCP. `zone`: whose name it is.
    pub fn connect(&mut self, ask: Ask, query: &Query, server: SocketAddr, zone: &str) -> StreamId {
        if self.evictor.len() >= MAX_STREAMS
            && let Some(oldest) = self.evictor.first_to_leave()
        {
            self.evictor.remove(&self.streams[&oldest].2, oldest);
            self.evicted.push(oldest);
        }
        self.last_stream += 1;
        let stream = self.last_stream;
        self.streams.insert(stream, (ask, server, zone.into()));
        self.evictor.insert(zone, stream);
        let mut bytes = vec![0, 0];
        // A connection of its own has no other question that an answer could be mistaken for.
        query.write(stream as u16, !self.old.contains(&server), &mut bytes);
        let length = (bytes.len() - 2) as u16;
        bytes[..2].copy_from_slice(&length.to_be_bytes());
        self.outbox.connects.push((stream, server, bytes));
        stream
    }

    pub fn stream(&self, stream: StreamId) -> Option<(Ask, SocketAddr)> {
        let known = self.streams.get(&stream);
        known.map(|(ask, server, _)| (*ask, *server))
    }

    /// A connection that has to go, because others need its place.
    pub fn take_evicted(&mut self) -> Option<StreamId> {
        self.evicted.pop()
    }

    #[cfg(test)]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub fn disconnect(&mut self, stream: StreamId) {
        if let Some((_, _, zone)) = self.streams.remove(&stream) {
            self.evictor.remove(&zone, stream);
            self.outbox.disconnects.push(stream);
        }
    }

    pub fn heard_from(&mut self, server: SocketAddr) {
        self.silent_since.remove(&server);
    }

    pub fn mark_old(&mut self, server: SocketAddr) {
        self.old.insert(server);
    }

    /// The servers, from this one on, with those last that have said nothing for a while.
    pub fn order(
        &mut self,
        servers: &Arc<[SocketAddr]>,
        first: usize,
        now: Instant,
    ) -> Arc<[SocketAddr]> {
        let age = |since: &Instant| now.saturating_duration_since(*since);
        self.silent_since.retain(|_, since| age(since) < FORGIVEN);
        let silent = |s: &SocketAddr| {
            let since = self.silent_since.get(s);
            since.is_some_and(|since| age(since) > SUSPICIOUS)
        };
        let first = first % servers.len().max(1);
        if servers.len() < 2 || (first == 0 && !servers.iter().any(silent)) {
            return servers.clone();
        }
        let (before, after) = servers.split_at(first);
        let mut order = [after, before].concat();
        order.sort_by_key(silent);
        order.into()
    }

    /// Forgets what is known of servers; others are asked from now on.
    pub fn change_servers(&mut self, servers: &[SocketAddr]) {
        self.ports.keep_servers(servers);
        self.silent_since.clear();
        self.old.clear();
    }
}
