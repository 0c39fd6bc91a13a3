//! From which port, and with which number, each question goes out. Pure.
//!
//! A forger of answers must guess both. So each server has several sockets at a
//! time, each with a port of the kernel's choice, which is replaced before it has been in use
//! for long; numbers are drawn from the whole range. The case of letters is not played with
//! (0x20): recursive servers pass it on, and some authoritative ones answer it wrongly.

use std::collections::hash_map::{Entry, HashMap, RandomState};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::number_map::NumberMap;

/// Sockets to one server.
const SOCKETS: usize = 8;
/// After this many questions from one socket the next socket is drawn. Their answers are read
/// together, which saves much of the cost.
const RUN: u32 = 8;
/// New questions go out from one port for this long.
const PORT_LIFE: Duration = Duration::from_secs(60);
/// Numbers tried before a question does without: half of them are free.
const DRAWS: usize = 32;

/// Unpredictable numbers; with a seed, the same ones again.
pub enum Random {
    /// SipHash under a key of the system's, over a counter.
    Keyed(RandomState, u64),
    #[cfg(test)]
    Seeded(fastrand::Rng),
}

impl Random {
    pub fn keyed() -> Random {
        Random::Keyed(RandomState::new(), 0)
    }

    #[cfg(test)]
    pub fn seeded(seed: u64) -> Random {
        Random::Seeded(fastrand::Rng::with_seed(seed))
    }

    pub fn next(&mut self) -> u64 {
        match self {
            Random::Keyed(key, n) => {
                *n += 1;
                key.hash_one(*n)
            }
            #[cfg(test)]
            Random::Seeded(numbers) => numbers.u64(..),
        }
    }
}

/// A socket, which the edge opens when something is to be sent from it.
pub type SocketId = u64;

/// Which question it is, of which look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ask {
    pub lookup: u64,
    /// Which of its two questions.
    pub index: u8,
}

/// An answer must bear these two to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    pub socket: SocketId,
    pub id: u16,
}

struct Socket {
    server: SocketAddr,
    since: Instant,
    open: usize,
    retired: bool,
}

/// The sockets to one server, and the one in use.
#[derive(Default)]
struct Drawn {
    sockets: Vec<SocketId>,
    index: usize,
    left: u32,
}

/// All sockets and the questions that are open on them.
pub struct SourcePorts {
    random: Random,
    current: HashMap<SocketAddr, Drawn>,
    sockets: NumberMap<SocketId, Socket>,
    open: NumberMap<Token, Ask>,
    last: SocketId,
    unused: Vec<SocketId>,
}

impl SourcePorts {
    pub fn new(random: Random) -> SourcePorts {
        SourcePorts {
            random,
            current: HashMap::new(),
            sockets: NumberMap::default(),
            open: NumberMap::default(),
            last: 0,
            unused: Vec::new(),
        }
    }

    /// Registers a question to be sent to this server. `None` if all numbers are taken.
    pub fn open(&mut self, server: SocketAddr, ask: Ask, now: Instant) -> Option<Token> {
        let socket = self.choose(server, now);
        for _ in 0..DRAWS {
            let id = self.random.next() as u16;
            let token = Token { socket, id };
            if let Entry::Vacant(free) = self.open.entry(token) {
                free.insert(ask);
                self.sockets.get_mut(&socket)?.open += 1;
                return Some(token);
            }
        }
        None
    }

    /// Forgets a question; what still comes for it is nobody's.
    pub fn close(&mut self, token: Token) {
        if self.open.remove(&token).is_none() {
            return;
        }
        let socket = self
            .sockets
            .get_mut(&token.socket)
            .expect("it has questions");
        socket.open -= 1;
        if socket.retired && socket.open == 0 {
            self.sockets.remove(&token.socket);
            self.unused.push(token.socket);
        }
    }

    /// Whose answer this is.
    pub fn find(&self, token: Token) -> Option<Ask> {
        self.open.get(&token).copied()
    }

