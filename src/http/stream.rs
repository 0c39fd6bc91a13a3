//! One connection, in the clear or with TLS, as the transport uses it: bytes out, bytes in, and
//! the question whether it is still as it was left. Blocks until the deadlines that it is handed.

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::ClientConnection;

use super::failure::Failure;
use super::socket::{Idle, Socket};
use super::tls::OriginTls;
use super::unread::Unread;

/// How much of a request went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    All,
    /// Something came before all of it was taken.
    Interrupted,
}

/// See the module's header.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Tls {
    connection: Box<ClientConnection>,
    origin: OriginTls,
}

impl Stream {
    pub fn plain(socket: Socket) -> Stream {
        Stream { socket, tls: None }
    }

    /// Makes the handshake with `host`.
    pub fn with_tls(
        mut socket: Socket,
        host: &str,
        origin: OriginTls,
        end: Instant,
    ) -> Result<Stream, Failure> {
        let connection = origin.connect(&mut socket, host, end)?;
        let tls = Some(Tls { connection, origin });
        Ok(Stream { socket, tls })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// What an error of this stream means, if TLS has to do with it.
    pub fn tls_failure(&self, e: &io::Error) -> Option<Failure> {
        self.tls.as_ref()?.origin.failure_of(e)
    }

    /// Whether it is as it was left: open, and nothing stands in it. What a server of its own
    /// accord says to TLS alone (a session ticket) does not count; an alert is an error.
    pub fn is_clean(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls
            && tls.holds_data()
        {
            return Ok(false);
        }
        match (self.socket.look(), &mut self.tls) {
            (Idle::Quiet, _) => Ok(true),
            (Idle::Readable, Some(tls)) => Ok(!tls.take_in(&self.socket)?),
            _ => Ok(false),
        }
    }

    /// Whether what was still to come has come by now, and nothing else.
    pub fn has_settled(&mut self, mut unread: Unread) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        while !unread.is_done() {
            let n = self.read_now(&mut buffer)?;
            unread = match unread.pass(&buffer[..n]) {
                Some(unread) if n > 0 => unread,
                _ => return Ok(false),
            };
        }
        self.is_clean()
    }

    /// Reads what stands in it; 0 at the end, `WouldBlock` if nothing does.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read_now(buffer),
            Some(tls) => {
                if !tls.holds_data() {
                    tls.take_in(&self.socket)?;
                }
                tls.connection.reader().read(buffer)
            }
        }
    }

    /// Sends all of `bytes`, unless something comes meanwhile: see [`Sent`].
    pub fn send(&mut self, bytes: &[u8], end: Instant) -> io::Result<Sent> {
        match &mut self.tls {
            None => send_plain(&self.socket, bytes, end),
            Some(tls) => tls.send(&self.socket, bytes, end),
        }
    }

    /// Receives what comes next; 0 at the end.
    pub fn receive(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer, end),
            Some(tls) => tls.receive(&mut self.socket, buffer, end),
        }
    }
}

impl Drop for Stream {
    /// Says farewell, as some servers log it as an error where that is missing. One that has
    /// hung up already would only answer with a reset.
    fn drop(&mut self) {
        if let Some(Tls { connection, .. }) = &mut self.tls
            && self.socket.look() == Idle::Quiet
        {
            connection.send_close_notify();
            // It is of no use to wait for room here.
            let _ = connection.write_tls(&mut Now(&self.socket));
        }
    }
}

