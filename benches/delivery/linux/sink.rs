//! The receiver: HTTP/1.1 with keep-alive, and no more of it than the clients here need.
//!
//! It shares the machine with what it measures, so it must cost less: a few threads, each
//! with an epoll of its own, one read and one write a request. It says 200 to everything,
//! and leaves it to the [`Tally`] what a request was worth.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::message::Reader;
use super::tally::Tally;

/// One host each, 127.0.0.1 and so on: eight endpoints to outhook.
pub const ORIGINS: usize = 8;

/// What everybody is answered.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The longest request, several times what is sent.
const REQUEST_MAX: usize = 4096;

/// Serves until the process ends.
pub struct Sink {
    /// `host:port` of each.
    pub origins: Vec<String>,
    pub tally: Arc<Tally>,
}

impl Sink {
    /// For messages numbered below `capacity`.
    pub fn start(capacity: usize) -> io::Result<Sink> {
        let tally = Arc::new(Tally::new(capacity));
        let listeners = (1..=ORIGINS)
            .map(|host| TcpListener::bind(format!("127.0.0.{host}:0")))
            .collect::<io::Result<Vec<_>>>()?;
        let origins = listeners
            .iter()
            .map(|l| Ok(l.local_addr()?.to_string()))
            .collect::<io::Result<_>>()?;
        // One thread answers about 150,000 requests a second; where there are more cores
        // the clients may have more than that to post.
        let threads = (thread::available_parallelism()?.get() / 2).clamp(1, 4);
        for n in 1..=threads {
            let listeners = listeners
                .iter()
                .map(TcpListener::try_clone)
                .collect::<io::Result<Vec<_>>>()?;
            let server = Server::new(listeners, tally.clone())?;
            thread::Builder::new()
                .name(format!("sink-{n}"))
                .spawn(move || server.run())?;
        }
        Ok(Sink { origins, tally })
    }
}

/// One thread's share of the connections.
struct Server {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    /// Their index, past those of the listeners, is what epoll knows them by.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    reader: Reader,
    tally: Arc<Tally>,
}

struct Connection {
    stream: TcpStream,
    buffer: [u8; REQUEST_MAX],
    filled: usize,
}

impl Server {
    fn new(listeners: Vec<TcpListener>, tally: Arc<Tally>) -> io::Result<Server> {
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
            connections: Vec::new(),
            free: Vec::new(),
            reader: Reader::new(),
            tally,
        })
    }

    fn run(mut self) {
        let mut events = Vec::with_capacity(256);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => panic!("epoll_wait: {e}"),
            }
            for event in &events {
                let token = event.data.u64() as usize;
                match token.checked_sub(self.listeners.len()) {
                    None => self.accept(token),
                    Some(slot) => self.readable(slot),
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) {
        // Nobody there: another thread was quicker, or the client has gone.
        let Ok((stream, _)) = self.listeners[listener].accept() else {
            return;
        };
        let slot = self.free.pop().unwrap_or(self.connections.len());
        let data = EventData::new_u64((self.listeners.len() + slot) as u64);
        let ready = stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true))
            .and_then(|()| Ok(epoll::add(&self.epoll, &stream, data, EventFlags::IN)?));
        ready.expect("a connection is served");
        let connection = Connection {
            stream,
            buffer: [0; REQUEST_MAX],
            filled: 0,
        };
        if slot == self.connections.len() {
            self.connections.push(None);
        }
        self.connections[slot] = Some(connection);
        self.tally.connected();
    }

    fn readable(&mut self, slot: usize) {
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        if !connection.serve(&self.reader, &self.tally) {
            // Which also takes it from epoll.
            self.connections[slot] = None;
            self.free.push(slot);
        }
    }
}

impl Connection {
    /// Reads once, and answers what is complete. False when the connection is done with.
    fn serve(&mut self, reader: &Reader, tally: &Tally) -> bool {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return false,
            Ok(n) => self.filled += n,
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        }
        let mut start = 0;
        loop {
            let rest = &self.buffer[start..self.filled];
            match measure(rest) {
                Framing::Incomplete => break,
                Framing::Invalid => {
                    tally.arrived(None);
                    return false;
                }
                Framing::Whole { head, length } => {
                    tally.arrived(reader.number(&rest[head..length]));
                    start += length;
                    // A socket whose client reads each answer has room for the next.
                    if self.stream.write_all(ANSWER).is_err() {
                        return false;
                    }
                }
            }
        }
        self.buffer.copy_within(start..self.filled, 0);
        self.filled -= start;
        // Full, and still incomplete: the next read would look like an end.
        self.filled < REQUEST_MAX
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
