//! What the headers of a request say of its signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::HeaderMap;

use super::message::{DIGEST, INPUT, SIGNATURE, base_of};
use super::scheme::{Names, Scheme};
use super::template::{Encoding, Part, Place, Template, Text};
use super::verify::{Check, Received};
use super::{Digits, Subject};

/// Headers by which other schemes are known.
const SIGNS: [(&str, &str); 7] = [
    ("webhook-signature", "standard"),
    ("svix-signature", "svix"),
    ("x-hub-signature-256", "github"),
    ("stripe-signature", "stripe"),
    ("x-shopify-hmac-sha256", "shopify"),
    ("x-slack-signature", "slack"),
    ("signature-input", "rfc9421"),
];

/// Signatures and what they are over, but for what a verifier may try otherwise.
pub struct Claims<'a> {
    pub id: &'a str,
    /// Unix milliseconds, where the scheme has a time.
    pub at: Option<u64>,
    /// `v1` and `v1a`, where the scheme tells.
    pub kinds: Vec<&'a str>,
    pub covers_digest: bool,
    over: Over<'a>,
    signatures: Vec<Vec<u8>>,
}

/// What is signed, to be made of an id and a body.
enum Over<'a> {
    Webhook,
    Template(&'a Text),
    /// The base is there already.
    Message(String),
}

impl Claims<'_> {
    /// Whether parts of the request are signed, and not the id and body themselves.
    pub fn is_of_request(&self) -> bool {
        matches!(self.over, Over::Message(_))
    }

    /// Whether a signature is this key's, over this id and body.
    pub fn fits(&self, check: &Check, received: &Received<'_>, id: &str, body: &[u8]) -> bool {
        let subject = Subject {
            id,
            at: self.at.unwrap_or_default(),
            method: received.method,
            url: received.url,
            body,
        };
        let seconds = Digits::of(subject.at / 1000);
        let signed = match &self.over {
            Over::Webhook => [id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat(),
            Over::Template(text) => text.bytes(&subject),
            Over::Message(base) => base.clone().into_bytes(),
        };
        check.fits(&self.signatures, &signed)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    let value = headers.get(name).ok_or_else(|| missing(headers, name))?;
    value
        .to_str()
        .map_err(|_| format!("the header {name} is not plain ASCII"))
}

fn missing(headers: &HeaderMap, name: &str) -> String {
    let found = SIGNS.iter().find(|(sign, _)| headers.contains_key(*sign));
    match found {
        Some((sign, scheme)) if *sign != name && !name.ends_with("-timestamp") => {
            format!("there is no header {name}, but {sign}: is the scheme {scheme}?")
        }
        _ => format!("there is no header {name}"),
    }
}

fn time(text: &str, name: &str) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|n| n.to_string() == text);
    number.ok_or_else(|| format!("the time in {name} is not a number"))
}

/// The error is a sentence.
pub fn read_claims<'a>(
    scheme: &'a Scheme,
    received: &'a Received<'a>,
) -> Result<Claims<'a>, String> {
    match scheme {
        Scheme::Webhook(names) => read_webhook(names, received.headers),
        Scheme::Template(template) => read_template(template, received.headers),
        Scheme::Message(_) => read_message(received),
    }
}

fn read_webhook<'a>(names: &Names, headers: &'a HeaderMap) -> Result<Claims<'a>, String> {
    let value = text(headers, names.signature)?;
    let (mut signatures, mut kinds) = (Vec::new(), Vec::new());
    for signature in value.split(' ').filter(|s| !s.is_empty()) {
        let part = signature.split_once(',');
        let decoded = part.and_then(|(kind, text)| Some((kind, STANDARD.decode(text).ok()?)));
        let Some((kind, bytes)) = decoded else {
            return Err(format!(
                "{} holds what is no signature: each must be as v1,… or v1a,… with base64",
                names.signature
            ));
        };
        kinds.push(kind);
        signatures.push(bytes);
    }
    let seconds = time(text(headers, names.timestamp)?, names.timestamp)?;
    if seconds > 100_000_000_000 {
        return Err(format!("{} is not in seconds", names.timestamp));
    }
    Ok(Claims {
        id: text(headers, names.id.unwrap_or("webhook-id"))?,
        at: Some(seconds * 1000),
        kinds,
        covers_digest: false,
        over: Over::Webhook,
        signatures,
    })
}

fn read_template<'a>(template: &'a Template, headers: &'a HeaderMap) -> Result<Claims<'a>, String> {
    let value = text(headers, template.header.as_str())?;
    let (mut at, mut id) = (None, None);
    let beside = template
        .others
        .iter()
        .map(|(name, text)| (name.as_str(), text));
    for (name, pattern) in beside.chain([(template.header.as_str(), &template.value)]) {
        let value = text(headers, name)?;
        let found = pattern
            .capture(value)
            .ok_or_else(|| format!("the header {name} is not as the scheme says"))?;
        for (place, text) in found {
            match place {
                Place::Timestamp => at = at.or(Some(time(text, name)?.saturating_mul(1000))),
                Place::TimestampMs => at = Some(time(text, name)?),
                Place::Id => id = Some(text),
                _ => {}
            }
        }
    }
    let signed = &template.signed;
    if at.is_none() && (signed.has(Place::Timestamp) || signed.has(Place::TimestampMs)) {
        return Err("the scheme signs a time, and no header of it tells it".into());
    }
    let usual = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    Ok(Claims {
        id: id.or(usual).unwrap_or_default(),
        at,
        kinds: Vec::new(),
        covers_digest: false,
        over: Over::Template(signed),
        signatures: find_signatures(value, template.encoding),
    })
}

