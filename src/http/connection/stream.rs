//! One connection, in the clear or with TLS, as the transport uses it: bytes out, bytes in, and
//! the question whether it is still as it was left. Blocks until the deadlines that it is handed.

use std::io::{self, ErrorKind, Read};
use std::time::Instant;

use rustix::event::PollFlags;

use crate::delivery::FailureKind;
use crate::http::connection::carrier::Carrier;
use crate::http::connection::socket::{Idle, Socket};
use crate::http::failure::{Failure, broken};
use crate::http::response::unread_body::Unread;
use crate::http::tls::OriginTls;
use crate::http::tls::stream::{Now, Tls};

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

/// See the module's header.
#[derive(Debug)]
pub struct Stream {
    carrier: Carrier,
    tls: Option<Tls>,
}

impl Stream {
    pub fn plain(carrier: Carrier) -> Stream {
        Stream { carrier, tls: None }
    }

    /// Makes the handshake with `host`.
    pub fn with_tls(
        mut carrier: Carrier,
        host: &str,
        origin: OriginTls,
        end: Instant,
    ) -> Result<Stream, Failure> {
        let (connection, walk) = origin.connect(&mut carrier, host, end)?;
        let tls = Tls {
            connection,
            origin,
            walk,
            read: 0,
        };
        let tls = Some(tls);
        Ok(Stream { carrier, tls })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some() || self.carrier.is_tls()
    }

    pub fn socket(&self) -> &Socket {
        self.carrier.socket()
    }

    pub fn socket_mut(&mut self) -> &mut Socket {
        self.carrier.socket_mut()
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
        Failure::new(FailureKind::Protocol, text)
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
        match (self.carrier.look(), &mut self.tls) {
            (Idle::Quiet, None) => Ok(Unasked::Nothing),
            // It may stand between the socket and us: what was read with the last answer.
            (Idle::Quiet, Some(tls)) => tls.process(),
            (Idle::Readable, Some(tls)) => tls.take_in(&mut self.carrier),
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
            None => self.carrier.read_now(buffer),
            Some(tls) => {
                let mut result = tls.connection.reader().read(buffer);
                if matches!(&result, Err(e) if e.kind() == ErrorKind::WouldBlock) {
                    tls.take_in(&mut self.carrier)?;
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
            None => send_plain(&mut self.carrier, bytes, end),
            Some(tls) => tls.send(&mut self.carrier, bytes, suspicious, end),
        }
    }

    /// Takes what there is room for; `WouldBlock` if there is none. It may not go out before the next
    /// read.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.carrier.write_now(bytes),
            Some(tls) => tls.write_now(&mut self.carrier, bytes),
        }
    }

    /// Waits until it is ready for one of `flags`. Whether there is something to read: what TLS keeps
    /// for itself is nothing.
    pub fn wait(&mut self, flags: PollFlags, end: Instant) -> io::Result<bool> {
        let Some(tls) = self.tls.as_mut().filter(|_| flags.contains(PollFlags::IN)) else {
            return self.carrier.wait(flags, end);
        };
        if tls.process()? == Unasked::Bytes {
            return Ok(true);
        }
        while self.carrier.wait(flags, end)? {
            match tls.take_in(&mut self.carrier)? {
                Unasked::Bytes | Unasked::End => return Ok(true),
                // Whoever talks to TLS without end is not waited for without end.
                _ if Instant::now() >= end => return Err(ErrorKind::TimedOut.into()),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Receives what comes next; 0 at the end.
    pub fn receive(&mut self, buffer: &mut [u8], end: Instant) -> io::Result<usize> {
        match &mut self.tls {
            None => self.carrier.read(buffer, end),
            Some(tls) => tls.receive(&mut self.carrier, buffer, end),
        }
    }
}

impl Drop for Stream {
    /// Says farewell, as some servers log it as an error where that is missing. One that has
    /// hung up already would only answer with a reset.
    fn drop(&mut self) {
        if let Some(Tls { connection, .. }) = &mut self.tls
            && self.carrier.look() == Idle::Quiet
        {
            connection.send_close_notify();
            // It is of no use to wait for room here.
            let _ = connection.write_tls(&mut Now(&mut self.carrier));
        }
    }
}

fn send_plain(carrier: &mut Carrier, bytes: &[u8], end: Instant) -> io::Result<Sent> {
    let mut sent = 0;
    while sent < bytes.len() {
        match carrier.write_now(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if wait_for_room(carrier, end)? {
                    return Ok(Sent::Interrupted(sent));
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(Sent::All)
}

/// Waits until more can be sent. Whether something has come meanwhile.
pub fn wait_for_room(carrier: &mut Carrier, end: Instant) -> io::Result<bool> {
    carrier.wait(PollFlags::IN | PollFlags::OUT, end)
}
