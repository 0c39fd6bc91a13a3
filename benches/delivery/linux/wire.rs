//! One connection of the sink, in the clear or with TLS. Never blocks: the socket is asked for
//! what stands in it, and has room for the one answer that its client waits for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig, ServerConnection};

pub struct Wire {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Wire {
    pub fn new(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Wire> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let session = tls.map(|config| ServerConnection::new(config.clone()));
        let tls = session.transpose().map_err(io::Error::other)?.map(Box::new);
        Ok(Wire { stream, tls })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the session was resumed. `None` in the clear, and until that is known.
    pub fn is_resumed(&self) -> Option<bool> {
        let kind = self.tls.as_ref()?.handshake_kind()?;
        Some(kind == HandshakeKind::Resumed)
    }

    /// Reads once. `WouldBlock` when nothing has come that is for us; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(buffer);
        };
        if tls.read_tls(&mut self.stream)? == 0 {
            return Ok(0);
        }
        let news = tls.process_new_packets();
        // Its side of the handshake, or an alert that says what was wrong.
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        news.map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?;
        tls.reader().read(buffer)
    }

    /// Writes all of `answer`, and if it is the last one, the farewell of TLS.
    pub fn write(&mut self, answer: &[u8], is_last: bool) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.stream.write_all(answer);
        };
        tls.writer().write_all(answer)?;
        if is_last {
            tls.send_close_notify();
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}
