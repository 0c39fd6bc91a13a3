//! The keys of `signing`: where each is read from, and when it signs.

use super::super::Readers;
use super::super::untyped::Untyped;
use crate::message::timestamp::parse_rfc3339;
use crate::trust::secret::Secret;
use crate::trust::signing::TimedKey;
use crate::trust::signing::key::SHORT;
use crate::trust::signing::scheme::Contract;

#[derive(Debug)]
pub struct KeySpec {
    source: Source,
    from: u64,
    until: u64,
    id: Option<Box<str>>,
}

#[derive(Debug)]
pub enum Source {
    Inline(Secret),
    File(String),
}

impl KeySpec {
    pub fn always(source: Source) -> KeySpec {
        KeySpec {
            source,
            from: 0,
            until: u64::MAX,
            id: None,
        }
    }

    pub fn read(value: Untyped) -> Result<KeySpec, String> {
        match value {
            Untyped::Text(secret) => Ok(KeySpec::always(Source::Inline(secret))),
            Untyped::Table(fields) => KeySpec::of(fields),
            _ => Err("it must be a table with secret or secret_file".into()),
        }
    }

    pub fn of(fields: Vec<(String, Untyped)>) -> Result<KeySpec, String> {
        let (mut source, mut from, mut until, mut id) = (None, 0, u64::MAX, None);
        for (name, value) in fields {
            let given = match &*name {
                "secret" => Source::Inline(value.text("secret")?),
                "secret_file" => Source::File(value.text("secret_file")?.expose().to_owned()),
                "not_before" => {
                    from = time(value, "not_before")?;
                    continue;
                }
                "not_after" => {
                    until = time(value, "not_after")?;
                    continue;
                }
                "keyid" => {
                    id = Some(key_id(value)?);
                    continue;
                }
                _ => {
                    let known = "secret, secret_file, not_before, not_after and keyid";
                    return Err(unknown(&name, known));
                }
            };
            if source.replace(given).is_some() {
                return Err("secret and secret_file exclude each other".into());
            }
        }
        if from >= until {
            return Err("not_before must be earlier than not_after".into());
        }
        let source = source.ok_or("there must be a secret or secret_file")?;
        Ok(KeySpec {
            source,
            from,
            until,
            id,
        })
    }

    pub fn key(&self, readers: Readers<'_>, contract: &Contract) -> Result<TimedKey, String> {
        let (secret, place) = match &self.source {
            Source::Inline(secret) => (secret.clone(), "secret".to_owned()),
            Source::File(path) => {
                let place = name_file(path)?;
                let secret = (readers.secret)(path).map_err(|e| format!("{place}: {e}"))?;
                (secret, place)
            }
        };
        let key = contract.key(&secret);
        Ok(TimedKey {
            key: key.map_err(|e| format!("{place}: {e}"))?,
            from: self.from,
            until: self.until,
            id: self.id.clone(),
            short: secret.expose().len() < SHORT,
        })
    }
}

fn looks_like_a_key(text: &str) -> bool {
    let starts = ["whsec_", "whsk_", "whpk_", "v1,whsec_"];
    starts.iter().any(|start| text.starts_with(start))
}

/// Names the file of a key, unless the key itself stands in its place.
fn name_file(path: &str) -> Result<String, String> {
    if looks_like_a_key(path) || path.contains('\n') {
        return Err(
            "secret_file: it must name a file; it looks like a key itself, which \
                    belongs into secret"
                .into(),
        );
    }
    Ok(format!("secret_file {path}"))
}

pub fn unknown(name: &str, known: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    match shown.starts_with("wh") {
        true => format!("a key stands where a name is expected; known are {known}"),
        false => format!("{shown:?} is not known; {known} are"),
    }
}

/// A text that is no secret, unless it looks like one.
pub fn plain(value: Untyped, name: &str) -> Result<String, String> {
    let text = value.text(name)?;
    match looks_like_a_key(text.expose()) {
        true => Err(format!(
            "{name}: it looks like a key, which belongs into secret"
        )),
        false => Ok(text.expose().to_owned()),
    }
}

/// The name of a key, for the receiver.
pub fn key_id(value: Untyped) -> Result<Box<str>, String> {
    let text = plain(value, "keyid")?;
    let good = (1..=256).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    match good {
        true => Ok(text.into()),
        false => Err("keyid must be plain printable ASCII, 1 to 256 characters".into()),
    }
}

fn time(value: Untyped, name: &str) -> Result<u64, String> {
    let text = value.text(name)?;
    let text = text.expose().trim();
    let day = || parse_rfc3339(&format!("{text}T00:00:00Z"));
    parse_rfc3339(&text.replacen(' ', "T", 1))
        .or_else(day)
        .ok_or_else(|| {
            format!("{name}: it must be a time in RFC 3339, as 2027-01-31T12:00:00Z, or a day")
        })
}
