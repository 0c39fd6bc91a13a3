//! All look-ups in flight. Pure: what comes is told, with the time; what is to be sent stands in
//! the outbox, what has been found out among the publications.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::diagnosis::seconds;
use super::evictor::Crowd;
use super::hosts_file::Hosts;
use super::lookup::{LookUp, Outcome, Publication};
use super::name_servers::{Net, Outbox, StreamId};
use super::number_map::NumberMap;
use super::packet::{self, NotOurs};
use super::question::Word;
use super::resolv_conf::Conf;
use super::source_ports::{Ask, Random, SocketId, Token};

/// Look-ups in flight. Beyond it, the oldest of the zone with the most is ended.
pub const MAX_IN_FLIGHT: usize = 8192;

/// So many look-ups begin within [`YOUNG`] of each other, unless they are answered: both their
/// questions fit into what a server's socket holds. More would only be lost.
const WINDOW: usize = 128;
const YOUNG: Duration = Duration::from_millis(20);

/// How long a name of the hosts file is believed before the file is looked at again.
const HOSTS_TTL: Duration = Duration::from_secs(5);

pub struct Flights {
    conf: Arc<Conf>,
    /// Those of `conf`.
    servers: Arc<[SocketAddr]>,
    hosts: Hosts,
    net: Net,
    look_ups: NumberMap<u64, LookUp>,
    crowd: Crowd,
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

impl Flights {
    pub fn new(conf: Conf, hosts: Hosts, random: Random, most: usize) -> Flights {
        Flights {
            servers: conf.servers.as_slice().into(),
            conf: Arc::new(conf),
            hosts,
            net: Net::new(random),
            look_ups: NumberMap::default(),
            crowd: Crowd::default(),
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
            self.young_count -= usize::from(self.look_ups.contains_key(id));
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
        if self.look_ups.len() >= self.most {
            self.end_one(now);
        }
        self.last += 1;
        let first = if self.conf.rotate {
            self.last as usize
        } else {
            0
        };
        let servers = self.net.order(&self.servers, first, now);
        match LookUp::new(self.last, name.clone(), self.conf.clone(), servers, now) {
            Ok(look_up) => {
                self.crowd.insert(look_up.zone(), self.last);
                self.look_ups.insert(self.last, look_up);
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
        let asked = self.net.ports.find(Token { socket, id });
        let (Some(ask), Some(server)) = (asked, self.net.ports.server(socket)) else {
            return;
        };
        self.read(ask, (server, false), bytes, now);
    }

    /// Takes in what came by TCP: an answer, or why there is none.
    pub fn receive_stream(
        &mut self,
        stream: StreamId,
        result: Result<&[u8], String>,
        now: Instant,
    ) {
        let Some((ask, server)) = self.net.stream(stream) else {
            return;
        };
        match result {
            Ok(bytes) if packet::id(bytes) == Some(stream as u16) => {
                self.read(ask, (server, true), bytes, now);
            }
            Ok(_) => self.miss(ask, (server, true), Word::Garbage, now),
            Err(why) => self.miss(ask, (server, true), Word::Unreachable(why), now),
        }
    }

    /// Takes in that nobody listens where this socket leads.
    pub fn refuse(&mut self, socket: SocketId, why: &str, now: Instant) {
        let Some(server) = self.net.ports.server(socket) else {
            return;
        };
        for ask in self.net.ports.open_on(socket) {
            self.miss(ask, (server, false), Word::Unreachable(why.to_owned()), now);
        }
    }

    /// Takes in that there was no socket to ask from.
    pub fn lose(&mut self, socket: SocketId, why: &str, now: Instant) {
        let Some(server) = self.net.ports.server(socket) else {
            return;
        };
        for ask in self.net.ports.open_on(socket) {
            if let Some(look_up) = self.look_ups.get_mut(&ask.look_up) {
                look_up.hint(server, Word::NoSocket(why.to_owned()), now);
            }
        }
    }

    /// Does all that is due.
    pub fn run_due(&mut self, now: Instant) {
        while let Some(stream) = self.net.take_crowded_out() {
            let why = "by TCP: too many other names need it too";
            self.receive_stream(stream, Err(why.into()), now);
        }
        while let Some(Reverse((due, id))) = self.alarms.peek().copied()
            && due <= now
        {
            self.alarms.pop();
            if let Some(look_up) = self.look_ups.get_mut(&id)
                && look_up.alarm == Some(due)
            {
                look_up.alarm = None;
                self.advance(id, now);
            }
        }
    }

    /// When to call [`Flights::run_due`] next.
    pub fn next_due(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse((due, _))| *due)
    }

    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.net.outbox
    }

    pub fn take_unused_sockets(&mut self) -> Vec<SocketId> {
        self.net.ports.take_unused()
    }

    pub fn take_published(&mut self) -> Vec<Publication> {
        std::mem::take(&mut self.published)
    }

    /// From now on; what is in flight goes on as it began.
    pub fn set_conf(&mut self, conf: Conf) {
        self.net.change_servers(&conf.servers);
        self.servers = conf.servers.as_slice().into();
        self.conf = Arc::new(conf);
    }

    pub fn set_hosts(&mut self, hosts: Hosts) {
        self.hosts = hosts;
    }

    pub fn conf(&self) -> &Conf {
        &self.conf
    }

    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    #[cfg(test)]
    pub fn in_flight(&self) -> usize {
        self.look_ups.len()
    }

    #[cfg(test)]
    pub fn open_numbers(&self) -> usize {
        self.net.ports.open_count()
    }

    fn read(&mut self, ask: Ask, from: (SocketAddr, bool), bytes: &[u8], now: Instant) {
        let Some(look_up) = self.look_ups.get_mut(&ask.look_up) else {
            return;
        };
        let query = look_up.question(ask.place).query();
        // What servers send must not end the thread, whatever the reader has overlooked.
        let read = catch_unwind(|| packet::read(query, bytes)).unwrap_or(Err(NotOurs));
        let published = match read {
            Ok(reply) => {
                self.net.heard_from(from.0);
                look_up.hear(ask.place, from, reply, now, &mut self.net)
            }
            Err(_) if from.1 => look_up.miss(ask.place, from, Word::Garbage, now, &mut self.net),
            Err(_) => {
                look_up.hint(from.0, Word::Garbage, now);
                None
            }
        };
        self.follow(ask.look_up, published);
    }

    fn miss(&mut self, ask: Ask, from: (SocketAddr, bool), word: Word, now: Instant) {
        if let Some(look_up) = self.look_ups.get_mut(&ask.look_up) {
            let published = look_up.miss(ask.place, from, word, now, &mut self.net);
            self.follow(ask.look_up, published);
        }
    }

    fn advance(&mut self, id: u64, now: Instant) {
        if let Some(look_up) = self.look_ups.get_mut(&id) {
            let published = look_up.advance(now, &mut self.net);
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
        let look_up = self.look_ups.get_mut(&id).expect("it is in flight");
        let due = look_up.due();
        if look_up.alarm.is_none_or(|alarm| due < alarm) {
            look_up.alarm = Some(due);
            self.alarms.push(Reverse((due, id)));
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(look_up) = self.look_ups.remove(&id) {
            self.crowd.remove(look_up.zone(), id);
            let is_young = self.young.front().is_some_and(|(_, first)| *first <= id);
            self.young_count -= usize::from(is_young);
        }
    }

    /// Makes room: the oldest of the zone that has the most in flight goes.
    fn end_one(&mut self, now: Instant) {
        let Some(id) = self.crowd.first_to_leave() else {
            return;
        };
        let look_up = self.look_ups.get_mut(&id).expect("it is in the crowd");
        let text = format!(
            "{} could not be looked up: no answer within {}, and {} names are being asked for; \
             the oldest of those below {} had to go",
            look_up.name(),
            seconds(look_up.asked_for(now)),
            self.most,
            look_up.zone(),
        );
        let published = look_up.end(text, &mut self.net);
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
