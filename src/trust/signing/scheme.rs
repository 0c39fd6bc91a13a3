//! Schemes: the contracts by name, and those that an operator writes.

use http::HeaderName;
use ring::hmac;

use super::component::{INPUT, SIGNATURE};
use super::http_message::{Cover, DIGEST};
use super::key::{Key, KeyForm};
use super::standard_webhooks::{Names, STANDARD, SVIX};
use super::template::{Encoding, Placeholder, Template, Text, header_name};
use crate::trust::secret::Secret;

/// The agreement with a receiver, without the keys.
#[derive(Debug)]
pub struct Contract {
    pub scheme: Scheme,
    /// How secrets are written.
    pub form: KeyForm,
}

/// How a signature is made, and in which headers it is sent.
#[derive(Debug)]
pub enum Scheme {
    /// Standard Webhooks 1.0.0.
    Webhook(Names),
    Template(Box<Template>),
    /// RFC 9421.
    Message(Cover),
}

/// A scheme as an operator writes it. The named scheme fills in what is not set.
#[derive(Debug, Default, Clone)]
pub struct Spec {
    pub scheme: Option<String>,
    pub header: Option<String>,
    pub digest: Option<String>,
    pub encoding: Option<String>,
    pub sign: Option<String>,
    pub value: Option<String>,
    pub more: Option<String>,
    pub headers: Vec<(String, String)>,
    pub key: Option<String>,
    pub components: Option<Vec<String>>,
    pub label: Option<String>,
}

struct Preset {
    name: &'static str,
    header: &'static str,
    encoding: &'static str,
    sign: &'static str,
    value: &'static str,
    more: Option<&'static str>,
    beside: Option<(&'static str, &'static str)>,
}

const PRESETS: [Preset; 4] = [
    Preset {
        name: "github",
        header: "x-hub-signature-256",
        encoding: "hex",
        sign: "{body}",
        value: "sha256={signature}",
        more: None,
        beside: None,
    },
    Preset {
        name: "stripe",
        header: "stripe-signature",
        encoding: "hex",
        sign: "{timestamp}.{body}",
        value: "t={timestamp},v1={signature}",
        more: Some(",v1={signature}"),
        beside: None,
    },
    Preset {
        name: "shopify",
        header: "x-shopify-hmac-sha256",
        encoding: "base64",
        sign: "{body}",
        value: "{signature}",
        more: None,
        beside: None,
    },
    Preset {
        name: "slack",
        header: "x-slack-signature",
        encoding: "hex",
        sign: "v0:{timestamp}:{body}",
        value: "v0={signature}",
        more: None,
        beside: Some(("x-slack-request-timestamp", "{timestamp}")),
    },
];

/// All names of schemes.
pub const NAMES: &str = "standard, svix, github, stripe, shopify, slack and rfc9421";

impl Spec {
    /// The error says what may be set.
    pub fn build(&self) -> Result<Contract, String> {
        let (scheme, form) = self.scheme_and_form()?;
        Ok(Contract { scheme, form })
    }

    fn scheme_and_form(&self) -> Result<(Scheme, KeyForm), String> {
        let form = self.key.as_deref().map(key_form).transpose()?;
        let prefixed = || form.unwrap_or(KeyForm::Prefixed);
        match self.scheme.as_deref() {
            None if self.header.is_some() => Ok((
                Scheme::Template(Box::new(self.template(None)?)),
                form.unwrap_or(KeyForm::Text),
            )),
            None | Some("standard") => {
                self.only("standard", &[])?;
                Ok((Scheme::Webhook(STANDARD), prefixed()))
            }
            Some("svix") => {
                self.only("svix", &[])?;
                Ok((Scheme::Webhook(SVIX), prefixed()))
            }
            Some("rfc9421") => {
                self.only("rfc9421", &["components", "label"])?;
                let cover = Cover::new(self.components.as_deref(), self.label.as_deref())?;
                Ok((Scheme::Message(cover), prefixed()))
            }
            Some(name) => {
                let preset = PRESETS.iter().find(|preset| preset.name == name);
                let preset = preset.ok_or_else(|| {
                    format!("scheme must be one of {NAMES}; or header, sign and value say how")
                })?;
                Ok((
                    Scheme::Template(Box::new(self.template(Some(preset))?)),
                    form.unwrap_or(KeyForm::Text),
                ))
            }
        }
    }

    /// Refuses settings that a scheme does not have.
    fn only(&self, scheme: &str, known: &[&str]) -> Result<(), String> {
        let set = [
            ("header", self.header.is_some()),
            ("digest", self.digest.is_some()),
            ("encoding", self.encoding.is_some()),
            ("sign", self.sign.is_some()),
            ("value", self.value.is_some()),
            ("more", self.more.is_some()),
            ("headers", !self.headers.is_empty()),
            ("components", self.components.is_some()),
            ("label", self.label.is_some()),
        ];
        let wrong = set
            .iter()
            .find(|(name, is_set)| *is_set && !known.contains(name));
        match wrong {
            Some((name, _)) => Err(format!(
                "{name} cannot be set with the scheme {scheme}{}",
                match scheme {
                    "standard" if *name != "components" => "; another one needs header too",
                    _ => "",
                }
            )),
            None => Ok(()),
        }
    }

