//! `signing` of the endpoints file: how the deliveries to an endpoint are signed.
//!
//! It is read by hand, as serde's errors show what they do not take, and that may be a secret.

mod keys;

use std::sync::Arc;

use http::header::AUTHORIZATION;
use serde::{Deserialize, Deserializer, de};

use super::untyped::Untyped;
use super::{Entry, Readers};
use crate::trust::login::Login;
use crate::trust::signing::{Signing, scheme};
use keys::{KeySpec, Source, key_id, plain, unknown};

/// What a table may have.
const KNOWN: &str = "secret, secret_file, keys, scheme, header, digest, encoding, sign, value, more, \
                     headers, key, components, label and keyid";

/// What `signing` says.
#[derive(Debug)]
pub enum Setting {
    /// `false`: not signed, whatever holds for others.
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

    /// One of the fields that say how.
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

impl Entry {
    /// How it is signed to. What else the rule sets must not be replaced by a signature without a word.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Bounds, parse};
    use super::*;
    use crate::delivery::backoff::{Delays, RetrySchedule};
    use crate::delivery::rules::{Defaults, EndpointRules};
    use crate::message::endpoint::Endpoint;
    use crate::message::timestamp::parse_rfc3339;
    use crate::trust::secret::Secret;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read(text: &str) -> Result<EndpointRules, String> {
        let second = Duration::from_secs(1);
        let bounds = Bounds {
            schedule: RetrySchedule {
                attempts: 1,
                delays: Delays::Doubling {
                    base: second,
                    max: second,
                },
                jitter: 0.0,
            },
            timeout: second,
            usual_timeout: second,
            max_age: second,
            workers: 8,
            guard: Arc::default(),
        };
        let readers = Readers {
            authorities: &|_| unreachable!(),
            secret: &|path| match path {
                "/key" => Ok(Secret::new(KEY.into())),
                _ => Err("it is not there".into()),
            },
        };
        let name = if text.starts_with('{') {
            "a.json"
        } else {
            "a.toml"
        };
        parse(text, name, &bounds, readers, Defaults::default())
    }

    fn is_signed(rules: &EndpointRules, url: &str) -> bool {
        let rule = rules.find(&Endpoint::parse(url).unwrap());
        rule.is_some_and(|rule| rule.signing.is_some())
    }

