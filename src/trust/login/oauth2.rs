//! OAuth2 client credentials (RFC 6749, 4.4): the request to a token endpoint. Pure.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::header::sensitive;
use super::redaction::Redactor;
use super::token::Tokens;
use crate::message::endpoint::Endpoint;
use crate::trust::secret::Secret;

/// The grant of a rule, and the token once there is one.
pub struct OAuth2 {
    pub grant: Arc<Grant>,
    /// Shared by all rules with this grant, also across reloads of the file.
    pub tokens: OnceLock<Arc<Mutex<Tokens>>>,
}

/// The credentials for a token. Two equal grants may share a token.
#[derive(Debug)]
pub struct Grant {
    pub endpoint: Arc<Endpoint>,
    pub client_id: String,
    pub client_secret: Secret,
    pub scope: Option<String>,
    pub audience: Option<String>,
    /// Id and secret go into the body, and not into the header `Authorization`.
    pub in_body: bool,
}

impl OAuth2 {
    pub fn new(grant: Grant) -> OAuth2 {
        OAuth2 {
            grant: Arc::new(grant),
            tokens: OnceLock::new(),
        }
    }
}

impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.grant.fmt(f)
    }
}

impl PartialEq for Grant {
    fn eq(&self, other: &Grant) -> bool {
        self.endpoint.url == other.endpoint.url
            && self.client_id == other.client_id
            && self.client_secret == other.client_secret
            && self.scope == other.scope
            && self.audience == other.audience
            && self.in_body == other.in_body
    }
}

impl Grant {
    /// The body of the request.
    pub fn body(&self) -> Secret {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        let optional = [("scope", &self.scope), ("audience", &self.audience)];
        for (name, value) in optional {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        if self.in_body {
            form.append_pair("client_id", &self.client_id);
            form.append_pair("client_secret", self.client_secret.expose());
        }
        Secret::new(form.finish())
    }

    /// The header `Authorization` of the request. Both parts are encoded as in a form before they are
    /// put together (RFC 6749, 2.3.1).
    pub fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        if self.in_body {
            return Ok(None);
        }
        sensitive(&format!("Basic {}", self.pair().expose())).map(Some)
    }

    /// Id and secret as that header has them.
    fn pair(&self) -> Secret {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let secret = Secret::new(encoded(self.client_secret.expose()));
        let pair = format!("{}:{}", encoded(&self.client_id), secret.expose());
        Secret::new(BASE64_STANDARD.encode(Secret::new(pair).expose()))
    }

    /// Takes what was sent there out of what is said there.
    pub fn redactor(&self) -> Redactor {
        Redactor::new([self.client_secret.clone(), self.pair()])
    }

    /// Where the token comes from, for errors. A query may hold a key.
    pub fn shown(&self) -> &str {
        let url: &str = &self.endpoint.url;
        url.split('?').next().unwrap_or_default()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn grant(in_body: bool) -> Grant {
        Grant {
            endpoint: Arc::new(Endpoint::parse("https://login.acme.example/token?k=1").unwrap()),
            client_id: "out:hook".into(),
            client_secret: Secret::new("s3cret+ö".into()),
            scope: in_body.then(|| "a b".into()),
            audience: in_body.then(|| "https://api/".into()),
            in_body,
        }
    }

    #[test]
    fn the_request_has_what_the_rule_says() {
        let by_header = grant(false);
        assert_eq!(by_header.body().expose(), "grant_type=client_credentials");
        let header = by_header.authorization().unwrap().unwrap();
        let encoded = BASE64_STANDARD.encode("out%3Ahook:s3cret%2B%C3%B6");
        assert_eq!(header, format!("Basic {encoded}"));
        let in_body = grant(true);
        assert_eq!(
            in_body.body().expose(),
            "grant_type=client_credentials&scope=a+b&audience=https%3A%2F%2Fapi%2F\
             &client_id=out%3Ahook&client_secret=s3cret%2B%C3%B6"
        );
        assert!(in_body.authorization().unwrap().is_none());
        assert!(by_header != in_body && by_header == grant(false));
        assert_eq!(by_header.shown(), "https://login.acme.example/token");
        let shown = format!("{:?} {by_header:?} {header:?}", OAuth2::new(in_body));
        assert!(
            !shown.contains("s3cret") && !shown.contains(&encoded),
            "{shown}"
        );
    }
}
