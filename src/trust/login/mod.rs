//! How outhook proves its identity to an endpoint, and whether it verifies the endpoint's. Pure.
//!
//! A [`Login`] is that of a rule, with everything that can be prepared once: the value of the
//! header `Authorization` or the credentials for a token, and the client certificate with its key.

mod answer;
mod header;
mod identity;
mod oauth2;
mod redaction;
mod token;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use crate::trust::secret::Secret;
use header::sensitive;
pub use identity::{Identity, Wrong};
pub use oauth2::{Grant, OAuth2};
pub use redaction::Redactor;
pub use token::{Step, Token, Tokens};

/// See the module's header.
#[derive(Debug, Default)]
pub struct Login {
    /// The client certificate, for endpoints that ask for one.
    pub identity: Option<Identity>,
    pub authorization: Option<Authorization>,
    /// It may be sent without TLS, because the operator wrote an `http://` URL. The URL of a
    /// message is only its producer's choice.
    pub in_clear: bool,
    /// It may be sent to any port, because the operator wrote the port. The port of a message is
    /// only its producer's choice.
    pub any_port: bool,
    /// Certificates are not verified.
    pub insecure_tls: bool,
}

impl Login {
    /// Whether it contains any credentials.
    pub fn is_any(&self) -> bool {
        self.identity.is_some() || self.authorization.is_some()
    }
}

/// Where the header `Authorization` comes from.
#[derive(Debug)]
pub enum Authorization {
    Fixed(Fixed),
    OAuth2(OAuth2),
}

/// A header with a fixed value.
#[derive(Debug)]
pub struct Fixed {
    /// Marked as sensitive, so that it is not printed.
    pub header: HeaderValue,
    /// Takes the credentials out of a response that repeats the request.
    hidden: Redactor,
}

/// The credential of one request.
#[derive(Debug)]
pub enum Credential<'a> {
    Fixed(&'a Fixed),
    Token(Token),
}

impl Credential<'_> {
    pub fn header(&self) -> &HeaderValue {
        match self {
            Credential::Fixed(fixed) => &fixed.header,
            Credential::Token(token) => &token.header,
        }
    }

    /// Takes it out of what the endpoint says, which is logged and kept in dead letters.
    pub fn redactor(&self) -> &Redactor {
        match self {
            Credential::Fixed(fixed) => &fixed.hidden,
            Credential::Token(token) => &token.redactor,
        }
    }
}

impl Fixed {
    /// The error is a sentence that does not hold the token.
    pub fn bearer(token: &Secret) -> Result<Fixed, String> {
        let text = token.expose();
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if text.len() > 7 && text[..7].eq_ignore_ascii_case("bearer ") {
            return Err("it must be the token alone, without the word Bearer".into());
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(
                "it holds a blank, a line end or another character that no token has".into(),
            );
        }
        Ok(Fixed {
            header: sensitive(&format!("Bearer {text}"))?,
            hidden: Redactor::new([token.clone()]),
        })
    }

    /// As RFC 7617 says. The error is a sentence that does not hold the password.
    pub fn basic(user: &str, password: &Secret) -> Result<Fixed, String> {
        if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
            return Err("user: it must be a name without a colon or control characters".into());
        }
        if password.expose().chars().any(char::is_control) {
            return Err("password: it holds a line end or another control character".into());
        }
        let pair = Secret::new(format!("{user}:{}", password.expose()));
        let encoded = Secret::new(BASE64_STANDARD.encode(pair.expose()));
        Ok(Fixed {
            header: sensitive(&format!("Basic {}", encoded.expose()))?,
            hidden: Redactor::new([encoded, pair, password.clone()]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn headers_are_made_once_and_never_printed() {
        let bearer = Fixed::bearer(&secret("abc.DEF-1=")).unwrap();
        assert_eq!(bearer.header, "Bearer abc.DEF-1=");
        // The example of RFC 7617.
        let basic = Fixed::basic("Aladdin", &secret("open sesame")).unwrap();
        assert_eq!(basic.header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let umlaut = Fixed::basic("test", &secret("123£")).unwrap();
        assert_eq!(umlaut.header, "Basic dGVzdDoxMjPCow==");
        let shown = format!("{bearer:?} {basic:?}");
        assert!(
            !shown.contains("abc.DEF") && !shown.contains("QWxh") && !shown.contains("sesame"),
            "{shown}"
        );
    }

    #[test]
    fn what_no_header_can_hold_is_refused_without_being_shown() {
        for (token, words) in [
            ("", "empty"),
            ("Bearer s3cret", "without the word"),
            ("s3cret\n", "line end"),
            ("s3cret x", "blank"),
            ("s3crét", "character"),
        ] {
            let e = Fixed::bearer(&secret(token)).unwrap_err();
            assert!(e.contains(words) && !e.contains("s3cr"), "{token:?}: {e}");
        }
        for (user, password) in [
            ("", "s3cret"),
            ("a:b", "s3cret"),
            ("a\n", "x"),
            ("a", "s3cret\n"),
        ] {
            let e = Fixed::basic(user, &secret(password)).unwrap_err();
            assert!(!e.contains("s3cr"), "{e}");
        }
        assert!(Fixed::basic("a", &secret("")).is_ok());
    }

    #[test]
    fn an_answer_that_repeats_the_request_shows_nothing_of_it() {
        let basic = Fixed::basic("u", &secret("long password")).unwrap();
        let mut answer = b"no: Basic dTpsb25nIHBhc3N3b3Jk is u:long password".to_vec();
        Credential::Fixed(&basic).redactor().redact(&mut answer);
        assert_eq!(answer, b"no: Basic *** is ***");
    }
}
