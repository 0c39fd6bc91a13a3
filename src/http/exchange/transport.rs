//! The connection under ureq, for one exchange.
//!
//! ureq frames the request and the body of the answer; this transport decides which bytes are
//! whose. It gets its connection from `opener.rs`; sends the request in one write; reads
//! the head of the answer itself (`response/head.rs`) and hands ureq a plain one; and gives the
//! connection back only if nothing came that was not asked for. All waiting ends at the exchange's deadline, which is kept here: ureq is given no timeouts at all.
//!
//! Buffers belong to the exchange and not to the connection: a connection that rests costs a socket.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};
use zeroize::Zeroizing;

use super::Exchange;
use super::buffers::{ExchangeBuffers, INPUT};
use crate::delivery::FailureKind;
use crate::http::connection::{Connection, Sent};
use crate::http::failure::{Failure, is_timeout, other, short};
use crate::http::request::head as request_head;
use crate::http::response::{BodyLength, Head, HeadReader, Keep, UnreadBody};

/// Output is held back until the answer is awaited, but no more than this.
const MAX_OUTPUT: usize = 64 * 1024;

/// An answer's body may be no longer than this on the wire, whatever it consists of: much less
/// is read, so this is about chunk extensions and trailers that never end.
const MAX_BODY: usize = 1 << 20;

/// The status has decided, and the body of a refusal is a text for people. It gets this much of the
/// time that is left to the exchange.
const BODY_TIME: Duration = Duration::from_secs(1);

/// Which part of the answer is being read.
enum Reading {
    Head(HeadReader),
    /// The head has been handed on; what it said.
    Body {
        head: Head,
        end: Instant,
        received: usize,
    },
}

/// How far the sending of the request has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sending {
    NotBegun,
    Begun,
    /// The server has answered, or hung up, before it had all. It gets no more.
    Stopped,
    Done,
}

/// See the module's header.
pub struct ExchangeTransport {
    exchange: Exchange,
    /// `None` once it has been given back.
    connection: Option<Box<dyn Connection>>,
    /// When the connection was there, if it was opened for this exchange.
    connected: Option<Duration>,
    buffers: ExchangeBuffers,
    sending: Sending,
    reading: Reading,
    /// Bytes that have come.
    received: usize,
    /// What is still to come of an answer whose body nobody reads.
    unread: UnreadBody,
}

impl fmt::Debug for ExchangeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeTransport").finish_non_exhaustive()
    }
}

impl ExchangeTransport {
    /// `connected`: when the connection was there, if it was opened for this exchange.
    pub fn new(
        exchange: Exchange,
        connection: Box<dyn Connection>,
        connected: Option<Duration>,
    ) -> ExchangeTransport {
        let buffers = ExchangeBuffers::new(exchange.expected.min(MAX_OUTPUT));
        ExchangeTransport {
            exchange,
            connection: Some(connection),
            connected,
            buffers,
            sending: Sending::NotBegun,
            reading: Reading::Head(HeadReader::default()),
            received: 0,
            unread: UnreadBody::Nothing,
        }
    }

    /// Sends the output so far. `last`: nothing more will come.
    fn flush(&mut self, last: bool) -> Result<(), Failure> {
        let length = self.buffers.take_output();
        let mut rewritten = None;
        if self.sending == Sending::NotBegun {
            request_head::tidy(self.buffers.taken(length));
            rewritten = self.rewrite(length);
        }
        let is_kept = self.connected.is_none();
        let mut sent = 0;
        self.sending = loop {
            let bytes = match &rewritten {
                Some(bytes) => &bytes[sent..],
                None => &self.buffers.taken(length)[sent..],
            };
            let connection = self
                .connection
                .as_mut()
                .expect("it is given back at the end");
            match connection.send(bytes, is_kept, self.exchange.end) {
                Ok(Sent::All) if last => break Sending::Done,
                Ok(Sent::All) => break Sending::Begun,
                // On a connection that has answered others it is theirs, whatever it is. On a new
                // one it can only be ours, as from a server that will not read so large a body.
                Ok(Sent::Interrupted(_)) if is_kept => return Err(self.stale()),
                Ok(Sent::Interrupted(n)) => {
                    sent += n;
                    self.sending = Sending::Begun;
                    self.read()?;
                    // An interim answer (1xx) says that it goes on.
                    if matches!(self.reading, Reading::Body { .. }) {
                        break Sending::Stopped;
                    }
                }
                Err(e) if is_timeout(&e) || is_kept => return Err(self.failure(e)),
                // It may have answered before it hung up. If not, reading says what is wrong.
                Err(_) => break Sending::Stopped,
            }
        };
        if matches!(self.sending, Sending::Done | Sending::Stopped) {
            // While the answer is awaited nothing of the request is needed.
            self.buffers.free_output();
        }
        Ok(())
    }

