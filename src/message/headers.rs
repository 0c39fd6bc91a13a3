//! Extra request headers that a message may bring, vetted.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use crate::message::detail::Detail;

/// Headers in the order of their names; empty for almost every message, and then free.
pub type Headers = Box<[(HeaderName, HeaderValue)]>;

/// Bounds chosen well below what servers accept (8 KiB of headers in all is common).
const MAX_COUNT: usize = 32;
const MAX_BYTES: usize = 4096;

/// Names that frame or route the request, or that outhook itself vouches for.
const RESERVED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads a JSON object of strings. The error says which header is wrong, and why.
pub fn parse(json: &str) -> Result<Headers, Detail> {
    let map: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|_| "must be an object of strings")?;
    vet(&map)
}

/// Vets headers, and puts them into their order.
pub fn vet(map: &BTreeMap<String, String>) -> Result<Headers, Detail> {
    let bytes: usize = map.iter().map(|(k, v)| k.len() + v.len()).sum();
    if map.len() > MAX_COUNT || bytes > MAX_BYTES {
        return Err(format!(
            "{} headers of {bytes} bytes; at most {MAX_COUNT} of {MAX_BYTES} bytes are allowed",
            map.len()
        )
        .into());
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(map.len());
    for (name, value) in map {
        let (name, value) = check(name, value)?;
        if headers.iter().any(|(n, _)| *n == name) {
            return Err(format!("{name} stands twice").into());
        }
        headers.push((name, value));
    }
    Ok(headers.into())
}

/// Vets the name of a header that outhook itself is to set.
pub fn vet_own_name(name: &str) -> Result<HeaderName, Detail> {
    let shown = || name.chars().take(64).collect::<String>();
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Detail::quoting("this is not a header name", format!(": {:?}", shown())))?;
    match RESERVED.contains(&parsed.as_str()) {
        true => Err(describe_reserved(&parsed).into()),
        false => Ok(parsed),
    }
}

fn describe_reserved(name: &HeaderName) -> String {
    format!("{name} is set by outhook and cannot be overridden")
}

/// Vets one header.
pub fn check(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Detail> {
    let parsed = vet_own_name(name)?;
    if parsed.as_str().starts_with("webhook-") {
        return Err(describe_reserved(&parsed).into());
    }
    // `HeaderValue` would take tabs, and blanks at the ends that receivers strip.
    let printable = value.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !printable || value.trim() != value {
        return Err(format!("{parsed} has a value that is not plain printable ASCII").into());
    }
    let value = HeaderValue::from_str(value).map_err(|e| format!("{parsed}: {e}"))?;
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_headers_pass_and_keep_their_values() {
        let h = parse(r#"{"X-B":"2","x-a":"one two"}"#).unwrap();
        assert_eq!(h.len(), 2);
        assert_eq!(h[0].0.as_str(), "x-b");
        assert_eq!(h[1].1, "one two");
    }

    #[test]
    fn what_frames_the_request_or_breaks_it_is_refused() {
        for (json, word) in [
            (r#"{"Host":"x"}"#, "host"),
            (r#"{"content-length":"1"}"#, "content-length"),
            (r#"{"Webhook-Signature":"x"}"#, "webhook-signature"),
            (r#"{"a":"x\r\ny: 1"}"#, "a has"),
            (r#"{"a":" x"}"#, "a has"),
            (r#"{"a":"é"}"#, "a has"),
            (r#"{"a b":"x"}"#, "header name: \"a b\""),
            (r#"{"":"x"}"#, "header name"),
            (r#"{"a":1}"#, "object of strings"),
            (r#"{"a":"1","A":"2"}"#, "twice"),
            ("null", "object of strings"),
        ] {
            let e = parse(json).expect_err(json).to_string();
            assert!(e.contains(word), "{json}: {e}");
        }
    }
}
