//! What a producer sent, and the contract it has to keep.
//!
//! Pure: parsing takes the raw bytes and answers a [`Message`] or a [`Rejection`], never
//! both, never a panic. The raw bytes are kept whole in either case, for they are what a
//! dead letter holds and what `data` is a slice of: nothing is ever encoded again.

mod fields;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::endpoint::Endpoint;
use crate::headers::{self, Headers};

pub use fields::{MAX_ATTEMPTS, deliver_at, vet_id};

/// One message as published: where to, under which id, and which bytes.
#[derive(Debug)]
pub struct Message {
    pub id: Box<str>,
    pub endpoint: Arc<Endpoint>,
    /// Extra request headers, already vetted.
    pub headers: Headers,
    /// Not to be delivered before this time, in Unix milliseconds.
    pub deliver_at: Option<u64>,
    /// What the producer has set for this message alone.
    pub overrides: Overrides,
    raw: Vec<u8>,
    data: Range<usize>,
}

/// What a producer may set for one message.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// For an attempt; at most what the options say.
    pub timeout: Option<Duration>,
    pub max_attempts: Option<u32>,
    /// After this time, in Unix milliseconds, it is of no use any more.
    pub expires_at: Option<u64>,
    /// Messages of one key go one after another.
    pub order_key: Option<Arc<str>>,
}

/// Why a message cannot be delivered at all. The bytes come back to the caller.
#[derive(Debug)]
pub struct Rejection {
    pub reason: RejectReason,
    /// A sentence for the producer that names the field.
    pub detail: String,
    /// The id and URL, as far as they were understood.
    pub id: Option<Box<str>>,
    pub url: Option<String>,
    pub raw: Vec<u8>,
}

/// The kinds of a [`Rejection`]; [`fmt::Display`] gives the word that stands in dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    BadJson,
    BadUrl,
    BadId,
    BadData,
    BadHeaders,
    BadDeliverAt,
    BadTimeout,
    BadMaxAttempts,
    BadExpiresAt,
    BadOrderKey,
    TooLarge,
    /// A stream entry without one field `message`.
    BadEntry,
}

impl RejectReason {
    pub const ALL: [RejectReason; 12] = [
        RejectReason::BadJson,
        RejectReason::BadUrl,
        RejectReason::BadId,
        RejectReason::BadData,
        RejectReason::BadHeaders,
        RejectReason::BadDeliverAt,
        RejectReason::BadTimeout,
        RejectReason::BadMaxAttempts,
        RejectReason::BadExpiresAt,
        RejectReason::BadOrderKey,
        RejectReason::TooLarge,
        RejectReason::BadEntry,
    ];
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectReason::BadJson => "bad_json",
            RejectReason::BadUrl => "bad_url",
            RejectReason::BadId => "bad_id",
            RejectReason::BadData => "bad_data",
            RejectReason::BadHeaders => "bad_headers",
            RejectReason::BadDeliverAt => "bad_deliver_at",
            RejectReason::BadTimeout => "bad_timeout",
            RejectReason::BadMaxAttempts => "bad_max_attempts",
            RejectReason::BadExpiresAt => "bad_expires_at",
            RejectReason::BadOrderKey => "bad_order_key",
            RejectReason::TooLarge => "too_large",
            RejectReason::BadEntry => "bad_entry",
        })
    }
}

impl Message {
    /// Reads one message. `max_bytes` bounds the whole message; `fresh_id` makes an id
    /// for a message that brings none, and `endpoint` turns its URL into an [`Endpoint`]
    /// (a function so that the caller may keep the ones it has seen).
    pub fn parse(
        raw: Vec<u8>,
        max_bytes: usize,
        fresh_id: impl FnOnce() -> Box<str>,
        endpoint: impl FnOnce(&str) -> Result<Arc<Endpoint>, String>,
    ) -> Result<Message, Rejection> {
        let mut seen = Seen::default();
        match read(&raw, max_bytes, fresh_id, endpoint, &mut seen) {
            Ok(parts) => Ok(Message {
                id: parts.id,
                endpoint: parts.endpoint,
                headers: parts.headers,
                deliver_at: parts.deliver_at,
                overrides: parts.overrides,
                data: parts.data,
                raw,
            }),
            Err((reason, detail)) => Err(Rejection {
                reason,
                detail,
                id: seen.id,
                url: seen.url,
                raw,
            }),
        }
    }

