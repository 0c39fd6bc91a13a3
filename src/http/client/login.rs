//! What a login changes in an exchange: what is sent, whose connections it may use, and that it is made
//! again with a new token where the endpoint does not take the old one.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;

use super::{Client, Outcome, failure_in};
use crate::delivery::{FailureKind, Job};
use crate::http::failure::{Failure, other};
use crate::trust::authorities::Authorities;
use crate::trust::login::{Authorization, Credential, Identity, OAuth2, Token};

/// Whoever was refused looks so often for the token that another message fetches, and for so long: it
/// holds a worker meanwhile.
const SOON: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1);

impl Client {
    /// What is sent with the header `Authorization`, if there is something for this endpoint: not the
    /// token that it has refused.
    pub(super) fn log_in<'a>(
        &self,
        job: &'a Job,
        begun: Instant,
        refused: Option<&Token>,
    ) -> Result<Option<Credential<'a>>, Error> {
        let login = job.rule.as_ref().and_then(|rule| rule.login.as_ref());
        let endpoint = &job.delivery.message.endpoint;
        if let Some(port) = endpoint.uri.port_u16()
            && endpoint.is_https()
            && login.is_some_and(|login| login.is_any() && !login.any_port)
        {
            let text = format!(
                "the login of this host is not for its port {port}, which the message has chosen; \
                 a rule with url = \"{}/\", or with allow_port, sends it there",
                endpoint.origin
            );
            return Err(other(Failure::new(FailureKind::Login, text)));
        }
        let Some((login, authorization)) =
            login.and_then(|login| Some((login, login.authorization.as_ref()?)))
        else {
            return Ok(None);
        };
        if !login.in_clear && !job.delivery.message.endpoint.is_https() {
            let text = "the login of this endpoint is not sent over http://, where all on the way \
                        can read it; a rule whose url begins with http:// allows it";
            return Err(other(Failure::new(FailureKind::Login, text)));
        }
        match authorization {
            Authorization::Fixed(fixed) => Ok(Some(Credential::Fixed(fixed))),
            Authorization::OAuth2(oauth2) => {
                let token = self.token(oauth2, job, begun, refused);
                let token = token.map_err(other)?;
                Ok(Some(Credential::Token(token)))
            }
        }
    }

    /// The endpoint has answered 401 to a token. With another one it may say something else.
    #[inline(never)]
    pub(super) fn post_again(
        &self,
        job: &Job,
        times: (u64, Instant),
        token: Token,
        answer: Outcome,
    ) -> Result<Outcome, Error> {
        match oauth2(job) {
            Some(oauth2) if self.refuse(oauth2, job, &token) => {}
            _ => return Ok(answer),
        }
        // The endpoint was asked, so the attempt counts in any case: an endpoint that always answers
        // so would be asked for ever.
        let end = (times.1 + self.limit(job) / 2).min(Instant::now() + PATIENCE);
        while Instant::now() < end && !self.closed.load(Ordering::SeqCst) {
            match self.log_in(job, times.1, Some(&token)) {
                Ok(login) => return self.post(job, times, login.as_ref()),
                Err(e) => match failure_in(&e).map(|failure| failure.kind) {
                    // One that is on its way for long already will not come now.
                    Some(FailureKind::Tokenless { again }) if again < PATIENCE => {
                        thread::sleep(SOON)
                    }
                    Some(kind) if kind.postponed().is_some() => break,
                    _ => return Err(after_401(&e)),
                },
            }
        }
        Ok(answer)
    }
}

fn oauth2(job: &Job) -> Option<&OAuth2> {
    match job.rule.as_ref()?.login.as_ref()?.authorization.as_ref()? {
        Authorization::OAuth2(oauth2) => Some(oauth2),
        Authorization::Fixed(_) => None,
    }
}

fn after_401(e: &Error) -> Error {
    let (kind, text) = match failure_in(e) {
        Some(failure) => (failure.kind, failure.text.clone()),
        None => (FailureKind::Login, e.to_string()),
    };
    let text = format!("the endpoint answered 401, and there is no new token: {text}");
    other(Failure::new(kind, text))
}

/// Tells the connections apart that must not be shared: by whom is trusted there, and who we are to
/// the server. Nothing where both are as everywhere.
pub fn tls_mark(
    own: Option<&Authorities>,
    identity: Option<&Identity>,
    insecure: bool,
) -> Option<String> {
    if own.is_none() && identity.is_none() && !insecure {
        return None;
    }
    let shown = |print: Option<u64>| print.map_or("-".into(), |print| format!("{print:x}"));
    let verified = if insecure { " unverified" } else { "" };
    Some(format!(
        "{} {}{verified}",
        shown(own.map(Authorities::fingerprint)),
        shown(identity.map(Identity::fingerprint)),
    ))
}