fn send_plain(socket: &Socket, bytes: &[u8], end: Instant) -> io::Result<Sent> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write_now(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if wait_for_room(socket, end)? {
                    return Ok(Sent::Interrupted);
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(Sent::All)
}

/// Waits until more can be sent. Whether something has come meanwhile.
fn wait_for_room(socket: &Socket, end: Instant) -> io::Result<bool> {
    socket.wait(PollFlags::IN | PollFlags::OUT, end)
}

impl Tls {
    fn send(&mut self, socket: &Socket, bytes: &[u8], end: Instant) -> io::Result<Sent> {
        let mut taken = 0;
        loop {
            if taken < bytes.len() {
                taken += self.connection.writer().write(&bytes[taken..])?;
            }
            if !self.connection.wants_write() {
                if taken == bytes.len() {
                    return Ok(Sent::All);
                }
                continue;
            }
            match self.connection.write_tls(&mut Now(socket)) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if wait_for_room(socket, end)? && self.take_in(socket)? {
                        return Ok(Sent::Interrupted);
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn receive(
        &mut self,
        socket: &mut Socket,
        buffer: &mut [u8],
        end: Instant,
    ) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Many servers just hang up at the end, without the farewell of TLS. Whoever
                // frames the answer notices if it was cut short.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            self.connection.read_tls(&mut Until(socket, end))?;
            self.process()?;
            // It may have to answer: a change of keys, or an alert.
            while self.connection.wants_write() {
                match self.connection.write_tls(&mut Now(socket)) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        socket.wait(PollFlags::OUT, end)?;
                    }
                    result => drop(result?),
                }
            }
        }
    }

    /// Whether data has been decrypted that nobody has read.
    fn holds_data(&mut self) -> bool {
        let mut reader = self.connection.reader();
        reader.fill_buf().is_ok_and(|data| !data.is_empty())
    }

    /// Takes in what stands in the socket, without waiting. Whether there was more than TLS
    /// wanted for itself: data, the end, or part of a record that may become either.
    fn take_in(&mut self, socket: &Socket) -> io::Result<bool> {
        let mut wire = Records {
            wire: Now(socket),
            walk: Walk::default(),
        };
        loop {
            match self.connection.read_tls(&mut wire) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(wire.walk.is_inside()),
                Err(e) => return Err(e),
            }
            let state = self.connection.process_new_packets().map_err(invalid)?;
            if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
                return Ok(true);
            }
        }
    }

    fn process(&mut self) -> io::Result<()> {
        self.connection.process_new_packets().map_err(invalid)?;
        Ok(())
    }
}

fn invalid(e: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, e)
}

/// A socket that does not wait.
struct Now<'a>(&'a Socket);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_now(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_parts_now(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket whose records are followed.
struct Records<'a> {
    wire: Now<'a>,
    walk: Walk,
}

impl Read for Records<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.wire.read(buffer)?;
        self.walk.pass(&buffer[..n]);
        Ok(n)
    }
}

/// Knows whether bytes end where a TLS record does: five bytes of header, of which the last two
/// are the length of what follows.
#[derive(Debug, Default)]
struct Walk {
    header: usize,
    length: usize,
}

impl Walk {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.header == 5 {
                let passed = self.length.min(bytes.len());
                self.length -= passed;
                bytes = &bytes[passed..];
            } else {
                self.header += 1;
                if self.header > 3 {
                    self.length = self.length << 8 | usize::from(*first);
                }
                bytes = rest;
            }
            if self.header == 5 && self.length == 0 {
                *self = Walk::default();
            }
        }
    }

    fn is_inside(&self) -> bool {
        self.header > 0
    }
}

/// A socket that waits until a deadline.
struct Until<'a>(&'a mut Socket, Instant);

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_record_is_known_however_it_comes() {
        let bytes = b"\x17\x03\x03\x00\x02ab\x17\x03\x03\x01\x00".to_vec();
        let bytes = [bytes, vec![7; 256], b"\x15\x03\x03\x00\x00".to_vec()].concat();
        let ends = [0, 7, 7 + 5 + 256, bytes.len()];
        for step in 1..9 {
            let mut walk = Walk::default();
            let mut at = 0;
            for part in bytes.chunks(step) {
                walk.pass(part);
                at += part.len();
                assert_eq!(walk.is_inside(), !ends.contains(&at), "{at} by {step}");
            }
        }
    }
}
