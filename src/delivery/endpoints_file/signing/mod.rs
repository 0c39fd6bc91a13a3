//! `signing` of the endpoints file: how the deliveries to an endpoint are signed.
//!
//! It is read by hand, because serde's errors repeat the values they refuse, and such a value may
//! be a secret.

mod keys;

use std::sync::Arc;

use http::header::AUTHORIZATION;
use serde::{Deserialize, Deserializer, de};

use super::untyped::Untyped;
use super::{EndpointTable, Readers};
use crate::trust::login::Login;
use crate::trust::signing::{Signing, scheme};
use keys::{KeySpec, Source, key_id, plain, unknown};

/// The keys that a table may have.
const KNOWN: &str = "secret, secret_file, keys, scheme, header, digest, encoding, sign, value, more, \
                     headers, key, components, label and keyid";

/// The value of `signing`.
#[derive(Debug)]
pub enum Setting {
    /// `false`: deliveries are not signed.
    Off,
    On(Box<Spec>),
}

/// A table `signing`, before its files are read.
#[derive(Debug, Default)]
pub struct Spec {
    scheme: scheme::Spec,
    keys: Vec<KeySpec>,
    keyid: Option<Box<str>>,
}

pub fn setting<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Setting>, D::Error> {
    let made = match Untyped::deserialize(d)? {
        Untyped::Bool(false) => Ok(Setting::Off),
        Untyped::Text(secret) => Ok(Setting::On(Box::new(Spec {
            keys: vec![KeySpec::always(Source::Inline(secret))],
            ..Spec::default()
        }))),
        Untyped::Table(fields) => Spec::read(fields).map(|spec| Setting::On(Box::new(spec))),
        _ => Err("it must be a table with secret, secret_file or keys, or false".into()),
    };
    made.map(Some)
        .map_err(|e| de::Error::custom(format!("signing: {e}")))
}

impl Spec {
    fn read(fields: Vec<(String, Untyped)>) -> Result<Spec, String> {
        let mut spec = Spec::default();
        let mut keys = None;
        let mut own = Vec::new();
        for (name, value) in fields {
            match &*name {
                "keys" => keys = Some(value.list("keys")?),
                "secret" | "secret_file" | "not_before" | "not_after" => own.push((name, value)),
                _ => spec.read_scheme(&name, value)?,
            }
        }
        match (keys, own.is_empty()) {
            (Some(_), false) => {
                return Err("keys and a secret beside it exclude each other".into());
            }
            (Some(keys), true) => {
                for (n, key) in (1..).zip(keys) {
                    let key = KeySpec::read(key).map_err(|e| format!("key {n}: {e}"))?;
                    spec.keys.push(key);
                }
            }
            (None, _) => spec.keys.push(KeySpec::of(own)?),
        }
        if spec.keys.is_empty() {
            return Err("keys is empty; false says that nothing is signed".into());
        }
        Ok(spec)
    }

    /// Reads a field of the scheme.
    fn read_scheme(&mut self, name: &str, value: Untyped) -> Result<(), String> {
        let to = &mut self.scheme;
        let place = match name {
            "scheme" => &mut to.scheme,
            "header" => &mut to.header,
            "digest" => &mut to.digest,
            "encoding" => &mut to.encoding,
            "sign" => &mut to.sign,
            "value" => &mut to.value,
            "more" => &mut to.more,
            "key" => &mut to.key,
            "label" => &mut to.label,
            "headers" => {
                for (header, text) in value.table(name)? {
                    to.headers.push((header, plain(text, name)?));
                }
                return Ok(());
            }
            "components" => {
                let list = value.list(name)?.into_iter();
                let list: Result<_, String> = list.map(|part| plain(part, name)).collect();
                to.components = Some(list?);
                return Ok(());
            }
            "keyid" => {
                self.keyid = Some(key_id(value)?);
                return Ok(());
            }
            _ => return Err(unknown(name, KNOWN)),
        };
        *place = Some(plain(value, name)?);
        Ok(())
    }

    fn resolve(&self, readers: Readers<'_>) -> Result<Signing, String> {
        let contract = self.scheme.build()?;
        let mut keys = Vec::new();
        for (n, spec) in (1..).zip(&self.keys) {
            let key = spec
                .key(readers, &contract)
                .map_err(|e| match self.keys.len() {
                    1 => e,
                    _ => format!("key {n}: {e}"),
                })?;
            keys.push(key);
        }
        Ok(Signing::new(Arc::new(contract), keys).with_keyid(self.keyid.clone()))
    }
}

impl EndpointTable {
    /// How its deliveries are signed. Refuses a signature that would silently replace a header that
    /// the table sets.
    pub(super) fn signed(
        &self,
        usual: Option<&Arc<Signing>>,
        login: Option<&Login>,
        readers: Readers<'_>,
    ) -> Result<Option<Arc<Signing>>, String> {
        let signing = match &self.signing {
            Some(setting) => setting.resolve(readers)?,
            None => usual.cloned(),
        };
        for name in signing.iter().flat_map(|signing| signing.contract.names()) {
            if self.headers.iter().any(|(own, _)| *own == name) {
                return Err(format!("headers: {name} is set by signing"));
            }
            if name == AUTHORIZATION && login.is_some_and(|l| l.authorization.is_some()) {
                return Err("signing: authorization is set by the login of this endpoint".into());
            }
        }
        Ok(signing)
    }
}

impl Setting {
    /// Reads the files that it names. The error is one line without a secret in it.
    pub fn resolve(&self, readers: Readers<'_>) -> Result<Option<Arc<Signing>>, String> {
        match self {
            Setting::Off => Ok(None),
            Setting::On(spec) => {
                let signing = spec.resolve(readers).map_err(|e| format!("signing: {e}"))?;
                Ok(Some(Arc::new(signing)))
            }
        }
    }
}
