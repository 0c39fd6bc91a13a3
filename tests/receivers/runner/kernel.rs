//! What only the kernel knows: whether the other side has what was sent.
//!
//! Read from `/proc/net/tcp`, so that a script can say "the sender's kernel has these bytes"
//! and no test depends on how long a packet takes on loopback.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// One line of the table.
struct Socket {
    listens: bool,
    to_send: u64,
    to_read: u64,
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
pub fn wait_queued(listener: SocketAddr, n: u64, limit: Duration) -> bool {
    wait(limit, || {
        find(listener, None).is_some_and(|socket| socket.listens && socket.to_read >= n)
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
    let table = match local.is_ipv4() {
        true => "/proc/net/tcp",
        false => "/proc/net/tcp6",
    };
    let table = fs::read_to_string(table).expect("the kernel's table of sockets");
    let wanted = hex(local);
    let far = remote.map(hex);
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (near_end, far_end, state, queues) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        if near_end != wanted || far.as_ref().is_some_and(|far| far != far_end) {
            return None;
        }
        let (to_send, to_read) = queues.split_once(':')?;
        Some(Socket {
            listens: state == "0A",
            to_send: u64::from_str_radix(to_send, 16).ok()?,
            to_read: u64::from_str_radix(to_read, 16).ok()?,
        })
    })
}

/// As the kernel writes addresses: words of four bytes, in the machine's order.
fn hex(addr: SocketAddr) -> String {
    let octets = match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks(4).map(|word| {
        let word = u32::from_ne_bytes(word.try_into().expect("four bytes"));
        format!("{word:08X}")
    });
    format!("{}:{:04X}", words.collect::<String>(), addr.port())
}