    /// The request body: the bytes of `data`, as published.
    pub fn data(&self) -> &[u8] {
        &self.raw[self.data.clone()]
    }

    /// The whole message, as published.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Gives up the message for its bytes.
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }
}

/// The message on the wire. Every field is first taken as raw JSON, so that a wrong type
/// can be blamed on its field by name, and `null` is told from a field that is absent.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    url: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "webhookId")]
    webhook_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    headers: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "deliverAt")]
    deliver_at: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    timeout: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "maxAttempts")]
    max_attempts: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "expiresAt")]
    expires_at: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "orderKey")]
    order_key: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

/// What was understood before a rejection.
#[derive(Default)]
struct Seen {
    id: Option<Box<str>>,
    url: Option<String>,
}

struct Parts {
    id: Box<str>,
    endpoint: Arc<Endpoint>,
    headers: Headers,
    deliver_at: Option<u64>,
    overrides: Overrides,
    data: Range<usize>,
}

type Refused = (RejectReason, String);

fn read(
    raw: &[u8],
    max_bytes: usize,
    fresh_id: impl FnOnce() -> Box<str>,
    endpoint: impl FnOnce(&str) -> Result<Arc<Endpoint>, String>,
    seen: &mut Seen,
) -> Result<Parts, Refused> {
    if raw.len() > max_bytes {
        let n = raw.len();
        let detail = format!("message is {n} bytes; --max-message-bytes allows {max_bytes}");
        return Err((RejectReason::TooLarge, detail));
    }
    let bad_json = |detail: String| (RejectReason::BadJson, detail);
    let text =
        std::str::from_utf8(raw).map_err(|e| bad_json(format!("message is not UTF-8: {e}")))?;
    // Checked by hand, as a derived struct would take `["url", "id", 1]` for an object.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(bad_json(
            "message is not a JSON object: it must begin with '{'".into(),
        ));
    }
    let wire: Wire = serde_json::from_str(text)
        .map_err(|e| bad_json(format!("message is not valid JSON: {e}")))?;

    // The id first: with it a producer finds the message again, whatever else is wrong.
    let id = match wire.webhook_id {
        None => fresh_id(),
        Some(value) => fields::id(value).map_err(|e| (RejectReason::BadId, e))?,
    };
    seen.id = Some(id.clone());

    let url = fields::string("url", wire.url).map_err(|e| (RejectReason::BadUrl, e))?;
    // Whatever stands in `url` may be shown to an operator; a megabyte of it may not.
    seen.url = Some(url.chars().take(MAX_URL_SHOWN).collect());
    let endpoint = endpoint(&url).map_err(|e| (RejectReason::BadUrl, format!("url: {e}")))?;

    let data = wire
        .data
        .ok_or_else(|| (RejectReason::BadData, "data is missing".to_owned()))?;
    let start = data.get().as_ptr() as usize - text.as_ptr() as usize;
    let data = start..start + data.get().len();

    let headers = match wire.headers {
        None => Headers::default(),
        Some(value) => headers::parse(value.get())
            .map_err(|e| (RejectReason::BadHeaders, format!("headers: {e}")))?,
    };
    use RejectReason::{BadDeliverAt, BadExpiresAt, BadMaxAttempts, BadOrderKey, BadTimeout};
    Ok(Parts {
        id,
        endpoint,
        headers,
        deliver_at: optional(wire.deliver_at, BadDeliverAt, fields::deliver_at)?,
        overrides: Overrides {
            timeout: optional(wire.timeout, BadTimeout, fields::timeout)?,
            max_attempts: optional(wire.max_attempts, BadMaxAttempts, fields::max_attempts)?,
            expires_at: optional(wire.expires_at, BadExpiresAt, fields::expires_at)?,
            order_key: optional(wire.order_key, BadOrderKey, fields::order_key)?,
        },
        data,
    })
}

