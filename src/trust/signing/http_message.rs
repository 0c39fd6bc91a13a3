//! HTTP message signatures (RFC 9421) with `Content-Digest` (RFC 9530).

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ring::digest;

use super::component::{Component, INPUT, SIGNATURE};
use super::key::Key;
use super::subject::Subject;
use super::timed_key::TimedKey;

pub const DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The components that are covered by default.
const USUAL: [&str; 5] = [
    "@method",
    "@target-uri",
    "content-digest",
    "content-type",
    "webhook-id",
];

/// Which parts of a request a signature covers, and how it is named.
#[derive(Debug)]
pub struct Cover {
    parts: Vec<Component>,
    label: Box<str>,
}

impl Cover {
    /// The error says what may be covered.
    pub fn new(components: Option<&[String]>, label: Option<&str>) -> Result<Cover, String> {
        let label = label.unwrap_or("sig1");
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        if !label.starts_with(|c: char| c.is_ascii_lowercase()) || !label.bytes().all(good) {
            return Err("label must be of a-z, 0-9, _ and -, and begin with a letter".into());
        }
        let usual = || USUAL.map(str::to_owned).to_vec();
        let names = components.map_or_else(usual, <[String]>::to_vec);
        let mut parts = Vec::new();
        for name in names {
            let part = Component::parse(&name).map_err(|e| format!("components: {e}"))?;
            if parts.contains(&part) {
                return Err(format!("components: {} stands twice", part.name()));
            }
            parts.push(part);
        }
        if !parts.contains(&Component::Field(DIGEST)) {
            return Err(
                "components: content-digest must be one of them, as nothing else \
                        covers the body"
                    .into(),
            );
        }
        Ok(Cover {
            parts,
            label: label.into(),
        })
    }

    /// Adds `Content-Digest`, `Signature-Input` and `Signature`. Each key has a label of its own.
    pub fn sign<'k>(
        &self,
        keys: impl Iterator<Item = &'k TimedKey>,
        subject: &Subject<'_>,
        headers: &mut HeaderMap,
    ) {
        headers.insert(DIGEST, plain(content_digest(subject.body)));
        let uri = subject.url.parse().unwrap_or_default();
        let (names, base) = self.base(subject, &uri, headers);
        let (mut input, mut signature) = (String::new(), String::new());
        for (n, key) in keys.enumerate() {
            let label = match n {
                0 => self.label.to_string(),
                n => format!("{}-{}", self.label, n + 1),
            };
            let mut params = format!("{names};created={}", subject.at / 1000);
            if let Some(id) = &key.id {
                let _ = write!(params, ";keyid={}", quoted(id));
            }
            let _ = write!(params, ";alg=\"{}\"", algorithm(&key.key));
            let comma = if n == 0 { "" } else { ", " };
            let bytes = sign_base(&key.key, &base, &params);
            let _ = write!(input, "{comma}{label}={params}");
            let _ = write!(signature, "{comma}{label}=:{}:", STANDARD.encode(bytes));
        }
        headers.insert(INPUT, plain(input));
        headers.insert(SIGNATURE, plain(signature));
    }

    /// The list of components, and the lines of the signature base without the last.
    fn base(&self, subject: &Subject<'_>, uri: &Uri, headers: &HeaderMap) -> (String, String) {
        let (mut names, mut base) = (String::new(), String::new());
        for part in &self.parts {
            let Some(value) = part.value(subject, uri, headers) else {
                continue;
            };
            let blank = if names.is_empty() { "" } else { " " };
            let _ = write!(names, "{blank}\"{}\"", part.name());
            let _ = writeln!(base, "\"{}\": {value}", part.name());
        }
        (format!("({names})"), base)
    }
}

/// The base of a signature that covers `names`, in this order. A missing component is an error. For
/// verifying.
pub fn base_of(
    names: &[String],
    subject: &Subject<'_>,
    headers: &HeaderMap,
) -> Result<String, String> {
    let uri = subject.url.parse().unwrap_or_default();
    let mut base = String::new();
    for name in names {
        let part = Component::parse(name)?;
        if part.is_of_url() && subject.url.is_empty() {
            return Err(format!(
                "{name} is covered: say with --url which one was sent to"
            ));
        }
        if let Component::Field(field) = &part
            && headers.get_all(field).iter().any(|v| v.to_str().is_err())
        {
            return Err(format!("{name} is covered, and not plain ASCII"));
        }
        let value = part.value(subject, &uri, headers);
        let value = value.ok_or_else(|| format!("{name} is covered, and not there"))?;
        let _ = writeln!(base, "\"{name}\": {value}");
    }
    Ok(base)
}

/// Signs the base with the parameters as its last line.
fn sign_base(key: &Key, base: &str, params: &str) -> Vec<u8> {
    let signature = key.sign(|to| {
        to(base.as_bytes());
        to(b"\"@signature-params\": ");
        to(params.as_bytes());
    });
    signature.as_ref().to_vec()
}

/// As RFC 9530 writes it.
pub fn content_digest(body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    format!("sha-256=:{}:", STANDARD.encode(digest))
}

