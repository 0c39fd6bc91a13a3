//! What the headers of a request say of its signatures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::capture::read_template;
use super::inputs::read_message;
use super::key::Kind;
use super::scheme::{Names, Scheme};
use super::template::Text;
use super::verify::{Check, Received};
use super::{Digits, Subject};

/// Headers by which schemes are known.
const SIGNS: [(&str, &str); 7] = [
    ("webhook-signature", "standard"),
    ("svix-signature", "svix"),
    ("x-hub-signature-256", "github"),
    ("stripe-signature", "stripe"),
    ("x-shopify-hmac-sha256", "shopify"),
    ("x-slack-signature", "slack"),
    ("signature-input", "rfc9421"),
];

/// More signatures than that nobody makes, and each costs a look at the whole body.
pub const MOST: usize = 16;

/// Signatures and what they are over, but for what a verifier may try otherwise.
pub struct Claim<'a> {
    pub id: &'a str,
    /// Unix milliseconds, where the scheme has a time.
    pub at: Option<u64>,
    /// Unix milliseconds of its end, where it has one.
    pub expires: Option<u64>,
    pub signatures: Vec<Claimed>,
    pub over: Over<'a>,
}

/// A signature, and of what kind it says it is.
pub struct Claimed {
    pub kind: Option<Kind>,
    pub bytes: Vec<u8>,
}

/// What is signed, to be made of an id and a body.
pub enum Over<'a> {
    Webhook,
    Template(&'a Text),
    /// The base is there already; and whether what is covered has a digest of the body.
    Message {
        base: String,
        digest: bool,
    },
}

impl Claim<'_> {
    /// Whether parts of the request are signed, and not the id and body themselves.
    pub fn is_of_request(&self) -> bool {
        matches!(self.over, Over::Message { .. })
    }

    /// Whether it says of all signatures that they are of this kind.
    pub fn is_all(&self, kind: Kind) -> bool {
        self.signatures.iter().all(|s| s.kind == Some(kind))
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
            Over::Message { base, .. } => base.clone().into_bytes(),
        };
        check.fits(&self.signatures, &signed)
    }
}

/// The value of a header that must be there once: of two, one receiver takes the first and another
/// the last.
pub fn text<'a>(headers: &'a HeaderMap, name: &str, own: &str) -> Result<&'a str, String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| missing(headers, name, own))?;
    match values.count() {
        0 => value
            .to_str()
            .map_err(|_| format!("the header {name} is not plain ASCII")),
        n => Err(format!(
            "the header {name} stands {} times: only one of them can be signed",
            n + 1
        )),
    }
}

/// `own`: the header by which the scheme itself is known.
pub fn missing(headers: &HeaderMap, name: &str, own: &str) -> String {
    let found = SIGNS.iter().find(|(sign, _)| headers.contains_key(*sign));
    match found {
        Some((sign, scheme)) if !headers.contains_key(own) => {
            format!("there is no header {name}, but {sign}: is the scheme {scheme}?")
        }
        _ => format!("there is no header {name}"),
    }
}

pub fn time(text: &str, name: &str) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|n| n.to_string() == text);
    number.ok_or_else(|| format!("the time in {name} is not a number"))
}

/// One or more, each of which would do. The error is a sentence.
pub fn read_claims<'a>(
    scheme: &'a Scheme,
    received: &'a Received<'a>,
) -> Result<Vec<Claim<'a>>, String> {
    match scheme {
        Scheme::Webhook(names) => Ok(vec![read_webhook(names, received.headers)?]),
        Scheme::Template(template) => Ok(vec![read_template(template, received)?]),
        Scheme::Message(_) => read_message(received),
    }
}

fn read_webhook<'a>(names: &Names, headers: &'a HeaderMap) -> Result<Claim<'a>, String> {
    let own = names.signature;
    let id = text(headers, names.id.unwrap_or("webhook-id"), own);
    let value = text(headers, own, own)?;
    let mut signatures = Vec::new();
    for signature in value.split(' ').filter(|s| !s.is_empty()) {
        let wrong = || {
            format!("{own} holds what is no signature: each must be as v1,… or v1a,… with base64")
        };
        let (kind, text) = signature.split_once(',').ok_or_else(wrong)?;
        let kind = match kind {
            "v1" => Kind::Hmac,
            "v1a" => Kind::Ed25519,
            // Of a version to come, say: the libraries of receivers skip it.
            _ => continue,
        };
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        signatures.push(Claimed {
            kind: Some(kind),
            bytes,
        });
    }
    match signatures.len() {
        0 => return Err(format!("{own} holds no signature as v1,… or v1a,…")),
        1..=MOST => {}
        n => {
            return Err(format!(
                "{own} holds {n} signatures; at most {MOST} are tried"
            ));
        }
    }
    let seconds = time(text(headers, names.timestamp, own)?, names.timestamp)?;
    if seconds > 100_000_000_000 {
        return Err(format!("{} is not in seconds", names.timestamp));
    }
    Ok(Claim {
        id: id?,
        at: Some(seconds * 1000),
        expires: None,
        signatures,
        over: Over::Webhook,
    })
}
