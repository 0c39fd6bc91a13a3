//! One connection, in the clear or with TLS, as the transport uses it: bytes out, bytes in, and
//! the question whether it is still as it was left. Blocks until the deadlines that it is handed.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::ClientConnection;

use super::failure::{Failure, broken};
use super::records::Walk;
use super::socket::{Idle, Socket};
use super::tls::OriginTls;
use super::unread::Unread;
use crate::delivery::FaultKind;

/// How much of a request went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    All,
    /// Something came before all of it was taken. So many bytes were.
    Interrupted(usize),
}

/// What has come of which nobody has asked for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unasked {
    Nothing,
    /// What TLS has not made anything of yet: part of a record, or very many of them.
    Unclear,
    /// Bytes for whoever reads.
    Bytes,
    /// The other side has ended it.
    End,
}

/// Whether a connection can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is as quiet as a new one.
    Quiet,
    /// The rest of its last answer has not come.
    NotYet,
    /// More has come than was to come: what nobody has asked for.
    Exceeded,
    /// It has ended, or is broken.
    Ended,
}

/// Handshake, session tickets and the like: where they are longer, the sessions are not remembered,
/// as they would hold as much memory for an hour, for each of thousands of origins. A record may be
/// 16 KiB, and part of one is not known to be an answer yet.
const MAX_TALK: usize = 32 * 1024;

