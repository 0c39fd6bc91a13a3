//! Signing: whatever contract can be written down signs all of the body, in headers that can be sent.

use std::sync::Arc;

use http::HeaderMap;
use ring::hmac;

use super::assert_sentence;
use crate::trust::secret::Secret;
use crate::trust::signing::scheme::{Contract, Scheme, Spec};
use crate::trust::signing::{Signing, Subject, TimedKey};

const BODY: &[u8] = br#"{"a":1}"#;

/// Lines `name=value` of a `signing` table.
pub fn signing(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut spec = Spec::default();
    let mut secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let own = || Some(value.to_owned());
        match name {
            "scheme" => spec.scheme = own(),
            "header" => spec.header = own(),
            "digest" => spec.digest = own(),
            "encoding" => spec.encoding = own(),
            "sign" => spec.sign = own(),
            "value" => spec.value = own(),
            "more" => spec.more = own(),
            "key" => spec.key = own(),
            "label" => spec.label = own(),
            "components" => {
                spec.components = Some(value.split(',').map(str::to_owned).collect());
            }
            "secret" => secret = value,
            other => spec.headers.push((other.to_owned(), value.to_owned())),
        }
    }
    let contract = match spec.build() {
        Ok(contract) => Arc::new(contract),
        Err(e) => return assert_sentence(&e.replace(char::is_control, " ")),
    };
    let secret = Secret::new(secret.to_owned());
    match contract.key(&secret) {
        Ok(_) => check(&contract, &secret),
        Err(e) => {
            assert_sentence(&e);
            let shown = secret.expose();
            assert!(shown.len() < 16 || !e.contains(shown), "{e}");
        }
    }
}

fn check(contract: &Arc<Contract>, secret: &Secret) {
    let keys = || {
        let key = || TimedKey::always(contract.key(secret).expect("it was read"));
        vec![key(), key()]
    };
    let signing = Signing::new(contract.clone(), keys());
    let sign = |id: &str, at: u64, body: &[u8]| {
        let subject = Subject {
            id,
            at,
            method: "POST",
            url: "http://h/a?b",
            body,
        };
        let mut headers = HeaderMap::new();
        signing
            .sign(&subject, &mut headers)
            .expect("keys are valid");
        let mut sent: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| {
                let value = value.to_str().expect("printable");
                (name.to_string(), value.to_owned())
            })
            .collect();
        sent.sort();
        sent
    };
    let at = 1_614_265_330_999;
    let sent = sign("msg_1", at, BODY);
    assert!(!sent.is_empty());
    assert_eq!(sent, sign("msg_1", at, BODY), "the same again");
    for bit in [0, 7, 8 * BODY.len() - 1] {
        let mut other = BODY.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(sent, sign("msg_1", at, &other), "bit {bit}");
    }
    assert_ne!(sent, sign("msg_1", at, b""));
    if let Scheme::Webhook(names) = &contract.scheme {
        assert_ne!(sent, sign("msg_2", at, BODY));
        assert_ne!(sent, sign("msg_1", at + 1000, BODY));
        assert_verifies(secret, names.signature, &sent);
    }
}

/// As a receiver does it, with nothing of ours but the bytes.
fn assert_verifies(secret: &Secret, name: &str, sent: &[(String, String)]) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let Some(key) = secret.expose().strip_prefix("whsec_") else {
        return;
    };
    // Some spellings of base64 are read by the other reader alone.
    let Ok(key) = STANDARD.decode(key) else {
        return;
    };
    let (_, value) = sent.iter().find(|(n, _)| n == name).expect("a signature");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = [b"msg_1.1614265330.", BODY].concat();
    for one in value.split(' ') {
        let one = STANDARD
            .decode(one.strip_prefix("v1,").expect("v1"))
            .expect("base64");
        hmac::verify(&key, &signed, &one).expect("it is valid");
        for bit in [0, 77, 8 * one.len() - 1] {
            let mut other = one.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(hmac::verify(&key, &signed, &other).is_err());
        }
    }
}
