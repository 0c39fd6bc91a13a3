//! An entry of the stream, as Redis gives it, and what it holds. Pure.

mod compose;

use std::fmt;
use std::str::FromStr;

use crate::message::detail::Detail;
use crate::message::{MAX_ATTEMPTS, RejectReason, vet_id};
use compose::{compose, has_fields};

/// The longest `source` or `last` that is believed, in bytes.
const MAX_SOURCE: usize = 1024;

/// Which of the two streams an entry stands in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// New messages.
    #[default]
    Messages,
    /// Messages that have come back.
    Again,
}

/// The id of a stream entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    pub stream: Stream,
    /// Unix milliseconds, by Redis's clock, at which it was added.
    pub ms: u64,
    pub seq: u64,
}

impl EntryId {
    /// The id of an entry of the first stream.
    pub fn new(ms: u64, seq: u64) -> EntryId {
        let stream = Stream::Messages;
        EntryId { stream, ms, seq }
    }

    /// The same id in that stream.
    pub fn of(self, stream: Stream) -> EntryId {
        EntryId { stream, ..self }
    }
}

/// As Redis writes it, without the stream.
impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Ok(EntryId::new(ms.parse()?, seq.parse()?))
    }
}

/// See the module's header.
#[derive(Debug)]
pub struct Entry {
    pub id: EntryId,
    /// Redis's delivery count: 1 for reading it, and 1 for each attempt noted since.
    pub count: u32,
    /// Taken over from a process that died, or from an earlier life of this one.
    pub suspect: bool,
    /// Names and values in turn, as they came.
    pub fields: Vec<Vec<u8>>,
}

/// What an entry holds. Producers give `message` alone, or the fields of a message; the other
/// fields are outhook's, on entries that were parked.
#[derive(Debug, PartialEq)]
pub struct StoredMessage {
    pub message: Vec<u8>,
    /// Attempts made before the message became this entry.
    pub attempts: u32,
    pub received: Option<u64>,
    pub id: Option<String>,
    pub source: Option<String>,
    /// The result of its last attempt.
    pub failure: Option<String>,
    /// The key whose head it is, if it has come back.
    pub head: Option<String>,
}

impl Entry {
    /// Whether outhook itself added it, for a message that it had before.
    pub fn was_moved(&self) -> bool {
        let mut pairs = self.fields.chunks_exact(2);
        pairs.any(|pair| pair[0] == b"received_ms")
    }

    /// The key whose head it is. Only outhook adds entries to the second stream.
    pub fn head(&self) -> Option<String> {
        let mut pairs = self.fields.chunks_exact(2);
        let head = pairs.find(|pair| pair[0] == b"head")?;
        let is_ours = self.id.stream == Stream::Again;
        String::from_utf8(head[1].clone()).ok().filter(|_| is_ours)
    }

    /// The error is the reason, a sentence for the producer, and all bytes of the entry.
    pub fn open(self) -> Result<StoredMessage, (RejectReason, Detail, Vec<u8>)> {
        let of = |name: &str| {
            let pairs = self.fields.chunks_exact(2);
            pairs
                .filter(|pair| pair[0] == name.as_bytes())
                .map(|pair| &pair[1])
                .collect::<Vec<_>>()
        };
        let text = |name: &str| match of(name)[..] {
            [value] => String::from_utf8(value.clone()).ok(),
            _ => None,
        };
        let found = of("message").len();
        let (attempts, received) = (text("attempts"), text("received_ms"));
        let (id, source, failure) = (text("id"), text("source"), text("last"));
        let head = self.head();
        let number = |text: Option<String>| text.and_then(|t| t.parse::<u64>().ok());
        if found == 0 && has_fields(&self.fields) {
            return match compose(&self.fields) {
                Ok(message) => Ok(StoredMessage {
                    message,
                    attempts: 0,
                    received: None,
                    id: None,
                    source: None,
                    failure: None,
                    head: None,
                }),
                Err((reason, detail)) => Err((reason, detail, self.fields.join(&b' '))),
            };
        }
        if found != 1 {
            let names = self.fields.chunks_exact(2).map(|pair| &pair[0]);
            let names: Vec<_> = names.map(|n| String::from_utf8_lossy(n)).collect();
            let names = names.join(" ").replace(char::is_control, " ");
            let says = format!(
                "the entry must have one field `message`, or the fields of a message (`url`, \
                 `data`, …); it has {found} of the former"
            );
            let names: String = names.chars().take(200).collect();
            let detail = Detail::quoting(says, format!(", and the fields: {names}"));
            return Err((RejectReason::BadEntry, detail, self.fields.join(&b' ')));
        }
        if let Some(name) = stray_secret(&self.fields) {
            let detail = format!(
                "the entry has a field {name} beside `message`, where it would say nothing: put it \
                 into the message"
            );
            return Err((
                RejectReason::BadEntry,
                detail.into(),
                self.fields.join(&b' '),
            ));
        }
        let at = self.fields.chunks_exact(2).position(|p| p[0] == b"message");
        let message = self.fields.into_iter().nth(at.unwrap_or_default() * 2 + 1);
        Ok(StoredMessage {
            message: message.unwrap_or_default(),
            attempts: number(attempts).map_or(0, |n| n.min(MAX_ATTEMPTS.into()) as u32),
            received: number(received),
            // Anyone may add entries: values that outhook would not write are ignored.
            id: id.filter(|id| vet_id(id).is_ok()),
            source: source.filter(|s| is_line(s)),
            failure: failure.filter(|s| is_line(s)),
            head,
        })
    }
}

