//! Signatures: which headers a delivery gets so that its receiver can tell that it is ours. Pure.
//!
//! [`Signing`] is what was agreed with a receiver: a scheme, and the keys with their times. The bytes
//! that are signed are the very bytes that are sent. Nothing here reads a clock or a file.

mod capture;
mod claims;
mod component;
mod inputs;
pub mod key;
pub mod message;
mod named;
mod reencode;
#[cfg(test)]
mod refusing;
pub mod scheme;
pub mod template;
#[cfg(test)]
mod vectors;
pub mod verify;
#[cfg(test)]
mod verifying;

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::message::timestamp::format_rfc3339;
use key::Key;
use scheme::{Contract, Names, Scheme};

/// How the deliveries to some endpoints are signed, and with which keys.
#[derive(Debug)]
pub struct Signing {
    pub contract: Arc<Contract>,
    keys: Box<[TimedKey]>,
    /// How receivers know keys that have no id of their own.
    keyid: Option<Box<str>>,
}

/// A key, and the time within which it signs: Unix milliseconds, the first in it, the last not.
#[derive(Debug)]
pub struct TimedKey {
    pub key: Key,
    pub from: u64,
    pub until: u64,
    /// How receivers know it, where the scheme says it.
    pub id: Option<Box<str>>,
    /// Anybody may guess it.
    pub short: bool,
}

impl TimedKey {
    /// A key that signs at any time.
    pub fn always(key: Key) -> TimedKey {
        TimedKey {
            key,
            from: 0,
            until: u64::MAX,
            id: None,
            short: false,
        }
    }

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
    pub method: &'a str,
    /// As it is sent.
    pub url: &'a str,
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
    /// With these keys, of which there must be one, each read by [`Contract::key`].
    pub fn new(contract: Arc<Contract>, keys: Vec<TimedKey>) -> Signing {
        Signing {
            contract,
            keys: keys.into(),
            keyid: None,
        }
    }

    /// With this id for all keys that have none: also for those that a message names.
    pub fn with_keyid(mut self, keyid: Option<Box<str>>) -> Signing {
        for key in &mut self.keys {
            key.id = key.id.take().or_else(|| keyid.clone());
        }
        self.keyid = keyid;
        self
    }

    /// What an operator should know of its keys, a sentence each.
    pub fn doubts(&self) -> Vec<&'static str> {
        let mut doubts = Vec::new();
        if self.keys.iter().any(|key| key.short) {
            doubts.push("a secret is so short that anybody may guess it");
        }
        let overlaps = |n: usize, key: &TimedKey| {
            let mut later = self.keys[n + 1..].iter();
            later.any(|other| key.from < other.until && other.from < key.until)
        };
        let mut keys = self.keys.iter().enumerate();
        if !self.contract.takes_several() && keys.any(|(n, key)| overlaps(n, key)) {
            doubts.push(
                "of several keys the first that is valid signs alone, as the scheme has no place \
                 for another (see more): receivers must have it before it begins",
            );
        }
        doubts
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

    /// Adds the headers of the signature, in place of any of the same names. What else is covered
    /// must be among them already.
    pub fn sign(&self, subject: &Subject<'_>, headers: &mut HeaderMap) -> Result<(), NoKey> {
        let mut keys = self.keys.iter().filter(|key| key.signs_at(subject.at));
        let Some(first) = keys.next() else {
            return Err(self.no_key(subject.at));
        };
        let keys = std::iter::once(first).chain(keys);
        match &self.contract.scheme {
            Scheme::Webhook(names) => sign_webhook(names, keys, subject, headers),
            Scheme::Template(template) => template.sign(keys.map(|k| &k.key), subject, headers),
            Scheme::Message(cover) => cover.sign(keys, subject, headers),
        }
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

/// Standard Webhooks: `v1,…` or `v1a,…` over `id.timestamp.body`, of each key.
fn sign_webhook<'k>(
    names: &Names,
    keys: impl Iterator<Item = &'k TimedKey>,
    subject: &Subject<'_>,
    headers: &mut HeaderMap,
) {
    let timestamp = Digits::of(subject.at / 1000);
    let timestamp = timestamp.as_bytes();
    let mut value = String::with_capacity(96);
    for TimedKey { key, .. } in keys {
        if !value.is_empty() {
            value.push(' ');
        }
        let signature = key.sign(|to| {
            let id = subject.id.as_bytes();
            for part in [id, b".", timestamp, b".", subject.body] {
                to(part);
            }
        });
        value.push_str(match key {
            Key::Hmac(_) => "v1,",
            Key::Ed25519(_) => "v1a,",
        });
        STANDARD.encode_string(signature, &mut value);
    }
    let mut set = |name, value| headers.insert(HeaderName::from_static(name), value);
    if let Some(id) = names.id {
        let value = HeaderValue::from_str(subject.id);
        set(id, value.expect("a vetted id"));
    }
    let timestamp = HeaderValue::from_bytes(timestamp);
    set(names.timestamp, timestamp.expect("digits"));
    let value = HeaderValue::try_from(value).expect("base64");
    set(names.signature, value);
}

/// A number as text, without an allocation.
pub struct Digits {
    bytes: [u8; 20],
    begin: usize,
}

impl Digits {
    pub fn of(mut number: u64) -> Digits {
        let mut digits = Digits {
            bytes: [0; 20],
            begin: 20,
        };
        loop {
            digits.begin -= 1;
            digits.bytes[digits.begin] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;
    use crate::trust::secret::Secret;

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

    #[test]
    fn digits_are_as_they_are_printed() {
        for n in [0, 1, 9, 10, 1_614_265_330, u64::MAX] {
            assert_eq!(Digits::of(n).as_bytes(), n.to_string().as_bytes());
        }
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
}
