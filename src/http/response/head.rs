//! Reads the heads of HTTP/1 answers. It stands between the socket (after TLS) and ureq.
//!
//! Pure: it is given bytes as they come, and says when the head is complete. ureq's parser refuses a
//! whole answer for one line that it does not like; but the status says whether the receiver took the
//! message, whatever else the head holds. So this reader finds the status, keeps the few fields that
//! outhook needs, and drops all other lines unread. [`Head::write_canonical`] then writes a head that
//! ureq's parser takes.
//!
//! It owns one partial line and the values that it keeps: 4 KiB at most, however long the head is.
//!
//! Where receivers differ from RFC 9112, the reader decides:
//!
//! - A length that cannot be relied on never makes anyone wait. The body then is what comes until the
//!   connection is closed, if the head says that it will be closed; otherwise nothing is read. In
//!   both cases the connection is not used again.
//! - A 2xx without any length counts at once too: its body is of no use, and a receiver that leaves
//!   the connection open would hold a worker for the whole timeout.
//! - A head that ends with the connection, behind a complete line, is an answer: small devices and shell
//!   scripts write a status line and close. curl, Python and browsers take it as well. A line
//!   that was torn is the mark of a crash: that is no answer.

use std::fmt;
use std::time::Duration;

mod fields;
mod status;
#[cfg(test)]
mod tests;

use fields::Fields;
pub use status::NotHttp;
use status::{StatusLine, check_beginning};

/// Heads are read to this length, interim answers included. Beyond it the status alone counts.
pub const MAX_HEAD: usize = 256 * 1024;

/// What is kept of a line that has not come in full. No field that is needed is longer.
const MAX_LINE: usize = 1024;

/// Blanks and line ends that may come before the status line.
const MAX_LEADING: usize = 64;

/// Reads one answer's head. A new one is needed for each request.
#[derive(Default)]
pub struct HeadReader {
    /// Bytes taken so far.
    seen: usize,
    /// Bytes of them that came before the status line.
    leading: usize,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Whether that line is longer than what is kept of it.
    cut: bool,
    status: Option<StatusLine>,
    /// Whether an interim answer was passed over.
    interim: bool,
    fields: Fields,
}

/// What outhook needs of an answer's head.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    pub status: u16,
    pub length: BodyLength,
    pub keep: Keep,
    /// How long the receiver says that it keeps an idle connection.
    pub rest: Option<Duration>,
    /// All `Retry-After` lines, joined with a comma; printable ASCII.
    pub retry_after: Option<Box<str>>,
    /// The first `Date`; printable ASCII.
    pub date: Option<Box<str>>,
    /// A proxy asks who we are (`Proxy-Authenticate`).
    pub asks: bool,
    /// What a proxy says of an answer that is its own; printable ASCII.
    pub proxy_says: Option<Box<str>>,
}

/// How the end of the body is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BodyLength {
    /// There is none, or none that can be read with certainty.
    None,
    Exactly(u64),
    Chunked,
    UntilClose,
}

/// Whether the connection may be used again, as far as the head says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    Yes,
    /// It may not, and why.
    No(&'static str),
}

/// The connection was closed before the head was complete.
#[derive(Debug, Clone, PartialEq)]
pub struct CutHead {
    /// The status, where its line was complete. It must not be taken for an answer.
    pub status: Option<u16>,
}

impl fmt::Display for CutHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(
                f,
                "the receiver closed the connection in the middle of a header line, after the status {status}"
            ),
            None => f.write_str(
                "the receiver closed the connection before its answer's status line was complete",
            ),
        }
    }
}

impl std::error::Error for CutHead {}

impl BodyLength {
    /// Whether this many bytes behind the head are more than the body, as far as is known.
    pub fn is_exceeded_by(self, bytes: usize) -> bool {
        match self {
            BodyLength::None => bytes > 0,
            BodyLength::Exactly(length) => bytes as u64 > length,
            BodyLength::Chunked | BodyLength::UntilClose => false,
        }
    }
}

