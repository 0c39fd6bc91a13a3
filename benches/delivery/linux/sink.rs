//! The receiver: HTTP/1.1 with keep-alive, and no more of it than the clients here need.
//!
//! It shares the machine with what it measures, so it must cost less: a few threads, each
//! with an epoll of its own, one read and one write a request. It says 200 to everything,
//! and leaves it to the [`Tally`] what a request was worth. Some receivers have another
//! [`Manner`]: TLS, a new connection for each request, or time that an answer takes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustls::ServerConfig;

use super::message::Reader;
use super::tally::Tally;
use super::wire::Wire;

/// Eight endpoints to outhook.
pub const HOSTS: [&str; 8] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.0.0.3",
    "127.0.0.4",
    "127.0.0.5",
    "127.0.0.6",
    "127.0.0.7",
    "127.0.0.8",
];

/// What everybody is answered.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// And if the connection ends with it.
const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

/// An answer that goes out later than this after its time is counted as late.
const LATE: Duration = Duration::from_millis(20);

/// The longest request, several times what is sent.
const REQUEST_MAX: usize = 4096;

/// Serves until the process ends.
pub struct Sink {
    /// `host:port` of each.
    pub origins: Vec<String>,
    pub tally: Arc<Tally>,
}

/// How a receiver answers.
#[derive(Clone, Default)]
pub struct Manner {
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether each answer is the last one of its connection.
    pub closes: bool,
    /// How long an answer takes.
    pub delay: Duration,
}

impl Sink {
    /// For messages numbered below `capacity`.
    pub fn start(capacity: usize) -> io::Result<Sink> {
        let mut sink = Sink {
            origins: Vec::new(),
            tally: Arc::new(Tally::new(capacity)),
        };
        // One thread answers about 150,000 requests a second; where there are more cores
        // the clients may have more than that to post.
        let threads = (thread::available_parallelism()?.get() / 2).clamp(1, 4);
        sink.origins = sink.open(&HOSTS, Manner::default(), threads)?;
        Ok(sink)
    }

    /// Opens a port at each of `hosts`, for receivers of this manner. Answers their `host:port`.
    pub fn open(&self, hosts: &[&str], manner: Manner, threads: usize) -> io::Result<Vec<String>> {
        let mut listeners = hosts
            .iter()
            .map(|host| TcpListener::bind((*host, 0)))
            .collect::<io::Result<Vec<_>>>()?;
        let origins = listeners
            .iter()
            .map(|l| Ok(l.local_addr()?.to_string()))
            .collect::<io::Result<_>>()?;
        for n in 1..=threads {
            let listeners = match n == threads {
                true => std::mem::take(&mut listeners),
                false => listeners
                    .iter()
                    .map(TcpListener::try_clone)
                    .collect::<io::Result<Vec<_>>>()?,
            };
            let server = Server::new(listeners, manner.clone(), self.tally.clone())?;
            thread::Builder::new()
                .name(format!("sink-{n}"))
                .spawn(move || server.run())?;
        }
        Ok(origins)
    }
}

/// One thread's share of the connections.
struct Server {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    manner: Manner,
    /// Their index, past those of the listeners, is what epoll knows them by.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    accepted: u64,
    /// Answers whose time has not come. All take the same time, so the first is due first.
    due: VecDeque<Due>,
    reader: Reader,
    tally: Arc<Tally>,
}

struct Due {
    at: Instant,
    slot: usize,
    connection: u64,
}

struct Connection {
    wire: Wire,
    /// Which one it is, as its slot may be another's by the time that it is answered.
    number: u64,
    buffer: Box<[u8; REQUEST_MAX]>,
    filled: usize,
}

