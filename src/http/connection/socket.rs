//! One TCP socket: reads that end at a deadline, writes that notice an early answer, and a
//! look at whether something stands in it that nobody has asked for.
//!
//! Reads block in the kernel, with a socket timeout that is set only when it really changes:
//! one system call a read. Writes never block; a sender waits for room in poll(2), and
//! sees an answer that comes before the request is out. May block, but never longer than the
//! deadline that it is handed. Every socket is registered from before it connects until it is
//! closed, so that [`Sockets::shut_down`] ends whatever waits for one.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use socket2::{Domain, Protocol, Type};

use super::approval::Approval;
use super::{Connection, Sent, Unasked};
use crate::trust::guard::Checked;

/// How much longer than asked a socket timeout may be before it is set anew.
const TIMEOUT_SLACK: Duration = Duration::from_millis(100);

/// All sockets that are open, so that they can be shut down from another thread.
#[derive(Debug, Default)]
pub struct Sockets(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    is_shut_down: bool,
    next: u64,
    sockets: HashMap<u64, Weak<socket2::Socket>>,
}

impl Sockets {
    /// Ends every wait for a socket, now; none can be opened from now on.
    pub fn shut_down(&self) {
        let mut open = self.lock();
        open.is_shut_down = true;
        for socket in open.sockets.values().filter_map(Weak::upgrade) {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn register(&self, socket: &Arc<socket2::Socket>) -> io::Result<u64> {
        let mut open = self.lock();
        // Looked at under the lock, so that no socket escapes `shut_down`.
        if open.is_shut_down {
            return Err(ErrorKind::NotConnected.into());
        }
        open.next += 1;
        let ticket = open.next;
        open.sockets.insert(ticket, Arc::downgrade(socket));
        Ok(ticket)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct Socket {
    inner: Arc<socket2::Socket>,
    sockets: Arc<Sockets>,
    ticket: u64,
    read_timeout: Option<Duration>,
    leads_to: Option<IpAddr>,
    /// The guard has approved where it leads, after it had been kept.
    pub approval: Option<Approval>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.sockets.lock().sockets.remove(&self.ticket);
    }
}

impl Socket {
    /// A socket that begins to connect to `port` of `ip`, from this address if one is named, and
    /// does not wait for it.
    pub fn connecting(
        ip: Checked,
        port: u16,
        from: Option<IpAddr>,
        sockets: &Arc<Sockets>,
    ) -> io::Result<Socket> {
        let addr = SocketAddr::new(ip.ip(), port);
        let inner =
            socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        let inner = Arc::new(inner);
        let ticket = sockets.register(&inner)?;
        let socket = Socket {
            inner,
            sockets: sockets.clone(),
            ticket,
            read_timeout: None,
            leads_to: Some(ip.ip()),
            approval: None,
        };
        socket.inner.set_tcp_nodelay(true)?;
        ioctl_fionbio(&*socket.inner, true)?;
        if let Some(from) = from {
            bind(&socket.inner, from)?;
        }
        match socket.inner.connect(&addr.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                Err(e)
            }
            _ => Ok(socket),
        }
    }

    /// Called when poll(2) has something to say of a socket that connects: whether it is
    /// connected. It blocks in reads from then on.
    pub fn connected(&self) -> io::Result<()> {
        match self.inner.take_error()? {
            Some(e) => Err(e),
            None => Ok(ioctl_fionbio(&*self.inner, false)?),
        }
    }

    /// To which address it leads; `None`: only a proxy knows.
    pub fn leads_to(&self) -> Option<IpAddr> {
        self.leads_to
    }

    /// A proxy leads it there.
    pub fn led_to(&mut self, target: Option<IpAddr>) {
        self.leads_to = target;
    }

    /// The same socket, for the pool, which polls it.
    pub fn share(&self) -> Arc<socket2::Socket> {
        self.inner.clone()
    }

    /// For poll(2).
    pub fn poll_for(&self, flags: PollFlags) -> PollFd<'_> {
        PollFd::new(&*self.inner, flags)
    }
}

impl Connection for Socket {
    fn socket(&self) -> &Socket {
        self
    }

    fn socket_mut(&mut self) -> &mut Socket {
        self
    }

    fn is_tls(&self) -> bool {
        false
    }

    fn read(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Bytes that stand in the socket count, whatever the clock says: this process may not have
                // run for a while.
                return match self.read_now(buffer) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
                    result => result,
                };
            }
            if adjust(&mut self.read_timeout, left) {
                self.inner.set_read_timeout(self.read_timeout)?;
            }
            match recv(self.inner.as_fd(), &mut *buffer, RecvFlags::empty()) {
                Ok((n, _)) => return Ok(n),
                Err(e) if is_passing(e) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (n, _) = recv(self.inner.as_fd(), buffer, RecvFlags::DONTWAIT)?;
        Ok(n)
    }

    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            match send(self.inner.as_fd(), bytes, flags) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn write_parts_now(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            let mut nothing_else = SendAncillaryBuffer::default();
            match sendmsg(self.inner.as_fd(), parts, &mut nothing_else, flags) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn send(&mut self, bytes: &[u8], _: bool, end: Instant) -> io::Result<Sent> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.write_now(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if self.wait(PollFlags::IN | PollFlags::OUT, end)? {
                        return Ok(Sent::Interrupted(sent));
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Sent::All)
    }

    fn wait(&mut self, flags: PollFlags, end: Instant) -> io::Result<bool> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut fds = [self.poll_for(flags)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) if left.is_zero() => return Err(ErrorKind::TimedOut.into()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(fds[0].revents().contains(PollFlags::IN)),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// One system call.
    fn look(&mut self) -> io::Result<Unasked> {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        loop {
            return Ok(match recv(self.inner.as_fd(), &mut [0u8; 1], flags) {
                Ok((0, _)) => Unasked::End,
                Ok(_) => Unasked::Bytes,
                Err(rustix::io::Errno::AGAIN) => Unasked::Nothing,
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => Unasked::End,
            });
        }
    }
}

/// Where the port is chosen as it connects, one port serves connections to many addresses; chosen
/// here, it would be taken for all of them.
fn bind(socket: &socket2::Socket, from: IpAddr) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(
        socket,
        nix::sys::socket::sockopt::IpBindAddressNoPort,
        &true,
    )?;
    socket.bind(&SocketAddr::new(from, 0).into())
}

/// A duration for poll(2), rounded up so that it never wakes just before its time.
pub fn timespec(time: Duration) -> Timespec {
    let time = time.min(Duration::from_secs(1 << 30)) + Duration::from_micros(1);
    Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Whether the socket's timeout must be set anew: when it would overshoot, or is so short
/// that it would wake us again and again. After a timeout that fires early we wait again.
fn adjust(current: &mut Option<Duration>, wanted: Duration) -> bool {
    let near = |t: Duration| t <= wanted.saturating_add(TIMEOUT_SLACK) && t >= wanted / 2;
    let set = !current.is_some_and(near);
    if set {
        *current = Some(wanted.max(Duration::from_millis(1)));
    }
    set
}

/// Interrupted, or the socket's timeout: the loop looks at its own deadline.
fn is_passing(e: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(e, Errno::AGAIN | Errno::INTR)
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
