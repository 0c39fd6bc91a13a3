//! A verifier takes what is signed, in each scheme, and says what is wrong with what is not.

mod refused;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::dice::Dice;
use crate::trust::secret::Secret;
use crate::trust::signing::scheme::Spec;
use crate::trust::signing::verify::{Received, Verifier};
use crate::trust::signing::{Signing, Subject, TimedKey};

pub const AT: u64 = 1_700_000_000_000;
pub const URL: &str = "https://h.example/a?b";
pub const BODY: &[u8] = b"{\"a\": \"\\u00e9\", \"n\": 1.10}";
pub const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
pub const SEED: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
pub const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// What is signed, and then received.
const SUBJECT: Subject<'static> = Subject {
    id: "msg_1",
    at: AT,
    method: "POST",
    url: URL,
    body: BODY,
};

pub fn spec(scheme: &str) -> Spec {
    match scheme {
        "own" => Spec {
            header: Some("x-own".into()),
            encoding: Some("base64".into()),
            sign: Some("{id}:{timestamp_ms}:{body}".into()),
            value: Some("v={signature} at={timestamp_ms}".into()),
            ..Spec::default()
        },
        name => Spec {
            scheme: Some(name.into()),
            ..Spec::default()
        },
    }
}

pub fn signing(scheme: &str, secrets: &[(&str, u64, u64)]) -> Signing {
    let contract = Arc::new(spec(scheme).build().unwrap());
    let keys = secrets.iter().map(|(secret, from, until)| TimedKey {
        from: *from,
        until: *until,
        ..TimedKey::always(contract.key(&Secret::new((*secret).into())).unwrap())
    });
    let keys = keys.collect();
    Signing::new(contract, keys)
}

pub fn signed(scheme: &str, secret: &str) -> HeaderMap {
    sign_with(&signing(scheme, &[(secret, 0, u64::MAX)]))
}

pub fn sign_with(signing: &Signing) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    signing.sign(&SUBJECT, &mut headers).unwrap();
    headers
}

pub fn verify_with(
    verifier: &Verifier,
    headers: &HeaderMap,
    body: &[u8],
    now: u64,
) -> Result<String, String> {
    let received = Received {
        method: "POST",
        url: URL,
        headers,
        body,
    };
    let verdict = verifier.verify(&received, now, Duration::from_secs(300));
    verdict.map_err(|reasons| reasons.join("; "))
}

pub fn verify(
    scheme: &str,
    secret: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<String, String> {
    let contract = spec(scheme).build().unwrap();
    let verifier = Verifier::of_secret(contract, &Secret::new(secret.into())).unwrap();
    verify_with(&verifier, headers, body, AT + 2000)
}

const SCHEMES: [&str; 8] = [
    "standard", "svix", "github", "stripe", "shopify", "slack", "own", "rfc9421",
];

#[test]
fn what_is_signed_is_valid_and_what_was_changed_is_not() {
    for scheme in SCHEMES {
        let headers = signed(scheme, KEY);
        let how = verify(scheme, KEY, &headers, BODY).unwrap_or_else(|e| panic!("{scheme}: {e}"));
        assert!(how.starts_with("signed by the key"), "{how}");
        assert!(verify(scheme, OTHER, &headers, BODY).is_err(), "{scheme}");
        for at in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[at] ^= 1;
            assert!(
                verify(scheme, KEY, &headers, &body).is_err(),
                "{scheme}: {at}"
            );
        }
        let has_id = ["standard", "svix", "own", "rfc9421"].contains(&scheme);
        let mut changed = headers.clone();
        for name in ["webhook-id", "svix-id"] {
            if changed.contains_key(name) {
                changed.insert(name, HeaderValue::from_static("msg_2"));
            }
        }
        assert_eq!(
            verify(scheme, KEY, &changed, BODY).is_err(),
            has_id,
            "{scheme}"
        );
        let name = headers
            .keys()
            .find(|name| name.as_str().contains("timestamp"));
        if let Some(name) = name.cloned() {
            let mut changed = headers.clone();
            changed.insert(name, HeaderValue::from_static("1700000001"));
            assert!(verify(scheme, KEY, &changed, BODY).is_err(), "{scheme}");
        }
    }
    for scheme in ["standard", "svix", "rfc9421"] {
        let headers = signed(scheme, SEED);
        for key in [PUBLIC, SEED] {
            verify(scheme, key, &headers, BODY).unwrap_or_else(|e| panic!("{scheme}: {e}"));
        }
        assert!(verify(scheme, PUBLIC, &headers, b"{}").is_err());
    }
}

#[test]
fn a_body_that_was_encoded_anew_is_known() {
    for scheme in SCHEMES {
        let headers = signed(scheme, KEY);
        for (body, words) in [
            ("{\"a\":\"\\u00e9\",\"n\":1.10}", "blanks behind"),
            ("{\"a\": \"\\u00e9\", \"n\": 1.10}\n", "line end"),
            ("{\"a\": \"é\", \"n\": 1.10}", "escapes"),
            ("{\"a\":\"é\",\"n\":1.10}", "escapes"),
            (
                "\u{feff}{\"a\": \"\\u00e9\", \"n\": 1.10}",
                "byte order mark",
            ),
        ] {
            let e = verify(scheme, KEY, &headers, body.as_bytes()).expect_err(body);
            assert!(e.contains(words) && e.contains("body"), "{scheme}: {e}");
        }
    }
}

