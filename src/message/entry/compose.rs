//! An entry that carries a message's fields themselves, made into the message. Pure.

use serde_json::value::{RawValue, Value};

use crate::message::detail::Detail;
use crate::message::{Field, RejectReason, find_field};

/// The reason, and a sentence about it.
type Refused = (RejectReason, Detail);

/// Whether an entry without `message` carries a message's fields: one of its names is `url` or
/// `data`.
pub fn has_fields(fields: &[Vec<u8>]) -> bool {
    let mut names = fields.chunks_exact(2).filter_map(|pair| known(&pair[0]));
    names.any(|(_, field)| matches!(field, Field::Url | Field::Data))
}

/// One JSON object of all fields that are known. `data` and `headers` are JSON already, and stay as
/// they are; of the others, numbers and quoted values are JSON too, and everything else is text.
pub fn compose(fields: &[Vec<u8>]) -> Result<Vec<u8>, Refused> {
    let mut json = b"{".to_vec();
    for pair in fields.chunks_exact(2) {
        let Some((name, field)) = known(&pair[0]) else {
            continue;
        };
        let raw: Result<&RawValue, _> = serde_json::from_slice(&pair[1]);
        let value = match (field, raw) {
            (Field::Url | Field::WebhookId | Field::OrderKey | Field::Secret, _) => {
                text(name, &pair[1])?
            }
            (_, Ok(raw)) => raw.get().to_owned(),
            (Field::Data, Err(e)) => {
                let e = format!("{name} is not JSON: {e}; a text needs quotes of its own");
                return Err((RejectReason::BadData, e.into()));
            }
            (Field::Headers, Err(e)) => {
                let e = format!("{name} is not JSON: {e}");
                return Err((RejectReason::BadHeaders, e.into()));
            }
            (_, Err(_)) => text(name, &pair[1])?,
        };
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend_from_slice(Value::from(name).to_string().as_bytes());
        json.push(b':');
        json.extend_from_slice(value.as_bytes());
    }
    json.push(b'}');
    Ok(json)
}

fn known(name: &[u8]) -> Option<(&str, Field)> {
    let name = std::str::from_utf8(name).ok()?;
    let (field, _) = find_field(name)?;
    Some((name, field))
}

fn text(name: &str, value: &[u8]) -> Result<String, Refused> {
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Value::from(text).to_string()),
        Err(e) => {
            let (at, byte) = (e.valid_up_to(), value[e.valid_up_to()]);
            let detail = format!("{name} is not UTF-8: byte {byte:#04x} at {at}");
            Err((RejectReason::BadEntry, detail.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(pairs: &[(&str, &str)]) -> Result<String, Refused> {
        let fields = pairs.iter().flat_map(|(name, value)| [name, value]);
        let fields: Vec<Vec<u8>> = fields.map(|text| text.as_bytes().to_vec()).collect();
        assert!(has_fields(&fields));
        compose(&fields).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn fields_become_the_message_and_data_stays_as_it_is() {
        let json = composed(&[
            ("url", "http://h/\"x\""),
            ("webhook_id", "7"),
            ("data", "{\"b\" : 1.10,  \"a\":1e999}"),
            ("deliverAt", "2027-01-31T12:00:00Z"),
            ("timeout", "5s"),
            ("maxAttempts", "3"),
            ("headers", "{\"a\":\"b\"}"),
            ("other", "ignored"),
        ]);
        let want = "{\"url\":\"http://h/\\\"x\\\"\",\"webhook_id\":\"7\",\
                    \"data\":{\"b\" : 1.10,  \"a\":1e999},\
                    \"deliverAt\":\"2027-01-31T12:00:00Z\",\"timeout\":\"5s\",\
                    \"maxAttempts\":3,\"headers\":{\"a\":\"b\"}}";
        assert_eq!(json.unwrap(), want);
    }

    #[test]
    fn what_would_break_out_of_its_field_is_refused() {
        let data = composed(&[("url", "http://h/"), ("data", "1,\"url\":\"http://evil/\"")]);
        assert_eq!(data.unwrap_err().0, RejectReason::BadData);
        let headers = composed(&[("url", "http://h/"), ("headers", "{}}")]);
        assert_eq!(headers.unwrap_err().0, RejectReason::BadHeaders);
        let text = composed(&[("data", "hello")]).unwrap_err().1;
        assert!(text.to_string().contains("quotes of its own"), "{text}");
        let bad = compose(&[b"url".to_vec(), b"http://\xff".to_vec()]).unwrap_err();
        assert!(bad.1.to_string().contains("byte 0xff at 7"), "{bad:?}");
    }
}
