//! A message, and the contract that its producer must keep.
//!
//! Pure: parsing takes the raw bytes and returns a [`Message`] or a [`Rejection`], never both,
//! never a panic. Both keep the raw bytes: a dead letter holds them, and `data` is a slice of them,
//! so nothing is ever encoded again.

pub mod boot_time;
pub mod detail;
pub mod endpoint;
pub mod entry;
mod field_values;
pub mod headers;
mod json_object;
pub mod log_name;
pub mod printable;
#[cfg(test)]
mod tests;
pub mod timestamp;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::message::detail::Detail;
use crate::message::endpoint::Endpoint;
use headers::Headers;

pub use field_values::{MAX_ATTEMPTS, vet_id, vet_secret_name};
use json_object::RawFields;
pub use json_object::{Alias, Field, find as find_field};

/// One message as published: its endpoint, its id and its bytes.
#[derive(Debug)]
pub struct Message {
    pub id: Box<str>,
    pub endpoint: Arc<Endpoint>,
    /// Extra request headers, already vetted.
    pub headers: Headers,
    /// Not to be delivered before this time, in Unix milliseconds.
    pub deliver_at: Option<u64>,
    /// Settings of the producer for this message alone.
    pub overrides: Overrides,
    /// Names of fields that were taken for others; nearly always none.
    pub aliases: Box<[Alias]>,
    raw: Vec<u8>,
    data: Range<usize>,
}

/// Settings that a producer may give with one message.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// The timeout of an attempt. It cannot exceed the one of the options.
    pub timeout: Option<Duration>,
    pub max_attempts: Option<u32>,
    /// After this time, in Unix milliseconds, it is not delivered any more.
    pub expires_at: Option<u64>,
    /// Messages of one key go one after another.
    pub order_key: Option<Arc<str>>,
    /// The name of the secret that signs it.
    pub secret: Option<Arc<str>>,
}

/// Why a message cannot be delivered at all. The bytes come back to the caller.
#[derive(Debug)]
pub struct Rejection {
    pub reason: RejectReason,
    /// A sentence for the producer that names the field.
    pub detail: Detail,
    /// The id and URL, as far as they were understood.
    pub id: Option<Box<str>>,
    pub url: Option<String>,
    pub raw: Vec<u8>,
}

/// The kinds of a [`Rejection`]; [`fmt::Display`] gives the word that stands in dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    BadSecret,
    TooLarge,
    /// A stream entry without one field `message`.
    BadEntry,
}

impl RejectReason {
    pub const ALL: [RejectReason; 13] = [
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
        RejectReason::BadSecret,
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
            RejectReason::BadSecret => "bad_secret",
            RejectReason::TooLarge => "too_large",
            RejectReason::BadEntry => "bad_entry",
        })
    }
}

impl Message {
    /// The key of messages that go one after another: origin and `orderKey`, in a form that fits
    /// into a line and into a key of the store.
    pub fn group(&self) -> Option<Arc<str>> {
        let key = self.overrides.order_key.as_ref()?;
        let mut group = format!("{} ", self.endpoint.origin);
        for c in key.chars() {
            match c {
                '%' => group.push_str("%25"),
                c if c.is_control() => {
                    for byte in c.to_string().bytes() {
                        group.push_str(&format!("%{byte:02X}"));
                    }
                }
                c => group.push(c),
            }
        }
        Some(group.into())
    }

