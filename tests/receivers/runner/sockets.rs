//! The sockets of a case: those that listen, and those that are there to refuse or to drop.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

use super::case::Case;
use super::kernel;
use super::wire::LIMIT;

/// Sockets that are bound and do not listen, and full queues with what fills them.
#[derive(Default)]
pub struct Closed {
    refusing: Vec<Socket>,
    full: Vec<(TcpListener, TcpStream)>,
}

/// The sockets of a case: all at one port, which the first of them gets from the kernel.
pub type Sockets = (u16, Vec<TcpListener>, Closed);

/// The ports that a case has had. A sender remembers what it has learned of an address, and a case
/// that got the port of an ended one would be judged by that one's manners.
static USED: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// Whether no case has had it; from now on one has.
fn is_unused(port: u16) -> bool {
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    used.get_or_insert_default().insert(port)
}

pub fn listen(case: &Case) -> io::Result<Sockets> {
    let mut tries = 0;
    // Held, so that the kernel gives another.
    let mut others = Vec::new();
    loop {
        tries += 1;
        match try_listen(case) {
            // Another program has this port at one of the other addresses.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && tries < 20 => {}
            Ok(sockets) if !is_unused(sockets.0) => others.push(sockets),
            other => return other,
        }
    }
}

fn try_listen(case: &Case) -> io::Result<Sockets> {
    let mut port = 0;
    let mut listeners = Vec::new();
    let mut closed = Closed::default();
    let mut bind_next = |address: &String| {
        let socket = bind(address, port)?;
        let bound = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("no address"))?;
        port = bound.port();
        io::Result::Ok((socket, bound))
    };
    for address in &case.listen {
        let (socket, _) = bind_next(address)?;
        if let Some(bytes) = case.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.listen(128)?;
        listeners.push(socket.into());
    }
    for address in &case.refuses {
        closed.refusing.push(bind_next(address)?.0);
    }
    for address in &case.drops {
        let (socket, bound) = bind_next(address)?;
        socket.listen(0)?;
        // One connection that nobody accepts fills a backlog of 0: from then on every SYN is
        // dropped, as by a host that is not there.
        let filler = TcpStream::connect_timeout(&bound, LIMIT)?;
        if !kernel::wait_queued(bound, 1, LIMIT) {
            return Err(io::Error::other("the queue of connections does not fill"));
        }
        closed.full.push((socket.into(), filler));
    }
    Ok((port, listeners, closed))
}

fn bind(address: &str, port: u16) -> io::Result<Socket> {
    let ip = address
        .parse()
        .map_err(|_| io::Error::other(format!("{address:?} is no address")))?;
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
