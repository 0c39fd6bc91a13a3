//! The resolver's thread: sockets, files and the clock for [`Lookups`], which decides.
//!
//! It owns all sockets to name servers and blocks in poll(2) alone, until something comes, is
//! due or is asked for. Where nothing is asked for it sleeps for good.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::info;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Shared;
use super::diagnosis::{list, shown};
use super::hosts_file::HostsFile;
use super::lookups::{Lookups, MAX_IN_FLIGHT};
use super::name_servers::StreamId;
use super::resolv_conf::ResolvConf;
use super::source_ports::{Random, SocketId};
use super::tcp::TcpQuery;
use super::watched_files::{Files, Interval, WatchedFile};
use crate::http::failure::is_own_trouble;

/// Datagrams read from one socket before the others get their turn.
const READS: usize = 64;

/// This many bytes may wait in a socket. The system may allow fewer.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Before poll(2) is tried again when it has failed.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// Larger than any datagram we ask for.
const DATAGRAM: usize = 4096;

pub fn start(
    shared: Arc<Shared>,
    woken: UnixStream,
    files: Files,
    servers: Vec<SocketAddr>,
) -> io::Result<()> {
    let (resolv_conf, conf) = WatchedFile::new(files.resolv_conf);
    let (hosts_file, hosts) = WatchedFile::new(files.hosts);
    let conf = ResolvConf::parse(&conf, &servers);
    let event_loop = EventLoop {
        lookups: Lookups::new(
            conf,
            HostsFile::parse(&hosts),
            Random::keyed(),
            MAX_IN_FLIGHT,
        ),
        shared,
        woken,
        servers,
        resolv_conf,
        hosts_file,
        interval: Interval::starting(Instant::now()),
        sockets: HashMap::new(),
        streams: HashMap::new(),
    };
    thread::Builder::new()
        .name("resolver".into())
        .spawn(move || event_loop.run())?;
    Ok(())
}

struct EventLoop {
    shared: Arc<Shared>,
    woken: UnixStream,
    lookups: Lookups,
    /// In place of those in resolv.conf.
    servers: Vec<SocketAddr>,
    resolv_conf: WatchedFile,
    hosts_file: WatchedFile,
    interval: Interval,
    sockets: HashMap<SocketId, UdpSocket>,
    streams: HashMap<StreamId, TcpQuery>,
}

/// Something that poll(2) has found to be ready.
enum Ready {
    Woken,
    Socket(SocketId),
    Stream(StreamId),
}

