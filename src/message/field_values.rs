//! The values of a message's fields, checked one by one after `json_object.rs` has split the message.
//! Each error is a sentence that names the field.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::message::detail::Detail;
use crate::message::timestamp;

/// The longest `webhookId` and `orderKey`, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The longest name of a secret.
const MAX_SECRET_NAME: usize = 128;

/// The most attempts that anyone may ask for.
pub const MAX_ATTEMPTS: u32 = 1000;

/// The longest `timeout` that means anything.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// A required string field.
pub fn string<'a>(name: &str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, Detail> {
    let value = value.ok_or_else(|| format!("{name} is missing"))?;
    text(value).ok_or_else(|| wrong(&format!("{name} must be a string of valid Unicode"), value))
}

/// It is not what it must be.
fn wrong(must: &str, value: &RawValue) -> Detail {
    Detail::quoting(must, format!(", not {}", shown(value)))
}

/// A value for a sentence: as it was written, cut if it is long.
fn shown(value: &RawValue) -> String {
    let text = value.get();
    let mut part: String = text.chars().take(MAX_SHOWN).collect();
    if part.len() < text.len() {
        part.push('…');
    }
    part.replace(char::is_control, " ")
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    // `Cow` alone would always copy; most strings have no escapes and can be borrowed.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text>(value.get()).ok().map(|t| t.0)
}

/// The longest part of a value that is repeated to its producer.
const MAX_SHOWN: usize = 60;

/// Unix milliseconds below this are before 1974: a producer who writes them means seconds.
const LEAST_MS: f64 = 1e11;

/// A shorter timeout, in milliseconds, is a mistake.
const LEAST_TIMEOUT_MS: u64 = 100;

/// Ids become a header and, in signatures, a part of `id.timestamp.body`, so a dot, a
/// blank or anything beyond ASCII is refused rather than repaired.
pub fn id(value: &RawValue) -> Result<Box<str>, Detail> {
    // Many producers number their events.
    let digits = value.get().strip_prefix('-').unwrap_or(value.get());
    let id = match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => Cow::Borrowed(value.get()),
        false => text(value).ok_or_else(|| {
            let must = "webhookId must be a string of valid Unicode or a whole number";
            wrong(must, value)
        })?,
    };
    vet_id(&id)?;
    Ok(id.into())
}

/// The error is a sentence.
pub fn vet_id(id: &str) -> Result<(), Detail> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-');
    match id.chars().find(|&c| !u8::try_from(c).is_ok_and(good)) {
        _ if id.is_empty() => Err("webhookId is empty; leave it out to have one made".into()),
        _ if id.len() > MAX_ID_BYTES => Err(format!(
            "webhookId is {} bytes; at most {MAX_ID_BYTES} are allowed",
            id.len()
        )
        .into()),
        Some(c) => {
            let shown: String = id.chars().take(MAX_SHOWN).collect();
            let code = u32::from(c);
            let says =
                format!("webhookId holds {c:?} (U+{code:04X}); allowed are A-Z a-z 0-9 _ : -");
            Err(Detail::quoting(says, format!("; it is {shown:?}")))
        }
        None => Ok(()),
    }
}

pub fn deliver_at(value: &RawValue) -> Result<u64, Detail> {
    time("deliverAt", value)
}

pub fn expires_at(value: &RawValue) -> Result<u64, Detail> {
    time("expiresAt", value)
}

/// RFC 3339 or Unix milliseconds. Returns the latter.
fn time(name: &str, value: &RawValue) -> Result<u64, Detail> {
    let ms = match text(value) {
        Some(time) => timestamp::parse_rfc3339(&time),
        None => match value.get().parse::<f64>() {
            Ok(number) if (0.0..LEAST_MS).contains(&number) => {
                let says = format!("{name} looks like seconds; milliseconds are meant");
                return Err(Detail::quoting(says, format!(": {}", shown(value))));
            }
            // Some serialisers write whole numbers as 1.5e12 or 1.0.
            Ok(number) if number > 0.0 && number.fract() == 0.0 => Some(number as u64),
            _ => None,
        },
    };
    ms.filter(|ms| *ms <= timestamp::LATEST_MS).ok_or_else(|| {
        let must = format!("{name} must be a time as 2027-01-31T12:00:00Z, or Unix milliseconds");
        wrong(&must, value)
    })
}

/// A duration as `"10s"`, or milliseconds.
pub fn timeout(value: &RawValue) -> Result<Duration, Detail> {
    let read = match text(value) {
        Some(text) => humantime::parse_duration(&text).ok(),
        None => match value.get().parse() {
            Ok(ms @ 1..LEAST_TIMEOUT_MS) => {
                return Err(format!(
                    "timeout {ms} looks like seconds; milliseconds are meant, or text as \"{ms}s\""
                )
                .into());
            }
            Ok(ms) => Some(Duration::from_millis(ms)),
            Err(_) => None,
        },
    };
    read.filter(|t| (Duration::from_millis(1)..=MAX_TIMEOUT).contains(t))
        .ok_or_else(|| {
            let must = "timeout must be a duration as \"10s\", or milliseconds, at most an hour";
            wrong(must, value)
        })
}

pub fn max_attempts(value: &RawValue) -> Result<u32, Detail> {
    let read = value.get().parse().ok();
    read.filter(|n| (1..=MAX_ATTEMPTS).contains(n))
        .ok_or_else(|| wrong("maxAttempts must be a whole number from 1 to 1000", value))
}

pub fn order_key(value: &RawValue) -> Result<Arc<str>, Detail> {
    let key = string("orderKey", Some(value))?;
    match (1..=MAX_ID_BYTES).contains(&key.len()) {
        true => Ok(key.into()),
        false => Err(format!(
            "orderKey is {} bytes; 1 to {MAX_ID_BYTES} are allowed",
            key.len()
        )
        .into()),
    }
}

/// The name of a secret. The value may be a secret itself, by mistake, so it is not shown.
pub fn secret(value: &RawValue) -> Result<Arc<str>, Detail> {
    let name = text(value).ok_or("secret must be a string: the name of a secret")?;
    vet_secret_name(&name).map_err(|e| format!("secret {e}"))?;
    Ok(name.as_ref().into())
}

/// The error does not show it.
pub fn vet_secret_name(name: &str) -> Result<(), &'static str> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if ["whsec_", "whsk_", "whpk_", "ohsk_"]
        .iter()
        .any(|start| name.starts_with(start))
    {
        return Err(
            "must be the name of a secret, and looks like a key itself: if it is one, \
                    whoever can read the message knows it now, and it stays in its dead letter: \
                    change the key",
        );
    }
    match (1..=MAX_SECRET_NAME).contains(&name.len())
        && name.bytes().all(good)
        && !name.starts_with('.')
    {
        true => Ok(()),
        false => Err(
            "must be the name of a secret: 1 to 128 of A-Z a-z 0-9 _ . -, not beginning with a dot",
        ),
    }
}
