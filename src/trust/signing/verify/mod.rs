//! Whether a request is signed, and if not, why not: for `outhook verify` and `outhook listen`.
//!
//! It is for people who look for a mistake, not for a service: it says what it finds, and tries
//! other content that may have been signed.

mod altered_body;
mod claim;
mod http_message;
mod received;
mod standard_webhooks;
mod template;
mod verifying_key;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::Signing;
use super::key::{KeyForm, Kind, public_key};
use super::scheme::{Contract, Scheme};
use super::timed_key::TimedKey;
use crate::message::timestamp::format_rfc3339;
use crate::trust::secret::Secret;
use claim::{Claim, SignedContent};
use http_message::Digests;
pub use received::Received;
use verifying_key::VerifyingKey;

/// Knows a contract and its keys.
#[derive(Debug)]
pub struct Verifier {
    contract: Arc<Contract>,
    keys: Vec<Known>,
    /// Other keys that the secret may have been used as, with a sentence each.
    others: Vec<(&'static str, VerifyingKey)>,
}

#[derive(Debug)]
struct Known {
    key: VerifyingKey,
    from: u64,
    until: u64,
}

impl Verifier {
    /// With one secret, or the public key (`whpk_`). The error says what is wrong with it.
    pub fn of_secret(contract: Contract, secret: &Secret) -> Result<Verifier, String> {
        let text = secret.expose();
        let key = match text.strip_prefix("whpk_") {
            Some(rest) if contract.form == KeyForm::Prefixed => {
                VerifyingKey::Ed25519(public_key(rest)?)
            }
            _ => VerifyingKey::of(&contract.key(secret)?),
        };
        let hmac_of = |text: &str| {
            let key = contract.digest();
            VerifyingKey::Hmac(hmac::Key::new(key, text.as_bytes()))
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
                others.push((words, VerifyingKey::Hmac(key)));
            }
        }
        others.push((
            "the secret had a line end behind it",
            hmac_of(&format!("{text}\n")),
        ));
        Ok(Verifier {
            contract: Arc::new(contract),
            keys: vec![Known {
                key,
                from: 0,
                until: u64::MAX,
            }],
            others,
        })
    }

    /// With the keys that sign, and their times.
    pub fn of_signing(signing: &Signing) -> Verifier {
        let known = |timed: &TimedKey| Known {
            key: VerifyingKey::of(&timed.key),
            from: timed.from,
            until: timed.until,
        };
        Verifier {
            contract: signing.contract.clone(),
            keys: signing.keys.iter().map(known).collect(),
            others: Vec::new(),
        }
    }

    /// Says in words that it is valid, or what is wrong, one sentence each. `now` in Unix
    /// milliseconds.
    pub fn verify(
        &self,
        received: &Received<'_>,
        now: u64,
        tolerance: Duration,
    ) -> Result<String, Vec<String>> {
        let claims = read_claims(&self.contract.scheme, received).map_err(|e| vec![e])?;
        let mut first_wrong = None;
        for claim in &claims {
            let fits = |known: &Known| claim.fits(&known.key, received, claim.id, received.body);
            let Some(n) = self.keys.iter().position(fits) else {
                continue;
            };
            let wrong = self.doubt(n, claim, received, now, tolerance);
            if wrong.is_empty() {
                let key = self.name(n);
                return Ok(match claim.at {
                    Some(at) => format!("signed by {key}, {} ago", seconds(now.saturating_sub(at))),
                    None => format!("signed by {key}"),
                });
            }
            first_wrong = first_wrong.or(Some(wrong));
        }
        Err(first_wrong.unwrap_or_else(|| vec![self.explain(received, &claims)]))
    }

    fn name(&self, n: usize) -> String {
        match self.keys.len() {
            1 => "the key".to_owned(),
            _ => format!("key {}", n + 1),
        }
    }

