//! TLS over a connection, as a connection: bytes out and in, and what else the server says to TLS.
//!
//! The connection below is a socket, or TLS to a proxy. Blocks until the deadlines that it is handed.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::ClientConnection;

use super::origin::OriginTls;
use super::records::RecordCursor;
use crate::http::connection::{Connection, Sent, Socket, Unasked};
use crate::http::failure::Failure;

/// TLS may keep for itself everything that comes. This many reads are made of it at a time.
const MAX_READS: usize = 32;

/// A server that says more than this to TLS (handshake, session tickets and the like) has its sessions
/// forgotten: they would hold as much memory for an hour, for each of thousands of origins. A record may
/// be 16 KiB, and part of one is not known to be an answer yet.
const MAX_TALK: usize = 32 * 1024;

/// See the module's header.
#[derive(Debug)]
pub struct TlsStream {
    below: Box<dyn Connection>,
    connection: Box<ClientConnection>,
    origin: OriginTls,
    /// Where in the server's records the bytes end that have been read from below.
    records: RecordCursor,
    /// How many bytes were handed on.
    read: usize,
}

impl TlsStream {
    /// Makes the handshake with `host`, a name or an address.
    pub fn connect(
        mut below: Box<dyn Connection>,
        host: &str,
        origin: OriginTls,
        end: Instant,
    ) -> Result<TlsStream, Failure> {
        let (connection, records) = origin.shake_hands(&mut *below, host, end)?;
        Ok(TlsStream {
            below,
            connection: Box::new(connection),
            origin,
            records,
            read: 0,
        })
    }

    fn flush(&mut self, end: Instant) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Now(&mut *self.below)) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.below.wait(PollFlags::OUT, end)?;
                }
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// Takes in what has come from below, without waiting.
    fn take_in(&mut self) -> io::Result<Unasked> {
        for _ in 0..MAX_READS {
            let mut wire = Records(&mut *self.below, &mut self.records);
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
        Ok(match self.records.is_inside() {
            _ if state.plaintext_bytes_to_read() > 0 => Unasked::Bytes,
            _ if state.peer_has_closed() => Unasked::End,
            true => Unasked::Unclear,
            false => Unasked::Nothing,
        })
    }

    /// Reads what TLS has made of what came; `WouldBlock` if that is nothing.
    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.connection.reader().read(buffer) {
            // Many servers just hang up at the end, without the farewell of TLS. ureq, which frames the
            // answer, notices if it was cut short.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
            result => {
                self.read += *result.as_ref().unwrap_or(&0);
                result
            }
        }
    }
}

impl Connection for TlsStream {
    fn socket(&self) -> &Socket {
        self.below.socket()
    }

    fn socket_mut(&mut self) -> &mut Socket {
        self.below.socket_mut()
    }

    fn is_tls(&self) -> bool {
        true
    }

    fn read(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize> {
        // Bytes that were taken and found no room go out before anyone waits for an answer to them.
        self.flush(end)?;
        let mut late = 0;
        loop {
            match self.read_plain(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            // What has come counts, whatever the clock says; but a server that talks to
            // TLS without end is not listened to without end.
            late += usize::from(Instant::now() >= end);
            if late > MAX_READS {
                return Err(ErrorKind::TimedOut.into());
            }
            let mut wire = Until(&mut *self.below, end, &mut self.records);
            self.connection.read_tls(&mut wire)?;
            self.process()?;
            // It may have to answer: a change of keys, or an alert.
            self.flush(end)?;
        }
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.read_plain(buffer) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.take_in()?;
                self.read_plain(buffer)
            }
            result => result,
        }
    }

    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Now(&mut *self.below))?;
        }
        let taken = self.connection.writer().write(bytes)?;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Now(&mut *self.below)) {
                // It has been taken, and goes out with the next bytes.
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                result => drop(result?),
            }
        }
        Ok(taken)
    }

    fn write_parts_now(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            match self.write_now(part) {
                Ok(n) if n < part.len() => return Ok(written + n),
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock && written > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(written)
    }

    fn send(&mut self, bytes: &[u8], suspicious: bool, end: Instant) -> io::Result<Sent> {
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
            match self.connection.write_tls(&mut Now(&mut *self.below)) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if self.below.wait(PollFlags::IN | PollFlags::OUT, end)? {
                        match self.take_in()? {
                            Unasked::Bytes | Unasked::End => {
                                return Ok(Sent::Interrupted(taken));
                            }
                            Unasked::Unclear if suspicious => {
                                return Ok(Sent::Interrupted(taken));
                            }
                            // A server that talks to TLS without end does not get time without end.
                            _ if Instant::now() >= end => return Err(ErrorKind::TimedOut.into()),
                            _ => {}
                        }
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn wait(&mut self, flags: PollFlags, end: Instant) -> io::Result<bool> {
        if !flags.contains(PollFlags::IN) {
            return self.below.wait(flags, end);
        }
        if self.process()? == Unasked::Bytes {
            return Ok(true);
        }
        while self.below.wait(flags, end)? {
            match self.take_in()? {
                Unasked::Bytes | Unasked::End => return Ok(true),
                // A server that talks to TLS without end is not waited for without end.
                _ if Instant::now() >= end => return Err(ErrorKind::TimedOut.into()),
                _ => {}
            }
        }
        Ok(false)
    }

    fn look(&mut self) -> io::Result<Unasked> {
        match self.below.look() {
            // Bytes may stand between the socket and us: those that were read with the last answer.
            Ok(Unasked::Nothing | Unasked::Unclear) => self.process(),
            Ok(Unasked::Bytes) => self.take_in(),
            Ok(Unasked::End) | Err(_) => Ok(Unasked::End),
        }
    }

    fn tls_failure(&self, e: &io::Error) -> Option<Failure> {
        self.origin.failure_of(e)
    }

    fn is_bloated(&mut self) -> bool {
        let state = self.connection.process_new_packets();
        let waiting = state.map_or(0, |state| state.plaintext_bytes_to_read());
        self.records.total.saturating_sub(self.read + waiting) > MAX_TALK
    }
}

impl Drop for TlsStream {
    /// Says farewell, as some servers log it as an error where that is missing. A server that has
    /// hung up already would only answer with a reset.
    fn drop(&mut self) {
        if let Ok(Unasked::Nothing | Unasked::Unclear) = self.below.look() {
            self.connection.send_close_notify();
            // It is of no use to wait for room here.
            let _ = self.connection.write_tls(&mut Now(&mut *self.below));
        }
    }
}

fn invalid(e: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, e)
}

/// The connection below, which does not wait.
struct Now<'a>(&'a mut dyn Connection);

/// What has come on the connection below, whose records are followed.
struct Records<'a>(&'a mut dyn Connection, &'a mut RecordCursor);

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

/// The connection below, which waits until a deadline, and whose records are followed.
struct Until<'a>(&'a mut dyn Connection, Instant, &'a mut RecordCursor);

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer, self.1)?;
        self.2.pass(&buffer[..n]);
        Ok(n)
    }
}
