//! What only the kernel knows: whether the other side has what was sent.
//!
//! Asked through `sock_diag`, one socket at a time, so that a script can say "the sender's
//! kernel has these bytes", no test depends on how long a packet takes on loopback, and it
//! costs the same however many sockets the machine has.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, netlink};

/// From linux/sock_diag.h, linux/inet_diag.h and linux/netlink.h.
const BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
const TCP: u8 = 6;
const LISTEN: u8 = 10;
const NO_COOKIE: [u8; 8] = [0xff; 8];
const ENOENT: i32 = -2;

/// What the kernel says of a socket.
struct Socket {
    state: u8,
    to_read: u32,
    to_send: u32,
}

/// Waits until the far side has acknowledged all that `local` sent to `remote`, its FIN too.
pub fn wait_arrived(local: SocketAddr, remote: SocketAddr, limit: Duration) -> bool {
    wait(limit, || {
        find(local, Some(remote)).is_none_or(|socket| socket.to_send == 0)
    })
}

/// Waits until the far side of a connection that was reset has heard of it: its socket is gone.
pub fn wait_reset(local: SocketAddr, remote: SocketAddr, limit: Duration) -> bool {
    wait(limit, || find(remote, Some(local)).is_none())
}

/// Waits until so many connections stand in the queue of the listener.
pub fn wait_queued(listener: SocketAddr, n: u32, limit: Duration) -> bool {
    wait(limit, || {
        find(listener, None).is_some_and(|socket| socket.state == LISTEN && socket.to_read >= n)
    })
}

fn wait(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// The socket with these ends; a listener has no far end.
fn find(local: SocketAddr, remote: Option<SocketAddr>) -> Option<Socket> {
    let found = ask(local, remote).unwrap_or_else(|e| panic!("sock_diag: {e}"));
    // Of a connection that is gone, the kernel finds the listener.
    found.filter(|socket| remote.is_none() || socket.state != LISTEN)
}

fn ask(local: SocketAddr, remote: Option<SocketAddr>) -> io::Result<Option<Socket>> {
    let kernel = rustix::net::socket(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        Some(netlink::SOCK_DIAG),
    )?;
    let question = question(local, remote);
    rustix::io::write(&kernel, &question)?;
    let mut answer = [0; 4096];
    let read = rustix::io::read(&kernel, &mut answer)?;
    let number = |at: usize| u32::from_ne_bytes(answer[at..at + 4].try_into().expect("four bytes"));
    if u16::from_ne_bytes([answer[4], answer[5]]) == BY_FAMILY && read >= 80 {
        return Ok(Some(Socket {
            state: answer[17],
            to_read: number(72),
            to_send: number(76),
        }));
    }
    match number(16) as i32 {
        ENOENT => Ok(None),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// A netlink header, and an inet_diag_req_v2.
fn question(local: SocketAddr, remote: Option<SocketAddr>) -> Vec<u8> {
    let (family, any) = match local.ip() {
        IpAddr::V4(_) => (AddressFamily::INET, "0.0.0.0:0"),
        IpAddr::V6(_) => (AddressFamily::INET6, "[::]:0"),
    };
    let remote = remote.unwrap_or_else(|| any.parse().expect("an address"));
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&72u32.to_ne_bytes());
    bytes.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&REQUEST.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family.as_raw() as u8, TCP, 0, 0]);
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    bytes.extend_from_slice(&local.port().to_be_bytes());
    bytes.extend_from_slice(&remote.port().to_be_bytes());
    for ip in [local.ip(), remote.ip()] {
        let mut octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        octets.resize(16, 0);
        bytes.extend_from_slice(&octets);
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&NO_COOKIE);
    bytes
}
