//! Keys: how secrets are written, and what is wrong with a secret that cannot be used. No error
//! shows it.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::trust::secret::Secret;

/// Standard Webhooks 1.0.0: between 24 and 64 bytes.
const LEAST_BYTES: usize = 24;
const MOST_BYTES: usize = 64;

/// A key with fewer bytes can be guessed.
pub const SHORT: usize = 8;

const ED25519_BYTES: usize = 32;

/// As the libraries of receivers read base64: with or without `=` at its end, and with any spare
/// bits.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How secrets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// `whsec_` and base64 for HMAC, `whsk_` and base64 for ed25519.
    Prefixed,
    /// The text itself, whatever it is.
    Text,
    Base64,
    Hex,
}

/// How signatures are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hmac,
    Ed25519,
}

/// A key to sign with, prepared once.
pub enum Key {
    Hmac(hmac::Key),
    Ed25519(Box<Ed25519KeyPair>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Hmac(_) => "Hmac(not shown)",
            Key::Ed25519(_) => "Ed25519(not shown)",
        })
    }
}

impl Key {
    /// The error says what is wrong with the secret, and what it should be.
    pub fn parse(
        secret: &Secret,
        form: KeyForm,
        algorithm: hmac::Algorithm,
    ) -> Result<Key, String> {
        let text = secret.expose();
        let bytes = match form {
            KeyForm::Prefixed => return Key::parse_prefixed(text, algorithm),
            // A short key is the customer's choice: it only gets a warning.
            KeyForm::Text => {
                vet_text(text)?;
                return Ok(Key::Hmac(hmac::Key::new(algorithm, text.as_bytes())));
            }
            KeyForm::Base64 => {
                vet(text)?;
                decode(text)?
            }
            KeyForm::Hex => from_hex(text)
                .map(Zeroizing::new)
                .ok_or("it is not hex: pairs of 0-9 and a-f, and nothing else")?,
        };
        match bytes.len() {
            0 => Err("it is empty".into()),
            n if n < SHORT => Err(format!(
                "it holds {n} bytes, which anybody may guess: at least {SHORT} are needed"
            )),
            _ => Ok(Key::Hmac(hmac::Key::new(algorithm, &bytes))),
        }
    }

    /// Signs the parts that `feed` hands over.
    pub fn sign(&self, feed: impl Fn(&mut dyn FnMut(&[u8]))) -> Signature {
        match self {
            Key::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                feed(&mut |part| context.update(part));
                Signature::Hmac(context.sign())
            }
            Key::Ed25519(pair) => {
                let mut whole = Vec::new();
                feed(&mut |part| whole.extend_from_slice(part));
                Signature::Ed25519(pair.sign(&whole))
            }
        }
    }

    fn parse_prefixed(text: &str, algorithm: hmac::Algorithm) -> Result<Key, String> {
        vet(text)?;
        if text.starts_with("whpk_") {
            return Err(
                "it is a public key (whpk_), with which nothing can be signed: set the \
                 private one (whsk_), and give this one to the receiver"
                    .into(),
            );
        }
        if let Some(rest) = text.strip_prefix("whsk_") {
            return ed25519(&decode(rest)?);
        }
        let Some(rest) = text.strip_prefix("whsec_") else {
            return Err(describe_prefix(text));
        };
        let bytes = decode(rest)?;
        match bytes.len() {
            LEAST_BYTES..=MOST_BYTES => Ok(Key::Hmac(hmac::Key::new(algorithm, &bytes))),
            n => Err(format!(
                "its base64 holds {n} bytes; it must be {LEAST_BYTES} to {MOST_BYTES} \
                 (outhook keygen makes one)"
            )),
        }
    }

    /// The public key to give to receivers, where there is one.
    pub fn public(&self) -> Option<String> {
        match self {
            Key::Hmac(_) => None,
            Key::Ed25519(pair) => Some(write_key("whpk_", pair.public_key().as_ref())),
        }
    }
}

/// The bytes of a signature.
pub enum Signature {
    Hmac(hmac::Tag),
    Ed25519(ring::signature::Signature),
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        match self {
            Signature::Hmac(tag) => tag.as_ref(),
            Signature::Ed25519(signature) => signature.as_ref(),
        }
    }
}