    fn template(&self, preset: Option<&Preset>) -> Result<Template, String> {
        if self.components.is_some() || self.label.is_some() {
            return Err("components and label belong to the scheme rfc9421".into());
        }
        let or = |own: &Option<String>, preset: Option<&str>, usual: &str| {
            let own = own.as_deref().or(preset);
            own.unwrap_or(usual).to_owned()
        };
        let header = or(&self.header, preset.map(|p| p.header), "");
        let header = header_name(&header).map_err(|e| format!("header: {e}"))?;
        let sign = or(&self.sign, preset.map(|p| p.sign), "{body}");
        let value = or(&self.value, preset.map(|p| p.value), "{signature}");
        let more = self.more.as_deref().or(preset.and_then(|p| p.more));
        let more = more.map(|text| Text::parse_value(text, Placeholder::VALUE, true));
        let encoding = or(&self.encoding, preset.map(|p| p.encoding), "hex");
        let mut template = Template {
            digest: digest(self.digest.as_deref().unwrap_or("sha256"))?,
            encoding: match &*encoding {
                "hex" => Encoding::Hex,
                "base64" => Encoding::Base64,
                _ => return Err("encoding must be hex or base64".into()),
            },
            signed: Text::parse(&sign, Placeholder::SIGNED, true)
                .map_err(|e| format!("sign: {e}"))?,
            value: Text::parse_value(&value, Placeholder::VALUE, true)
                .map_err(|e| format!("value: {e}"))?,
            more: more.transpose().map_err(|e| format!("more: {e}"))?,
            others: Vec::new(),
            header,
        };
        let beside = preset.and_then(|p| p.beside);
        let beside = beside.map(|(name, text)| (name.to_owned(), text.to_owned()));
        for (name, text) in beside.iter().chain(&self.headers) {
            let wrong = |e| format!("headers: {e}");
            let name: HeaderName = header_name(name).map_err(wrong)?;
            let text = Text::parse_value(text, Placeholder::BESIDE, false)
                .map_err(|e| format!("headers: {name}: {e}"))?;
            if name == template.header {
                return Err(format!("headers: {name} is the one with the signature"));
            }
            template.others.retain(|(other, _)| *other != name);
            template.others.push((name, text));
        }
        template.vet()?;
        Ok(template)
    }
}

impl Contract {
    /// Standard Webhooks.
    pub fn standard() -> Contract {
        Contract {
            scheme: Scheme::Webhook(STANDARD),
            form: KeyForm::Prefixed,
        }
    }

    /// Reads a secret for it. The error says what is wrong, and does not show it.
    pub fn key(&self, secret: &Secret) -> Result<Key, String> {
        Key::parse(secret, self.form, self.digest())
    }

    /// The headers that it sets.
    pub fn names(&self) -> Vec<HeaderName> {
        match &self.scheme {
            Scheme::Webhook(names) => {
                let id = names.id.into_iter();
                let all = id.chain([names.timestamp, names.signature]);
                all.map(HeaderName::from_static).collect()
            }
            Scheme::Template(template) => {
                let others = template.others.iter().map(|(name, _)| name);
                others.chain([&template.header]).cloned().collect()
            }
            Scheme::Message(_) => vec![DIGEST, SIGNATURE, INPUT],
        }
    }

    /// Whether all valid keys sign, and not only the first one.
    pub fn takes_several(&self) -> bool {
        match &self.scheme {
            Scheme::Template(template) => template.more.is_some(),
            Scheme::Webhook(_) | Scheme::Message(_) => true,
        }
    }

    /// The digest of its HMAC.
    pub fn digest(&self) -> hmac::Algorithm {
        match &self.scheme {
            Scheme::Template(template) => template.digest,
            Scheme::Webhook(_) | Scheme::Message(_) => hmac::HMAC_SHA256,
        }
    }
}

fn digest(text: &str) -> Result<hmac::Algorithm, String> {
    match text {
        "sha1" => Ok(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        "sha256" => Ok(hmac::HMAC_SHA256),
        "sha512" => Ok(hmac::HMAC_SHA512),
        _ => Err("digest must be sha1, sha256 or sha512".into()),
    }
}

fn key_form(text: &str) -> Result<KeyForm, String> {
    match text {
        "text" => Ok(KeyForm::Text),
        "base64" => Ok(KeyForm::Base64),
        "hex" => Ok(KeyForm::Hex),
        "prefixed" => Ok(KeyForm::Prefixed),
        _ => Err("key must be text, base64, hex or prefixed (whsec_, whsk_)".into()),
    }
}