fn optional<T>(
    value: Option<&RawValue>,
    reason: RejectReason,
    read: impl FnOnce(&RawValue) -> Result<T, String>,
) -> Result<Option<T>, Refused> {
    let value = value.map(|value| read(value).map_err(|e| (reason, e)));
    value.transpose()
}

const MAX_URL_SHOWN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Result<Message, Rejection> {
        Message::parse(
            raw.to_vec(),
            1 << 20,
            || "made".into(),
            |url| Endpoint::parse(url).map(Arc::new),
        )
    }

    fn reason(raw: &str) -> (RejectReason, String) {
        let r = parse(raw.as_bytes()).expect_err(raw);
        assert_eq!(r.raw, raw.as_bytes());
        (r.reason, r.detail)
    }

    #[test]
    fn data_is_a_slice_of_what_was_published() {
        for data in [
            "{\"b\" : 1.10,  \"a\":1e999, \"a\":12345678901234567890123}",
            "null",
            "[ ]",
            "\"\\ud800\"",
            "-0",
        ] {
            let raw = format!(r#" {{"x":[1],"url":"http://h/p","data":{data} ,"webhookId":"a"}} "#);
            let m = parse(raw.as_bytes()).unwrap();
            assert_eq!(m.data(), data.as_bytes());
            assert_eq!(&*m.id, "a");
            assert_eq!(m.raw(), raw.as_bytes());
        }
    }

    #[test]
    fn a_missing_id_is_made_and_a_wrong_one_refused() {
        let m = parse(br#"{"url":"http://h/","data":1}"#).unwrap();
        assert_eq!(&*m.id, "made");
        let long = "a".repeat(257);
        for id in [
            "7",
            "null",
            "{}",
            "\"\"",
            "\" a\"",
            "\"a\\tb\"",
            "\"é\"",
            "\"a.b\"",
            "\"a\\r\\nX: 1\"",
            "\"a\\u0000\"",
            "\"\\ud800\"",
            &format!("\"{long}\""),
        ] {
            let (why, detail) = reason(&format!(
                r#"{{"url":"http://h/","data":1,"webhookId":{id}}}"#
            ));
            assert_eq!(why, RejectReason::BadId, "{id}");
            assert!(detail.contains("webhookId"), "{detail}");
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        use RejectReason::*;
        for (raw, why, word) in [
            (r#"["http://h/","a",1]"#, BadJson, "object"),
            (r#"{"data":1}"#, BadUrl, "url is missing"),
            (r#"{"url":5,"data":1}"#, BadUrl, "url must be a string"),
            (r#"{"url":"/x","data":1}"#, BadUrl, "url"),
            (r#"{"url":"http://h/"}"#, BadData, "data is missing"),
            (
                r#"{"url":"http://h/","url":"http://h/","data":1}"#,
                BadJson,
                "duplicate",
            ),
            (r#"{"url":"http://h/","data":1} x"#, BadJson, "trailing"),
            ("\u{feff}{}", BadJson, "'{'"),
            ("", BadJson, "'{'"),
            (
                r#"{"url":"http://h/","data":1,"headers":[]}"#,
                BadHeaders,
                "headers",
            ),
        ] {
            let (got, detail) = reason(raw);
            assert_eq!(got, why, "{raw}");
            assert!(detail.contains(word), "{raw}: {detail}");
        }
        assert_eq!(parse(b"{\"url\":\"\xff\"}").unwrap_err().reason, BadJson);
    }

    #[test]
    fn deep_nesting_is_passed_through_without_a_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let raw = format!(r#"{{"url":"http://h/","data":{deep}}}"#);
        assert_eq!(parse(raw.as_bytes()).unwrap().data(), deep.as_bytes());
    }
}
