//! All look-ups in flight. Pure: the event loop hands in what comes, with the time. It sends what stands in
//! the outbox, and passes on the publications.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::diagnosis::seconds;
use super::evictor::Evictor;
use super::hosts_file::HostsFile;
use super::lookup::{Lookup, Outcome, Publication};
use super::name_servers::{NameServers, Outbox, StreamId};
use super::number_map::NumberMap;
use super::packet::{self, NotOurs};
use super::question::NonAnswer;
use super::resolv_conf::ResolvConf;
use super::source_ports::{Ask, Random, SocketId, Token};

/// Look-ups in flight. Beyond it, the oldest of the zone with the most is ended.
pub const MAX_IN_FLIGHT: usize = 8192;

/// This many look-ups may begin within [`YOUNG`] of each other, not counting those that are answered. Their
/// questions fit into the buffer of a server's socket. More would only be lost.
const WINDOW: usize = 128;
const YOUNG: Duration = Duration::from_millis(20);

/// How long a name of the hosts file is believed before the file is looked at again.
const HOSTS_TTL: Duration = Duration::from_secs(5);

pub struct Lookups {
    conf: Arc<ResolvConf>,
    /// The servers of `conf`.
    servers: Arc<[SocketAddr]>,
    hosts: HostsFile,
    name_servers: NameServers,
    lookups: NumberMap<u64, Lookup>,
    evictor: Evictor,
    most: usize,
    /// Look-ups that have begun within [`YOUNG`], by age, and how many of them still wait.
    young: VecDeque<(Instant, u64)>,
    young_count: usize,
    /// Due times; those of look-ups that have gone or been looked at are passed over.
    alarms: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The number of the last look-up.
    last: u64,
    published: Vec<Publication>,
}

impl Lookups {
    pub fn new(conf: ResolvConf, hosts: HostsFile, random: Random, most: usize) -> Lookups {
        Lookups {
            servers: conf.servers.as_slice().into(),
            conf: Arc::new(conf),
            hosts,
            name_servers: NameServers::new(random),
            lookups: NumberMap::default(),
            evictor: Evictor::default(),
            most,
            young: VecDeque::new(),
            young_count: 0,
            alarms: BinaryHeap::new(),
            last: 0,
            published: Vec::new(),
        }
    }

    /// How many look-ups may begin now.
    pub fn room(&mut self, now: Instant) -> usize {
        while let Some((begun, id)) = self.young.front()
            && now.saturating_duration_since(*begun) >= YOUNG
        {
            self.young_count -= usize::from(self.lookups.contains_key(id));
            self.young.pop_front();
        }
        WINDOW.saturating_sub(self.young_count)
    }

    /// When there will be room again.
    pub fn room_due(&self) -> Option<Instant> {
        self.young.front().map(|(begun, _)| *begun + YOUNG)
    }

    /// Begins a look-up. The caller sees to it that a name is not looked up twice at a time.
    pub fn begin(&mut self, name: Arc<str>, now: Instant) {
        if let Some(found) = self.hosts.get(&name) {
            let (v6, v4) = found.into_iter().partition(|ip| ip.is_ipv6());
            let ttl = HOSTS_TTL;
            let outcome = Outcome::Found { v6, v4, ttl };
            return self.publish(name, outcome);
        }
        if self.lookups.len() >= self.most {
            self.end_one(now);
        }
        self.last += 1;
        let first = if self.conf.rotate {
            self.last as usize
        } else {
            0
        };
        let servers = self.name_servers.order(&self.servers, first, now);
        match Lookup::new(self.last, name.clone(), self.conf.clone(), servers, now) {
            Ok(lookup) => {
                self.evictor.insert(lookup.zone(), self.last);
                self.lookups.insert(self.last, lookup);
                self.young.push_back((now, self.last));
                self.young_count += 1;
                self.advance(self.last, now);
            }
            Err(text) => self.publish(name, Outcome::Absent { text, ttl: None }),
        }
    }

    /// Takes in a datagram.
    pub fn receive(&mut self, socket: SocketId, bytes: &[u8], now: Instant) {
        let Some(id) = packet::id(bytes) else {
            return;
        };
        let asked = self.name_servers.ports.find(Token { socket, id });
        let (Some(ask), Some(server)) = (asked, self.name_servers.ports.server(socket)) else {
            return;
        };
        self.read(ask, (server, false), bytes, now);
    }

    /// Takes in what came by TCP: an answer, or the reason why there is none.
    pub fn receive_stream(
        &mut self,
        stream: StreamId,
        result: Result<&[u8], String>,
        now: Instant,
    ) {
        let Some((ask, server)) = self.name_servers.stream(stream) else {
            return;
        };
        match result {
            Ok(bytes) if packet::id(bytes) == Some(stream as u16) => {
                self.read(ask, (server, true), bytes, now);
            }
            Ok(_) => self.miss(ask, (server, true), NonAnswer::Garbage, now),
            Err(why) => self.miss(ask, (server, true), NonAnswer::Unreachable(why), now),
        }
    }

    /// Takes in that nobody listens where this socket leads.
    pub fn refuse(&mut self, socket: SocketId, why: &str, now: Instant) {
        let Some(server) = self.name_servers.ports.server(socket) else {
            return;
        };
        for ask in self.name_servers.ports.open_on(socket) {
            self.miss(
                ask,
                (server, false),
                NonAnswer::Unreachable(why.to_owned()),
                now,
            );
        }
    }