#[test]
fn why_not_is_said() {
    let standard = signed("standard", KEY);
    let with = |name: &'static str, value: &'static str| {
        let mut headers = signed("standard", KEY);
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        headers
    };
    let without = |name: &str| {
        let mut headers = signed("standard", KEY);
        headers.remove(name);
        headers
    };
    let key = |text: &str| format!("{:?}", verify("standard", text, &standard, BODY));
    assert!(key(OTHER).contains("no signature fits"));
    assert!(key(PUBLIC).contains("HMAC (v1)"));
    let e = verify("standard", KEY, &signed("standard", SEED), BODY).unwrap_err();
    assert!(e.contains("public key"), "{e}");
    for (headers, words) in [
        (without("webhook-signature"), "no header webhook-signature"),
        (without("webhook-timestamp"), "no header webhook-timestamp"),
        (without("webhook-id"), "no header webhook-id"),
        (signed("github", KEY), "is the scheme github?"),
        (with("webhook-signature", "v1"), "what is no signature"),
        (with("webhook-signature", "v1,%"), "what is no signature"),
        (with("webhook-timestamp", "soon"), "not a number"),
        (with("webhook-timestamp", "1700000000000"), "not in seconds"),
        (with("webhook-timestamp", "1700000001"), "no signature fits"),
    ] {
        let e = verify("standard", KEY, &headers, BODY).unwrap_err();
        assert!(e.contains(words), "{words}: {e}");
    }
    let mut other_id = with("webhook-id", "msg_2");
    other_id.insert("idempotency-key", HeaderValue::from_static("msg_1"));
    let e = verify("standard", KEY, &other_id, BODY).unwrap_err();
    assert!(
        e.contains("another id") && e.contains("idempotency-key"),
        "{e}"
    );
    // Somebody signs with the text of the secret.
    let raw = Spec {
        header: Some("webhook-signature".into()),
        encoding: Some("base64".into()),
        sign: Some("{id}.{timestamp}.{body}".into()),
        value: Some("v1,{signature}".into()),
        headers: vec![("webhook-timestamp".into(), "{timestamp}".into())],
        ..Spec::default()
    };
    let contract = Arc::new(raw.build().unwrap());
    for (secret, words) in [(KEY, "as it is"), (&KEY[6..], "what follows whsec_")] {
        let key = contract.key(&Secret::new(secret.into())).unwrap();
        let mut headers = signed("standard", KEY);
        Signing::new(contract.clone(), vec![TimedKey::always(key)])
            .sign(&SUBJECT, &mut headers)
            .unwrap();
        let e = verify("standard", KEY, &headers, BODY).unwrap_err();
        assert!(e.contains("form of the secret") && e.contains(words), "{e}");
    }
}

#[test]
fn clocks_and_old_keys_are_told_apart() {
    let headers = signed("standard", KEY);
    let at = |keys: &[(&str, u64, u64)], now| {
        let verifier = Verifier::of_signing(&signing("standard", keys));
        verify_with(&verifier, &headers, BODY, now)
    };
    let always = [(KEY, 0, u64::MAX)];
    for (now, words) in [
        (AT + 300_000, None),
        (AT - 300_000, None),
        (AT + 423_000, Some("7m 3s ago (5m are allowed)")),
        (AT - 423_000, Some("7m 3s ahead")),
    ] {
        let got = at(&always, now);
        assert_eq!(got.is_ok(), words.is_none(), "{got:?}");
        if let (Some(words), Err(e)) = (words, got) {
            assert!(e.contains(words), "{e}");
        }
    }
    let e = at(&[(OTHER, 0, u64::MAX), (KEY, 0, AT)], AT).unwrap_err();
    assert!(e.contains("key 2, an old one"), "{e}");
    let e = at(&[(KEY, AT + 1, u64::MAX)], AT).unwrap_err();
    assert!(e.contains("begins to sign"), "{e}");
    assert!(
        at(&[(OTHER, 0, u64::MAX), (KEY, AT, AT + 1)], AT)
            .unwrap()
            .contains("key 2")
    );
}

#[test]
fn no_header_makes_it_panic() {
    let mut dice = Dice::usual(3);
    let names = [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "stripe-signature",
        "x-own",
        "signature-input",
        "signature",
        "content-digest",
        "x-hub-signature-256",
    ];
    let pieces = [
        "v1,",
        "t=",
        "v1=",
        "1700000000",
        "sig1=",
        "(",
        ")",
        "\"@method\"",
        "\"",
        "\\",
        ",",
        ";",
        ":",
        " ",
        "AAAA",
        "created=1",
        "=",
        "\"x\"",
        "sha256=",
        "v=",
        " at=",
        "\u{7f}é",
    ];
    for _ in 0..20_000 {
        dice.step();
        let mut headers = HeaderMap::new();
        for name in names {
            let text: String = (0..dice.below(9)).map(|_| *dice.pick(&pieces)).collect();
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                headers.insert(name, value);
            }
        }
        for scheme in ["standard", "stripe", "own", "github", "rfc9421"] {
            let verdict = verify(scheme, KEY, &headers, b"{}");
            assert!(verdict.is_err(), "{headers:?}");
        }
    }
}
