//! The fields of an answer's head that outhook needs, read line by line; what they say about the
//! body and the connection. Pure.

use std::time::Duration;

use super::BodyLength;

/// Longer values are cut, and then count as not understood.
const MAX_VALUE: usize = 512;

/// The longest rest that a receiver is believed to grant.
const MAX_REST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Copy)]
enum Name {
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    RetryAfter,
    Date,
    ProxyAuthenticate,
    /// A proxy's own words: the standard's field (RFC 9209), Squid's, Smokescreen's.
    ProxyError,
}

/// What the lines so far have said.
#[derive(Default)]
pub struct Fields {
    /// The field of the last line, if it is one that is needed: the next line may continue it.
    open: Option<Name>,
    value: Vec<u8>,
    cut: bool,
    length: Length,
    coding: Coding,
    close: bool,
    keep_alive: bool,
    pub rest: Option<Duration>,
    pub retry_after: Option<Box<str>>,
    pub date: Option<Box<str>>,
    /// A proxy asks who we are.
    pub asks: bool,
    /// The first words of a proxy.
    pub proxy_says: Option<Box<str>>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Length {
    #[default]
    Absent,
    Exactly(u64),
    Unclear(&'static str),
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Coding {
    #[default]
    Absent,
    Chunked,
    /// Another coding, which nobody has asked for, and chunked last: the end can be found.
    OtherThenChunked,
    Other,
    Unclear(&'static str),
}

impl Fields {
    /// Reads a line without its end. `cut`: it was longer than that.
    pub fn read_line(&mut self, line: &[u8], cut: bool) {
        if let [b' ' | b'\t', ..] = line {
            // A folded line continues the field before it, whichever that is.
            if self.open.is_some() {
                self.append(b" ");
                self.append(line.trim_ascii());
                self.cut |= cut;
            }
            return;
        }
        self.end();
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            return;
        };
        let (name, value) = line.split_at(colon);
        self.open = Name::find(name.trim_ascii_end());
        if self.open.is_some() {
            self.append(value[1..].trim_ascii());
            self.cut |= cut;
        }
    }

    fn append(&mut self, part: &[u8]) {
        let room = MAX_VALUE - self.value.len();
        self.value.extend_from_slice(&part[..part.len().min(room)]);
        self.cut |= part.len() > room;
    }

    /// Reads the last field, as no line continues it.
    pub fn end(&mut self) {
        let Some(name) = self.open.take() else {
            return;
        };
        let value = std::mem::take(&mut self.value);
        let text = value.trim_ascii();
        match (name, self.cut) {
            (Name::ContentLength, false) => self.read_length(text),
            (Name::ContentLength, true) => {
                self.length = Length::Unclear("Content-Length is not a number");
            }
            (Name::TransferEncoding, false) => self.read_codings(text),
            (Name::TransferEncoding, true) => {
                self.coding = Coding::Unclear("Transfer-Encoding is too long");
            }
            (Name::Connection, cut) => {
                self.close |= cut || has_token(text, b"close");
                self.keep_alive |= has_token(text, b"keep-alive");
            }
            (Name::KeepAlive, false) => self.rest = self.rest.or_else(|| read_rest(text)),
            (Name::RetryAfter, false) => self.read_retry_after(text),
            (Name::ProxyAuthenticate, _) => self.asks = true,
            (Name::ProxyError, _) if self.proxy_says.is_none() => {
                self.proxy_says = printable(text).map(Box::from);
            }
            (Name::Date, false) if self.date.is_none() => {
                self.date = printable(text).map(Box::from);
            }
            _ => {}
        }
        self.value = value;
        self.value.clear();
        self.cut = false;
    }

    /// One number, or the same one several times.
    fn read_length(&mut self, text: &[u8]) {
        for item in items(text) {
            let number = match item.iter().all(u8::is_ascii_digit) && item.len() < 20 {
                true => std::str::from_utf8(item).ok().and_then(|s| s.parse().ok()),
                false => None,
            };
            self.length = match (self.length, number) {
                (Length::Unclear(why), _) => Length::Unclear(why),
                (_, None) => Length::Unclear("Content-Length is not a number"),
                (Length::Exactly(before), Some(n)) if n != before => {
                    Length::Unclear("Content-Length stands twice, and differs")
                }
                (_, Some(n)) => Length::Exactly(n),
            };
        }
    }

    fn read_codings(&mut self, text: &[u8]) {
        // A list may have empty elements, but a field that names nothing says nothing sure.
        if items(text).all(|item| item.is_empty()) {
            self.coding = Coding::Unclear("Transfer-Encoding is empty");
        }
        for item in items(text).filter(|item| !item.is_empty()) {
            let chunked = item.eq_ignore_ascii_case(b"chunked");
            self.coding = match (self.coding, chunked) {
                (Coding::Unclear(why), _) => Coding::Unclear(why),
                (Coding::Absent, true) => Coding::Chunked,
                (Coding::Other, true) => Coding::OtherThenChunked,
                (Coding::Absent | Coding::Other, false) => Coding::Other,
                (Coding::Chunked | Coding::OtherThenChunked, true) => {
                    Coding::Unclear("Transfer-Encoding says chunked twice")
                }
                (Coding::Chunked | Coding::OtherThenChunked, false) => {
                    Coding::Unclear("Transfer-Encoding does not end with chunked")
                }
            };
        }
    }

    fn read_retry_after(&mut self, text: &[u8]) {
        let Some(text) = printable(text) else {
            return;
        };
        self.retry_after = match self.retry_after.take() {
            None => Some(text.into()),
            // Many lines are nonsense, but a few may come from several proxies.
            Some(before) => Some(match format!("{before}, {text}") {
                longer if longer.len() > MAX_VALUE => before,
                both => both.into(),
            }),
        };
    }

    /// How many bytes the fields hold.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn memory(&self) -> usize {
        let texts = [&self.retry_after, &self.date, &self.proxy_says]
            .map(|text| text.as_ref().map_or(0, |t| t.len()));
        self.value.capacity() + texts.iter().sum::<usize>()
    }

    /// `persistent`: the version is 1.1 or later.
    pub fn is_closing(&self, persistent: bool) -> bool {
        self.close || !(persistent || self.keep_alive)
    }

    /// The body's length, and a reason, if there is one, why the connection must not be used again
    /// whatever `Connection` says.
    pub fn frame(&self, status: u16, persistent: bool) -> (BodyLength, Option<&'static str>) {
        let closing = self.is_closing(persistent);
        if matches!(status, 100..=199 | 204 | 304) {
            let silent = self.coding == Coding::Absent
                && matches!(self.length, Length::Absent | Length::Exactly(0));
            let doubt = (!silent).then_some("a body is announced where none may be");
            return (BodyLength::None, doubt);
        }
        let unclear = |why| match closing {
            true => (BodyLength::UntilClose, Some(why)),
            false => (BodyLength::None, Some(why)),
        };
        match (self.coding, self.length) {
            (Coding::Unclear(why), _) => unclear(why),
            (Coding::Other, _) => unclear("Transfer-Encoding is not chunked"),
            (Coding::Absent, Length::Unclear(why)) => unclear(why),
            (Coding::Absent, Length::Exactly(n)) => (BodyLength::Exactly(n), None),
            (Coding::Absent, Length::Absent) => match closing {
                true => (BodyLength::UntilClose, None),
                // There is no reason to wait for the body of a success.
                false if status < 300 => (BodyLength::None, Some("the answer has no length")),
                false => (BodyLength::UntilClose, Some("the answer has no length")),
            },
            (_, Length::Exactly(_) | Length::Unclear(_)) => {
                unclear("the answer has both Content-Length and Transfer-Encoding")
            }
            (Coding::Chunked, Length::Absent) if persistent => (BodyLength::Chunked, None),
            (Coding::Chunked, Length::Absent) => (
                BodyLength::Chunked,
                Some("HTTP/1.0 does not know Transfer-Encoding"),
            ),
            (Coding::OtherThenChunked, Length::Absent) => (
                BodyLength::Chunked,
                Some("Transfer-Encoding is not chunked alone"),
            ),
        }
    }
}

impl Name {
    fn find(name: &[u8]) -> Option<Name> {
        // By length first: nearly all lines of nearly all answers end here.
        let (text, found): (&[u8], Name) = match name.len() {
            4 => (b"date", Name::Date),
            10 if name[0].eq_ignore_ascii_case(&b'k') => (b"keep-alive", Name::KeepAlive),
            10 => (b"connection", Name::Connection),
            11 => (b"retry-after", Name::RetryAfter),
            12 => (b"proxy-status", Name::ProxyError),
            13 => (b"x-squid-error", Name::ProxyError),
            14 => (b"content-length", Name::ContentLength),
            17 => (b"transfer-encoding", Name::TransferEncoding),
            18 => (b"proxy-authenticate", Name::ProxyAuthenticate),
            19 => (b"x-smokescreen-error", Name::ProxyError),
            _ => return None,
        };
        name.eq_ignore_ascii_case(text).then_some(found)
    }
}

fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == b',').map(|item| item.trim_ascii())
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    items(list).any(|item| item.eq_ignore_ascii_case(token))
}

/// `timeout=5, max=100`.
fn read_rest(text: &[u8]) -> Option<Duration> {
    let text = printable(text)?;
    let mut parts = text
        .split([',', ';'])
        .filter_map(|part| part.split_once('='));
    let (_, seconds) = parts.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    let seconds = seconds.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_REST))
}

fn printable(text: &[u8]) -> Option<&str> {
    let good = !text.is_empty() && text.iter().all(|b| (b' '..=b'~').contains(b));
    std::str::from_utf8(text).ok().filter(|_| good)
}