impl HeadReader {
    /// Takes bytes, up to the end of the head. Returns how many were taken, and the head once it
    /// is complete; bytes behind that are the body's. Interim answers (1xx) are passed over, but for 101.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Head>), NotHttp> {
        let mut used = 0;
        if self.status.is_none() && self.line.is_empty() {
            used += self.skip_leading(bytes)?;
        }
        loop {
            let rest = &bytes[used..];
            let rest = &rest[..rest.len().min(MAX_HEAD - self.seen)];
            let end = rest.iter().position(|b| *b == b'\n');
            let taken = end.map_or(rest.len(), |end| end + 1);
            self.seen += taken;
            used += taken;
            let Some(end) = end else {
                self.store_part(rest);
                if self.status.is_none() {
                    check_beginning(&self.line)?;
                }
                return match self.seen == MAX_HEAD {
                    true => self.finish_too_long().map(|head| (used, Some(head))),
                    false => Ok((used, None)),
                };
            };
            let head = match self.line.is_empty() {
                true => self.read_line(&rest[..end])?,
                false => {
                    self.store_part(&rest[..end]);
                    let line = std::mem::take(&mut self.line);
                    let head = self.read_line(&line)?;
                    self.line = line;
                    self.line.clear();
                    head
                }
            };
            self.cut = false;
            if head.is_some() {
                return Ok((used, head));
            }
            if self.status.is_none() {
                used += self.skip_leading(&bytes[used..])?;
            }
        }
    }

    /// To be called when the connection is closed in the right way before the head is complete.
    pub fn end(mut self) -> Result<Head, CutHead> {
        match self.status {
            Some(line) if self.line.iter().all(|b| *b == b'\r') && line.is_final() => {
                Ok(self.finish(line, Some("the head ends with the connection")))
            }
            line => Err(CutHead {
                status: line.map(|line| line.status),
            }),
        }
    }

    /// How many bytes the reader holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn memory(&self) -> usize {
        self.line.capacity() + self.fields.memory()
    }

    fn skip_leading(&mut self, bytes: &[u8]) -> Result<usize, NotHttp> {
        let blank = |b: &&u8| matches!(**b, b' ' | b'\t' | b'\r' | b'\n');
        let count = bytes.iter().take_while(blank).count();
        let count = count.min(MAX_HEAD - self.seen);
        self.seen += count;
        self.leading += count;
        match self.leading > MAX_LEADING {
            true => Err(NotHttp(format!(
                "what came is not an answer of HTTP/1: it begins with more than {MAX_LEADING} blanks"
            ))),
            false => Ok(count),
        }
    }

    fn store_part(&mut self, part: &[u8]) {
        let room = MAX_LINE - self.line.len();
        // Grown by doubling, it could become twice as large as needed in the end.
        if self.line.capacity() < self.line.len() + part.len() {
            let more = part.len().max(self.line.len());
            self.line.reserve_exact(more.min(room));
        }
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.cut |= part.len() > room;
    }

    /// Reads a line without its LF. It may be longer than what is kept of a partial one.
    fn read_line(&mut self, line: &[u8]) -> Result<Option<Head>, NotHttp> {
        let cut = self.cut || line.len() > MAX_LINE;
        let mut line = &line[..line.len().min(MAX_LINE)];
        // More than one CR: a program that writes CR LF in text mode on Windows.
        while let [start @ .., b'\r'] = line {
            line = start;
        }
        let Some(status) = self.status else {
            check_beginning(line)?;
            self.status = Some(StatusLine::parse(line)?);
            return Ok(None);
        };
        if !line.is_empty() || cut {
            self.fields.read_line(line, cut);
            return Ok(None);
        }
        if !status.is_final() {
            self.status = None;
            self.interim = true;
            self.leading = 0;
            self.fields = Fields::default();
            return Ok(None);
        }
        Ok(Some(self.finish(status, None)))
    }

    fn finish_too_long(&mut self) -> Result<Head, NotHttp> {
        match self.status {
            Some(line) if line.is_final() => {
                Ok(self.finish(line, Some("the head is longer than 256 KiB")))
            }
            _ if self.interim => Err(NotHttp(format!(
                "only interim answers (1xx) came within {MAX_HEAD} bytes"
            ))),
            _ => Err(NotHttp(format!(
                "the status line does not end within {MAX_HEAD} bytes"
            ))),
        }
    }

    /// `broken`: why nothing behind this head can be read.
    fn finish(&mut self, line: StatusLine, broken: Option<&'static str>) -> Head {
        self.fields.end();
        let fields = std::mem::take(&mut self.fields);
        let (length, doubt) = match broken {
            Some(_) => (BodyLength::None, broken),
            None => fields.frame(line.status, line.persistent),
        };
        let keep = match doubt {
            Some(why) => Keep::No(why),
            None if line.status == 101 => Keep::No("the receiver switches to another protocol"),
            None if !line.familiar => Keep::No("the answer's version is not of HTTP/1"),
            None if fields.is_closing(line.persistent) => Keep::No("the receiver closes it"),
            None => Keep::Yes,
        };
        Head {
            status: line.status,
            length,
            keep,
            rest: fields.rest,
            retry_after: fields.retry_after,
            date: fields.date,
            asks: fields.asks,
            proxy_says: fields.proxy_says,
        }
    }
}

impl Head {
    /// Writes the head that ureq gets: what outhook needs and no more, in a form that its parser
    /// takes, and that makes it read just the body which [`Head::length`] says.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        let bodyless = matches!(self.status, 100..=199 | 204 | 304);
        let mut number = [0; 20];
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(format_number(u64::from(self.status), &mut number));
        out.extend_from_slice(b" X\r\n");
        let length = match self.length {
            BodyLength::Exactly(n) => Some(n),
            BodyLength::None if !bodyless => Some(0),
            _ => None,
        };
        if let Some(n) = length {
            let n = format_number(n, &mut number);
            write_field(out, b"content-length", n);
        }
        if self.length == BodyLength::Chunked {
            write_field(out, b"transfer-encoding", b"chunked");
        }
        if self.keep != Keep::Yes {
            write_field(out, b"connection", b"close");
        }
        if let Some(value) = &self.retry_after {
            write_field(out, b"retry-after", value.as_bytes());
        }
        if let Some(value) = &self.date {
            write_field(out, b"date", value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Formatting through `fmt` would cost more than the rest of the head.
fn format_number(mut n: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buffer[at..];
        }
    }
}
