//! Signatures as Standard Webhooks 1.0.0 says: `v1,…` or `v1a,…` over `id.timestamp.body`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::key::Key;
use super::subject::{Digits, Subject};
use super::timed_key::TimedKey;

/// The headers of Standard Webhooks.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The name for the id, where it is not `webhook-id`, which is always sent.
    pub id: Option<&'static str>,
    pub timestamp: &'static str,
    pub signature: &'static str,
}

pub const STANDARD: Names = Names {
    id: None,
    timestamp: "webhook-timestamp",
    signature: "webhook-signature",
};

pub const SVIX: Names = Names {
    id: Some("svix-id"),
    timestamp: "svix-timestamp",
    signature: "svix-signature",
};

/// Adds the headers, with a signature of each key.
pub fn sign<'k>(
    names: &Names,
    keys: impl Iterator<Item = &'k TimedKey>,
    subject: &Subject<'_>,
    headers: &mut HeaderMap,
) {
    let timestamp = Digits::of(subject.at / 1000);
    let timestamp = timestamp.as_bytes();
    let mut value = String::with_capacity(96);
    for TimedKey { key, .. } in keys {
        if !value.is_empty() {
            value.push(' ');
        }
        let signature = key.sign(|to| {
            let id = subject.id.as_bytes();
            for part in [id, b".", timestamp, b".", subject.body] {
                to(part);
            }
        });
        value.push_str(match key {
            Key::Hmac(_) => "v1,",
            Key::Ed25519(_) => "v1a,",
        });
        BASE64.encode_string(signature, &mut value);
    }
    let mut set = |name, value| headers.insert(HeaderName::from_static(name), value);
    if let Some(id) = names.id {
        let value = HeaderValue::from_str(subject.id);
        set(id, value.expect("a vetted id"));
    }
    let timestamp = HeaderValue::from_bytes(timestamp);
    set(names.timestamp, timestamp.expect("digits"));
    let value = HeaderValue::try_from(value).expect("base64");
    set(names.signature, value);
}