    /// The questions that are open on this socket.
    pub fn open_on(&self, socket: SocketId) -> Vec<Ask> {
        let on = |(token, _): &(&Token, &Ask)| token.socket == socket;
        self.open.iter().filter(on).map(|(_, ask)| *ask).collect()
    }

    pub fn server(&self, socket: SocketId) -> Option<SocketAddr> {
        self.sockets.get(&socket).map(|socket| socket.server)
    }

    /// Sockets that are of no more use, once each.
    pub fn take_unused(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.unused)
    }

    /// Retires the sockets to all servers but these.
    pub fn keep_servers(&mut self, servers: &[SocketAddr]) {
        let gone: Vec<SocketAddr> = self
            .current
            .keys()
            .filter(|s| !servers.contains(s))
            .copied()
            .collect();
        for server in gone {
            for socket in self.current.remove(&server).unwrap_or_default().sockets {
                self.retire(socket);
            }
        }
    }

    #[cfg(test)]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    fn choose(&mut self, server: SocketAddr, now: Instant) -> SocketId {
        let drawn = self.current.entry(server).or_default();
        if drawn.left == 0 {
            drawn.left = RUN;
            drawn.index = self.random.next() as usize % SOCKETS;
        }
        drawn.left -= 1;
        while drawn.sockets.len() < SOCKETS {
            self.last += 1;
            drawn.sockets.push(self.last);
            self.sockets.insert(self.last, Socket::new(server, now));
        }
        let chosen = drawn.sockets[drawn.index];
        let age = now.saturating_duration_since(self.sockets[&chosen].since);
        if age < PORT_LIFE {
            return chosen;
        }
        self.last += 1;
        drawn.sockets[drawn.index] = self.last;
        self.sockets.insert(self.last, Socket::new(server, now));
        self.retire(chosen);
        self.last
    }

    fn retire(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        socket.retired = true;
        if socket.open == 0 {
            self.sockets.remove(&id);
            self.unused.push(id);
        }
    }
}

impl Socket {
    fn new(server: SocketAddr, since: Instant) -> Socket {
        Socket {
            server,
            since,
            open: 0,
            retired: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 53))
    }

    #[test]
    fn numbers_and_ports_vary_and_a_port_leaves_when_its_questions_have() {
        let now = Instant::now();
        let mut ports = SourcePorts::new(Random::seeded(1));
        let tokens: Vec<Token> = (0..2000)
            .map(|lookup| {
                ports
                    .open(server(1), Ask { lookup, index: 0 }, now)
                    .unwrap()
            })
            .collect();
        let distinct = |of: fn(&Token) -> u64| {
            let mut all: Vec<u64> = tokens.iter().map(of).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        assert!(distinct(|t| t.id.into()) > 1900);
        assert_eq!(distinct(|t| t.socket), SOCKETS);
        let later = now + PORT_LIFE;
        let fresh = (0..2000).map(|n| {
            ports.open(
                server(1),
                Ask {
                    lookup: n,
                    index: 1,
                },
                later,
            )
        });
        let fresh: Vec<Token> = fresh.map(Option::unwrap).collect();
        assert!(fresh.iter().all(|t| t.socket > SOCKETS as u64));
        assert!(
            ports.take_unused().is_empty(),
            "answers may still come there"
        );
        for (n, token) in tokens.into_iter().enumerate() {
            assert_eq!(
                ports.find(token),
                Some(Ask {
                    lookup: n as u64,
                    index: 0
                })
            );
            ports.close(token);
            ports.close(token);
        }
        assert_eq!(ports.take_unused().len(), SOCKETS);
        ports.keep_servers(&[server(2)]);
        fresh.into_iter().for_each(|token| ports.close(token));
        assert_eq!(ports.take_unused().len(), SOCKETS);
        assert_eq!((ports.open_count(), ports.sockets.len()), (0, 0));
    }
}
