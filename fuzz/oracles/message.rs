//! Messages: what is taken means the same when it is written again; what is refused comes back whole.

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::assert_sentence;
use crate::message::endpoint::{Endpoint, MAX_URL_BYTES};
use crate::message::entry::Entry;
use crate::message::{self, Message, Rejection};

const MAX_BYTES: usize = 1 << 20;

/// The bytes of one message.
pub fn message(bytes: &[u8]) {
    match parse(bytes) {
        Ok(message) => check(bytes, &message),
        Err(refused) => {
            assert_eq!(refused.raw, bytes);
            assert_sentence(&refused.detail.to_string());
        }
    }
}

/// The fields of an entry, name and value by turns, with NUL between them.
pub fn fields(bytes: &[u8]) {
    let fields: Vec<Vec<u8>> = bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    let entry = Entry {
        id: "1-1".parse().expect("an id"),
        count: 1,
        suspect: false,
        fields: fields.clone(),
    };
    let has_message = fields.chunks_exact(2).any(|pair| pair[0] == b"message");
    match entry.open() {
        Ok(held) => {
            let object: Result<Map<String, Value>, _> = serde_json::from_slice(&held.message);
            // Fields stand beside each other: none has broken out of its place.
            if let (Ok(object), false) = (object, has_message) {
                let names = |name: &String| fields.iter().any(|f| f == name.as_bytes());
                assert!(object.keys().all(names), "{}", held.message.escape_ascii());
            }
            message(&held.message);
        }
        Err((_, detail, _)) => assert_sentence(&detail.to_string()),
    }
}

fn parse(bytes: &[u8]) -> Result<Message, Rejection> {
    Message::parse(
        bytes.to_vec(),
        MAX_BYTES,
        || "made".into(),
        |url| Endpoint::parse(url).map(Arc::new),
    )
}

fn check(bytes: &[u8], message: &Message) {
    assert_eq!(message.raw(), bytes);
    let url = &*message.endpoint.url;
    assert!(url.len() <= MAX_URL_BYTES && url.starts_with(&*message.endpoint.origin));
    assert!(url.bytes().all(|b| b.is_ascii_graphic()), "{url:?}");
    assert_eq!(message.endpoint.uri.to_string(), url);
    let again = Endpoint::parse(url).expect("what is sent can be read");
    assert_eq!(
        (&*again.url, &again.origin),
        (url, &message.endpoint.origin)
    );
    // Whoever only peeks sees the same.
    let glimpse = message::peek(bytes).expect("it can be read");
    let (peeked, at) = (glimpse.url, glimpse.deliver_at);
    let peeked = Endpoint::parse(&peeked).expect("it was read before");
    assert_eq!((&*peeked.url, at), (url, message.deliver_at));

    let written = write(message);
    let again = parse(written.as_bytes()).unwrap_or_else(|e| panic!("{written}: {}", e.detail));
    assert_eq!(meaning(&again), meaning(message), "{written}");
    assert!(again.aliases.is_empty());
}

/// All that a message says, for comparison.
fn meaning(message: &Message) -> (String, Vec<u8>) {
    let Message {
        id,
        endpoint,
        headers,
        deliver_at,
        overrides,
        ..
    } = message;
    let group = message.group();
    let rest = format!(
        "{id} {} {headers:?} {deliver_at:?} {overrides:?} {group:?}",
        endpoint.url
    );
    (rest, message.data().to_vec())
}

fn write(message: &Message) -> String {
    let overrides = &message.overrides;
    let data = std::str::from_utf8(message.data()).expect("JSON is UTF-8");
    let raw: Result<&RawValue, _> = serde_json::from_str(data);
    assert_eq!(raw.expect("data is one JSON value").get(), data);
    let headers: Map<String, Value> = message
        .headers
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().expect("printable");
            (name.to_string(), value.into())
        })
        .collect();
    let mut parts = vec![
        format!("\"url\":{}", Value::from(&*message.endpoint.url)),
        format!("\"webhookId\":{}", Value::from(&*message.id)),
        format!("\"headers\":{}", Value::from(headers)),
        format!("\"data\":{data}"),
    ];
    let numbers = [
        ("deliverAt", message.deliver_at),
        ("expiresAt", overrides.expires_at),
        ("maxAttempts", overrides.max_attempts.map(u64::from)),
    ];
    for (name, value) in numbers {
        // Times below 1e11 are refused as numbers, as they look like seconds.
        if let Some(value) = value {
            let text = match name {
                "maxAttempts" => value.to_string(),
                _ => format!("\"{}\"", crate::message::timestamp::format_rfc3339(value)),
            };
            parts.push(format!("\"{name}\":{text}"));
        }
    }
    if let Some(timeout) = overrides.timeout {
        let text = humantime::format_duration(timeout).to_string();
        parts.push(format!("\"timeout\":{}", Value::from(text)));
    }
    if let Some(key) = &overrides.order_key {
        parts.push(format!("\"orderKey\":{}", Value::from(&**key)));
    }
    if let Some(name) = &overrides.secret {
        crate::message::vet_secret_name(name).expect("it was read");
        parts.push(format!("\"secret\":{}", Value::from(&**name)));
    }
    format!("{{{}}}", parts.join(","))
}
