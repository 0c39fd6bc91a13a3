//! A verifier refuses what a signature does not cover, whoever holds the key; and takes whatever a
//! rotation makes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::{digest, hmac};

use super::{
    AT, BODY, KEY, OTHER, PUBLIC, SEED, URL, sign_with, signed, signing, spec, verify, verify_with,
};
use crate::trust::secret::Secret;
use crate::trust::signing::scheme::Spec;
use crate::trust::signing::verify::{Received, Verifier};
use crate::trust::signing::{Signing, TimedKey};

fn header(name: &'static str, value: &str) -> (HeaderName, HeaderValue) {
    (
        HeaderName::from_static(name),
        HeaderValue::from_str(value).unwrap(),
    )
}

fn key_bytes() -> hmac::Key {
    let bytes = STANDARD.decode(&KEY[6..]).unwrap();
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

/// A request signed with `KEY` that covers the lines of `base`, whatever they are.
fn message(covered: &[(&str, &str)], params: &str, more: &[(&'static str, &str)]) -> HeaderMap {
    let names: Vec<String> = covered.iter().map(|(n, _)| format!("\"{n}\"")).collect();
    let params = format!("({}){params}", names.join(" "));
    let lines = covered.iter().map(|(n, v)| format!("\"{n}\": {v}\n"));
    let base = lines.collect::<String>() + &format!("\"@signature-params\": {params}");
    let tag = STANDARD.encode(hmac::sign(&key_bytes(), base.as_bytes()));
    let mut headers = HeaderMap::new();
    headers.extend([
        header("signature-input", &format!("a={params}")),
        header("signature", &format!("a=:{tag}:")),
    ]);
    headers.extend(more.iter().map(|(name, value)| header(name, value)));
    headers
}

fn of(algorithm: &'static digest::Algorithm, name: &str, body: &[u8]) -> String {
    format!(
        "{name}=:{}:",
        STANDARD.encode(digest::digest(algorithm, body))
    )
}

#[test]
fn a_message_signature_that_does_not_cover_the_body_is_not_valid() {
    let created = format!(";created={}", AT / 1000);
    let only = [("@method", "POST"), ("@target-uri", URL)];
    let uncovered = message(&only, &created, &[]);
    for body in [BODY, b"", b"anything"] {
        let e = verify("rfc9421", KEY, &uncovered, body).unwrap_err();
        assert!(e.contains("the body is not covered"), "{e}");
    }
    let good = of(&digest::SHA256, "sha-256", BODY);
    let beside = message(&only, &created, &[("content-digest", &good)]);
    assert!(verify("rfc9421", KEY, &beside, BODY).is_err());

    let with = |digest: &str, params: &str| {
        let covered = [("@method", "POST"), ("content-digest", digest)];
        let params = format!("{created}{params}");
        message(&covered, &params, &[("content-digest", digest)])
    };
    let long = of(&digest::SHA512, "sha-512", BODY);
    for digest in [&good, &long, &format!("{good}, {long}, md5=:AAAA:")] {
        let headers = with(digest, "");
        verify("rfc9421", KEY, &headers, BODY).unwrap();
        let e = verify("rfc9421", KEY, &headers, b"other").unwrap_err();
        assert!(e.contains("not that of content-digest"), "{e}");
    }
    let other = of(&digest::SHA512, "sha-512", b"other");
    for (digest, words) in [
        ("md5=:AAAA:", "neither sha-256 nor sha-512"),
        ("sha-256=AAAA", "not as sha-256"),
        (&format!("{good}, {other}"), "not that of content-digest"),
        (&format!("{other}, {good}"), "not that of content-digest"),
    ] {
        let e = verify("rfc9421", KEY, &with(digest, ""), BODY).unwrap_err();
        assert!(e.contains(words), "{digest}: {e}");
    }
    let ends = |seconds: u64| format!(";expires={}", AT / 1000 + seconds);
    for (params, words) in [
        (ends(3), ""),
        (ends(1), "ended 1s ago"),
        (ends(2), "ended 0s ago"),
        (";alg=\"hmac-sha256\"".into(), ""),
        (";alg=\"ed25519\"".into(), "ed25519 (alg)"),
        (";alg=\"rsa-v1_5-sha256\"".into(), "its alg must be"),
        (";created=1".into(), "created twice"),
        (";keyid=\"a;expires=1\"".into(), ""),
    ] {
        let got = verify("rfc9421", KEY, &with(&good, &params), BODY);
        match (words, got) {
            ("", got) => assert!(got.is_ok(), "{params}: {got:?}"),
            (words, got) => assert!(got.clone().unwrap_err().contains(words), "{got:?}"),
        }
    }
}

#[test]
fn each_signature_is_of_the_kind_that_it_says() {
    let headers = signed("standard", KEY);
    let value = headers["webhook-signature"].to_str().unwrap().to_owned();
    let bare = value.strip_prefix("v1,").unwrap();
    for (value, words) in [
        (format!("v1a,{bare}"), "the public key"),
        (format!("v2,{bare}"), "no signature as v1,"),
        (format!("v1,{bare} v2,zz!"), ""),
        (format!("v2,zz! v1,{bare}"), ""),
        (format!("v1,{bare} x"), "what is no signature"),
        (format!("v1,{bare} ").repeat(17), "at most 16"),
    ] {
        let mut headers = headers.clone();
        headers.insert("webhook-signature", HeaderValue::from_str(&value).unwrap());
        let got = verify("standard", KEY, &headers, BODY);
        match words {
            "" => assert!(got.is_ok(), "{value}: {got:?}"),
            words => assert!(got.clone().unwrap_err().contains(words), "{value}: {got:?}"),
        }
    }
    let mut headers = signed("standard", SEED);
    let value = headers["webhook-signature"].to_str().unwrap();
    let value = value.replace("v1a,", "v1,");
    headers.insert("webhook-signature", HeaderValue::from_str(&value).unwrap());
    assert!(verify("standard", PUBLIC, &headers, BODY).is_err());
}

#[test]
fn a_header_that_stands_twice_is_not_valid() {
    for (scheme, name) in [
        ("standard", "webhook-id"),
        ("standard", "webhook-timestamp"),
        ("standard", "webhook-signature"),
        ("github", "x-hub-signature-256"),
        ("slack", "x-slack-request-timestamp"),
        ("own", "webhook-id"),
    ] {
        for first in [true, false] {
            let mut headers = signed(scheme, KEY);
            let good = headers[name].clone();
            let (a, b) = match first {
                true => (good, HeaderValue::from_static("1")),
                false => (HeaderValue::from_static("1"), good),
            };
            headers.insert(name, a);
            headers.append(name, b);
            let e = verify(scheme, KEY, &headers, BODY).unwrap_err();
            assert!(e.contains(&format!("{name} stands 2 times")), "{e}");
        }
    }
}

#[test]
fn a_signature_stands_where_the_scheme_says() {
    for (scheme, name, change) in [
        ("github", "x-hub-signature-256", "sha256=deadbeef {}"),
        ("github", "x-hub-signature-256", "{} "),
        ("github", "x-hub-signature-256", "{}ff"),
        ("github", "x-hub-signature-256", "sha1={}"),
        ("shopify", "x-shopify-hmac-sha256", "AAAA{}"),
        ("stripe", "stripe-signature", "x=1,{}"),
        ("slack", "x-slack-signature", "v1=00,{}"),
    ] {
        let mut headers = signed(scheme, KEY);
        let value = headers[name].to_str().unwrap();
        let value = change.replace("{}", value);
        headers.insert(name, HeaderValue::from_str(&value).unwrap());
        let got = verify(scheme, KEY, &headers, BODY);
        let blank = change == "{} ";
        assert!(blank || got.is_err(), "{change}: {got:?}");
    }
    // As Stripe itself sends it for tests; and the second of two keys.
    let two = signing("stripe", &[(OTHER, 0, u64::MAX), (KEY, 0, u64::MAX)]);
    let headers = sign_with(&two);
    verify("stripe", KEY, &headers, BODY).unwrap();
    let mut headers = signed("stripe", KEY);
    let value = headers["stripe-signature"].to_str().unwrap();
    let value = format!("{value},v0={}", "0".repeat(64));
    headers.insert("stripe-signature", HeaderValue::from_str(&value).unwrap());
    verify("stripe", KEY, &headers, BODY).unwrap();
}

#[test]
fn during_a_rotation_each_key_alone_verifies() {
    let keys = [(OTHER, 0, u64::MAX), (KEY, 0, u64::MAX)];
    for scheme in ["standard", "svix", "stripe", "rfc9421"] {
        for order in [[0, 1], [1, 0]] {
            let headers = sign_with(&signing(scheme, &order.map(|n| keys[n])));
            for secret in [KEY, OTHER] {
                let got = verify(scheme, secret, &headers, BODY);
                got.unwrap_or_else(|e| panic!("{scheme}: {e}"));
            }
        }
    }
    let headers = sign_with(&signing("rfc9421", &[(SEED, 0, u64::MAX), keys[1]]));
    for secret in [KEY, PUBLIC] {
        verify("rfc9421", secret, &headers, BODY).unwrap();
        assert!(verify("rfc9421", secret, &headers, b"{}").is_err());
    }
    // On two lines, as some proxies write lists.
    let lines = |name: &str| {
        let value = headers[name].to_str().unwrap();
        let at = value.find(", sig1-2").unwrap();
        [value[..at].to_owned(), value[at + 2..].to_owned()]
    };
    let mut split = headers.clone();
    for name in ["signature", "signature-input"] {
        let [a, b] = lines(name);
        split.insert(name, HeaderValue::from_str(&a).unwrap());
        split.append(name, HeaderValue::from_str(&b).unwrap());
    }
    verify("rfc9421", KEY, &split, BODY).unwrap();
}

#[test]
fn what_a_verifier_was_not_told_is_said() {
    let verifier = |spec: Spec| {
        let contract = spec.build().unwrap();
        Verifier::of_secret(contract, &Secret::new(KEY.into())).unwrap()
    };
    let url = Spec {
        header: Some("x-own".into()),
        sign: Some("{url}{body}".into()),
        ..Spec::default()
    };
    for spec in [spec("rfc9421"), url] {
        let contract = Arc::new(spec.build().unwrap());
        let key = contract.key(&Secret::new(KEY.into())).unwrap();
        let headers = sign_with(&Signing::new(contract, vec![TimedKey::always(key)]));
        let received = Received {
            method: "POST",
            url: "",
            headers: &headers,
            body: BODY,
        };
        let verdict = verifier(spec).verify(&received, AT, Duration::from_secs(300));
        let e = verdict.unwrap_err().join("; ");
        assert!(e.contains("--url"), "{e}");
    }
    let mut headers = signed("rfc9421", KEY);
    headers.remove("signature");
    let e = verify("rfc9421", KEY, &headers, BODY).unwrap_err();
    assert_eq!(e, "there is no header signature");
    let verifier = Verifier::of_signing(&signing("standard", &[(KEY, 0, u64::MAX)]));
    let e = verify_with(&verifier, &headers, BODY, AT).unwrap_err();
    assert!(e.contains("is the scheme rfc9421?"), "{e}");
}
