//! The body of an answer that has decided already, as far as it has not come yet. Pure.
//!
//! Nobody waits for the body of a 2xx. Its connection goes back to the pool with the knowledge of
//! what is still to come, and is used again only if that, and nothing more, has come by then.

use super::head::BodyLength;

/// More than this is not read for the sake of a connection.
const MOST: u64 = 64 * 1024;

/// What is still to come on a connection before it is quiet.
#[derive(Debug, Clone, PartialEq)]
pub enum UnreadBody {
    Nothing,
    Bytes(u64),
    Chunks(Chunks),
}

/// Where in a chunked body (RFC 9112 7.1) the next byte stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunks {
    at: At,
    /// Bytes passed so far, of whatever kind.
    passed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// In the digits of a chunk's size; whether there has been one.
    Size(u64, bool),
    /// Behind them, where only blanks and the end of the line may stand, or an extension.
    Behind(u64),
    /// In an extension, up to the end of the line.
    Extension(u64),
    Data(u64),
    /// The line end behind the data.
    DataEnd,
    /// In a trailer line; whether anything but its end has come.
    Trailer(bool),
}

impl UnreadBody {
    /// The body that follows a head; `None` if the connection is of no use any more.
    pub fn behind(length: BodyLength) -> Option<UnreadBody> {
        match length {
            BodyLength::None => Some(UnreadBody::Nothing),
            BodyLength::Exactly(0) => Some(UnreadBody::Nothing),
            BodyLength::Exactly(n) => (n <= MOST).then_some(UnreadBody::Bytes(n)),
            BodyLength::Chunked => Some(UnreadBody::Chunks(Chunks {
                at: At::Size(0, false),
                passed: 0,
            })),
            BodyLength::UntilClose => None,
        }
    }

    pub fn is_done(&self) -> bool {
        *self == UnreadBody::Nothing
    }

    /// Takes in what has come. `None` if it is more than the body, too much, or no body.
    #[must_use]
    pub fn pass(self, bytes: &[u8]) -> Option<UnreadBody> {
        match self {
            UnreadBody::Nothing => bytes.is_empty().then_some(UnreadBody::Nothing),
            UnreadBody::Bytes(left) => match left.checked_sub(bytes.len() as u64)? {
                0 => Some(UnreadBody::Nothing),
                left => Some(UnreadBody::Bytes(left)),
            },
            UnreadBody::Chunks(chunks) => chunks.pass(bytes),
        }
    }
}

impl Chunks {
    fn pass(mut self, mut bytes: &[u8]) -> Option<UnreadBody> {
        self.passed += bytes.len() as u64;
        if self.passed > MOST {
            return None;
        }
        while let Some((first, rest)) = bytes.split_first() {
            bytes = rest;
            self.at = match (self.at, first) {
                (At::Size(size, _), digit) if digit.is_ascii_hexdigit() => {
                    let digit = char::from(*digit).to_digit(16)?;
                    let size = size.checked_mul(16)? + u64::from(digit);
                    At::Size(size, true)
                }
                (At::Size(_, false), _) => return None,
                (At::Size(size, true) | At::Behind(size) | At::Extension(size), b'\n') => {
                    match size {
                        0 => At::Trailer(false),
                        size => At::Data(size),
                    }
                }
                (At::Size(size, true) | At::Behind(size), b' ' | b'\t' | b'\r') => At::Behind(size),
                (At::Size(size, true) | At::Behind(size), b';') => At::Extension(size),
                (At::Size(..) | At::Behind(_), _) => return None,
                (At::Extension(size), _) => At::Extension(size),
                (At::Data(left), _) => {
                    // The first byte of them has been taken already.
                    let more = (left - 1).min(bytes.len() as u64);
                    bytes = &bytes[more as usize..];
                    match left - 1 - more {
                        0 => At::DataEnd,
                        left => At::Data(left),
                    }
                }
                (At::DataEnd, b'\r') => At::DataEnd,
                (At::DataEnd, b'\n') => At::Size(0, false),
                (At::DataEnd, _) => return None,
                (At::Trailer(false), b'\n') => {
                    return bytes.is_empty().then_some(UnreadBody::Nothing);
                }
                (At::Trailer(true), b'\n') => At::Trailer(false),
                (At::Trailer(begun), b'\r') => At::Trailer(begun),
                (At::Trailer(_), _) => At::Trailer(true),
            };
        }
        Some(UnreadBody::Chunks(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left after these bytes, however they are cut.
    fn after(length: BodyLength, bytes: &[u8]) -> Option<UnreadBody> {
        let whole = UnreadBody::behind(length).unwrap().pass(bytes);
        for step in 1..=bytes.len() {
            let mut unread = UnreadBody::behind(length);
            for part in bytes.chunks(step) {
                unread = unread.and_then(|unread| unread.pass(part));
            }
            let passed = |unread: Option<UnreadBody>| match unread {
                Some(UnreadBody::Chunks(chunks)) => Some(chunks.at),
                _ => None,
            };
            match &whole {
                Some(UnreadBody::Chunks(chunks)) => assert_eq!(passed(unread), Some(chunks.at)),
                whole => assert_eq!(unread, *whole, "{bytes:?} by {step}"),
            }
        }
        whole
    }

    #[test]
    fn a_length_is_counted_down() {
        let ten = BodyLength::Exactly(10);
        assert_eq!(after(ten, b"0123"), Some(UnreadBody::Bytes(6)));
        assert_eq!(after(ten, b"0123456789"), Some(UnreadBody::Nothing));
        assert_eq!(after(ten, b"0123456789+"), None);
        assert_eq!(UnreadBody::behind(BodyLength::Exactly(MOST + 1)), None);
        assert_eq!(UnreadBody::behind(BodyLength::UntilClose), None);
        assert_eq!(after(BodyLength::None, b"x"), None);
        assert!(UnreadBody::behind(BodyLength::None).unwrap().is_done());
    }

    #[test]
    fn chunks_end_where_they_end() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A;x=\"y\"\r\n0123456789\r\n0;z\r\nTrailer: 1\r\nOther: 2\r\n\r\n",
            "1\na\n000\n\n",
        ] {
            let done = after(BodyLength::Chunked, body.as_bytes());
            assert_eq!(done, Some(UnreadBody::Nothing), "{body:?}");
            let more = after(BodyLength::Chunked, format!("{body}H").as_bytes());
            assert_eq!(more, None, "{body:?} and more");
            for cut in 0..body.len() {
                let part = after(BodyLength::Chunked, &body.as_bytes()[..cut]);
                assert!(
                    matches!(part, Some(UnreadBody::Chunks(_))),
                    "{body:?} to {cut}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "1 0\r\n",
            "-1\r\n",
            "3\r\nabcd\r\n",
            "fffffffffffffffff\r\n",
        ] {
            assert_eq!(
                after(BodyLength::Chunked, body.as_bytes()),
                None,
                "{body:?}"
            );
        }
        let endless = "1;".to_owned() + &"x".repeat(MOST as usize);
        let unread = UnreadBody::behind(BodyLength::Chunked).unwrap();
        assert_eq!(unread.pass(endless.as_bytes()), None);
    }
}
