//! The fields of a message as raw JSON text. So an error can name the field that has the wrong
//! type, and nothing is ever encoded again. Pure.
//!
//! A name that differs from a known one only in case, `_` or `-` is taken for it. Otherwise it
//! would be ignored, and a producer who writes `webhook_id` means `webhookId`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::message::detail::Detail;

/// The fields, in the order of [`Field`].
pub const NAMES: [&str; 10] = [
    "url",
    "data",
    "webhookId",
    "headers",
    "deliverAt",
    "expiresAt",
    "timeout",
    "maxAttempts",
    "orderKey",
    "secret",
];

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field {
    Url,
    Data,
    WebhookId,
    Headers,
    DeliverAt,
    ExpiresAt,
    Timeout,
    MaxAttempts,
    OrderKey,
    Secret,
}

const FIELDS: [Field; NAMES.len()] = [
    Field::Url,
    Field::Data,
    Field::WebhookId,
    Field::Headers,
    Field::DeliverAt,
    Field::ExpiresAt,
    Field::Timeout,
    Field::MaxAttempts,
    Field::OrderKey,
    Field::Secret,
];

/// A name that was taken for another.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    pub given: Box<str>,
    pub known: &'static str,
}

/// The values of the JSON object.
#[derive(Debug, Default)]
pub struct RawFields<'a> {
    values: [Option<&'a RawValue>; NAMES.len()],
    pub aliases: Vec<Alias>,
}

impl<'a> RawFields<'a> {
    /// Reads all of `text`, which is one object. The error is a sentence that names the place.
    pub fn read(text: &'a str) -> Result<RawFields<'a>, Detail> {
        let mut json = serde_json::Deserializer::from_str(text);
        let fields = json.deserialize_map(Fields).and_then(|fields| {
            json.end()?;
            Ok(fields)
        });
        fields.map_err(|e| Detail::quoting(e.to_string(), near(text, e.line(), e.column())))
    }

    pub fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.values[field as usize]
    }

    /// The value of an optional field: `null` counts as absent.
    pub fn optional(&self, field: Field) -> Option<&'a RawValue> {
        self.get(field).filter(|value| value.get() != "null")
    }
}

/// The field that a name stands for, and whether it is spelt like it.
pub fn find(name: &str) -> Option<(Field, bool)> {
    if let Some(n) = NAMES.iter().position(|known| *known == name) {
        return Some((FIELDS[n], true));
    }
    let plain = |text: &str| {
        let bytes = text.bytes().filter(|b| !matches!(b, b'_' | b'-'));
        bytes.map(|b| b.to_ascii_lowercase()).collect::<Vec<u8>>()
    };
    // A longer name cannot match, and needs no copy.
    let name = (name.len() < 32).then(|| plain(name))?;
    let n = NAMES.iter().position(|known| plain(known) == name)?;
    Some((FIELDS[n], false))
}

/// The text around a place, for people.
fn near(text: &str, line: usize, column: usize) -> String {
    let Some(line) = text.split('\n').nth(line.saturating_sub(1)) else {
        return String::new();
    };
    let mut from = column.saturating_sub(15).min(line.len());
    while !line.is_char_boundary(from) {
        from -= 1;
    }
    let part: String = line[from..].chars().take(20).collect();
    match part.is_empty() {
        true => String::new(),
        false => format!(", near {part:?}"),
    }
}

/// Reads names without a copy where they have no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = RawFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawFields<'de>, M::Error> {
        let mut fields = RawFields::default();
        let mut others: [Option<(&RawValue, Box<str>)>; NAMES.len()] = Default::default();
        while let Some(Key(name)) = map.next_key()? {
            let Some((field, exact)) = find(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let (n, value) = (field as usize, map.next_value()?);
            let before = match exact {
                true => fields.values[n].replace(value),
                false => {
                    let given = name.into();
                    others[n].replace((value, given)).map(|(before, _)| before)
                }
            };
            if before.is_some() {
                let known = NAMES[n];
                return Err(M::Error::custom(format!("duplicate field `{known}`")));
            }
        }
        for (n, other) in others.into_iter().enumerate() {
            let Some((value, given)) = other else {
                continue;
            };
            let known = NAMES[n];
            // `null` counts as absent, except for data.
            let is_null = |value: &RawValue| value.get() == "null" && FIELDS[n] != Field::Data;
            if fields.values[n].is_none_or(is_null) {
                fields.values[n] = Some(value);
                fields.aliases.push(Alias { given, known });
            } else if FIELDS[n] == Field::Secret && !is_null(value) {
                // Two names of one secret are refused: only the producer knows which one is to
                // sign.
                return Err(M::Error::custom(format!("duplicate field `{known}`")));
            }
            // Beside the exact name any other spelling is an unknown field, and ignored.
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_spelt() {
        for (name, field) in [
            ("webhookId", Some((Field::WebhookId, true))),
            ("webhook_id", Some((Field::WebhookId, false))),
            ("webhookID", Some((Field::WebhookId, false))),
            ("order-key", Some((Field::OrderKey, false))),
            ("URL", Some((Field::Url, false))),
            ("MAX_ATTEMPTS", Some((Field::MaxAttempts, false))),
            ("id", None),
            ("", None),
            ("urls", None),
            ("dаta", None),
        ] {
            assert_eq!(find(name), field, "{name}");
        }
        for (n, name) in NAMES.iter().enumerate() {
            assert_eq!(find(name), Some((FIELDS[n], true)));
            assert_eq!(FIELDS[n] as usize, n);
        }
    }

    #[test]
    fn beside_the_right_name_another_spelling_counts_only_where_that_says_nothing() {
        let secret =
            |json| RawFields::read(json).map(|fields| fields.get(Field::Secret).map(|v| v.get()));
        let (acme, none) = (Ok(Some("\"acme\"")), Ok(Some("null")));
        assert_eq!(secret(r#"{"secret":null,"Secret":"acme"}"#), acme);
        assert_eq!(secret(r#"{"Secret":null,"secret":"acme"}"#), acme);
        assert_eq!(secret(r#"{"Secret":null,"secret":null}"#), none);
        let two = secret(r#"{"Secret":"a","secret":"b"}"#).unwrap_err();
        let two = two.to_string();
        assert!(two.contains("duplicate field `secret`"), "{two}");
        let fields =
            RawFields::read(r#"{"data":null,"Data":1,"timeout":"1s","Timeout":"2s"}"#).unwrap();
        let of = |field| fields.get(field).unwrap().get();
        assert_eq!((of(Field::Data), of(Field::Timeout)), ("null", "\"1s\""));
    }

    #[test]
    fn the_place_of_an_error_is_shown() {
        let e = RawFields::read("{\"url\":1,\n\"data\" 2}")
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("line 2 column 8, near \"\\\"data\\\" 2}\""),
            "{e}"
        );
        let e = RawFields::read(r#"{"webhookID":"é","webhook_id":"b"}"#)
            .unwrap_err()
            .to_string();
        assert!(e.contains("duplicate field `webhookId`"), "{e}");
        assert!(RawFields::read("{").unwrap_err().sentence().contains("EOF"));
    }
}