/// A key in the form in which it is given to people.
pub fn write_key(prefix: &str, bytes: &[u8]) -> String {
    let mut text = prefix.to_owned();
    base64::engine::general_purpose::STANDARD.encode_string(bytes, &mut text);
    text
}

/// What is wrong with a secret of any form.
fn vet_text(text: &str) -> Result<(), String> {
    let wrong = if text.is_empty() {
        "it is empty"
    } else if text.trim() != text {
        "it has blanks or line ends before or after it"
    } else if text.contains("whsk_") && text.contains("whpk_") {
        "it is a pair, as keygen prints it: keep the line with whsk_, and give the one with whpk_ \
         to your receivers"
    } else if text.contains(['\n', '\r']) {
        "it has line ends inside: one key is one line; further keys belong into `keys` of the \
         endpoints file"
    } else if text.starts_with("v1,") || text.starts_with("v1a,") {
        "it begins with v1, or v1a, as signatures do: it is a signature, or was copied with \
         that prefix"
    } else {
        return Ok(());
    };
    Err(wrong.into())
}

/// What is wrong with a secret that is plain text.
fn vet(text: &str) -> Result<(), String> {
    vet_text(text)?;
    match text.contains(char::is_whitespace) {
        true => Err(
            "it has blanks inside: one key is one word; further keys belong into \
                     `keys` of the endpoints file"
                .into(),
        ),
        false => Ok(()),
    }
}

fn describe_prefix(text: &str) -> String {
    let wanted = "it must begin with whsec_ (HMAC) or whsk_ (ed25519); outhook keygen makes one";
    let lower = text.get(..6).map(str::to_ascii_lowercase);
    if text.starts_with("-----BEGIN") {
        return format!("it is PEM; {wanted}");
    }
    if text.starts_with(['"', '\'']) {
        return format!("it stands in quotes that are part of it; {wanted}");
    }
    if lower.is_some_and(|start| start.starts_with("whsec_") || start.starts_with("whsk_")) {
        return format!("its prefix is not in lower case; {wanted}");
    }
    if LENIENT.decode(text).is_ok_and(|b| b.len() >= LEAST_BYTES) {
        return "it is base64 without a prefix; if it is the key, write whsec_ before it".into();
    }
    if text.contains('.') || text.starts_with('/') {
        return format!(
            "it has no prefix that is known; {wanted}; the name of a file belongs into \
             secret_file, or into the option that ends in -file"
        );
    }
    format!("it has no prefix that is known; {wanted}")
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    LENIENT.decode(text).map(Zeroizing::new).map_err(|_| {
        let bad = text.find(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c));
        match bad.and_then(|at| text[at..].chars().next()) {
            Some('-' | '_') => "its base64 is the one for URLs: write + for - and / for _".into(),
            Some(_) => "it is not base64: it has a character that base64 has not".into(),
            None => "it is not base64: its length is wrong".to_owned(),
        }
    })
}

/// Pairs of hex digits as bytes.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| u8::from_str_radix(pair?, 16).ok())
        .collect()
}

/// What follows `whpk_`.
pub fn public_key(text: &str) -> Result<Vec<u8>, String> {
    let bytes = decode(text)?;
    match bytes.len() {
        ED25519_BYTES => Ok(bytes.to_vec()),
        n => Err(format!(
            "its base64 holds {n} bytes; a public key has {ED25519_BYTES}"
        )),
    }
}

