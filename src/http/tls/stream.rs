//! TLS over what carries a connection: bytes out and in, and what else the server says.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::ClientConnection;

use crate::http::connection::carrier::Carrier;
use crate::http::connection::stream::{Sent, Unasked, wait_for_room};
use crate::http::tls::OriginTls;
use crate::http::tls::records::Walk;

/// What is taken in at a time of which TLS keeps everything for itself: so many reads.
const MAX_READS: usize = 32;

/// A connection's TLS.
#[derive(Debug)]
pub struct Tls {
    pub connection: Box<ClientConnection>,
    pub origin: OriginTls,
    /// Where in the server's records the bytes end that have been read from the socket.
    pub walk: Walk,
    /// Bytes that were handed on.
    pub read: usize,
}

impl Tls {
    pub fn send(
        &mut self,
        carrier: &mut Carrier,
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
            match self.connection.write_tls(&mut Now(carrier)) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if wait_for_room(carrier, end)? {
                        match self.take_in(carrier)? {
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

    pub fn receive(
        &mut self,
        carrier: &mut Carrier,
        buffer: &mut [u8],
        end: Instant,
    ) -> io::Result<usize> {
        // What was taken, and found no room, goes before anyone waits for an answer to it.
        self.flush(carrier, end)?;
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
            // What stands in the carrier counts, whatever the clock says; but a server that talks to
            // TLS without end is not listened to without end.
            late += usize::from(Instant::now() >= end);
            if late > MAX_READS {
                return Err(ErrorKind::TimedOut.into());
            }
            let mut wire = Until(carrier, end, &mut self.walk);
            self.connection.read_tls(&mut wire)?;
            self.process()?;
            // It may have to answer: a change of keys, or an alert.
            self.flush(carrier, end)?;
        }
    }

    /// Takes what there is room for, and sends what goes at once.
    pub fn write_now(&mut self, carrier: &mut Carrier, bytes: &[u8]) -> io::Result<usize> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Now(carrier))?;
        }
        let taken = self.connection.writer().write(bytes)?;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Now(carrier)) {
                // It has been taken, and goes with what comes next.
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                result => drop(result?),
            }
        }
        Ok(taken)
    }

    fn flush(&mut self, carrier: &mut Carrier, end: Instant) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Now(carrier)) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    carrier.wait(PollFlags::OUT, end)?;
                }
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// Takes in what stands in the carrier, without waiting.
    pub fn take_in(&mut self, carrier: &mut Carrier) -> io::Result<Unasked> {
        for _ in 0..MAX_READS {
            let mut wire = Records(carrier, &mut self.walk);
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
    pub fn process(&mut self) -> io::Result<Unasked> {
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

/// A carrier that does not wait.
pub struct Now<'a>(pub &'a mut Carrier);

/// What stands in a carrier, whose records are followed.
struct Records<'a>(&'a mut Carrier, &'a mut Walk);

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

/// A carrier that waits until a deadline, and whose records are followed.
struct Until<'a>(&'a mut Carrier, Instant, &'a mut Walk);

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer, self.1)?;
        self.2.pass(&buffer[..n]);
        Ok(n)
    }
}
