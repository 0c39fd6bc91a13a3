//! The TCP side of an HTTP connection, under ureq's own HTTP and TLS.
//!
//! ureq's TCP transport is correct but made for a program that posts now and then; at
//! tens of thousands of posts a second its system calls cost more than the rest. This one
//! sends header and body in one write, leaves socket timeouts alone that are near enough,
//! and does not probe pooled connections (4 system calls at each end of a request): a
//! connection that turns out to have been closed says so, as [`StaleConnection`].
//!
//! May block, but never longer than the deadline it is handed, and [`SHUTDOWN`-handles]
//! (registered with the agent *before* connecting) end even a connect in progress.
//!
//! [`SHUTDOWN`-handles]: ureq::unversioned::transport::ShutdownHandle

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

/// How much longer than asked a socket timeout may be before it is set anew.
const TIMEOUT_SLACK: Duration = Duration::from_millis(100);

/// Output is held back until the response is awaited, but no more than this.
const MAX_HELD_OUTPUT: usize = 64 * 1024;

/// An answer may be no longer, on the wire, whatever it consists of: of its body much less is
/// read, so this is about interim answers and trailers that never end.
const MAX_ANSWER: usize = 1 << 20;

/// The least time one of several addresses gets to answer.
const MIN_CONNECT: Duration = Duration::from_millis(50);

/// A connection from the pool broke before any byte of an answer: as a rule the server had
/// closed it while it was idle, so the request is worth sending again at once.
#[derive(Debug)]
pub struct StaleConnection(io::Error);

impl fmt::Display for StaleConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "idle connection was closed: {}", self.0)
    }
}

impl std::error::Error for StaleConnection {}

/// No address of the endpoint could be connected to.
#[derive(Debug)]
pub struct ConnectFailed(io::Error);

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ConnectFailed {}

/// The answer did not end within [`MAX_ANSWER`].
#[derive(Debug)]
struct AnswerTooLong;

impl fmt::Display for AnswerTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer does not end within {MAX_ANSWER} bytes")
    }
}

impl std::error::Error for AnswerTooLong {}

/// Opens [`Tcp`] transports. The first link of the connector chain.
#[derive(Debug)]
pub struct TcpConnector;

impl Connector<()> for TcpConnector {
    type Out = Tcp;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Tcp>, Error> {
        let end = deadline(details.timeout);
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        let count = details.addrs.len();
        for (i, addr) in details.addrs.iter().enumerate() {
            // Each address gets half of what is left, the last one all of it, so that a
            // dead first address leaves time for a live second.
            let left = remaining(end, details.timeout.reason)?;
            let share = if i + 1 < count { left / 2 } else { left };
            match open(*addr, share.max(MIN_CONNECT), details) {
                Ok(stream) => return Ok(Some(Tcp::new(stream, details))),
                Err(e) => last = e,
            }
        }
        if last.kind() == ErrorKind::TimedOut {
            return Err(Error::Timeout(Timeout::Connect));
        }
        Err(Error::Other(Box::new(ConnectFailed(last))))
    }
}

fn open(addr: SocketAddr, limit: Duration, details: &ConnectionDetails) -> io::Result<Arc<Stream>> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    let stream = Arc::new(Stream(socket));
    let handle: Weak<dyn ShutdownHandle> = Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>;
    (details.register_shutdown)(handle).map_err(Error::into_io)?;
    stream.0.connect_timeout(&addr.into(), limit)?;
    stream.0.set_tcp_nodelay(true)?;
    Ok(stream)
}

#[derive(Debug)]
struct Stream(Socket);

