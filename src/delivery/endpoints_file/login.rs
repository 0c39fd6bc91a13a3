//! Logins, as an operator writes them: which keys there are, which exclude each other, and the
//! files that they name. No error contains a part of a secret.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;

use super::confidential::{Confidential, Kind};
use super::{EndpointTable, Readers};
use crate::delivery::rules::Match;
use crate::message::endpoint::Endpoint;
use crate::trust::guard::Guard;
use crate::trust::login::{Authorization, Fixed, Grant, Identity, Login, OAuth2, Wrong};
use crate::trust::secret::Secret;

/// `basic = { … }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    user: String,
    password: Option<Confidential<Secret>>,
    password_file: Option<String>,
}

impl Kind for Basic {
    const WANTED: &str = "a table, as { user = \"…\", password_file = \"…\" }";

    fn of_table<'de, A: MapAccess<'de>>(map: A) -> Result<Basic, A::Error> {
        Basic::deserialize(MapAccessDeserializer::new(map))
    }
}

/// `oauth2 = { … }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2Table {
    token_url: String,
    client_id: String,
    client_secret: Option<Confidential<Secret>>,
    client_secret_file: Option<String>,
    scope: Option<String>,
    audience: Option<String>,
    auth: Option<String>,
}

impl Kind for OAuth2Table {
    const WANTED: &str =
        "a table, as { token_url = \"…\", client_id = \"…\", client_secret_file = \"…\" }";

    fn of_table<'de, A: MapAccess<'de>>(map: A) -> Result<OAuth2Table, A::Error> {
        OAuth2Table::deserialize(MapAccessDeserializer::new(map))
    }
}

impl EndpointTable {
    /// The login that the keys describe; `None` if there are no such keys.
    pub(super) fn login(
        &self,
        matches: &Match,
        readers: Readers<'_>,
    ) -> Result<Option<Login>, String> {
        let in_clear = matches!(matches, Match::Prefix(url) if url.starts_with("http://"));
        let login = Login {
            identity: self.identity(readers)?,
            authorization: self.authorization(readers)?,
            in_clear,
            any_port: matches!(matches, Match::Prefix(_)) || self.allow_port.is_some(),
            insecure_tls: self.insecure_tls,
        };
        // The token endpoint may ask for the certificate, and is always verified.
        let has_oauth2 = self.oauth2.is_some();
        if in_clear && login.identity.is_some() && !has_oauth2 {
            return Err("client_cert_file: it is for https://, and the url is http://".into());
        }
        if in_clear && login.insecure_tls {
            return Err("insecure_tls: it is for https://, and the url is http://".into());
        }
        if login.insecure_tls && self.ca_file.is_some() && !has_oauth2 {
            return Err(
                "insecure_tls and ca_file exclude each other: nothing would be verified".into(),
            );
        }
        let sets_own = self.headers.iter().any(|(name, _)| *name == AUTHORIZATION);
        if sets_own && login.authorization.is_some() {
            return Err("headers: authorization is set by the login of this endpoint".into());
        }
        Ok((login.is_any() || login.insecure_tls).then_some(login))
    }

