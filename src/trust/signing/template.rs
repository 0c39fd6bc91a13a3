//! Signatures in a header of any name and form: the signed text and the header value have
//! placeholders in braces.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

use super::key::Key;
use super::subject::{Digits, Subject};
use crate::message::headers::vet_own_name;

/// The template of a scheme.
#[derive(Debug)]
pub struct Template {
    pub header: HeaderName,
    pub digest: hmac::Algorithm,
    pub encoding: Encoding,
    pub signed: Text,
    pub value: Text,
    /// Added to the value for each further key. Without it only the first valid key signs.
    pub more: Option<Text>,
    /// Further headers.
    pub others: Vec<(HeaderName, Text)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Box<[Part]>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Plain(Box<str>),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    Id,
    Timestamp,
    TimestampMs,
    Body,
    Url,
    Method,
    Signature,
}

impl Placeholder {
    const ALL: [(&str, Placeholder); 7] = [
        ("id", Placeholder::Id),
        ("timestamp", Placeholder::Timestamp),
        ("timestamp_ms", Placeholder::TimestampMs),
        ("body", Placeholder::Body),
        ("url", Placeholder::Url),
        ("method", Placeholder::Method),
        ("signature", Placeholder::Signature),
    ];

    /// The placeholders of the signed text, the value and further headers.
    pub const SIGNED: &[Placeholder] = &[
        Placeholder::Body,
        Placeholder::Timestamp,
        Placeholder::TimestampMs,
        Placeholder::Id,
        Placeholder::Url,
        Placeholder::Method,
    ];
    pub const VALUE: &[Placeholder] = &[
        Placeholder::Signature,
        Placeholder::Timestamp,
        Placeholder::TimestampMs,
        Placeholder::Id,
    ];
    pub const BESIDE: &[Placeholder] = &[
        Placeholder::Timestamp,
        Placeholder::TimestampMs,
        Placeholder::Id,
    ];

    fn name(self) -> &'static str {
        let found = Placeholder::ALL.iter().find(|(_, place)| *place == self);
        found.expect("all are there").0
    }
}

impl Text {
    /// The whole text, as bytes.
    pub fn bytes(&self, subject: &Subject<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(subject, "", &mut bytes);
        bytes
    }

    /// Reads a text that may have these placeholders. If `needs`, the first of them must be there.
    pub fn parse(text: &str, allowed: &[Placeholder], needs: bool) -> Result<Text, String> {
        let known = || {
            let names: Vec<String> = allowed
                .iter()
                .map(|p| format!("{{{}}}", p.name()))
                .collect();
            names.join(", ")
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (plain, behind) = rest.split_at(open);
            let name = behind.strip_prefix('{').and_then(|b| b.split_once('}'));
            let place = name.and_then(|(name, after)| {
                let found = Placeholder::ALL.iter().find(|(known, _)| *known == name);
                found.map(|(_, place)| (*place, after))
            });
            let Some((place, after)) = place.filter(|(place, _)| allowed.contains(place)) else {
                return Err(format!("its braces must be one of {}", known()));
            };
            if !plain.is_empty() {
                parts.push(Part::Plain(plain.into()));
            }
            parts.push(Part::Placeholder(place));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Plain(rest.into()));
        }
        let text = Text(parts.into());
        match needs && !text.has(allowed[0]) {
            true => Err(format!("{{{}}} must stand in it", allowed[0].name())),
            false => Ok(text),
        }
    }

    /// The same for the value of a header.
    pub fn parse_value(text: &str, allowed: &[Placeholder], needs: bool) -> Result<Text, String> {
        match text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            true => Text::parse(text, allowed, needs),
            false => Err("it must be plain printable ASCII".into()),
        }
    }

    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    pub fn has(&self, place: Placeholder) -> bool {
        self.0.contains(&Part::Placeholder(place))
    }

    /// Hands over the bytes of the text, one after another.
    fn feed(&self, subject: &Subject<'_>, signature: &str, to: &mut dyn FnMut(&[u8])) {
        for part in &self.0 {
            match part {
                Part::Plain(text) => to(text.as_bytes()),
                Part::Placeholder(Placeholder::Id) => to(subject.id.as_bytes()),
                Part::Placeholder(Placeholder::Timestamp) => {
                    to(Digits::of(subject.at / 1000).as_bytes())
                }
                Part::Placeholder(Placeholder::TimestampMs) => {
                    to(Digits::of(subject.at).as_bytes())
                }
                Part::Placeholder(Placeholder::Body) => to(subject.body),
                Part::Placeholder(Placeholder::Url) => to(subject.url.as_bytes()),
                Part::Placeholder(Placeholder::Method) => to(subject.method.as_bytes()),
                Part::Placeholder(Placeholder::Signature) => to(signature.as_bytes()),
            }
        }
    }

    pub fn write(&self, subject: &Subject<'_>, signature: &str, out: &mut Vec<u8>) {
        self.feed(subject, signature, &mut |bytes| {
            out.extend_from_slice(bytes)
        });
    }
}

impl Template {
    /// Refuses a signed time that is not sent, because nobody could verify it.
    pub fn vet(&self) -> Result<(), String> {
        let is_sent = |place| {
            let mut others = self.others.iter();
            self.value.has(place) || others.any(|(_, text)| text.has(place))
        };
        let ms = is_sent(Placeholder::TimestampMs);
        for (place, is_sent) in [
            (
                Placeholder::Timestamp,
                ms || is_sent(Placeholder::Timestamp),
            ),
            (Placeholder::TimestampMs, ms),
        ] {
            if self.signed.has(place) && !is_sent {
                let name = place.name();
                return Err(format!(
                    "sign: {{{name}}} is signed, and not sent: it must stand in value, or in one \
                     of headers"
                ));
            }
        }
        Ok(())
    }

    /// The signature of this key, as it is written in the value.
    pub fn signature(&self, key: &Key, subject: &Subject<'_>) -> String {
        let bytes = key.sign(|to| self.signed.feed(subject, "", to));
        match self.encoding {
            Encoding::Hex => hex(bytes.as_ref()),
            Encoding::Base64 => STANDARD.encode(bytes.as_ref()),
        }
    }

    pub fn sign<'k>(
        &self,
        keys: impl Iterator<Item = &'k Key>,
        subject: &Subject<'_>,
        headers: &mut HeaderMap,
    ) {
        let mut value = Vec::with_capacity(128);
        for (n, key) in keys.enumerate() {
            let text = match (n, &self.more) {
                (0, _) => &self.value,
                (_, Some(more)) => more,
                (_, None) => break,
            };
            text.write(subject, &self.signature(key, subject), &mut value);
        }
        // An id is plain ASCII, and so are all other parts of a value.
        headers.insert(self.header.clone(), header_value(value));
        for (name, text) in &self.others {
            let mut value = Vec::new();
            text.write(subject, "", &mut value);
            headers.insert(name.clone(), header_value(value));
        }
    }
}

fn header_value(bytes: Vec<u8>) -> HeaderValue {
    HeaderValue::try_from(bytes).expect("printable ASCII")
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}

/// The name of a header that a signature may stand in.
pub fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = vet_own_name(name)?;
    match matches!(
        name.as_str(),
        "webhook-id"
            | "content-type"
            | "content-encoding"
            | "idempotency-key"
            | "user-agent"
            | "accept"
            | "accept-encoding"
            | "range"
    ) {
        true => Err(format!("{name} has a meaning of its own")),
        false => Ok(name),
    }
}
