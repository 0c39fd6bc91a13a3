//! A socket that waits in poll(2), and that no signal, debugger or frozen container can break.
//!
//! `recv` on a socket with a receive timeout answers EINTR when the process was stopped and goes
//! on (signal(7)), however well signals are handled. Whoever takes that for a broken connection
//! throws away all that stands in the socket. So the socket has no timeouts: it never blocks, and
//! the wait is a poll(2) that is repeated.
//!
//! A wait that is over is judged after one more look at the socket: what came while this process
//! was stopped counts, whatever the clock says. And the time in which the process was stopped is
//! not counted, as the other side may have been stopped with it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, Socket as Raw, TcpKeepalive};

/// A wait is made of pieces of this length. One that takes longer counts no more than it.
const PIECE: Duration = Duration::from_secs(1);

/// Unanswered data or probes end a connection after this, where no reply is awaited.
const TCP_DEAD: Duration = Duration::from_secs(10);

/// See the module's header.
pub(super) struct Socket {
    raw: Raw,
    /// How long a read waits for the first byte.
    pub read_limit: Duration,
    /// How long a write waits for room.
    pub write_limit: Duration,
    /// When all that had come was last read.
    empty_at: Instant,
    /// The last read filled its buffer, so that there probably is more.
    has_more: bool,
    /// The first bytes that came, for whoever cannot make sense of them.
    first: Vec<u8>,
}

/// So many are kept.
const FIRST: usize = 16;

impl Socket {
    /// Connects to the first address of this name that answers; each gets `limit`.
    pub fn connect_tcp(host: &str, port: u16, limit: Duration) -> io::Result<Socket> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, limit) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let keepalive = TcpKeepalive::new()
                        .with_time(TCP_DEAD / 2)
                        .with_interval(TCP_DEAD / 5);
                    let socket = SockRef::from(&stream);
                    socket.set_tcp_keepalive(&keepalive)?;
                    #[cfg(target_os = "linux")]
                    socket.set_tcp_user_timeout(Some(TCP_DEAD))?;
                    return Socket::new(stream.into(), limit);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    pub fn connect_unix(path: &Path, limit: Duration) -> io::Result<Socket> {
        Socket::new(UnixStream::connect(path)?.into(), limit)
    }

    fn new(raw: Raw, limit: Duration) -> io::Result<Socket> {
        raw.set_nonblocking(true)?;
        Ok(Socket {
            raw,
            read_limit: limit,
            write_limit: limit,
            empty_at: Instant::now(),
            has_more: false,
            first: Vec::new(),
        })
    }

    /// The first bytes that came.
    pub fn first(&self) -> &[u8] {
        &self.first
    }

    /// All that the other side had sent by then has been read.
    pub fn empty_at(&self) -> Instant {
        self.empty_at
    }

    /// Waits until the socket is ready or a piece of the wait is over. A signal is no matter:
    /// whoever waits looks at the socket next.
    fn wait(&self, events: PollFlags, patience: &mut Patience) -> io::Result<()> {
        let piece = patience.piece();
        let time = Timespec::try_from(piece).map_err(io::Error::other)?;
        let begun = Instant::now();
        match poll(&mut [PollFd::new(&self.raw, events)], Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                patience.spend(begun.elapsed());
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl Read for Socket {
    /// Waits for `read_limit` at most. What has come already is read without a wait.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut patience = Patience(self.read_limit);
        // In a stream of large answers there is no need to ask poll(2) before each read.
        let mut waits = !self.has_more;
        loop {
            if waits {
                self.wait(PollFlags::IN, &mut patience)?;
            }
            match (&self.raw).read(buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.empty_at = Instant::now();
                    self.has_more = false;
                    if patience.is_over() {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    waits = true;
                }
                result => {
                    self.has_more = matches!(result, Ok(n) if n == buffer.len());
                    if self.first.is_empty()
                        && let Ok(n) = result
                    {
                        self.first = buffer[..n.min(FIRST)].to_vec();
                    }
                    return result;
                }
            }
        }
    }
}

impl Write for Socket {
    /// Waits for `write_limit` at most.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut patience = Patience(self.write_limit);
        loop {
            match (&self.raw).write(bytes) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if patience.is_over() {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    self.wait(PollFlags::OUT, &mut patience)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is left of a wait, in time for which this process was running.
struct Patience(Duration);

impl Patience {
    fn piece(&self) -> Duration {
        self.0.min(PIECE)
    }

    /// One piece took so long. Far more than was asked for: the process was stopped meanwhile.
    fn spend(&mut self, took: Duration) {
        self.0 -= took.min(self.piece());
    }

    fn is_over(&self) -> bool {
        self.0.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_the_process_was_stopped_is_not_counted() {
        let mut patience = Patience(Duration::from_millis(2500));
        patience.spend(Duration::from_millis(400));
        assert_eq!(patience.piece(), PIECE);
        patience.spend(Duration::from_secs(3600));
        assert_eq!(patience.piece(), PIECE);
        patience.spend(PIECE);
        assert!(!patience.is_over());
        patience.spend(Duration::from_millis(150));
        assert!(patience.is_over());
    }

    #[test]
    fn what_came_is_read_even_when_there_is_no_time_left() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut socket = Socket::new(here.into(), Duration::ZERO).unwrap();
        let mut buffer = [0; 8];
        let empty = socket.read(&mut buffer).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::TimedOut);
        (&there).write_all(b"late").unwrap();
        drop(there);
        assert_eq!(socket.read(&mut buffer).unwrap(), 4);
        // The other side has gone; that is told after what it had sent.
        assert_eq!(socket.read(&mut buffer).unwrap(), 0);
    }
}
