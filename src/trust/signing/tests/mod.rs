//! What signatures come out, and within which times keys sign.

mod vectors;

use ring::signature::{ED25519, UnparsedPublicKey};

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};

use crate::trust::secret::Secret;
use crate::trust::signing::scheme::Contract;
use crate::trust::signing::{NoKey, Signing, Subject, TimedKey};

fn timed(text: &str, from: u64, until: u64) -> TimedKey {
    let key = Contract::standard().key(&Secret::new(text.into()));
    TimedKey {
        from,
        until,
        ..TimedKey::always(key.unwrap())
    }
}

fn standard(keys: Vec<TimedKey>) -> Signing {
    Signing::new(Arc::new(Contract::standard()), keys)
}

fn headers(signing: &Signing, at: u64) -> Result<(String, String), NoKey> {
    let subject = Subject {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        at,
        method: "POST",
        url: "http://h/",
        body: br#"{"test": 2432232314}"#,
    };
    let mut headers = HeaderMap::new();
    headers.insert("webhook-signature", HeaderValue::from_static("forged"));
    signing.sign(&subject, &mut headers)?;
    let text = |name| headers[name].to_str().unwrap().to_owned();
    Ok((text("webhook-timestamp"), text("webhook-signature")))
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const AT: u64 = 1_614_265_330_999;
const EXPECTED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

/// Of the tests of the libraries of standard-webhooks/standard-webhooks and svix/svix-webhooks.
#[test]
fn the_published_vector_of_standard_webhooks_comes_out() {
    let signing = standard(vec![timed(SECRET, 0, u64::MAX)]);
    let (timestamp, signature) = headers(&signing, AT).unwrap();
    assert_eq!(timestamp, "1614265330");
    assert_eq!(signature, EXPECTED);
}

#[test]
fn ed25519_signs_the_same_bytes_and_the_public_key_verifies_them() {
    // RFC 8032, section 7.1, test 1.
    let seed = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let timed = timed(seed, 0, u64::MAX);
    assert_eq!(timed.key.public().unwrap(), format!("whpk_{public}"));
    let (timestamp, signature) = headers(&standard(vec![timed]), AT).unwrap();
    let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap());
    let text = format!("msg_p5jXN8AQM9LWM0D4loKWxJek.{timestamp}.{{\"test\": 2432232314}}");
    UnparsedPublicKey::new(&ED25519, STANDARD.decode(public).unwrap())
        .verify(text.as_bytes(), &signature.unwrap())
        .unwrap();
}

#[test]
fn keys_sign_within_their_times_in_their_order() {
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let signing = standard(vec![timed(other, AT, AT + 100), timed(SECRET, 50, AT + 10)]);
    let count = |at| headers(&signing, at).map(|(_, s)| s.split(' ').count());
    assert_eq!(count(AT - 1), Ok(1));
    assert_eq!(headers(&signing, AT - 1).unwrap().1, EXPECTED);
    assert_eq!(count(AT), Ok(2));
    assert!(headers(&signing, AT).unwrap().1.ends_with(EXPECTED));
    assert_eq!(count(AT + 10), Ok(1));
    let early = headers(&signing, 49).unwrap_err().to_string();
    assert!(early.contains("1970-01-01T00:00:00.050Z"), "{early}");
    let late = headers(&signing, AT + 100).unwrap_err().to_string();
    assert!(late.contains("all have ended"), "{late}");
    assert_eq!(signing.signs_until(60), Ok(AT + 100));
    assert!(signing.signs_until(AT + 100).is_err());
}

/// Not a test of the machine: `cargo test --release -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_signature() {
    let signing = standard(vec![timed(SECRET, 0, u64::MAX)]);
    let body = [b'x'; 250];
    let mut headers = HeaderMap::new();
    let n = 1_000_000;
    let subject = Subject {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        at: AT,
        method: "POST",
        url: "http://h/",
        body: &body,
    };
    let took = cost(n, || signing.sign(&subject, &mut headers).unwrap());
    println!("{took} ns for 250 bytes");
}

fn cost(n: u32, mut act: impl FnMut()) -> u128 {
    let begun = std::time::Instant::now();
    (0..n).for_each(|_| act());
    begun.elapsed().as_nanos() / u128::from(n)
}