impl ShutdownHandle for Stream {
    fn shutdown(&self) {
        // An error means that it is closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// One TCP connection.
#[derive(Debug)]
pub struct Tcp {
    stream: Arc<Stream>,
    buffers: LazyBuffers,
    held: Vec<u8>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// It has been in the pool.
    reused: bool,
    /// Bytes that have come since the last request went out.
    received: usize,
}

impl Tcp {
    fn new(stream: Arc<Stream>, details: &ConnectionDetails) -> Self {
        let config = details.config;
        Tcp {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            held: Vec::new(),
            read_timeout: None,
            write_timeout: None,
            reused: false,
            received: 0,
        }
    }

    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        let end = deadline(timeout);
        let mut sent = 0;
        while sent < self.held.len() {
            let left = remaining(end, timeout.reason)?;
            if adjust(&mut self.write_timeout, left) {
                self.stream.0.set_write_timeout(self.write_timeout)?;
            }
            match (&self.stream.0).write(&self.held[sent..]) {
                Ok(0) => return Err(self.broken(ErrorKind::WriteZero.into())),
                Ok(n) => sent += n,
                Err(e) if is_passing(&e) => {}
                Err(e) => return Err(self.broken(e)),
            }
        }
        self.held.clear();
        // A large body must not stay with an idle connection.
        self.held.shrink_to(MAX_HELD_OUTPUT);
        self.received = 0;
        Ok(())
    }

    fn broken(&self, error: io::Error) -> Error {
        if self.reused && self.received == 0 {
            Error::Other(Box::new(StaleConnection(error)))
        } else {
            Error::Io(error)
        }
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.held
            .extend_from_slice(&self.buffers.output()[..amount]);
        if self.held.len() >= MAX_HELD_OUTPUT {
            self.flush(timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !self.held.is_empty() {
            self.flush(timeout)?;
        }
        let end = deadline(timeout);
        loop {
            let left = remaining(end, timeout.reason)?;
            if adjust(&mut self.read_timeout, left) {
                self.stream.0.set_read_timeout(self.read_timeout)?;
            }
            match (&self.stream.0).read(self.buffers.input_append_buf()) {
                Ok(0) if self.reused && self.received == 0 => {
                    return Err(self.broken(ErrorKind::UnexpectedEof.into()));
                }
                Ok(n) => {
                    self.received += n;
                    if self.received > MAX_ANSWER {
                        return Err(Error::Other(Box::new(AnswerTooLong)));
                    }
                    self.buffers.input_appended(n);
                    return Ok(n > 0);
                }
                Err(e) if is_passing(&e) => {}
                Err(e) => return Err(self.broken(e)),
            }
        }
    }

    /// Asked by the pool, when a connection goes in and when it comes out.
    fn is_open(&mut self) -> bool {
        self.reused = true;
        true
    }
}

/// `None`: no deadline.
fn deadline(timeout: NextTimeout) -> Option<Instant> {
    match timeout.after.is_not_happening() {
        true => None,
        false => Instant::now().checked_add(*timeout.after),
    }
}

fn remaining(end: Option<Instant>, reason: Timeout) -> Result<Duration, Error> {
    match end {
        None => Ok(Duration::MAX),
        Some(end) => match end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(Error::Timeout(reason)),
            left => Ok(left),
        },
    }
}

/// Whether the socket's timeout must be set anew: when it would overshoot, or is so short
/// that it would wake us again and again. One that fires early is simply waited for again.
fn adjust(current: &mut Option<Duration>, wanted: Duration) -> bool {
    let near = |t: Duration| t <= wanted.saturating_add(TIMEOUT_SLACK) && t >= wanted / 2;
    let set = !current.is_some_and(near);
    if set {
        *current = (wanted != Duration::MAX).then_some(wanted.max(Duration::from_millis(1)));
    }
    set
}

/// Interrupted, or the socket's timeout: the loop looks at its own deadline.
fn is_passing(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_timeout_is_set_only_when_it_really_changes() {
        let s = Duration::from_secs;
        let mut t = None;
        assert!(adjust(&mut t, s(15)));
        assert!(!adjust(&mut t, s(15) - Duration::from_millis(40)));
        assert!(!adjust(&mut t, s(15)));
        assert!(adjust(&mut t, s(14)), "it would overshoot by a second");
        assert!(
            !adjust(&mut t, s(20)),
            "it fires early, and is waited for again"
        );
        assert!(adjust(&mut t, s(60)), "it would fire four times");
    }
}
