//! Logins, as an operator writes them: which keys there are, which exclude each other, and the
//! files that they name. Nothing of a secret gets into an error.

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;
use ureq::http::header::AUTHORIZATION;

use super::shy::{Kind, Shy};
use super::{Entry, Readers};
use crate::login::{Authorization, Identity, Login, Wrong};
use crate::rules::Match;
use crate::secret::Secret;

/// `basic = { … }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    user: String,
    password: Option<Shy<Secret>>,
    password_file: Option<String>,
}

impl Kind for Basic {
    const WANTED: &str = "a table, as { user = \"…\", password_file = \"…\" }";

    fn of_table<'de, A: MapAccess<'de>>(map: A) -> Result<Basic, A::Error> {
        Basic::deserialize(MapAccessDeserializer::new(map))
    }
}

impl Entry {
    /// What the keys of a login come to; nothing if there are none.
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
            insecure_tls: self.insecure_tls,
        };
        if in_clear && login.identity.is_some() {
            return Err("client_cert_file: it is for https://, and the url is http://".into());
        }
        if in_clear && login.insecure_tls {
            return Err("insecure_tls: it is for https://, and the url is http://".into());
        }
        if login.insecure_tls && self.ca_file.is_some() {
            return Err(
                "insecure_tls and ca_file exclude each other: nothing would be verified".into(),
            );
        }
        let sets_own = self.headers.iter().any(|(name, _)| *name == AUTHORIZATION);
        if sets_own && login.authorization.is_some() {
            return Err("headers: authorization is set by the login of this endpoint".into());
        }
        let is_any = login.identity.is_some() || login.authorization.is_some();
        Ok((is_any || login.insecure_tls).then_some(login))
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
        // Some have both in one file.
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
        let token = secret(
            "bearer_token",
            self.bearer_token.as_ref(),
            self.bearer_token_file.as_deref(),
            readers,
        )?;
        match (token, &self.basic) {
            (Some(_), Some(_)) => Err("bearer_token and basic exclude each other".into()),
            (None, None) => Ok(None),
            (Some(token), None) => {
                let made = Authorization::bearer(&token);
                let key = match &self.bearer_token_file {
                    Some(file) => format!("bearer_token_file {file}"),
                    None => "bearer_token".into(),
                };
                made.map(Some).map_err(|e| format!("{key}: {e}"))
            }
            (None, Some(Shy(basic))) => {
                let (value, file) = (&basic.password, basic.password_file.as_deref());
                let password = secret("password", value.as_ref(), file, readers);
                let password = password.map_err(|e| format!("basic: {e}"))?;
                let password = password.ok_or("basic: it needs password or password_file")?;
                let made = Authorization::basic(&basic.user, &password);
                made.map(Some).map_err(|e| format!("basic: {e}"))
            }
        }
    }
}

/// The secret that stands under `key`, or in the file that `key`_file names.
fn secret(
    key: &str,
    value: Option<&Shy<Secret>>,
    file: Option<&str>,
    readers: Readers<'_>,
) -> Result<Option<Secret>, String> {
    match (value, file) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(format!("{key} and {key}_file exclude each other")),
        (Some(Shy(value)), None) => Ok(Some(value.clone())),
        (None, Some(file)) => {
            let read = (readers.secret)(file);
            read.map(Some)
                .map_err(|e| format!("{key}_file {file}: {e}"))
        }
    }
}