fn ed25519(bytes: &[u8]) -> Result<Key, String> {
    let pair = match bytes.split_at_checked(ED25519_BYTES) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
        // As NaCl writes it: the seed, and the public key behind it.
        Some((seed, public)) if public.len() == ED25519_BYTES => {
            Ed25519KeyPair::from_seed_and_public_key(seed, public)
        }
        _ => {
            return Err(format!(
                "its base64 holds {} bytes; an ed25519 key has {ED25519_BYTES} (or 64, with the \
                 public key behind it)",
                bytes.len()
            ));
        }
    };
    pair.map(|pair| Key::Ed25519(Box::new(pair)))
        .map_err(|_| "its second half is not the public key of its first".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Key, String> {
        Key::parse(
            &Secret::new(text.into()),
            KeyForm::Prefixed,
            hmac::HMAC_SHA256,
        )
    }

    fn of_length(prefix: &str, n: usize) -> String {
        write_key(prefix, &vec![7; n])
    }

    #[test]
    fn good_keys_are_read() {
        for n in [24, 25, 32, 64] {
            let text = of_length("whsec_", n);
            assert!(matches!(parse(&text), Ok(Key::Hmac(_))), "{n}");
            assert!(parse(text.trim_end_matches('=')).is_ok(), "{n}");
        }
        let key = parse(&of_length("whsk_", 32)).unwrap();
        let public = key.public().unwrap();
        assert!(public.starts_with("whpk_") && public.len() == 49);
        // NaCl's form.
        let Key::Ed25519(pair) = &key else { panic!() };
        let both = [&[7; 32], pair.public_key().as_ref()].concat();
        let nacl = parse(&write_key("whsk_", &both)).unwrap();
        assert_eq!(nacl.public().unwrap(), public);
    }

    #[test]
    fn keys_of_other_forms_are_looked_at_too() {
        use KeyForm::{Base64, Hex, Text};
        for (form, text, words) in [
            (Text, "It's a Secret to Everybody", ""),
            (Text, "x", ""),
            (Text, "whsec_abc", ""),
            (Text, "", "empty"),
            (Text, "x ", "before or after"),
            (Text, " whsec_abc\n", "before or after"),
            (Text, "one\ntwo", "inside"),
            (Text, "v1,whsec_abc", "v1"),
            (Base64, "AAAAAAAAAAA=", ""),
            (Base64, "AA==", "1 bytes"),
            (Base64, "AAAAAAAAAA==", "7 bytes"),
            (Hex, "0011223344556677", ""),
            (Hex, "00112233445566", "7 bytes"),
            (Hex, "0011223344556677 ", "not hex"),
        ] {
            let got = Key::parse(&Secret::new(text.into()), form, hmac::HMAC_SHA256);
            match (words, got) {
                ("", got) => assert!(got.is_ok(), "{text:?}: {got:?}"),
                (_, Ok(_)) => panic!("{text:?}"),
                (words, Err(e)) => assert!(e.contains(words), "{text:?}: {e}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_and_the_secret_is_not() {
        let good = of_length("whsec_", 32);
        let inside = format!("{}\n{}", &good[..20], &good[20..]);
        for (text, words) in [
            (String::new(), "empty"),
            (format!(" {good}"), "before or after"),
            (format!("{good}\n"), "before or after"),
            (inside, "inside"),
            (format!("{good} {good}"), "inside"),
            (format!("v1,{}", &good[6..]), "v1"),
            ("whsk_AAAA\nwhpk_AAAA".into(), "keep the line with whsk_"),
            ("/run/secrets/k1.key".into(), "secret_file"),
            (format!("v1a,{}", &good[6..]), "v1"),
            (of_length("whsec_", 23), "23 bytes"),
            (of_length("whsec_", 65), "65 bytes"),
            ("whsec_".into(), "0 bytes"),
            (of_length("whsk_", 31), "31 bytes"),
            (of_length("whsk_", 64), "second half"),
            (of_length("whpk_", 32), "public key"),
            (of_length("", 32), "without a prefix"),
            (of_length("WHSEC_", 32), "lower case"),
            (of_length("sk_live_", 32), "no prefix"),
            (format!("\"{good}\""), "quotes"),
            ("-----BEGIN-PRIVATE".into(), "PEM"),
            (format!("whsec_{}", "-_".repeat(20)), "for URLs"),
            (format!("whsec_{}", "ä".repeat(20)), "a character"),
            (format!("whsec_{}", "A".repeat(41)), "length"),
            ("hunter2hunter2hunter2".into(), "no prefix"),
        ] {
            let e = parse(&text).expect_err(&text);
            assert!(e.contains(words), "{text}: {e}");
            assert!(!e.contains('\n'), "{e}");
            let rest = text.trim_start_matches("whsec_");
            assert!(
                rest.len() < 8 || !e.contains(&rest[..rest.len().min(8)]) || rest.starts_with("--"),
                "{text}: {e}"
            );
        }
        assert!(!format!("{:?}", parse(&good)).contains(&good[6..12]));
    }
}