fn algorithm(key: &Key) -> &'static str {
    match key {
        Key::Hmac(_) => "hmac-sha256",
        Key::Ed25519(_) => "ed25519",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn plain(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("printable ASCII")
}

#[cfg(test)]
mod tests {
    use ring::hmac;
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;
    use crate::trust::secret::Secret;
    use crate::trust::signing::key::{KeyForm, write_key};

    /// RFC 9421, appendix B.2: the message `test-request`.
    const REQUEST: Subject<'static> = Subject {
        id: "m",
        at: 1_618_884_473_000,
        method: "POST",
        url: "https://example.com/foo?param=Value&Pet=dog",
        body: br#"{"hello": "world"}"#,
    };

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            ("webhook-id", "m"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn sign(key: &Key, covered: &[&str], more: &str) -> String {
        let parts = covered.iter().map(|name| Component::parse(name).unwrap());
        let cover = Cover {
            parts: parts.collect(),
            label: "sig".into(),
        };
        let uri = REQUEST.url.parse().unwrap();
        let (names, base) = cover.base(&REQUEST, &uri, &headers());
        STANDARD.encode(sign_base(key, &base, &format!("{names}{more}")))
    }

    fn shared_secret() -> Key {
        let text = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let secret = Secret::new(text.into());
        Key::parse(&secret, KeyForm::Base64, hmac::HMAC_SHA256).unwrap()
    }

    fn ed25519() -> Key {
        // The key `test-key-ed25519` of B.1.4: what stands in its PKCS #8.
        let pkcs8 = STANDARD
            .decode("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF")
            .unwrap();
        let seed = write_key("whsk_", &pkcs8[16..]);
        let secret = Secret::new(seed);
        Key::parse(&secret, KeyForm::Prefixed, hmac::HMAC_SHA256).unwrap()
    }

    #[test]
    fn the_vectors_of_rfc_9421_come_out() {
        // B.2.5
        let signature = sign(
            &shared_secret(),
            &["date", "@authority", "content-type"],
            r#";created=1618884473;keyid="test-shared-secret""#,
        );
        assert_eq!(signature, "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
        // B.2.6
        let covered = [
            "date",
            "@method",
            "@path",
            "@authority",
            "content-type",
            "content-length",
        ];
        let signature = sign(
            &ed25519(),
            &covered,
            r#";created=1618884473;keyid="test-key-ed25519""#,
        );
        assert_eq!(
            signature,
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
        );
        // RFC 9530, appendix B.
        assert_eq!(
            content_digest(br#"{"hello": "world"}"#),
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
        );
    }

    #[test]
    fn components_are_as_the_rfc_s_examples_say() {
        let uri: Uri = "https://example.com:8443/path?param=value".parse().unwrap();
        let subject = Subject {
            url: "https://example.com:8443/path?param=value",
            ..REQUEST
        };
        for (name, value) in [
            ("@method", "POST"),
            ("@target-uri", "https://example.com:8443/path?param=value"),
            ("@authority", "example.com:8443"),
            ("@scheme", "https"),
            ("@request-target", "/path?param=value"),
            ("@path", "/path"),
            ("@query", "?param=value"),
            ("content-length", "18"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ] {
            let part = Component::parse(name).unwrap();
            let got = part.value(&subject, &uri, &headers());
            assert_eq!(got.as_deref(), Some(value), "{name}");
        }
        let bare: Uri = "http://h/".parse().unwrap();
        assert_eq!(
            Component::Query.value(&subject, &bare, &headers()).unwrap(),
            "?"
        );
        let absent = Component::parse("x-absent").unwrap();
        assert_eq!(absent.value(&subject, &uri, &headers()), None);
    }

    #[test]
    fn a_delivery_gets_a_digest_and_a_signature_of_each_key() {
        let cover = Cover::new(None, None).unwrap();
        let mut keys = [
            TimedKey::always(shared_secret()),
            TimedKey::always(ed25519()),
        ];
        keys[0].id = Some(r#"a"b\c"#.into());
        let mut got = headers();
        cover.sign(keys.iter(), &REQUEST, &mut got);
        let text = |name: HeaderName| got[name].to_str().unwrap().to_owned();
        let names = r#"("@method" "@target-uri" "content-digest" "content-type" "webhook-id")"#;
        let first = format!(r#"{names};created=1618884473;keyid="a\"b\\c";alg="hmac-sha256""#);
        let second = format!(r#"{names};created=1618884473;alg="ed25519""#);
        assert_eq!(text(INPUT), format!("sig1={first}, sig1-2={second}"));
        let base = |params: &str| {
            format!(
                "\"@method\": POST\n\"@target-uri\": {}\n\"content-digest\": {}\n\
                 \"content-type\": application/json\n\"webhook-id\": m\n\
                 \"@signature-params\": {params}",
                REQUEST.url,
                text(DIGEST)
            )
        };
        let Key::Hmac(key) = shared_secret() else {
            panic!()
        };
        let tag = hmac::sign(&key, base(&first).as_bytes());
        let signature = text(SIGNATURE);
        let (one, two) = signature.split_once(", sig1-2=:").unwrap();
        assert_eq!(one, format!("sig1=:{}:", STANDARD.encode(tag)));
        let two = STANDARD.decode(two.trim_end_matches(':')).unwrap();
        let public = ed25519().public().unwrap();
        UnparsedPublicKey::new(&ED25519, STANDARD.decode(&public[5..]).unwrap())
            .verify(base(&second).as_bytes(), &two)
            .unwrap();
    }

    #[test]
    fn what_cannot_be_covered_is_refused() {
        for (components, label, words) in [
            (&["@method"][..], None, "content-digest"),
            (&["@status", "content-digest"], None, "@target-uri"),
            (&["content-digest", "Content-Digest"], None, "twice"),
            (&["content-digest", "signature"], None, "cannot be covered"),
            (&["content-digest", "host"], None, "@authority"),
            (&["content-digest", "a b"], None, "name of a header"),
            (&["content-digest"], Some("Sig"), "label"),
            (&["content-digest"], Some(""), "label"),
        ] {
            let components: Vec<String> = components.iter().map(|c| c.to_string()).collect();
            let e = Cover::new(Some(&components), label).expect_err(words);
            assert!(e.contains(words), "{e}");
        }
    }
}
