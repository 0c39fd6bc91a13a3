//! Connections to receivers and proxies, and how they are made.
//!
//! [`Connection`] is what all others read from and write to. A [`Socket`] is one, and TLS over any other is
//! one too (`tls/stream.rs`). So TLS to a receiver within TLS to a proxy is the same code twice. A connection
//! belongs to one exchange at a time, or to the pool. Reads and waits block until the deadline that
//! they are handed; writes never block.

mod approval;
mod dialer;
mod race;
mod socket;

use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Instant;

use rustix::event::PollFlags;

use crate::http::failure::Failure;

pub use approval::Approval;
pub use dialer::Dialer;
pub use socket::Socket;

/// How much of a request went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    All,
    /// The other side sent something before it had taken everything. It had taken this many bytes.
    Interrupted(usize),
}

/// What the other side has sent before anybody asked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    Nothing,
    /// TLS has made nothing of it yet: it is part of a record, or very many records.
    Unclear,
    /// Bytes for a reader.
    Bytes,
    /// The other side has ended the connection, or it is broken.
    End,
}

/// See the module's header.
pub trait Connection: Debug + Send + Sync {
    /// The socket at the bottom.
    fn socket(&self) -> &Socket;

    fn socket_mut(&mut self) -> &mut Socket;

    fn is_tls(&self) -> bool;

    /// Reads what comes until `end`; 0 at the end of the connection.
    fn read(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize>;

    /// Reads what has come; 0 at the end of the connection, `WouldBlock` if nothing has come.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Takes what there is room for; `WouldBlock` if there is none. TLS may hold it back until the next
    /// read.
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// The same for bytes that lie in several places.
    fn write_parts_now(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends all of `bytes`, unless something comes meanwhile. `suspicious`: what is
    /// [`Unasked::Unclear`] counts too.
    fn send(&mut self, bytes: &[u8], suspicious: bool, end: Instant) -> io::Result<Sent>;

    /// Waits until the connection is ready for one of `flags`. Answers whether there is something to
    /// read: what TLS keeps for itself is nothing.
    fn wait(&mut self, flags: PollFlags, end: Instant) -> io::Result<bool>;

    /// Looks at a connection that should be idle. A session ticket, which a server sends to TLS of its
    /// own accord, is nothing; an alert is an error.
    fn look(&mut self) -> io::Result<Unasked>;

    /// What an error of this connection means, if TLS has to do with it.
    fn tls_failure(&self, _: &io::Error) -> Option<Failure> {
        None
    }

    /// Whether the server has said more to TLS than honest servers do.
    fn is_bloated(&mut self) -> bool {
        false
    }

    /// Writes all of `bytes`.
    fn write_all(&mut self, mut bytes: &[u8], end: Instant) -> io::Result<()> {
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
}