    #[test]
    fn a_key_is_the_endpoint_s_or_the_file_s_or_none() {
        let text = format!(
            "signing = {{ secret_file = \"/key\" }}\n\
             [[endpoint]]\nurl = \"http://a/\"\nsigning = false\n\
             [[endpoint]]\nurl = \"http://b/\"\nsigning = \"{KEY}\"\n\
             [[endpoint]]\nurl = \"http://c/\"\n[endpoint.signing]\n\
             keys = [{{ secret = \"{KEY}\", not_after = 2030-01-01 }},\n\
                     {{ secret_file = \"/key\", not_before = \"2029-12-31T00:00:00+02:00\", \
                        not_after = 2031-01-01T00:00:00Z }}]\n"
        );
        let rules = read(&text).unwrap();
        assert!(!is_signed(&rules, "http://a/"));
        assert!(
            ["http://b/", "http://c/", "http://d/"]
                .iter()
                .all(|url| is_signed(&rules, url))
        );
        let c = rules.find(&Endpoint::parse("http://c/").unwrap()).unwrap();
        let until = c.signing.as_ref().unwrap().signs_until(0);
        assert_eq!(until, Ok(parse_rfc3339("2031-01-01T00:00:00Z").unwrap()));
        let json = format!(r#"{{"endpoint":[{{"host":"h","signing":{{"keys":["{KEY}"]}}}}]}}"#);
        let rules = read(&json).unwrap();
        assert!(is_signed(&rules, "http://h/") && !is_signed(&rules, "http://i/"));
    }

    #[test]
    fn what_an_operator_should_know_is_told() {
        let doubts = |signing: &str| {
            let text = format!("[[endpoint]]\nhost = \"h\"\nsigning = {{ {signing} }}\n");
            let rules = read(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let rule = rules.find(&Endpoint::parse("http://h/").unwrap()).unwrap();
            rule.signing.as_ref().unwrap().doubts().join("; ")
        };
        let two = "keys = [\"long enough\", \"and another\"]";
        let after = "keys = [{ secret = \"long enough\", not_after = 2030-01-01 }, \
                     { secret = \"and another\", not_before = 2030-01-01 }]";
        for (signing, words) in [
            (format!("scheme = \"github\", {two}"), "signs alone"),
            (format!("scheme = \"stripe\", {two}"), ""),
            (format!("header = \"x-a\", {two}"), "signs alone"),
            (format!("scheme = \"github\", {after}"), ""),
            ("scheme = \"slack\", secret = \"1234567\"".into(), "guess"),
            ("scheme = \"slack\", secret = \"12345678\"".into(), ""),
            (format!("keys = [\"{KEY}\", \"{KEY}\"]"), ""),
        ] {
            let got = doubts(&signing);
            assert_eq!(got.is_empty(), words.is_empty(), "{signing}: {got}");
            assert!(got.contains(words), "{signing}: {got}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_shown() {
        assert_refused(&[
            ("true", "false"),
            ("5", "table"),
            ("[\"KEY\"]", "table"),
            ("\"SECRET\"", "without a prefix"),
            ("\"KEY \"", "blanks"),
            ("KEY", "line 3"),
            ("{}", "secret or secret_file"),
            ("{ KEY = 1 }", "a key stands where"),
            ("{ secret = \"v1,SECRET\" }", "v1"),
            ("{ secret = [\"KEY\"] }", "must be a string"),
            ("{ secret = \"KEY\", secret_file = \"/key\" }", "exclude"),
            ("{ secret = \"KEY\", keys = [] }", "exclude"),
            ("{ keys = [] }", "empty"),
            ("{ keys = \"KEY\" }", "list"),
            ("{ keys = [5] }", "key 1"),
            ("{ keys = [\"KEY\", \"whsec_KEY\"] }", "key 2"),
            (
                "{ keys = [{ secret = \"KEY\", to = 1 }] }",
                "\"to\" is not known",
            ),
            (
                "{ secret_file = \"/none\" }",
                "secret_file /none: it is not there",
            ),
            ("{ secret_file = \"KEY\" }", "must name a file"),
            ("{ secret = \"KEY\", not_after = \"KEY\" }", "RFC 3339"),
            (
                "{ secret = \"KEY\", not_before = 2030-01-01, not_after = 2030-01-01 }",
                "earlier",
            ),
        ]);
    }

    #[test]
    fn what_nobody_can_verify_and_what_breaks_the_request_is_refused() {
        assert_refused(&[
            (
                "{ secret = \"KEY\", header = \"User-Agent\" }",
                "meaning of its own",
            ),
            (
                "{ secret = \"KEY\", header = \"x-a\", headers = { Content-Encoding = \"x\" } }",
                "meaning of its own",
            ),
            (
                "{ secret = \"KEY\", header = \"x-a\", sign = \"{timestamp}.{body}\" }",
                "{timestamp} is signed, and not sent",
            ),
            (
                "{ secret = \"KEY\", header = \"x-a\", sign = \"{timestamp_ms}{body}\", \
                 value = \"{timestamp} {signature}\" }",
                "{timestamp_ms} is signed, and not sent",
            ),
            (
                "{ secret = \"KEY\", header = \"x-a\" }\nheaders = { X-A = \"1\" }",
                "headers: x-a is set by signing",
            ),
            (
                "{ secret = \"KEY\", scheme = \"rfc9421\" }\nheaders = { Signature = \"1\" }",
                "headers: signature is set by signing",
            ),
            (
                "{ secret = \"KEY\", header = \"Authorization\" }\nbearer_token = \"abc\"",
                "authorization is set by the login",
            ),
        ]);
    }

    fn assert_refused(cases: &[(&str, &str)]) {
        let secret = &KEY[6..];
        for (signing, words) in cases {
            let value = signing.replace("KEY", KEY).replace("SECRET", secret);
            let text = format!("[[endpoint]]\nhost = \"h\"\nsigning = {value}\n");
            let e = read(&text).expect_err(&text);
            assert!(e.contains(words), "{signing}: {e}");
            assert!(!e.contains(&secret[..8]), "{signing}: {e}");
            assert!(!e.contains('\n') && e.contains("line "), "{signing}: {e}");
        }
    }
}
