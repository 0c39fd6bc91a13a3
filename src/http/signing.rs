//! Signs a request, at each attempt anew.

use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;
use ureq::Error;
use ureq::http::{HeaderMap, Method};

use super::exchange::other;
use super::failure::Failure;
use crate::delivery::{Delivery, FaultKind};
use crate::signing::{Signing, Subject};

/// At most so often the log says that there is no key.
const WARN_EVERY: u64 = 60_000;

/// How this delivery is signed, if at all.
fn signing_of(delivery: &Delivery) -> Option<&Signing> {
    delivery.rule.as_ref()?.signing.as_deref()
}

/// Adds the headers of its signature. Whatever the message brought in their place goes: nobody else
/// signs. `at`: Unix milliseconds of this attempt.
pub fn sign(
    delivery: &Delivery,
    method: &Method,
    at: u64,
    headers: &mut HeaderMap,
) -> Result<(), Error> {
    let Some(signing) = signing_of(delivery) else {
        return Ok(());
    };
    let message = &delivery.message;
    let subject = Subject {
        id: &message.id,
        at,
        method: method.as_str(),
        url: &message.endpoint.url,
        body: message.data(),
    };
    signing.sign(&subject, headers).map_err(|e| {
        let text = e.to_string();
        warn_now_and_then(at, &message.endpoint.origin, &text);
        other(Failure::new(FaultKind::Unsigned, text))
    })
}

fn warn_now_and_then(at: u64, origin: &str, text: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let last = LAST.load(Ordering::Relaxed);
    if at.saturating_sub(last) >= WARN_EVERY
        && LAST
            .compare_exchange(last, at, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        warn!("{origin}: {text}; its messages wait");
    }
}
