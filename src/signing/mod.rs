//! Signatures: which headers a delivery gets so that its receiver can tell that it is ours. Pure.
//!
//! [`Signing`] is what was agreed with a receiver: a scheme, and the keys with their times. The bytes
//! that are signed are the very bytes that are sent. Nothing here reads a clock or a file.

pub mod key;

use std::fmt;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use crate::timestamp::format_rfc3339;
use key::{Key, KeyForm};

/// How the deliveries to some endpoints are signed, and with which keys.
#[derive(Debug)]
pub struct Signing {
    keys: Box<[TimedKey]>,
}

/// A key, and the time within which it signs: Unix milliseconds, the first in it, the last not.
#[derive(Debug)]
pub struct TimedKey {
    pub key: Key,
    pub from: u64,
    pub until: u64,
}

impl TimedKey {
    fn signs_at(&self, ms: u64) -> bool {
        (self.from..self.until).contains(&ms)
    }
}

/// What is signed: one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub id: &'a str,
    /// Unix milliseconds of this attempt.
    pub at: u64,
    /// As it is sent, byte for byte.
    pub body: &'a [u8],
}

/// No key may sign now. [`fmt::Display`] says which setting helps.
#[derive(Debug, PartialEq, Eq)]
pub struct NoKey {
    at: u64,
    /// When the next key begins.
    next: Option<u64>,
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = format_rfc3339(self.at);
        write!(f, "signing: no key is valid at {now}; ")?;
        match self.next {
            Some(next) => write!(f, "the next begins at {}: ", format_rfc3339(next))?,
            None => f.write_str("all have ended: ")?,
        }
        f.write_str("see not_before and not_after of its keys in the endpoints file")
    }
}

impl Signing {
    /// Standard Webhooks with these keys, of which there must be one.
    pub fn standard(keys: Vec<TimedKey>) -> Signing {
        Signing { keys: keys.into() }
    }

    /// How secrets for it are written.
    pub fn key_form(&self) -> (KeyForm, hmac::Algorithm) {
        (KeyForm::Prefixed, hmac::HMAC_SHA256)
    }

    /// Until when it can sign without a break, if it can now.
    pub fn signs_until(&self, now: u64) -> Result<u64, NoKey> {
        let mut until = now;
        while let Some(key) = self.keys.iter().find(|key| key.signs_at(until)) {
            until = key.until;
        }
        match until > now {
            true => Ok(until),
            false => Err(self.no_key(now)),
        }
    }

    /// Adds the headers of the signature, in place of any of the same names.
    pub fn sign(&self, subject: &Subject<'_>, headers: &mut HeaderMap) -> Result<(), NoKey> {
        let timestamp = HeaderValue::from(subject.at / 1000);
        let mut value = String::with_capacity(96);
        for key in self.keys.iter().filter(|key| key.signs_at(subject.at)) {
            if !value.is_empty() {
                value.push(' ');
            }
            sign_standard(&key.key, subject, timestamp.as_bytes(), &mut value);
        }
        if value.is_empty() {
            return Err(self.no_key(subject.at));
        }
        let value = HeaderValue::try_from(value).expect("base64");
        headers.insert(HeaderName::from_static("webhook-timestamp"), timestamp);
        headers.insert(HeaderName::from_static("webhook-signature"), value);
        Ok(())
    }

    fn no_key(&self, at: u64) -> NoKey {
        let later = self.keys.iter().map(|key| key.from).filter(|f| *f > at);
        NoKey {
            at,
            next: later.min(),
        }
    }
}

/// Writes `v1,…` or `v1a,…` over `id.timestamp.body`.
fn sign_standard(key: &Key, subject: &Subject<'_>, timestamp: &[u8], value: &mut String) {
    let parts = [subject.id.as_bytes(), b".", timestamp, b".", subject.body];
    match key {
        Key::Hmac(key) => {
            let mut context = hmac::Context::with_key(key);
            parts.iter().for_each(|part| context.update(part));
            value.push_str("v1,");
            STANDARD.encode_string(context.sign(), value);
        }
        Key::Ed25519(pair) => {
            let _ = value.write_str("v1a,");
            STANDARD.encode_string(pair.sign(&parts.concat()), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;
    use crate::secret::Secret;

    fn timed(text: &str, from: u64, until: u64) -> TimedKey {
        let key = Key::parse(
            &Secret::new(text.into()),
            KeyForm::Prefixed,
            hmac::HMAC_SHA256,
        );
        TimedKey {
            key: key.unwrap(),
            from,
            until,
        }
    }

    fn headers(signing: &Signing, at: u64) -> Result<(String, String), NoKey> {
        let subject = Subject {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at,
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
        let signing = Signing::standard(vec![timed(SECRET, 0, u64::MAX)]);
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
        let (timestamp, signature) = headers(&Signing::standard(vec![timed]), AT).unwrap();
        let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap());
        let text = format!("msg_p5jXN8AQM9LWM0D4loKWxJek.{timestamp}.{{\"test\": 2432232314}}");
        UnparsedPublicKey::new(&ED25519, STANDARD.decode(public).unwrap())
            .verify(text.as_bytes(), &signature.unwrap())
            .unwrap();
    }

    #[test]
    fn keys_sign_within_their_times_in_their_order() {
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let signing =
            Signing::standard(vec![timed(other, AT, AT + 100), timed(SECRET, 50, AT + 10)]);
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
        let signing = Signing::standard(vec![timed(SECRET, 0, u64::MAX)]);
        let body = [b'x'; 250];
        let mut headers = HeaderMap::new();
        let n = 1_000_000;
        let subject = Subject {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at: AT,
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
}
