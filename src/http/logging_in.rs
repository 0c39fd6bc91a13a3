//! What a login changes in an exchange: the header that it adds, whose connections it may use, and
//! what must not be seen in an answer.

use ureq::Error;
use ureq::http::HeaderValue;

use super::exchange::other;
use super::failure::Failure;
use crate::authorities::Authorities;
use crate::delivery::{Delivery, FaultKind};
use crate::login::{Authorization, Login};

/// The value of `Authorization`, if there is one for this endpoint.
pub fn header(delivery: &Delivery) -> Result<Option<&HeaderValue>, Error> {
    let Some((login, authorization)) = authorization(delivery) else {
        return Ok(None);
    };
    if !login.in_clear && !delivery.message.endpoint.is_https() {
        let text = "the login of this endpoint is not sent over http://, where all on the way can \
                    read it; a rule whose url begins with http:// allows it";
        return Err(other(Failure::new(FaultKind::Login, text)));
    }
    Ok(Some(&authorization.header))
}

/// Blots the login out of an answer that repeats the request.
pub fn hide_login(delivery: &Delivery, answer: &mut Vec<u8>) {
    if let Some((_, authorization)) = authorization(delivery)
        && !answer.is_empty()
    {
        authorization.hide_in(answer);
    }
}

/// Tells the connections apart that must not be shared: by whom is trusted there, and who we are to
/// the server. Nothing where both are as everywhere.
pub fn tls_mark(own: Option<&Authorities>, login: Option<&Login>) -> Option<String> {
    let identity = login.and_then(|login| login.identity.as_ref());
    let insecure = login.is_some_and(|login| login.insecure_tls);
    if own.is_none() && identity.is_none() && !insecure {
        return None;
    }
    let shown = |print: Option<u64>| print.map_or("-".into(), |print| format!("{print:x}"));
    let verified = if insecure { " unverified" } else { "" };
    Some(format!(
        "{} {}{verified}",
        shown(own.map(Authorities::fingerprint)),
        shown(identity.map(|identity| identity.fingerprint())),
    ))
}

fn authorization(delivery: &Delivery) -> Option<(&Login, &Authorization)> {
    let login = delivery.rule.as_ref()?.login.as_deref()?;
    Some((login, login.authorization.as_ref()?))
}