impl Server {
    fn new(listeners: Vec<TcpListener>, manner: Manner, tally: Arc<Tally>) -> io::Result<Server> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (token, listener) in listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            let data = EventData::new_u64(token as u64);
            // Each thread watches all of them; a connection is to wake one only.
            let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
            epoll::add(&epoll, listener, data, flags)?;
        }
        Ok(Server {
            epoll,
            listeners,
            manner,
            connections: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            due: VecDeque::new(),
            reader: Reader::new(),
            tally,
        })
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            let next = self.due.front().map(|due| {
                let left = due.at.saturating_duration_since(Instant::now());
                Timespec::try_from(left).expect("a short time")
            });
            match epoll::wait(&self.epoll, spare_capacity(&mut events), next.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => panic!("epoll_wait: {e}"),
            }
            for event in &events {
                let token = event.data.u64() as usize;
                match token.checked_sub(self.listeners.len()) {
                    None => self.accept(token),
                    Some(slot) => self.read(slot),
                }
            }
            self.answer_due();
        }
    }

    fn accept(&mut self, listener: usize) {
        // Nobody there: another thread was quicker, or the client has gone.
        let Ok((stream, _)) = self.listeners[listener].accept() else {
            return;
        };
        let slot = self.free.pop().unwrap_or(self.connections.len());
        let data = EventData::new_u64((self.listeners.len() + slot) as u64);
        let wire = Wire::new(stream, self.manner.tls.as_ref()).and_then(|wire| {
            epoll::add(&self.epoll, wire.socket(), data, EventFlags::IN)?;
            Ok(wire)
        });
        self.accepted += 1;
        let connection = Connection {
            wire: wire.expect("a connection is served"),
            number: self.accepted,
            buffer: Box::new([0; REQUEST_MAX]),
            filled: 0,
        };
        if slot == self.connections.len() {
            self.connections.push(None);
        }
        self.connections[slot] = Some(connection);
        self.tally.connected();
    }

    /// Reads once, and answers what is complete, now or when it is due.
    fn read(&mut self, slot: usize) {
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        let number = connection.number;
        let Some(requests) = connection.take_in(&self.reader, &self.tally) else {
            return self.close(slot);
        };
        for _ in 0..requests {
            if self.manner.delay.is_zero() {
                self.answer(slot, number);
                continue;
            }
            self.due.push_back(Due {
                at: Instant::now() + self.manner.delay,
                slot,
                connection: number,
            });
        }
    }

    fn answer_due(&mut self) {
        while let Some(due) = self.due.front() {
            let Some(after) = Instant::now().checked_duration_since(due.at) else {
                return;
            };
            let (slot, connection) = (due.slot, due.connection);
            self.due.pop_front();
            self.tally.answered(after > LATE);
            self.answer(slot, connection);
        }
    }

    fn answer(&mut self, slot: usize, number: u64) {
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        if connection.number != number {
            return;
        }
        let is_last = self.manner.closes;
        let answer = if is_last { LAST_ANSWER } else { ANSWER };
        // A socket whose client reads each answer has room for the next.
        if connection.wire.write(answer, is_last).is_err() || is_last {
            self.close(slot);
        }
    }

    fn close(&mut self, slot: usize) {
        // Which also takes it from epoll.
        if self.connections[slot].take().is_some() {
            self.free.push(slot);
        }
    }
}

impl Connection {
    /// Reads once, and counts the requests that are complete. `None` when the connection is done
    /// with.
    fn take_in(&mut self, reader: &Reader, tally: &Tally) -> Option<usize> {
        match self.wire.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return None,
            Ok(n) => self.filled += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Some(0),
            Err(_) => return None,
        }
        let (mut start, mut requests) = (0, 0);
        loop {
            let rest = &self.buffer[start..self.filled];
            match measure(rest) {
                Framing::Incomplete => break,
                Framing::Invalid => {
                    tally.arrived(None);
                    return None;
                }
                Framing::Whole { head, length } => {
                    if self.wire.is_resumed() == Some(true) {
                        tally.resumed();
                    }
                    tally.arrived(reader.number(&rest[head..length]));
                    start += length;
                    requests += 1;
                }
            }
        }
        self.buffer.copy_within(start..self.filled, 0);
        self.filled -= start;
        // Full, and still incomplete: the next read would look like an end.
        (self.filled < REQUEST_MAX).then_some(requests)
    }
}

enum Framing {
    Incomplete,
    Invalid,
    /// The head, and all of it, are so long.
    Whole {
        head: usize,
        length: usize,
    },
}

/// Finds the end of the first request.
fn measure(bytes: &[u8]) -> Framing {
    const NAME: &[u8] = b"content-length:";
    let (mut at, mut body) = (0, None);
    while let Some(end) = bytes[at..].iter().position(|&b| b == b'\n') {
        let line = bytes[at..at + end].trim_ascii_end();
        at += end + 1;
        if line.is_empty() {
            let Some(length) = body.map(|body: usize| at + body) else {
                return Framing::Invalid;
            };
            return match length <= bytes.len() {
                true => Framing::Whole { head: at, length },
                false => Framing::Incomplete,
            };
        }
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let value = str::from_utf8(&line[NAME.len()..]).unwrap_or_default();
            body = value.trim().parse().ok();
        }
    }
    Framing::Incomplete
}
