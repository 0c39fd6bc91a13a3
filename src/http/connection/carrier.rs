//! What carries the bytes of a connection: a socket, or TLS with a proxy over one.
//!
//! Blocks until the deadlines that it is handed.

use std::io::{self, ErrorKind, IoSlice};
use std::time::Instant;

use rustix::event::PollFlags;

use crate::http::connection::socket::{Idle, Socket};
use crate::http::connection::stream::{Stream, Unasked};

/// See the module's header.
#[derive(Debug)]
pub enum Carrier {
    Socket(Socket),
    Tls(Box<Stream>),
}

impl Carrier {
    pub fn socket(&self) -> &Socket {
        match self {
            Carrier::Socket(socket) => socket,
            Carrier::Tls(stream) => stream.socket(),
        }
    }

    pub fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Carrier::Socket(socket) => socket,
            Carrier::Tls(stream) => stream.socket_mut(),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Carrier::Tls(_))
    }

    /// Reads what comes until `end`; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize> {
        match self {
            Carrier::Socket(socket) => socket.read(buffer, end),
            Carrier::Tls(stream) => stream.receive(buffer, end),
        }
    }

    /// Reads what stands in it; `WouldBlock` if nothing does.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Carrier::Socket(socket) => socket.read_now(buffer),
            Carrier::Tls(stream) => match stream.read_now(buffer) {
                // Hung up without the farewell of TLS.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
                result => result,
            },
        }
    }

    /// Takes what there is room for; `WouldBlock` if there is none. Within TLS it may not have gone out
    /// before the next read.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Carrier::Socket(socket) => socket.write_now(bytes),
            Carrier::Tls(stream) => stream.write_now(bytes),
        }
    }

    /// The same for bytes that lie in several places.
    pub fn write_parts_now(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Carrier::Socket(socket) => socket.write_parts_now(parts),
            Carrier::Tls(stream) => {
                let mut written = 0;
                for part in parts.iter().filter(|part| !part.is_empty()) {
                    match stream.write_now(part) {
                        Ok(n) if n < part.len() => return Ok(written + n),
                        Ok(n) => written += n,
                        Err(e) if e.kind() == ErrorKind::WouldBlock && written > 0 => break,
                        Err(e) => return Err(e),
                    }
                }
                Ok(written)
            }
        }
    }

    /// Writes all of it.
    pub fn write_all(&mut self, mut bytes: &[u8], end: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_now(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT, end)?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Waits until it is ready for one of `flags`. Whether there is something to read.
    pub fn wait(&mut self, flags: PollFlags, end: Instant) -> io::Result<bool> {
        match self {
            Carrier::Socket(socket) => socket.wait(flags, end),
            Carrier::Tls(stream) => stream.wait(flags, end),
        }
    }

    /// Looks at one that should be idle.
    pub fn look(&mut self) -> Idle {
        match self {
            Carrier::Socket(socket) => socket.look(),
            Carrier::Tls(stream) => match stream.look() {
                Ok(Unasked::Nothing | Unasked::Unclear) => Idle::Quiet,
                Ok(Unasked::Bytes) => Idle::Readable,
                Ok(Unasked::End) | Err(_) => Idle::Ended,
            },
        }
    }
}
