//! A request's claim: its signatures, and the content that they sign. Also how headers are read for
//! it.

use http::HeaderMap;

use super::received::Received;
use super::verifying_key::VerifyingKey;
use crate::trust::signing::key::Kind;
use crate::trust::signing::subject::{Digits, Subject};
use crate::trust::signing::template::Text;

/// Headers by which a scheme is recognised.
const SIGNS: [(&str, &str); 7] = [
    ("webhook-signature", "standard"),
    ("svix-signature", "svix"),
    ("x-hub-signature-256", "github"),
    ("stripe-signature", "stripe"),
    ("x-shopify-hmac-sha256", "shopify"),
    ("x-slack-signature", "slack"),
    ("signature-input", "rfc9421"),
];

/// Nobody sends more signatures, and each one is checked against the whole body.
pub const MOST: usize = 16;

/// Signatures, and the content that they sign. A verifier may try another id or body.
pub struct Claim<'a> {
    pub id: &'a str,
    /// Unix milliseconds, where the scheme has a time.
    pub at: Option<u64>,
    /// Unix milliseconds at which it expires, if it does.
    pub expires: Option<u64>,
    pub signatures: Vec<ClaimedSignature>,
    pub over: SignedContent<'a>,
}

/// A signature, and its kind, if the request says it.
pub struct ClaimedSignature {
    pub kind: Option<Kind>,
    pub bytes: Vec<u8>,
}

/// How the signed bytes are made of an id and a body.
pub enum SignedContent<'a> {
    Webhook,
    Template(&'a Text),
    /// The base is complete. `digest`: it covers a digest of the body.
    Message {
        base: String,
        digest: bool,
    },
}

impl Claim<'_> {
    /// Whether parts of the request are signed, and not the id and body themselves.
    pub fn is_of_request(&self) -> bool {
        matches!(self.over, SignedContent::Message { .. })
    }

    /// Whether it says of all signatures that they are of this kind.
    pub fn is_all(&self, kind: Kind) -> bool {
        self.signatures.iter().all(|s| s.kind == Some(kind))
    }

    /// Whether a signature is this key's, over this id and body.
    pub fn fits(&self, key: &VerifyingKey, received: &Received<'_>, id: &str, body: &[u8]) -> bool {
        let subject = Subject {
            id,
            at: self.at.unwrap_or_default(),
            method: received.method,
            url: received.url,
            body,
        };
        let seconds = Digits::of(subject.at / 1000);
        let signed = match &self.over {
            SignedContent::Webhook => {
                [id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat()
            }
            SignedContent::Template(text) => text.bytes(&subject),
            SignedContent::Message { base, .. } => base.clone().into_bytes(),
        };
        let mut own = self
            .signatures
            .iter()
            .filter(|s| s.kind.is_none_or(|kind| kind == key.kind()));
        own.any(|signature| key.verifies(&signature.bytes, &signed))
    }
}

/// The value of a header that must occur once: of two values, one receiver takes the first and
/// another the last.
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

/// `own`: the header by which the scheme is recognised.
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