    /// The request as a proxy is to read it, if one is.
    fn rewrite(&mut self, length: usize) -> Option<Zeroizing<Vec<u8>>> {
        let to = &self.exchange.to;
        let gate = to.gate.as_ref().filter(|gate| gate.reads(&to.endpoint))?;
        Some(gate.rewrite(self.buffers.taken(length), &to.endpoint))
    }

    fn stale(&self) -> Failure {
        Failure {
            stale: true,
            ..Failure::new(FailureKind::Protocol, "the kept connection was not idle")
        }
    }

    fn failure(&self, e: io::Error) -> Failure {
        let (failure, exchange) = (self.describe(e), &self.exchange);
        match &exchange.to.gate {
            Some(gate)
                if self.received == 0 && !failure.stale && gate.reads(&exchange.to.endpoint) =>
            {
                gate.monitor
                    .note_silence(failure, &exchange.to.endpoint, exchange.begun)
            }
            _ => failure,
        }
    }

    fn describe(&self, e: io::Error) -> Failure {
        if is_timeout(&e) {
            return Failure::new(FailureKind::Timeout, self.describe_timeout());
        }
        let connection = self
            .connection
            .as_ref()
            .expect("it is given back at the end");
        let mut failure = connection.tls_failure(&e).unwrap_or_else(|| {
            let text = match e.kind() {
                ErrorKind::UnexpectedEof => match self.received {
                    0 => "the server closed the connection before it answered".into(),
                    n => format!("the server closed the connection after {n} bytes of its answer"),
                },
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    format!("the server reset the connection before it had answered: {e}")
                }
                _ => format!("the connection broke: {e}"),
            };
            Failure::new(FailureKind::Protocol, text)
        });
        failure.stale = self.connected.is_none() && self.received == 0;
        failure
    }

    fn describe_timeout(&self) -> String {
        let limit = short(self.exchange.end - self.exchange.begun);
        let connected = match self.connected {
            Some(after) => format!("connected after {}", short(after)),
            None => "on a kept connection".into(),
        };
        let phase = match (self.sending, self.received) {
            (Sending::Done, 0) => "request sent".into(),
            (Sending::Done, n) => format!("request sent, {n} bytes of an answer's head received"),
            _ => "the server did not take the whole request".into(),
        };
        format!("no answer within {limit} ({connected}, {phase})")
    }

    /// Reads once, and hands on the head when it is complete.
    fn read(&mut self) -> Result<bool, Failure> {
        let connection = self
            .connection
            .as_mut()
            .expect("it is given back at the end");
        let end = match &self.reading {
            Reading::Head(_) => self.exchange.end,
            Reading::Body { end, .. } => *end,
        };
        let room = self.buffers.input_append_buf();
        let n = connection.read(room, end).map_err(|e| self.failure(e))?;
        self.received += n;
        match &mut self.reading {
            Reading::Body { received, .. } => {
                *received += n;
                if *received > MAX_BODY {
                    let text = format!("the answer does not end within {MAX_BODY} bytes");
                    return Err(Failure::new(FailureKind::Protocol, text));
                }
                self.buffers.input_appended(n);
                Ok(n > 0)
            }
            Reading::Head(_) => self.read_head(n),
        }
    }

    fn read_head(&mut self, n: usize) -> Result<bool, Failure> {
        let Reading::Head(reader) = &mut self.reading else {
            unreachable!("the caller has looked");
        };
        let came = self.buffers.just_read(n);
        let (used, head) = match n {
            0 if self.received == 0 => return Err(self.failure(ErrorKind::UnexpectedEof.into())),
            0 => {
                let head = mem::take(reader).end();
                let head = head.map_err(|e| Failure::new(FailureKind::Protocol, e.to_string()))?;
                (0, Some(head))
            }
            _ => match reader.feed(came) {
                Ok(result) => result,
                Err(e) => {
                    let mut text = e.to_string();
                    if self.exchange.wants_body {
                        // What it begins with may be part of a token that nobody knows yet.
                        text.truncate(text.find(": it begins").unwrap_or(text.len()));
                    }
                    return Err(Failure::new(FailureKind::Protocol, text));
                }
            },
        };
        let Some(mut head) = head else {
            return Ok(true);
        };
        let to = &self.exchange.to;
        if let Some(gate) = to.gate.as_ref().filter(|gate| gate.reads(&to.endpoint)) {
            gate.monitor
                .note_answer(&head, &to.endpoint, self.exchange.begun)?;
        }
        let mut body = &came[used..];
        if (200..300).contains(&head.status) && !self.exchange.wants_body {
            // It has decided, and nobody wants its body. ureq is told that there is none.
            match UnreadBody::behind(head.length).and_then(|unread| unread.pass(body)) {
                Some(unread) => self.unread = unread,
                None => {
                    if head.length.is_exceeded_by(body.len()) {
                        let Exchange { shared, to, .. } = &self.exchange;
                        shared.pool.distrust(&to.key, Instant::now());
                    }
                    head.keep = Keep::No("its body does not end, or is none");
                }
            }
            (head.length, body) = (BodyLength::None, &[]);
        }
        let mut input = Vec::with_capacity(INPUT);
        head.write_canonical(&mut input);
        input.extend_from_slice(body);
        let received = body.len();
        self.buffers.replace_input(input);
        let end = match self.exchange.wants_body {
            true => self.exchange.end,
            false => self.exchange.end.min(Instant::now() + BODY_TIME),
        };
        self.reading = Reading::Body {
            head,
            end,
            received,
        };
        Ok(true)
    }

    /// Gives the connection back if it can be used again. A connection in the pool must be as quiet as a new
    /// one.
    fn give_back(&mut self) {
        let Reading::Body { head, .. } = &self.reading else {
            return;
        };
        if head.keep == Keep::Yes
            && self.sending == Sending::Done
            && let Some(connection) = self
                .connection
                .take_if(|connection| !connection.is_bloated())
        {
            let Exchange { shared, to, .. } = &self.exchange;
            let now = Instant::now();
            let unread = mem::replace(&mut self.unread, UnreadBody::Nothing);
            shared
                .pool
                .give(&to.key, (connection, unread), head.rest, now);
        }
    }
}

