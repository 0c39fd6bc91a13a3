//! Whether a request is signed, and if not, why not: for `outhook verify` and `outhook listen`.
//!
//! It is for people who look for a mistake, not for a service: it tells what it finds, and tries
//! what else may have been signed.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};
use ureq::http::HeaderMap;

use super::claims::{Claims, read_claims};
use super::key::{Key, KeyForm, public_key};
use super::reencode::candidates;
use super::scheme::Contract;
use super::{Signing, TimedKey, message};
use crate::message::timestamp::format_rfc3339;
use crate::trust::secret::Secret;

/// A request as it arrived.
#[derive(Debug)]
pub struct Received<'a> {
    pub method: &'a str,
    /// With scheme and host, for schemes that cover it.
    pub url: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// Knows a contract and its keys.
#[derive(Debug)]
pub struct Verifier {
    contract: Arc<Contract>,
    keys: Vec<Known>,
    /// What else the secret may be, in words.
    others: Vec<(&'static str, Check)>,
}

#[derive(Debug)]
struct Known {
    check: Check,
    from: u64,
    until: u64,
}

/// What signatures are held against.
#[derive(Debug)]
pub enum Check {
    Hmac(hmac::Key),
    Ed25519(Vec<u8>),
}

impl Check {
    fn of(key: &Key) -> Check {
        match key {
            Key::Hmac(key) => Check::Hmac(key.clone()),
            Key::Ed25519(pair) => Check::Ed25519(pair.public_key().as_ref().to_vec()),
        }
    }

    /// Whether one of these is its signature of these bytes.
    pub fn fits(&self, signatures: &[Vec<u8>], signed: &[u8]) -> bool {
        signatures.iter().any(|signature| match self {
            Check::Hmac(key) => hmac::verify(key, signed, signature).is_ok(),
            Check::Ed25519(public) => UnparsedPublicKey::new(&ED25519, public)
                .verify(signed, signature)
                .is_ok(),
        })
    }
}

impl Verifier {
    /// With one secret, or the public key (`whpk_`). The error says what is wrong with it.
    pub fn of_secret(contract: Contract, secret: &Secret) -> Result<Verifier, String> {
        let text = secret.expose();
        let check = match text.strip_prefix("whpk_") {
            Some(rest) if contract.form == KeyForm::Prefixed => Check::Ed25519(public_key(rest)?),
            _ => Check::of(&contract.key(secret)?),
        };
        let hmac_of = |text: &str| {
            let key = contract.digest();
            Check::Hmac(hmac::Key::new(key, text.as_bytes()))
        };
        let mut others = Vec::new();
        if let Some(bare) = text.strip_prefix("whsec_") {
            others.push((
                "the secret was used as it is, and its base64 not decoded",
                hmac_of(text),
            ));
            others.push((
                "what follows whsec_ was used as it is, and not decoded from base64",
                hmac_of(bare),
            ));
            if contract.form != KeyForm::Prefixed
                && let Ok(bytes) = STANDARD.decode(bare)
            {
                let key = hmac::Key::new(contract.digest(), &bytes);
                let words = "the secret was decoded from base64, without whsec_";
                others.push((words, Check::Hmac(key)));
            }
        }
        others.push((
            "the secret had a line end behind it",
            hmac_of(&format!("{text}\n")),
        ));
        Ok(Verifier {
            contract: Arc::new(contract),
            keys: vec![Known {
                check,
                from: 0,
                until: u64::MAX,
            }],
            others,
        })
    }

    /// With the keys that sign, and their times.
    pub fn of_signing(signing: &Signing) -> Verifier {
        let known = |timed: &TimedKey| Known {
            check: Check::of(&timed.key),
            from: timed.from,
            until: timed.until,
        };
        Verifier {
            contract: signing.contract.clone(),
            keys: signing.keys.iter().map(known).collect(),
            others: Vec::new(),
        }
    }