    /// Takes in that there was no socket to ask from.
    pub fn lose(&mut self, socket: SocketId, why: &str, now: Instant) {
        let Some(server) = self.name_servers.ports.server(socket) else {
            return;
        };
        for ask in self.name_servers.ports.open_on(socket) {
            if let Some(lookup) = self.lookups.get_mut(&ask.lookup) {
                lookup.hint(server, NonAnswer::NoSocket(why.to_owned()), now);
            }
        }
    }

    /// Does all that is due.
    pub fn run_due(&mut self, now: Instant) {
        while let Some(stream) = self.name_servers.take_evicted() {
            let why = "by TCP: too many other names need it too";
            self.receive_stream(stream, Err(why.into()), now);
        }
        while let Some(Reverse((due, id))) = self.alarms.peek().copied()
            && due <= now
        {
            self.alarms.pop();
            if let Some(lookup) = self.lookups.get_mut(&id)
                && lookup.alarm == Some(due)
            {
                lookup.alarm = None;
                self.advance(id, now);
            }
        }
    }

    /// When to call [`Lookups::run_due`] next.
    pub fn next_due(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse((due, _))| *due)
    }

    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.name_servers.outbox
    }

    pub fn take_unused_sockets(&mut self) -> Vec<SocketId> {
        self.name_servers.ports.take_unused()
    }

    pub fn take_published(&mut self) -> Vec<Publication> {
        std::mem::take(&mut self.published)
    }

    /// Sets the configuration of look-ups to come. Those in flight go on as they began.
    pub fn set_conf(&mut self, conf: ResolvConf) {
        self.name_servers.change_servers(&conf.servers);
        self.servers = conf.servers.as_slice().into();
        self.conf = Arc::new(conf);
    }

    pub fn set_hosts(&mut self, hosts: HostsFile) {
        self.hosts = hosts;
    }

    pub fn conf(&self) -> &ResolvConf {
        &self.conf
    }

    pub fn hosts(&self) -> &HostsFile {
        &self.hosts
    }

    #[cfg(test)]
    pub fn in_flight(&self) -> usize {
        self.lookups.len()
    }

    #[cfg(test)]
    pub fn open_numbers(&self) -> usize {
        self.name_servers.ports.open_count()
    }

    fn read(&mut self, ask: Ask, from: (SocketAddr, bool), bytes: &[u8], now: Instant) {
        let Some(lookup) = self.lookups.get_mut(&ask.lookup) else {
            return;
        };
        let query = lookup.question(ask.index).query();
        // Bytes from a server must not end the thread, whatever the reader has overlooked.
        let read = catch_unwind(|| packet::read(query, bytes)).unwrap_or(Err(NotOurs));
        let published = match read {
            Ok(reply) => {
                self.name_servers.heard_from(from.0);
                lookup.hear(ask.index, from, reply, now, &mut self.name_servers)
            }
            Err(_) if from.1 => lookup.miss(
                ask.index,
                from,
                NonAnswer::Garbage,
                now,
                &mut self.name_servers,
            ),
            Err(_) => {
                lookup.hint(from.0, NonAnswer::Garbage, now);
                None
            }
        };
        self.follow(ask.lookup, published);
    }

    fn miss(&mut self, ask: Ask, from: (SocketAddr, bool), word: NonAnswer, now: Instant) {
        if let Some(lookup) = self.lookups.get_mut(&ask.lookup) {
            let published = lookup.miss(ask.index, from, word, now, &mut self.name_servers);
            self.follow(ask.lookup, published);
        }
    }

    fn advance(&mut self, id: u64, now: Instant) {
        if let Some(lookup) = self.lookups.get_mut(&id) {
            let published = lookup.advance(now, &mut self.name_servers);
            self.follow(id, published);
        }
    }

    /// Passes on what a look-up has to tell, and sets its alarm.
    fn follow(&mut self, id: u64, published: Option<Publication>) {
        let last = published.as_ref().is_some_and(|news| news.last);
        self.published.extend(published);
        if last {
            return self.forget(id);
        }
        let lookup = self.lookups.get_mut(&id).expect("it is in flight");
        let due = lookup.due();
        if lookup.alarm.is_none_or(|alarm| due < alarm) {
            lookup.alarm = Some(due);
            self.alarms.push(Reverse((due, id)));
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(lookup) = self.lookups.remove(&id) {
            self.evictor.remove(lookup.zone(), id);
            let is_young = self.young.front().is_some_and(|(_, first)| *first <= id);
            self.young_count -= usize::from(is_young);
        }
    }

    /// Makes room: the oldest of the zone that has the most in flight goes.
    fn end_one(&mut self, now: Instant) {
        let Some(id) = self.evictor.first_to_leave() else {
            return;
        };
        let lookup = self.lookups.get_mut(&id).expect("it is in the crowd");
        let text = format!(
            "{} could not be looked up: no answer within {}, and {} names are being asked for; \
             the oldest of those below {} had to go",
            lookup.name(),
            seconds(lookup.asked_for(now)),
            self.most,
            lookup.zone(),
        );
        let published = lookup.end(text, &mut self.name_servers);
        self.published.push(published);
        self.forget(id);
    }

    fn publish(&mut self, name: Arc<str>, outcome: Outcome) {
        self.published.push(Publication {
            name,
            outcome,
            last: true,
        });
    }
}

#[cfg(test)]
#[path = "tests/lookups.rs"]
mod tests;
