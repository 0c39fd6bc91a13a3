//! What `Signature-Input`, `Signature` and `Content-Digest` of a request claim (RFC 9421, RFC
//! 9530).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use ring::digest;

use super::claim::{Claim, ClaimedSignature, MOST, SignedContent, missing, time};
use super::received::Received;
use crate::trust::signing::component::{INPUT, SIGNATURE};
use crate::trust::signing::http_message::{DIGEST, base_of};
use crate::trust::signing::key::Kind;
use crate::trust::signing::subject::Subject;

/// All lines of a header that is a list or dictionary, as one line.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Result<String, String> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str());
    let lines = lines
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| format!("the header {name} is not plain ASCII"))?;
    match lines.is_empty() {
        true => Err(missing(headers, name.as_str(), INPUT.as_str())),
        false => Ok(lines.join(", ")),
    }
}

/// A claim for each label: during a rotation there are several, and one valid claim is enough.
pub fn read_message<'a>(received: &Received<'_>) -> Result<Vec<Claim<'a>>, String> {
    let inputs = joined(received.headers, &INPUT)?;
    let values = joined(received.headers, &SIGNATURE)?;
    let (inputs, values) = (members(&inputs), members(&values));
    if inputs.len() > MOST {
        let n = inputs.len();
        return Err(format!(
            "signature-input has {n} labels; at most {MOST} are tried"
        ));
    }
    let mut why = "signature-input and signature have no label in common".to_owned();
    let mut claims = Vec::new();
    for (label, params) in inputs {
        let Some((_, value)) = values.iter().find(|(other, _)| *other == label) else {
            continue;
        };
        let Some(bytes) = binary(value) else {
            why = "signature is not as :base64:".into();
            continue;
        };
        match read_input(params, received) {
            Ok(input) => claims.push(Claim {
                id: "",
                at: input.at,
                expires: input.expires,
                signatures: vec![ClaimedSignature {
                    kind: input.kind,
                    bytes,
                }],
                over: SignedContent::Message {
                    base: format!("{}\"@signature-params\": {params}", input.base),
                    digest: input.digest,
                },
            }),
            Err(e) => why = e,
        }
    }
    match claims.is_empty() {
        true => Err(why),
        false => Ok(claims),
    }
}

/// `:base64:`
fn binary(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(inner).ok()
}

struct Input {
    at: Option<u64>,
    expires: Option<u64>,
    kind: Option<Kind>,
    /// Whether the digest of the body is covered.
    digest: bool,
    base: String,
}

fn read_input(params: &str, received: &Received<'_>) -> Result<Input, String> {
    let wrong = || "signature-input is not as (\"…\" \"…\");created=…".to_owned();
    let (list, rest) = params
        .strip_prefix('(')
        .and_then(|p| p.split_once(')'))
        .ok_or_else(wrong)?;
    let mut names: Vec<String> = Vec::new();
    for item in list.split(' ').filter(|item| !item.is_empty()) {
        let name = item.strip_prefix('"').and_then(|i| i.strip_suffix('"'));
        let name = name.ok_or_else(|| {
            "signature-input covers a component with parameters, which is not known here".to_owned()
        })?;
        if names.iter().any(|known| known == name) {
            return Err("signature-input covers the same twice".into());
        }
        names.push(name.to_owned());
    }
    let (mut at, mut expires, mut kind) = (None, None, None);
    let mut known: Vec<&str> = Vec::new();
    for (name, value) in parameters(rest).ok_or_else(wrong)? {
        if known.contains(&name) {
            return Err(format!("signature-input says {name} twice"));
        }
        known.push(name);
        let ms = || time(value, "signature-input").map(|seconds| seconds.saturating_mul(1000));
        match name {
            "created" => at = Some(ms()?),
            "expires" => expires = Some(ms()?),
            "alg" => {
                kind = Some(match value {
                    "\"hmac-sha256\"" => Kind::Hmac,
                    "\"ed25519\"" => Kind::Ed25519,
                    _ => {
                        return Err("its alg must be hmac-sha256 or ed25519: no other is known \
                                    here"
                            .into());
                    }
                });
            }
            _ => {}
        }
    }
    let subject = Subject {
        id: "",
        at: at.unwrap_or_default(),
        method: received.method,
        url: received.url,
        body: received.body,
    };
    let base = base_of(&names, &subject, received.headers)?;
    Ok(Input {
        at,
        expires,
        kind,
        digest: names.iter().any(|name| name == DIGEST.as_str()),
        base,
    })
}

/// The parameters behind a list, each `;name=value` or `;name`.
fn parameters(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut parts = split(text, ';').into_iter();
    if !parts.next()?.is_empty() {
        return None;
    }
    Some(
        parts
            .map(|p| p.split_once('=').unwrap_or((p, "")))
            .collect(),
    )
}

/// The parts between separators that are not in quotes or parentheses.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut list, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut depth) = (false, false, 0i32);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if c == separator && depth <= 0 => {
                list.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    list.push(text[begin..].trim());
    list
}

/// The members of a dictionary of structured fields, with what follows each name.
fn members(text: &str) -> Vec<(&str, &str)> {
    let members = split(text, ',').into_iter();
    members
        .filter_map(|member| member.split_once('='))
        .collect()
}

/// The digests of a body that a request must have been sent with.
pub struct Digests(Vec<(&'static digest::Algorithm, Vec<u8>)>);

impl Digests {
    /// The digests of known algorithms. The error says why the body is not covered.
    pub fn of(headers: &HeaderMap) -> Result<Digests, String> {
        let value = joined(headers, &DIGEST)?;
        let mut found = Vec::new();
        for (name, value) in members(&value) {
            let algorithm = match name {
                "sha-256" => &digest::SHA256,
                "sha-512" => &digest::SHA512,
                _ => continue,
            };
            let bytes = binary(value).ok_or("content-digest is not as sha-256=:base64:")?;
            found.push((algorithm, bytes));
        }
        match found.is_empty() {
            true => Err(
                "the body is not covered: content-digest has neither sha-256 nor sha-512, \
                         and no other is known here"
                    .into(),
            ),
            false => Ok(Digests(found)),
        }
    }

    pub fn fit(&self, body: &[u8]) -> bool {
        let mut all = self.0.iter();
        all.all(|(algorithm, bytes)| digest::digest(algorithm, body).as_ref() == bytes)
    }
}