/// All that may be a signature in the value of a header.
fn find_signatures(value: &str, encoding: Encoding) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    // Of SHA-1, 256 and 512 or ed25519.
    for bytes in [20usize, 32, 64] {
        let length = match encoding {
            Encoding::Hex => bytes * 2,
            Encoding::Base64 => bytes.div_ceil(3) * 4,
        };
        for begin in 0..=value.len().saturating_sub(length) {
            let Some(part) = value.get(begin..begin + length) else {
                continue;
            };
            let decoded = match encoding {
                Encoding::Hex => super::key::from_hex(part),
                Encoding::Base64 => STANDARD.decode(part).ok(),
            };
            found.extend(decoded.filter(|d| d.len() == bytes));
        }
    }
    found
}

fn read_message<'a>(received: &'a Received<'a>) -> Result<Claims<'a>, String> {
    let headers = received.headers;
    let inputs = members(text(headers, INPUT.as_str())?);
    let values = members(text(headers, SIGNATURE.as_str())?);
    let mut why = "signature-input and signature have no label in common".to_owned();
    for (label, params) in inputs {
        let Some((_, value)) = values.iter().find(|(other, _)| *other == label) else {
            continue;
        };
        let value = value.strip_prefix(':').and_then(|v| v.strip_suffix(':'));
        let Some(signature) = value.and_then(|v| STANDARD.decode(v).ok()) else {
            why = "signature is not as :base64:".into();
            continue;
        };
        match read_input(params, received) {
            Ok((names, at, base)) => {
                return Ok(Claims {
                    id: "",
                    at,
                    kinds: Vec::new(),
                    covers_digest: names.iter().any(|name| name == DIGEST.as_str()),
                    over: Over::Message(format!("{base}\"@signature-params\": {params}")),
                    signatures: vec![signature],
                });
            }
            Err(e) => why = e,
        }
    }
    Err(why)
}

type Input = (Vec<String>, Option<u64>, String);

/// What is covered, when it was made, and the base.
fn read_input(params: &str, received: &Received<'_>) -> Result<Input, String> {
    let wrong = || "signature-input is not as (\"…\" \"…\");created=…".to_owned();
    let (list, rest) = params
        .strip_prefix('(')
        .and_then(|p| p.split_once(')'))
        .ok_or_else(wrong)?;
    let mut names = Vec::new();
    for item in list.split(' ').filter(|item| !item.is_empty()) {
        let name = item.strip_prefix('"').and_then(|i| i.strip_suffix('"'));
        let name = name.ok_or_else(|| {
            "signature-input covers a component with parameters, which is not known here".to_owned()
        })?;
        names.push(name.to_owned());
    }
    let created = rest
        .split(';')
        .find_map(|p| p.trim().strip_prefix("created="));
    let created = created.map(|c| time(c, "signature-input")).transpose()?;
    let at = created.map(|seconds| seconds.saturating_mul(1000));
    let subject = Subject {
        id: "",
        at: at.unwrap_or_default(),
        method: received.method,
        url: received.url,
        body: received.body,
    };
    let base = base_of(&names, &subject, received.headers)?;
    Ok((names, at, base))
}

/// The members of a dictionary of structured fields, with what follows each name.
fn members(text: &str) -> Vec<(&str, &str)> {
    let (mut list, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut depth) = (false, false, 0i32);
    for (at, c) in text.char_indices().chain([(text.len(), ',')]) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted && at < text.len() => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth <= 0 || at == text.len() => {
                list.extend(text[begin..at].trim().split_once('='));
                begin = at + 1;
            }
            _ => {}
        }
    }
    list
}

impl Text {
    /// The whole of it.
    fn bytes(&self, subject: &Subject<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(subject, "", &mut bytes);
        bytes
    }

    /// What stands in the places of a value that is as this text says; more may follow.
    fn capture<'v>(&self, value: &'v str) -> Option<Vec<(Place, &'v str)>> {
        let mut found = Vec::new();
        let mut rest = value;
        let mut parts = self.parts().iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Plain(text) => rest = rest.strip_prefix(&**text)?,
                Part::Place(place) => {
                    let end = match parts.peek() {
                        Some(Part::Plain(text)) => rest.find(&**text)?,
                        Some(Part::Place(_)) => return None,
                        None => rest.len(),
                    };
                    found.push((*place, &rest[..end]));
                    rest = &rest[end..];
                }
            }
        }
        Some(found)
    }
}
