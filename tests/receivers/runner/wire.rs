//! One connection of a receiver: TCP, with or without TLS on it, and what was read from it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use super::kernel;

/// Longer than anything that is awaited takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How much of a request is kept, for it to be compared and shown.
const KEPT: usize = 64 * 1024;

pub struct Wire {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// What was read and not yet given out.
    held: Vec<u8>,
}

/// A head and a body, as they came.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    pub body_bytes: usize,
}

/// What a handshake came to.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    pub server_name: Option<String>,
    pub resumed: bool,
}

impl Wire {
    pub fn new(tcp: TcpStream) -> io::Result<Wire> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(LIMIT))?;
        tcp.set_write_timeout(Some(LIMIT))?;
        let (local, remote) = (tcp.local_addr()?, tcp.peer_addr()?);
        Ok(Wire {
            tcp,
            tls: None,
            local,
            remote,
            held: Vec::new(),
        })
    }

    /// A handle that can end this connection from outside.
    pub fn handle(&self) -> io::Result<TcpStream> {
        self.tcp.try_clone()
    }

    pub fn shake_hands(&mut self, config: &Arc<ServerConfig>) -> Result<Handshake, String> {
        let mut tls = ServerConnection::new(config.clone()).map_err(|e| e.to_string())?;
        while tls.is_handshaking() {
            // What is to be told to the client, an alert perhaps, goes out also on a failure.
            tls.complete_io(&mut self.tcp).map_err(|e| e.to_string())?;
        }
        let shaken = Handshake {
            server_name: tls.server_name().map(str::to_owned),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        self.tls = Some(tls.into());
        Ok(shaken)
    }

    /// Something, or nothing at the end. A close without close_notify is an end too.
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.tls {
            None => self.tcp.read(buffer),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.tcp).read(buffer),
        };
        match read {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.tcp.write_all(bytes),
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls.as_mut(), &mut self.tcp);
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// Reads to `held` until `enough` says how much of it is wanted. `None`: the end came first.
    fn fill(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(wanted) = enough(&self.held) {
                return Ok(Some(self.held.drain(..wanted).collect()));
            }
            match self.read_some(&mut buffer)? {
                0 => return Ok(None),
                n => self.held.extend_from_slice(&buffer[..n]),
            }
        }
    }

    pub fn read_head(&mut self) -> io::Result<Option<Seen>> {
        let end = |held: &[u8]| {
            held.windows(4)
                .position(|w| w == b"\r\n\r\n")
                .map(|at| at + 4)
        };
        let head = self.fill(end)?;
        Ok(head.map(|head| Seen {
            head,
            ..Seen::default()
        }))
    }

    pub fn read_request(&mut self) -> io::Result<Option<Seen>> {
        let Some(mut seen) = self.read_head()? else {
            return Ok(None);
        };
        let length = seen
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let body = self.fill(|held| (held.len() >= length).then_some(length))?;
        seen.body_bytes = length;
        seen.body = body.unwrap_or_default();
        seen.body.truncate(KEPT);
        Ok(Some(seen))
    }

    pub fn read_bytes(&mut self, n: usize) -> io::Result<Option<Vec<u8>>> {
        self.fill(|held| (held.len() >= n).then_some(n))
    }

    pub fn read_anything(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.fill(|held| (!held.is_empty()).then_some(held.len()))
    }

    /// Reads and forgets until the sender closes.
    pub fn read_to_end(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while self.read_some(&mut buffer)? > 0 {}
        Ok(())
    }

    pub fn wait_arrived(&self) -> bool {
        kernel::wait_arrived(self.local, self.remote, LIMIT)
    }

    pub fn shut_writing(&mut self, notify: bool) -> io::Result<()> {
        if let (true, Some(tls)) = (notify, &mut self.tls) {
            tls.send_close_notify();
            tls.complete_io(&mut self.tcp)?;
        }
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Resets the connection, and returns when the sender's kernel knows.
    pub fn reset(self) -> bool {
        let (local, remote) = (self.local, self.remote);
        let _ = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO));
        drop(self.tcp);
        kernel::wait_reset(local, remote, LIMIT)
    }
}

impl Seen {
    /// A header's value, its name in whatever case.
    pub fn header(&self, name: &str) -> Option<String> {
        let text: String = self.head.iter().map(|&b| char::from(b)).collect();
        let mut lines = text
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        lines
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    }

    pub fn line(&self) -> String {
        let end = self
            .head
            .windows(2)
            .position(|w| w == b"\r\n")
            .unwrap_or(self.head.len());
        self.head[..end].iter().map(|&b| char::from(b)).collect()
    }
}