/// What is taken in at a time of which TLS keeps everything for itself: so many reads.
const MAX_READS: usize = 32;

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
    /// Where in the server's records the bytes end that have been read from the socket.
    walk: Walk,
    /// Bytes that were handed on.
    read: usize,
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
        let (connection, walk) = origin.connect(&mut socket, host, end)?;
        let tls = Tls {
            connection,
            origin,
            walk,
            read: 0,
        };
        let tls = Some(tls);
        Ok(Stream { socket, tls })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// What an error of this stream means, if TLS has to do with it.
    pub fn tls_failure(&self, e: &io::Error) -> Option<Failure> {
        self.tls.as_ref()?.origin.failure_of(e)
    }

    /// What is wrong with a new connection on which the server has spoken first, or has hung up.
    pub fn describe_unasked(&mut self) -> Failure {
        let mut buffer = [0; 60];
        let text = match self.read_now(&mut buffer) {
            Ok(0) => "the server closed the connection before it was asked".into(),
            Ok(n) => format!(
                "the server sent \"{}\" before it was asked: is the port right?",
                buffer[..n].escape_ascii()
            ),
            Err(e) => return broken(&e),
        };
        Failure::new(FaultKind::Protocol, text)
    }

    /// Whether the server has said more to TLS than honest ones do.
    pub fn is_bloated(&mut self) -> bool {
        let Some(tls) = &mut self.tls else {
            return false;
        };
        let state = tls.connection.process_new_packets();
        let waiting = state.map_or(0, |state| state.plaintext_bytes_to_read());
        tls.walk.total.saturating_sub(tls.read + waiting) > MAX_TALK
    }

    /// What stands in it. What a server says to TLS alone of its own accord (a session ticket) is
    /// nothing; an alert is an error.
    pub fn look(&mut self) -> io::Result<Unasked> {
        match (self.socket.look(), &mut self.tls) {
            (Idle::Quiet, None) => Ok(Unasked::Nothing),
            // It may stand between the socket and us: what was read with the last answer.
            (Idle::Quiet, Some(tls)) => tls.process(),
            (Idle::Readable, Some(tls)) => tls.take_in(&self.socket),
            (Idle::Readable, None) => Ok(Unasked::Bytes),
            (Idle::Ended, _) => Ok(Unasked::End),
        }
    }

    /// Takes in what has come of the rest of an answer.
    pub fn settle(&mut self, unread: &mut Unread) -> Settled {
        let mut buffer = [0; 4096];
        while !unread.is_done() {
            let n = match self.read_now(&mut buffer) {
                Ok(n @ 1..) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Settled::NotYet,
                _ => return Settled::Ended,
            };
            match std::mem::replace(unread, Unread::Nothing).pass(&buffer[..n]) {
                Some(rest) => *unread = rest,
                None => return Settled::Exceeded,
            }
        }
        match self.look() {
            Ok(Unasked::Nothing) => Settled::Quiet,
            Ok(Unasked::Bytes) => Settled::Exceeded,
            _ => Settled::Ended,
        }
    }

    /// Reads what stands in it; 0 at the end, `WouldBlock` if nothing does.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read_now(buffer),
            Some(tls) => {
                let mut result = tls.connection.reader().read(buffer);
                if matches!(&result, Err(e) if e.kind() == ErrorKind::WouldBlock) {
                    tls.take_in(&self.socket)?;
                    result = tls.connection.reader().read(buffer);
                }
                tls.read += *result.as_ref().unwrap_or(&0);
                result
            }
        }
    }

    /// Sends all of `bytes`, unless something comes meanwhile: see [`Sent`]. `suspicious`: what is
    /// [`Unasked::Unclear`] counts too.
    pub fn send(&mut self, bytes: &[u8], suspicious: bool, end: Instant) -> io::Result<Sent> {
        match &mut self.tls {
            None => send_plain(&self.socket, bytes, end),
            Some(tls) => tls.send(&self.socket, bytes, suspicious, end),
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
                    return Ok(Sent::Interrupted(sent));
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
    fn send(
        &mut self,
        socket: &Socket,
        bytes: &[u8],
        suspicious: bool,
        end: Instant,
    ) -> io::Result<Sent> {
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
                    if wait_for_room(socket, end)? {
                        match self.take_in(socket)? {
                            Unasked::Bytes | Unasked::End => {
                                return Ok(Sent::Interrupted(taken));
                            }
                            Unasked::Unclear if suspicious => {
                                return Ok(Sent::Interrupted(taken));
                            }
                            // Whoever talks to TLS without end is not given time without end.
                            _ if Instant::now() >= end => return Err(ErrorKind::TimedOut.into()),
                            _ => {}
                        }
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
        let mut late = 0;
        loop {
            match self.connection.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Many servers just hang up at the end, without the farewell of TLS. Whoever
                // frames the answer notices if it was cut short.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => {
                    self.read += *result.as_ref().unwrap_or(&0);
                    return result;
                }
            }
            // What stands in the socket counts, whatever the clock says; but a server that talks to
            // TLS without end is not listened to without end.
            late += usize::from(Instant::now() >= end);
            if late > MAX_READS {
                return Err(ErrorKind::TimedOut.into());
            }
            let mut wire = Until(socket, end, &mut self.walk);
            self.connection.read_tls(&mut wire)?;
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

    /// Takes in what stands in the socket, without waiting.
    fn take_in(&mut self, socket: &Socket) -> io::Result<Unasked> {
        for _ in 0..MAX_READS {
            let mut wire = Records(socket, &mut self.walk);
            match self.connection.read_tls(&mut wire) {
                Ok(0) => return Ok(Unasked::End),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return self.process(),
                Err(e) => return Err(e),
            }
            let come = self.process()?;
            if matches!(come, Unasked::Bytes | Unasked::End) {
                return Ok(come);
            }
        }
        Ok(Unasked::Unclear)
    }

    /// Makes something of what was read.
    fn process(&mut self) -> io::Result<Unasked> {
        let state = self.connection.process_new_packets().map_err(invalid)?;
        Ok(match self.walk.is_inside() {
            _ if state.plaintext_bytes_to_read() > 0 => Unasked::Bytes,
            _ if state.peer_has_closed() => Unasked::End,
            true => Unasked::Unclear,
            false => Unasked::Nothing,
        })
    }
}

fn invalid(e: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, e)
}

/// A socket that does not wait.
struct Now<'a>(&'a Socket);

/// What stands in a socket, whose records are followed.
struct Records<'a>(&'a Socket, &'a mut Walk);

impl Read for Records<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read_now(buffer)?;
        self.1.pass(&buffer[..n]);
        Ok(n)
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

/// A socket that waits until a deadline, and whose records are followed.
struct Until<'a>(&'a mut Socket, Instant, &'a mut Walk);

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer, self.1)?;
        self.2.pass(&buffer[..n]);
        Ok(n)
    }
}