impl EventLoop {
    fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            let Some(more) = self.begin_requested() else {
                return;
            };
            self.lookups.run_due(Instant::now());
            self.send();
            self.publish();
            self.wait(more, &mut ready);
            for what in ready.drain(..) {
                match what {
                    Ready::Woken => self.drain_wakes(),
                    Ready::Socket(id) => self.read_socket(id),
                    Ready::Stream(id) => self.read_stream(id),
                }
            }
        }
    }

    /// Begins the look-ups that are requested. Answers whether there are more; `None` at the end.
    fn begin_requested(&mut self) -> Option<bool> {
        let now = Instant::now();
        let room = self.lookups.room(now);
        let mut state = self.shared.lock();
        if state.ended {
            return None;
        }
        let names: Vec<_> = (0..room)
            .map_while(|_| state.cache.take_request())
            .collect();
        let more = state.cache.requested() > 0;
        state.asleep = !more;
        drop(state);
        if !names.is_empty() && self.interval.has_passed(now) {
            self.read_changed_files(now);
        }
        for name in names {
            self.lookups.begin(name, now);
        }
        Some(more)
    }

    fn read_changed_files(&mut self, now: Instant) {
        if let Some(text) = self.resolv_conf.changed() {
            let conf = ResolvConf::parse(&text, &self.servers);
            if conf != *self.lookups.conf() {
                info!(
                    "resolv.conf has changed: names are asked for at {}",
                    list(conf.servers.iter().map(|s| shown(*s)))
                );
                self.lookups.set_conf(conf);
                let mut state = self.shared.lock();
                state.cache.doubt_all(now);
                self.shared.note_changes(&state);
            }
        }
        if let Some(text) = self.hosts_file.changed() {
            let hosts = HostsFile::parse(&text);
            let mut state = self.shared.lock();
            for name in self.lookups.hosts().differing(&hosts) {
                state.cache.forget(name);
            }
            self.shared.note_changes(&state);
            drop(state);
            self.lookups.set_hosts(hosts);
        }
    }

    /// Sends what stands in the outbox. A failure leads to more, for a few rounds.
    fn send(&mut self) {
        let now = Instant::now();
        loop {
            let outbox = std::mem::take(self.lookups.outbox());
            for stream in &outbox.disconnects {
                self.streams.remove(stream);
            }
            let mut failed: Vec<(SocketId, io::Error)> = Vec::new();
            for datagram in &outbox.datagrams {
                let bytes = &outbox.bytes[datagram.range.clone()];
                let sent = self
                    .socket(datagram.socket, datagram.server)
                    .and_then(|s| s.send(bytes));
                if let Err(e) = sent
                    && e.kind() != ErrorKind::WouldBlock
                {
                    // A datagram that the kernel has no room for is like any that is lost.
                    failed.retain(|(socket, _)| *socket != datagram.socket);
                    failed.push((datagram.socket, e));
                }
            }
            for (socket, e) in failed {
                self.note_shortage(&e, now);
                match is_our_own(&e) {
                    true => self.lookups.lose(socket, &e.to_string(), now),
                    false => self.lookups.refuse(socket, &e.to_string(), now),
                }
            }
            for (id, server, question) in outbox.connects.iter().cloned() {
                match TcpQuery::connect(server, question) {
                    Ok(stream) => drop(self.streams.insert(id, stream)),
                    Err(e) => {
                        self.note_shortage(&e, now);
                        self.lookups.receive_stream(id, Err(e.to_string()), now);
                    }
                }
            }
            for socket in self.lookups.take_unused_sockets() {
                self.sockets.remove(&socket);
            }
            self.lookups.run_due(now);
            if self.lookups.outbox().is_empty() {
                self.reuse(outbox);
                return;
            }
        }
    }

    /// Lets callers know if it is this machine that has run out of something.
    fn note_shortage(&self, e: &io::Error, now: Instant) {
        if is_own_trouble(e) {
            self.shared.lock().starved = Some(now);
        }
    }

    /// Keeps the memory of an outbox for the next one.
    fn reuse(&mut self, mut outbox: super::name_servers::Outbox) {
        outbox.clear();
        *self.lookups.outbox() = outbox;
    }

    fn publish(&mut self) {
        let news = self.lookups.take_published();
        if !news.is_empty() {
            self.shared.publish(&news, Instant::now());
        }
    }

    /// Waits until something is ready or due, or until there is room for more, if there is more.
    fn wait(&mut self, more: bool, ready: &mut Vec<Ready>) {
        let now = Instant::now();
        let room_due = match (more, self.lookups.room(now)) {
            (false, _) => None,
            (true, 0) => self.lookups.room_due(),
            (true, _) => Some(now),
        };
        let due = self.lookups.next_due().into_iter().chain(room_due).min();
        let left = due.map(|due| due.saturating_duration_since(now));
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        fds.extend(self.sockets.values().map(|s| PollFd::new(s, PollFlags::IN)));
        fds.extend(self.streams.values().map(|s| match s.is_writing() {
            true => PollFd::new(s, PollFlags::OUT),
            false => PollFd::new(s, PollFlags::IN),
        }));
        if let Err(e) = poll(&mut fds, timeout.as_ref()) {
            // Nothing is ready then. Without memory for it, it should not be tried in a loop.
            if e != rustix::io::Errno::INTR {
                thread::sleep(AFTER_ERROR);
            }
            return;
        }
        let whose = [Ready::Woken].into_iter();
        let whose = whose.chain(self.sockets.keys().map(|id| Ready::Socket(*id)));
        let whose = whose.chain(self.streams.keys().map(|id| Ready::Stream(*id)));
        let found = whose.zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        ready.extend(found.map(|(what, _)| what));
    }

    fn drain_wakes(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.woken.read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }

    fn read_socket(&mut self, id: SocketId) {
        let mut bytes = [0; DATAGRAM];
        for _ in 0..READS {
            let Some(socket) = self.sockets.get(&id) else {
                return;
            };
            match socket.recv(&mut bytes) {
                Ok(n) => self.lookups.receive(id, &bytes[..n], Instant::now()),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return;
                }
                // Connected sockets are told when nobody listens there.
                Err(e) => return self.lookups.refuse(id, &e.to_string(), Instant::now()),
            }
        }
    }

    fn read_stream(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let Some(result) = stream.progress() else {
            return;
        };
        let result = result.map_err(|e| format!("by TCP: {e}"));
        self.lookups.receive_stream(id, result, Instant::now());
        self.streams.remove(&id);
    }

    /// The socket of this number, opened if it is not there yet. Connected, so that the kernel
    /// lets in what comes from the server alone.
    fn socket(&mut self, id: SocketId, server: SocketAddr) -> io::Result<&UdpSocket> {
        use std::collections::hash_map::Entry;
        match self.sockets.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(open(server)?)),
        }
    }
}

/// Whether this machine has no room for a socket, or no address of the server's family: nothing
/// that the server is to blame for.
fn is_our_own(e: &io::Error) -> bool {
    is_own_trouble(e) || e.kind() == ErrorKind::AddrNotAvailable
}

fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    // Without it, bursts of answers are lost a little earlier.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}
