//! From the addresses of a name to one connection (RFC 8305).
//!
//! Attempts begin [`STAGGER`] apart, or as soon as the one before has failed, and the first
//! that succeeds wins. All of it in the calling thread: sockets that connect without blocking,
//! and one poll(2). Blocks until the deadline that it is handed at the longest.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFlags, poll};

use super::socket::{Socket, Sockets, timespec};
use crate::delivery::FailureKind;
use crate::http::failure::{Failure, describe_own_trouble, is_own_trouble, short};
use crate::trust::egress::Source;
use crate::trust::guard::Guard;

/// How long an address is waited for before the next is tried beside it. RFC 8305 allows 100 ms
/// to 2 s.
const STAGGER: Duration = Duration::from_millis(150);

/// More addresses of one name are not tried.
const MAX_ADDRESSES: usize = 16;

/// Connects to `port` of one of `addresses`, which are tried in their order, and says which.
/// `guard` judges each as it is tried; the caller has asked it about all of them before.
pub fn race(
    addresses: &[IpAddr],
    port: u16,
    source: &Source,
    guard: &Guard,
    sockets: &Arc<Sockets>,
    end: Instant,
) -> Result<(Socket, IpAddr), Failure> {
    let begun = Instant::now();
    let reachable: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|address| source.leads_to(*address))
        .take(MAX_ADDRESSES)
        .collect();
    if reachable.is_empty() && !addresses.is_empty() {
        return Err(lacks_source(addresses[0], source));
    }
    let mut race = Race {
        waiting: reachable.iter(),
        port,
        source,
        guard,
        sockets,
        running: Vec::new(),
        failed: None,
        next: begun,
    };
    loop {
        let now = Instant::now();
        if now >= race.next || race.running.is_empty() {
            race.begin_one(now)?;
        }
        if race.running.is_empty() {
            match race.waiting.len() {
                0 => return Err(race.failure()),
                _ => continue,
            }
        }
        if now >= end {
            return Err(race.timed_out(now - begun, reachable.len()));
        }
        let wake = match race.waiting.len() {
            0 => end,
            _ => end.min(race.next),
        };
        if let Some(won) = race.wait(wake.saturating_duration_since(now))? {
            return Ok(won);
        }
    }
}

struct Race<'a> {
    waiting: std::slice::Iter<'a, IpAddr>,
    port: u16,
    source: &'a Source,
    guard: &'a Guard,
    sockets: &'a Arc<Sockets>,
    running: Vec<(Socket, IpAddr)>,
    failed: Option<(IpAddr, io::Error)>,
    /// When the next address is tried, whatever becomes of those under way.
    next: Instant,
}

impl Race<'_> {
    fn begin_one(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(&address) = self.waiting.next() else {
            return Ok(());
        };
        let checked = self.guard.check(address);
        let checked = checked.map_err(|e| Failure::new(FailureKind::Refused, e.to_string()))?;
        let from = self.source.address_for(address);
        match Socket::connecting(checked, self.port, from, self.sockets) {
            Ok(socket) => {
                self.running.push((socket, address));
                self.next = now + STAGGER;
                Ok(())
            }
            Err(e) => self.note(address, e),
        }
    }

    /// Notes that an address has failed. It is an error if we have failed ourselves.
    fn note(&mut self, address: IpAddr, e: io::Error) -> Result<(), Failure> {
        let crowded = is_own_trouble(&e);
        let from = self.source.address_for(address);
        let is_lacking = e.kind() == ErrorKind::AddrNotAvailable;
        if let Some(from) = from.filter(|from| is_lacking && is_gone(*from)) {
            let text = format!("{e}: {from} (--bind-address) is no address of this machine now");
            return Err(Failure::new(FailureKind::Starved, text));
        }
        if crowded || is_out_of_ports(&e, address, from) {
            // A local port is taken for each address that it leads to, so connections to others
            // are not in the way.
            return Err(Failure {
                crowded,
                ..Failure::new(FailureKind::Starved, describe_own_trouble(&e))
            });
        }
        self.failed = Some((address, e));
        Ok(())
    }

    fn wait(&mut self, most: Duration) -> Result<Option<(Socket, IpAddr)>, Failure> {
        let mut fds: Vec<_> = self
            .running
            .iter()
            .map(|(socket, _)| socket.poll_for(PollFlags::OUT))
            .collect();
        match poll(&mut fds, Some(&timespec(most))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Failure::new(FailureKind::Starved, e.to_string())),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        for i in (0..ready.len()).rev().filter(|i| ready[*i]) {
            let (socket, address) = self.running.remove(i);
            match socket.connected() {
                Ok(()) => return Ok(Some((socket, address))),
                Err(e) => {
                    self.note(address, e)?;
                    self.next = Instant::now();
                }
            }
        }
        Ok(None)
    }

    fn failure(&mut self) -> Failure {
        let text = match self.failed.take() {
            Some((address, e)) => {
                format!("{}: {e}", SocketAddr::new(address, self.port))
            }
            None => "the name has no address".into(),
        };
        Failure::new(FailureKind::Connect, text)
    }

    fn timed_out(&self, after: Duration, count: usize) -> Failure {
        let of = match count {
            1 => String::new(),
            n => format!(" to any of {} addresses", n.min(MAX_ADDRESSES)),
        };
        let text = format!("no connection{of} within {}", short(after));
        Failure::new(FailureKind::Timeout, text)
    }
}

/// The addresses that a name has are of a family for which no source is named.
fn lacks_source(address: IpAddr, source: &Source) -> Failure {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let text = format!(
        "only {family} addresses are known ({address}), and --bind-address names {source}: name an \
         {family} address too"
    );
    Failure::new(FailureKind::Connect, text)
}

/// Whether this machine has lost an address that it had at the start.
fn is_gone(from: IpAddr) -> bool {
    let e = UdpSocket::bind((from, 0)).err();
    e.is_some_and(|e| e.kind() == ErrorKind::AddrNotAvailable)
}

/// Whether there is no local port left. The same error also says that this host has no address
/// of the other's family, which no waiting mends: a datagram socket, which needs no port that
/// anyone else could hold, tells them apart.
fn is_out_of_ports(e: &io::Error, address: IpAddr, from: Option<IpAddr>) -> bool {
    if e.kind() != ErrorKind::AddrNotAvailable {
        return false;
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((from.unwrap_or(any), 0))
        .is_ok_and(|socket| socket.connect((address, 9)).is_ok())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn connections_that_rest_are_in_the_way_of_descriptors_and_not_of_ports() {
        let local = IpAddr::from([127, 0, 0, 1]);
        let mut race = Race {
            waiting: [].iter(),
            port: 1,
            source: &Source::default(),
            guard: &Guard::default(),
            sockets: &Arc::default(),
            running: Vec::new(),
            failed: None,
            next: Instant::now(),
        };
        for (code, crowded) in [(Errno::MFILE, true), (Errno::ADDRNOTAVAIL, false)] {
            let failure = race.note(local, code.into()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Starved);
            assert_eq!(failure.crowded, crowded);
        }
        assert!(race.note(local, Errno::CONNREFUSED.into()).is_ok());
    }
}