/// A producer that names a secret in the entry must not get its message signed with another key, or
/// not at all.
fn stray_secret(fields: &[Vec<u8>]) -> Option<&str> {
    let is_meant = |name: &[u8]| {
        let letters = name.iter().filter(|byte| !matches!(byte, b'_' | b'-'));
        letters.map(u8::to_ascii_lowercase).eq(*b"secret")
    };
    let mut names = fields.chunks_exact(2).map(|pair| &pair[0]);
    names
        .find(|name| is_meant(name))
        .and_then(|name| std::str::from_utf8(name).ok())
}

fn is_line(text: &str) -> bool {
    text.len() <= MAX_SOURCE && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(fields: &[&[u8]]) -> Result<StoredMessage, (RejectReason, Detail, Vec<u8>)> {
        let fields = fields.iter().map(|f| f.to_vec()).collect();
        let id = EntryId::new(1, 0);
        let (count, suspect) = (1, false);
        Entry {
            id,
            count,
            suspect,
            fields,
        }
        .open()
    }

    #[test]
    fn the_message_is_found_whatever_stands_beside_it() {
        let plain = open(&[b"message", b"{}"]).unwrap();
        assert_eq!((plain.message, plain.attempts), (b"{}".to_vec(), 0));
        let odd: &[&[u8]] = &[
            b"\xff",
            b"x",
            b"message",
            b"m",
            b"attempts",
            b"7",
            b"id",
            b"\xff",
        ];
        let held = open(odd).unwrap();
        assert_eq!(
            (held.message, held.attempts, held.id),
            (b"m".to_vec(), 7, None)
        );
        assert_eq!(
            open(&[b"message", b"m", b"attempts", b"x"])
                .unwrap()
                .attempts,
            0
        );
        assert_eq!(
            open(&[b"message", b"m", b"attempts", b"99999999999"])
                .unwrap()
                .attempts,
            MAX_ATTEMPTS
        );
        for name in ["secret", "Secret"] {
            let (reason, detail, _) =
                open(&[b"message", b"{}", name.as_bytes(), b"acme"]).unwrap_err();
            assert!(
                reason == RejectReason::BadEntry && detail.sentence().contains(name),
                "{detail}"
            );
        }
        for (name, value) in [("id", "a b"), ("id", ""), ("source", "a\nb")] {
            let fields: [&[u8]; 4] = [b"message", b"m", name.as_bytes(), value.as_bytes()];
            let held = open(&fields).unwrap();
            assert_eq!((held.id, held.source), (None, None), "{name} {value:?}");
        }
    }

    #[test]
    fn none_or_two_of_it_are_refused_with_all_bytes() {
        let (_, detail, raw) = open(&[b"payload", b"{}"]).unwrap_err();
        assert!(detail.sentence().contains("has 0") && !detail.sentence().contains("payload"));
        assert!(detail.to_string().contains("payload"));
        assert_eq!(raw, b"payload {}");
        assert!(
            open(&[b"message", b"a", b"message", b"b"])
                .unwrap_err()
                .1
                .sentence()
                .contains("has 2")
        );
        assert!(open(&[]).is_err());
        let odd = open(&[b"a\x1b[2J\nb", b"c"]).unwrap_err().1.to_string();
        assert!(!odd.contains(char::is_control), "{odd:?}");
    }
}