    /// Reads one message. `max_bytes` bounds the whole message; `fresh_id` makes an id
    /// for a message that brings none, and `endpoint` turns its URL into an [`Endpoint`]
    /// (a function so that the caller may keep the ones it has seen).
    pub fn parse(
        raw: Vec<u8>,
        max_bytes: usize,
        fresh_id: impl FnOnce() -> Box<str>,
        endpoint: impl FnOnce(&str) -> Result<Arc<Endpoint>, Detail>,
    ) -> Result<Message, Rejection> {
        let mut seen = Seen::default();
        match read(&raw, max_bytes, fresh_id, endpoint, &mut seen) {
            Ok(parts) => Ok(Message {
                id: parts.id,
                endpoint: parts.endpoint,
                headers: parts.headers,
                deliver_at: parts.deliver_at,
                overrides: parts.overrides,
                aliases: parts.aliases.into(),
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

    /// Refuses a message that was parsed, for one of its values.
    pub fn refuse(self, reason: RejectReason, detail: Detail) -> Rejection {
        Rejection {
            reason,
            detail,
            id: Some(self.id),
            url: Some(self.endpoint.url.chars().take(MAX_URL_SHOWN).collect()),
            raw: self.raw,
        }
    }

    /// Returns the bytes of the message.
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }
}

/// The fields that were read before a rejection.
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
    aliases: Vec<Alias>,
}

type Refused = (RejectReason, Detail);

fn read(
    raw: &[u8],
    max_bytes: usize,
    fresh_id: impl FnOnce() -> Box<str>,
    endpoint: impl FnOnce(&str) -> Result<Arc<Endpoint>, Detail>,
    seen: &mut Seen,
) -> Result<Parts, Refused> {
    if raw.len() > max_bytes {
        let n = raw.len();
        let detail = format!("message is {n} bytes; --max-message-bytes allows {max_bytes}");
        return Err((RejectReason::TooLarge, detail.into()));
    }
    let text = text(raw).map_err(|e| (RejectReason::BadJson, e.into()))?;
    let given = RawFields::read(text)
        .map_err(|e| (RejectReason::BadJson, e.of("message is not valid JSON")))?;

    // The id first: with it a producer finds the message again, whatever else is wrong.
    let id = match given.optional(Field::WebhookId) {
        None => fresh_id(),
        Some(value) => field_values::id(value).map_err(|e| (RejectReason::BadId, e))?,
    };
    seen.id = Some(id.clone());

    let url = field_values::string("url", given.get(Field::Url))
        .map_err(|e| (RejectReason::BadUrl, e))?;
    // A wrong `url` is shown to an operator, but not a megabyte of it.
    seen.url = Some(url.chars().take(MAX_URL_SHOWN).collect());
    let endpoint = endpoint(&url).map_err(|e| {
        let shown: String = url.chars().take(MAX_URL_IN_DETAIL).collect();
        (
            RejectReason::BadUrl,
            e.of("url").and(&format!("; it is {shown:?}")),
        )
    })?;

    let data = given
        .get(Field::Data)
        .ok_or_else(|| (RejectReason::BadData, "data is missing".into()))?;
    let start = data.get().as_ptr() as usize - raw.as_ptr() as usize;
    let data = start..start + data.get().len();

    use RejectReason::{
        BadDeliverAt, BadExpiresAt, BadHeaders, BadMaxAttempts, BadOrderKey, BadSecret, BadTimeout,
    };
    let of = |field| given.optional(field);
    let read_headers = |json: &RawValue| headers::parse(json.get()).map_err(|e| e.of("headers"));
    let headers = optional(of(Field::Headers), BadHeaders, read_headers)?;
    Ok(Parts {
        id,
        endpoint,
        headers: headers.unwrap_or_default(),
        deliver_at: optional(of(Field::DeliverAt), BadDeliverAt, field_values::deliver_at)?,
        overrides: Overrides {
            timeout: optional(of(Field::Timeout), BadTimeout, field_values::timeout)?,
            max_attempts: optional(
                of(Field::MaxAttempts),
                BadMaxAttempts,
                field_values::max_attempts,
            )?,
            expires_at: optional(of(Field::ExpiresAt), BadExpiresAt, field_values::expires_at)?,
            order_key: optional(of(Field::OrderKey), BadOrderKey, field_values::order_key)?,
            secret: optional(of(Field::Secret), BadSecret, field_values::secret)?,
        },
        data,
        aliases: given.aliases,
    })
}

/// The JSON text of a message: one object, without a byte order mark. The error is a sentence.
fn text(raw: &[u8]) -> Result<&str, String> {
    let raw = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    let text = std::str::from_utf8(raw).map_err(|e| {
        let at = e.valid_up_to();
        format!("message is not UTF-8: byte {:#04x} at {at}", raw[at])
    })?;
    // Checked by hand, as a derived struct would take `["url", "id", 1]` for an object.
    match text.trim_ascii_start().chars().next() {
        Some('{') => Ok(text),
        Some('"') if is_encoded_twice(text) => {
            Err("message is a JSON string that holds JSON: encoded twice?".into())
        }
        Some(first) => Err(format!(
            "message is not a JSON object: it must begin with '{{', and begins with {first:?}"
        )),
        None => Err("message is not a JSON object: it is empty, and must begin with '{'".into()),
    }
}

fn is_encoded_twice(text: &str) -> bool {
    let inner = serde_json::from_str::<String>(text);
    inner.is_ok_and(|inner| inner.trim_ascii_start().starts_with(['{', '[', '"']))
}

/// What a message says of itself.
#[derive(Debug)]
pub struct Glimpse {
    /// As its producer wrote it.
    pub url: String,
    pub id: Option<Box<str>>,
    /// Unix milliseconds.
    pub deliver_at: Option<u64>,
}

/// Reads what can be read, of messages that would be refused too.
pub fn peek(raw: &[u8]) -> Option<Glimpse> {
    let given = RawFields::read(text(raw).ok()?).ok()?;
    let url = field_values::string("url", given.get(Field::Url)).ok()?;
    let id = given.optional(Field::WebhookId);
    let at = given.optional(Field::DeliverAt);
    Some(Glimpse {
        url: url.into_owned(),
        id: id.and_then(|id| field_values::id(id).ok()),
        deliver_at: at.and_then(|at| field_values::deliver_at(at).ok()),
    })
}

fn optional<T>(
    value: Option<&RawValue>,
    reason: RejectReason,
    read: impl FnOnce(&RawValue) -> Result<T, Detail>,
) -> Result<Option<T>, Refused> {
    let value = value.map(|value| read(value).map_err(|e| (reason, e)));
    value.transpose()
}

/// The longest part of a URL in a sentence.
const MAX_URL_IN_DETAIL: usize = 200;

const MAX_URL_SHOWN: usize = 2048;
