//! Signs a request, at each attempt anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use log::warn;
use ureq::Error;
use ureq::http::{HeaderMap, Method};

use crate::delivery::{FailureKind, Job};
use crate::http::failure::{Failure, other};
use crate::trust::keyring::{Found, Keyring};
use crate::trust::log_throttle::{LogThrottle, and_others};
use crate::trust::signing::{Signing, Subject};

/// The sentence for a message that names a secret where there is no store of secrets.
const NOWHERE: &str = "there is nowhere to look for it: set --secrets-dir or --secrets-from redis";

/// Whose keys sign this delivery, if any: those of the name that the message gives, before those of its
/// endpoint, before those of all.
fn signing_of(job: &Job, keyring: Option<&Keyring>) -> Result<Option<Arc<Signing>>, Failure> {
    let own = (job.rule.as_ref()).and_then(|rule| rule.signing.as_ref());
    let Some(name) = &job.delivery.message.overrides.secret else {
        return Ok(own.cloned());
    };
    let Some(keyring) = keyring else {
        let text = format!("secret {name}: {NOWHERE}");
        return Err(Failure::new(FailureKind::NoSecret, text));
    };
    match keyring.find_soon(name, own) {
        Found::Signing(signing) => Ok(Some(signing)),
        Found::Unread { again, text } => {
            Err(Failure::new(FailureKind::SecretUnread { again }, text))
        }
        Found::Missing(text) => Err(Failure::new(FailureKind::NoSecret, text)),
    }
}

/// Adds the headers of the signature. They replace what the message brought in their place: nobody else
/// signs. `at`: Unix milliseconds of this attempt.
pub fn sign(
    job: &Job,
    keyring: Option<&Keyring>,
    (method, at): (&Method, u64),
    headers: &mut HeaderMap,
) -> Result<(), Error> {
    let signing = signing_of(job, keyring).map_err(other)?;
    let Some(signing) = signing else {
        return Ok(());
    };
    let message = &job.delivery.message;
    let subject = Subject {
        id: &message.id,
        at,
        method: method.as_str(),
        url: &message.endpoint.url,
        body: message.data(),
    };
    signing.sign(&subject, headers).map_err(|e| {
        let text = e.to_string();
        warn_now_and_then(&message.endpoint.origin, &text);
        other(Failure::new(FailureKind::Unsigned, text))
    })
}

fn warn_now_and_then(origin: &Arc<str>, text: &str) {
    static THROTTLE: Mutex<Option<LogThrottle>> = Mutex::new(None);
    let mut throttle = THROTTLE.lock().unwrap_or_else(PoisonError::into_inner);
    let throttle = throttle.get_or_insert_default();
    if let Some(others) = throttle.admit(origin, Instant::now()) {
        let others = and_others(others, "origins");
        warn!("{origin}: {text}; its messages are not sent{others}");
    }
}