impl Drop for ExchangeTransport {
    /// ureq does not ask whether it is open if more has come than belongs to the answer.
    fn drop(&mut self) {
        let Exchange { shared, to, .. } = &self.exchange;
        if self
            .connection
            .as_mut()
            .is_some_and(|connection| connection.is_bloated())
        {
            shared.pool.forget_sessions(&to.key);
        }
        if let Reading::Body { head, received, .. } = &self.reading
            && head.keep == Keep::Yes
            && head.length.is_exceeded_by(*received)
        {
            shared.pool.distrust(&to.key, Instant::now());
        }
    }
}

impl Transport for ExchangeTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        if self.sending == Sending::Stopped {
            return Ok(());
        }
        if self.buffers.output_added(amount) >= MAX_OUTPUT {
            self.flush(false).map_err(other)?;
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        if matches!(self.sending, Sending::NotBegun | Sending::Begun) {
            self.flush(true).map_err(other)?;
            // The answer came first.
            if matches!(self.reading, Reading::Body { .. }) {
                return Ok(true);
            }
        }
        loop {
            let more = self.read().map_err(other)?;
            if !more || matches!(self.reading, Reading::Body { .. }) {
                return Ok(more);
            }
        }
    }

    /// ureq asks when it is done with a connection that can be used again, before it puts it into
    /// its own pool. That one stays empty: ours knows all origins, and has one budget for them.
    fn is_open(&mut self) -> bool {
        self.give_back();
        false
    }

    fn is_tls(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.is_tls())
    }
}