    /// What is wrong with a signature that key `n` made.
    fn doubt(
        &self,
        n: usize,
        claim: &Claim<'_>,
        received: &Received<'_>,
        now: u64,
        tolerance: Duration,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(at) = claim.at {
            let (known, when, key) = (&self.keys[n], format_rfc3339, self.name(n));
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
        if let Some(expires) = claim.expires.filter(|expires| *expires <= now) {
            let ago = seconds(now - expires);
            wrong.push(format!(
                "the signature fits, but says of itself that it ended {ago} ago (expires)"
            ));
        }
        wrong.extend(look_at_body(received, claim));
        wrong
    }

    /// No key fits: looks for other content that may have been signed.
    fn explain(&self, received: &Received<'_>, claims: &[Claim<'_>]) -> String {
        let fits = |claim: &Claim<'_>, id: &str, body: &[u8]| {
            let mut keys = self.keys.iter();
            keys.any(|known| claim.fits(&known.key, received, id, body))
        };
        if let Some(wrong) = claims.iter().find_map(|c| look_at_body(received, c)) {
            return wrong;
        }
        // The base of such a claim does not contain the body itself.
        if let [claim] = claims
            && !claim.is_of_request()
        {
            let changed =
                altered_body::find(received.body, &mut |body| fits(claim, claim.id, body));
            if let Some(done) = changed {
                return format!(
                    "the body is not as it was signed: {done}. Verify the bytes as they arrived, \
                     before any parser"
                );
            }
            let ids = ["webhook-id", "svix-id", "idempotency-key", "x-request-id"];
            let ids = ids
                .iter()
                .filter_map(|name| Some((name, received.headers.get(*name)?)));
            let mut ids = ids.filter_map(|(name, value)| Some((*name, value.to_str().ok()?)));
            let id = ids.find(|(_, id)| *id != claim.id && fits(claim, id, received.body));
            if let Some((name, _)) = id {
                return format!("it is signed with another id, that of the header {name}");
            }
        }
        let mut others = self.others.iter();
        let other = others.find(|(_, check)| {
            let mut claims = claims.iter();
            claims.any(|claim| claim.fits(check, received, claim.id, received.body))
        });
        if let Some((words, _)) = other {
            return format!("whoever signed it has another form of the secret: {words}");
        }
        let has = |kind| self.keys.iter().any(|known| known.key.kind() == kind);
        let all = |kind| claims.iter().all(|claim| claim.is_all(kind));
        let of_request = claims.iter().any(Claim::is_of_request);
        let text = if all(Kind::Ed25519) && !has(Kind::Ed25519) {
            match of_request {
                true => {
                    "it says that it is signed with ed25519 (alg), and the secret is one for HMAC: \
                     the public key (whpk_) is needed"
                }
                false => {
                    "it is signed with ed25519 (v1a), and the secret is one for HMAC: the public \
                     key (whpk_) is needed"
                }
            }
        } else if all(Kind::Hmac) && !has(Kind::Hmac) {
            match of_request {
                true => "it says that it is signed with HMAC (alg), and the key is one of ed25519",
                false => "it is signed with HMAC (v1), and the key is one of ed25519",
            }
        } else if of_request {
            "no signature fits: the secret, method, URL or a header that is covered is another than \
             was signed"
        } else {
            "no signature fits: the secret, id, time or body is another than was signed (white \
             space, line ends and escapes of JSON were tried)"
        };
        text.into()
    }
}

/// Reads the claims, at least one. A single valid one is enough. The error is a sentence.
fn read_claims<'a>(
    scheme: &'a Scheme,
    received: &'a Received<'a>,
) -> Result<Vec<Claim<'a>>, String> {
    match scheme {
        Scheme::Webhook(names) => Ok(vec![standard_webhooks::read_webhook(
            names,
            received.headers,
        )?]),
        Scheme::Template(template) => Ok(vec![template::read_template(template, received)?]),
        Scheme::Message(_) => http_message::read_message(received),
    }
}

/// Checks the body against the digest that the signature covers.
fn look_at_body(received: &Received<'_>, claim: &Claim<'_>) -> Option<String> {
    let SignedContent::Message { digest, .. } = &claim.over else {
        return None;
    };
    if !digest {
        return Some(
            "the body is not covered: content-digest is not among what signature-input names, so \
             the body may be any"
                .into(),
        );
    }
    let digests = match Digests::of(received.headers) {
        Ok(digests) => digests,
        Err(e) => return Some(e),
    };
    if digests.fit(received.body) {
        return None;
    }
    let same = altered_body::find(received.body, &mut |body| digests.fit(body));
    Some(match same {
        Some(done) => format!("the body is not that of content-digest: {done}"),
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

#[cfg(test)]
mod tests;
