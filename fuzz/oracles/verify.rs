//! Verification: what was signed is valid; what was changed is not, and the reason shows no secret.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::assert_sentence;
use crate::trust::secret::Secret;
use crate::trust::signing::scheme::{Contract, Spec};
use crate::trust::signing::verify::{Received, Verifier};
use crate::trust::signing::{Signing, Subject, TimedKey};

const SCHEMES: [&str; 7] = [
    "standard", "svix", "github", "stripe", "shopify", "slack", "rfc9421",
];
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const NEITHER: &str = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";
const AT: u64 = 1_614_265_330_999;
const URL: &str = "https://a.example/hook?b";
const TOLERANCE: Duration = Duration::from_secs(300);

fn contract(scheme: &str) -> Contract {
    let spec = Spec {
        scheme: Some(scheme.to_owned()),
        ..Spec::default()
    };
    spec.build().expect("a scheme of ours")
}

/// The first byte chooses the scheme. The others are a body, which is signed and changed; and lines of a
/// head and, behind an empty one, a body, which nobody has signed.
pub fn verify(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let scheme = SCHEMES[usize::from(first % 7)];
    signed(scheme, rest);
    rotated(scheme, rest);
    unsigned(scheme, rest);
}

fn signed(scheme: &str, body: &[u8]) {
    let key = contract(scheme).key(&Secret::new(SECRET.into()));
    let keys = vec![TimedKey::always(key.expect("a key"))];
    let signing = Signing::new(contract(scheme).into(), keys);
    let verifier = Verifier::of_signing(&signing);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", "msg_1"),
        ("content-type", "application/json"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let subject = Subject {
        id: "msg_1",
        at: AT,
        method: "POST",
        url: URL,
        body,
    };
    signing.sign(&subject, &mut headers).expect("a key");
    let judge = |headers: &HeaderMap, body: &[u8]| {
        let received = Received {
            method: "POST",
            url: URL,
            headers,
            body,
        };
        verifier.verify(&received, AT, TOLERANCE)
    };
    let said = judge(&headers, body);
    assert_sentence(&said.unwrap_or_else(|e| panic!("{scheme}: {e:?}")));
    // One bit of the body.
    if !body.is_empty() {
        let mut other = body.to_vec();
        let bit = body.iter().map(|b| usize::from(*b)).sum::<usize>() % (8 * body.len());
        other[bit / 8] ^= 1 << (bit % 8);
        assert_reasons(judge(&headers, &other).expect_err("another body"));
    }
    assert_reasons(judge(&headers, &[body, b" "].concat()).expect_err("a longer body"));
    // One digit or letter of each header that was made.
    for name in headers.keys().cloned().collect::<Vec<_>>() {
        if name.as_str().contains("signature") && name != "signature-input" {
            let mut value = headers[&name].as_bytes().to_vec();
            let at = value.len() - 1 - body.len() % 16;
            value[at] = if value[at] == b'b' { b'c' } else { b'b' };
            let mut other = headers.clone();
            other.insert(name, HeaderValue::from_bytes(&value).expect("printable"));
            if let Err(reasons) = judge(&other, body) {
                assert_reasons(reasons);
            } else {
                // The last character of base64 has bits that mean nothing, and case none in hex.
                assert!(at + 3 >= value.len(), "{scheme}: {at}");
            }
        }
    }
}

/// Two keys sign: a receiver that has one of them takes it, where the scheme has room for both.
fn rotated(scheme: &str, body: &[u8]) {
    let key = |secret: &str| contract(scheme).key(&Secret::new(secret.into()));
    let keys = [OLD, SECRET].map(|secret| TimedKey::always(key(secret).expect("a key")));
    let signing = Signing::new(contract(scheme).into(), keys.into());
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
    let subject = Subject {
        id: "msg_1",
        at: AT,
        method: "POST",
        url: URL,
        body,
    };
    signing.sign(&subject, &mut headers).expect("a key");
    let received = Received {
        method: "POST",
        url: URL,
        headers: &headers,
        body,
    };
    let only_first = ["github", "shopify", "slack"].contains(&scheme);
    for (n, secret) in [OLD, SECRET, NEITHER].into_iter().enumerate() {
        let verifier = Verifier::of_secret(contract(scheme), &Secret::new(secret.into()));
        let verdict = verifier.expect("a key").verify(&received, AT, TOLERANCE);
        let good = n == 0 || (n == 1 && !only_first);
        assert_eq!(verdict.is_ok(), good, "{scheme}, key {n}: {verdict:?}");
    }
}

fn unsigned(scheme: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in head
        .lines()
        .take(64)
        .filter_map(|line| line.split_once(':'))
    {
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let value = HeaderValue::from_bytes(value.trim().as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let verifier = Verifier::of_secret(contract(scheme), &Secret::new(SECRET.into()));
    let received = Received {
        method: "POST",
        url: URL,
        headers: &headers,
        body: body.as_bytes(),
    };
    if let Err(reasons) = verifier.expect("a key").verify(&received, AT, TOLERANCE) {
        assert_reasons(reasons);
    }
}

fn assert_reasons(reasons: Vec<String>) {
    assert!(!reasons.is_empty());
    for reason in reasons {
        assert_sentence(&reason);
        assert!(!reason.contains(&SECRET[6..]), "{reason}");
    }
}