    /// What is right with it, in words, or what is wrong, one sentence each. `now` in Unix
    /// milliseconds.
    pub fn verify(
        &self,
        received: &Received<'_>,
        now: u64,
        tolerance: Duration,
    ) -> Result<String, Vec<String>> {
        let claims = read_claims(&self.contract.scheme, received).map_err(|e| vec![e])?;
        let fits = |known: &Known| claims.fits(&known.check, received, claims.id, received.body);
        let Some(n) = self.keys.iter().position(fits) else {
            return Err(self.explain(received, &claims));
        };
        let mut wrong = Vec::new();
        let key = match self.keys.len() {
            1 => "the key".to_owned(),
            _ => format!("key {}", n + 1),
        };
        if let Some(at) = claims.at {
            let (known, when) = (&self.keys[n], format_rfc3339);
            if at < known.from {
                let from = when(known.from);
                wrong.push(format!(
                    "it is signed with {key}, which begins to sign at {from} only"
                ));
            } else if at >= known.until {
                let until = when(known.until);
                wrong.push(format!(
                    "it is signed with {key}, an old one that ended at {until}"
                ));
            }
            wrong.extend(too_far(at, now, tolerance));
        }
        wrong.extend(look_at_digest(received, &claims));
        match wrong.is_empty() {
            true => Ok(match claims.at {
                Some(at) => format!("signed by {key}, {} ago", seconds(now.saturating_sub(at))),
                None => format!("signed by {key}"),
            }),
            false => Err(wrong),
        }
    }

    /// No key fits: what else may have been signed.
    fn explain(&self, received: &Received<'_>, claims: &Claims<'_>) -> Vec<String> {
        let fits = |id: &str, body: &[u8]| {
            let mut keys = self.keys.iter();
            keys.any(|known| claims.fits(&known.check, received, id, body))
        };
        if let Some(digest) = look_at_digest(received, claims) {
            return vec![digest];
        }
        let changed = candidates(received.body);
        if let Some((done, _)) = changed.iter().find(|(_, body)| fits(claims.id, body)) {
            return vec![format!(
                "the body is not as it was signed: {done}. Verify the bytes as they arrived, before \
                 any parser"
            )];
        }
        let ids = ["webhook-id", "svix-id", "idempotency-key", "x-request-id"];
        let ids = ids
            .iter()
            .filter_map(|name| Some((name, received.headers.get(*name)?)));
        let mut ids = ids.filter_map(|(name, value)| Some((*name, value.to_str().ok()?)));
        if let Some((name, _)) = ids.find(|(_, id)| *id != claims.id && fits(id, received.body)) {
            return vec![format!(
                "it is signed with another id, that of the header {name}"
            )];
        }
        let mut others = self.others.iter();
        let other =
            others.find(|(_, check)| claims.fits(check, received, claims.id, received.body));
        if let Some((words, _)) = other {
            return vec![format!(
                "whoever signed it has another form of the secret: {words}"
            )];
        }
        let has = |wanted: fn(&Check) -> bool| self.keys.iter().any(|known| wanted(&known.check));
        let all = |kind| !claims.kinds.is_empty() && claims.kinds.iter().all(|k| *k == kind);
        let text = if all("v1a") && !has(|check| matches!(check, Check::Ed25519(_))) {
            "it is signed with ed25519 (v1a), and the secret is one for HMAC: the public key (whpk_) \
             is needed"
        } else if all("v1") && !has(|check| matches!(check, Check::Hmac(_))) {
            "it is signed with HMAC (v1), and the key is one of ed25519"
        } else if claims.is_of_request() {
            "no signature fits: the secret, method, URL or a header that is covered is another than \
             was signed"
        } else {
            "no signature fits: the secret, id, time or body is another than was signed (white \
             space, line ends and escapes of JSON were tried)"
        };
        vec![text.into()]
    }
}

fn look_at_digest(received: &Received<'_>, claims: &Claims<'_>) -> Option<String> {
    let digest = claims
        .covers_digest
        .then(|| received.headers.get(message::DIGEST))??;
    let digest = digest.to_str().ok()?;
    if !digest.contains("sha-256=") || digest.contains(&message::content_digest(received.body)) {
        return None;
    }
    let mut changed = candidates(received.body).into_iter();
    let same = changed.find(|(_, body)| digest.contains(&message::content_digest(body)));
    Some(match same {
        Some((done, _)) => format!("the body is not that of content-digest: {done}"),
        None => "the body is not that of content-digest".into(),
    })
}

fn too_far(at: u64, now: u64, tolerance: Duration) -> Option<String> {
    let most = tolerance.as_millis() as u64;
    if at.abs_diff(now) <= most {
        return None;
    }
    let (far, most) = (seconds(at.abs_diff(now)), seconds(most));
    Some(match at > now {
        true => format!(
            "the signature fits, but its time is {far} ahead of this clock ({most} are allowed): \
             one of the clocks is off"
        ),
        false => format!(
            "the signature fits, but its time is {far} ago ({most} are allowed): it is old or came \
             twice, or one of the clocks is off"
        ),
    })
}

fn seconds(ms: u64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(ms / 1000))
}
