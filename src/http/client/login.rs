//! Decides what is sent in the header `Authorization`, and where nothing is. Pure but for the token.

use crate::delivery::{FailureKind, Job};
use crate::http::failure::Failure;
use crate::trust::login::{Authorization, Credential, OAuth2, Token};

/// What this delivery logs in with, if its endpoint has a login. `token` gets a token for it.
pub fn log_in<'a>(
    job: &'a Job,
    token: impl FnOnce(&'a OAuth2) -> Result<Token, Failure>,
) -> Result<Option<Credential<'a>>, Failure> {
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
        return Err(Failure::new(FailureKind::Login, text));
    }
    let Some((login, authorization)) =
        login.and_then(|login| Some((login, login.authorization.as_ref()?)))
    else {
        return Ok(None);
    };
    if !login.in_clear && !endpoint.is_https() {
        let text = "the login of this endpoint is not sent over http://, where all on the way \
                    can read it; a rule whose url begins with http:// allows it";
        return Err(Failure::new(FailureKind::Login, text));
    }
    Ok(Some(match authorization {
        Authorization::Fixed(fixed) => Credential::Fixed(fixed),
        Authorization::OAuth2(oauth2) => Credential::Token(token(oauth2)?),
    }))
}

/// How this delivery gets its tokens, if it needs any.
pub fn oauth2(job: &Job) -> Option<&OAuth2> {
    let login = job.rule.as_ref()?.login.as_ref()?;
    match login.authorization.as_ref()? {
        Authorization::OAuth2(oauth2) => Some(oauth2),
        Authorization::Fixed(_) => None,
    }
}