    fn identity(&self, readers: Readers<'_>) -> Result<Option<Identity>, String> {
        let chain_file = match (&self.client_cert_file, &self.client_key_file) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err("client_key_file: it needs client_cert_file".into()),
            (Some(file), _) => file,
        };
        let read = |key: &str, file: &str| {
            (readers.secret)(file).map_err(|e| format!("{key} {file}: {e}"))
        };
        let chain = read("client_cert_file", chain_file)?;
        // Some operators have both in one file.
        let (key_name, key_file) = match &self.client_key_file {
            Some(file) => ("client_key_file", file),
            None => ("client_cert_file", chain_file),
        };
        let key = read(key_name, key_file)?;
        let identity = Identity::parse(chain.expose(), key.expose());
        identity.map(Some).map_err(|wrong| match wrong {
            Wrong::Certificate(e) => format!("client_cert_file {chain_file}: {e}"),
            Wrong::Key(e) if self.client_key_file.is_none() => {
                format!(
                    "client_cert_file {key_file}: {e}; client_key_file names another file for it"
                )
            }
            Wrong::Key(e) => format!("client_key_file {key_file}: {e}"),
        })
    }

    fn authorization(&self, readers: Readers<'_>) -> Result<Option<Authorization>, String> {
        let has_token = self.bearer_token.is_some() || self.bearer_token_file.is_some();
        match (has_token, &self.basic, &self.oauth2) {
            (false, None, None) => Ok(None),
            (true, None, None) => self.bearer(readers).map(Some),
            (false, Some(Confidential(basic)), None) => {
                let made = basic.authorization(readers);
                made.map(Some).map_err(|e| format!("basic: {e}"))
            }
            (false, None, Some(Confidential(oauth2))) => {
                let made = oauth2.authorization(readers);
                made.map(Some).map_err(|e| format!("oauth2: {e}"))
            }
            _ => Err("bearer_token, basic and oauth2 exclude each other".into()),
        }
    }

    fn bearer(&self, readers: Readers<'_>) -> Result<Authorization, String> {
        let (value, file) = (
            self.bearer_token.as_ref(),
            self.bearer_token_file.as_deref(),
        );
        let token = secret("bearer_token", value, file, readers)?;
        let key = match file {
            Some(file) => format!("bearer_token_file {file}"),
            None => "bearer_token".into(),
        };
        let made = Fixed::bearer(&token);
        made.map(Authorization::Fixed)
            .map_err(|e| format!("{key}: {e}"))
    }
}

impl Basic {
    fn authorization(&self, readers: Readers<'_>) -> Result<Authorization, String> {
        let (value, file) = (self.password.as_ref(), self.password_file.as_deref());
        let password = secret("password", value, file, readers)?;
        Fixed::basic(&self.user, &password).map(Authorization::Fixed)
    }
}

impl OAuth2Table {
    fn authorization(&self, readers: Readers<'_>) -> Result<Authorization, String> {
        let endpoint = Endpoint::parse(&self.token_url).map_err(|e| format!("token_url: {e}"))?;
        let (value, file) = (
            self.client_secret.as_ref(),
            self.client_secret_file.as_deref(),
        );
        let client_secret = secret("client_secret", value, file, readers)?;
        let in_body = match self.auth.as_deref() {
            None | Some("basic") => false,
            Some("body") => true,
            Some(_) => return Err("auth: it must be basic (a header) or body".into()),
        };
        let texts = [
            ("client_id", Some(&*self.client_id)),
            ("client_secret", Some(client_secret.expose())),
            ("scope", self.scope.as_deref()),
            ("audience", self.audience.as_deref()),
        ];
        for (key, text) in texts {
            if text.is_some_and(|text| text.is_empty() || text.chars().any(char::is_control)) {
                return Err(format!(
                    "{key}: it is empty, or holds a line end or another control character"
                ));
            }
        }
        Ok(Authorization::OAuth2(OAuth2::new(Grant {
            endpoint: Arc::new(endpoint),
            client_id: self.client_id.clone(),
            client_secret,
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            in_body,
        })))
    }
}

/// If only HTTPS is allowed, that holds for the client secret too.
pub fn check_https_only(login: Option<&Login>, guard: &Guard) -> Result<(), String> {
    let Some(login) = login.filter(|_| guard.is_https_only()) else {
        return Ok(());
    };
    match &login.authorization {
        Some(Authorization::OAuth2(oauth2)) if !oauth2.grant.endpoint.is_https() => Err(
            "oauth2: token_url: it must be https://, as --https-only (https_only) is set".into(),
        ),
        _ => Ok(()),
    }
}

/// The secret that stands under `key`, or in the file that `key`_file names.
fn secret(
    key: &str,
    value: Option<&Confidential<Secret>>,
    file: Option<&str>,
    readers: Readers<'_>,
) -> Result<Secret, String> {
    match (value, file) {
        (None, None) => Err(format!("it needs {key} or {key}_file")),
        (Some(_), Some(_)) => Err(format!("{key} and {key}_file exclude each other")),
        (Some(Confidential(value)), None) => Ok(value.clone()),
        (None, Some(file)) => {
            let read = (readers.secret)(file);
            read.map_err(|e| format!("{key}_file {file}: {e}"))
        }
    }
}
