//! Encryption of secrets that are stored where others can read. Without a key nobody can read a
//! secret, or put another in its place. Pure.
//!
//! The format: `sealed1:`, then base64 of a nonce of 12 bytes and the ciphertext of AES-256-GCM.
//! The name is authenticated too: a value that is moved to another name does not open.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::trust::secret::Secret;

/// The prefix of an encryption key.
pub const KEY_PREFIX: &str = "ohsk_";
pub const KEY_BYTES: usize = 32;

const SEALED: &str = "sealed1:";

/// Encryption keys: the first one encrypts, all are tried to decrypt.
pub struct SealingKeys(Vec<LessSafeKey>);

impl SealingKeys {
    /// Reads the contents of a file: a key, or several during a change of keys, one a line. The
    /// error does not show them.
    pub fn parse(text: &Secret) -> Result<SealingKeys, String> {
        let lines = text.expose().lines().map(str::trim);
        let keys: Result<Vec<_>, String> = lines
            .filter(|line| !line.is_empty())
            .map(read_key)
            .collect();
        match keys? {
            keys if keys.is_empty() => Err(format!("it is empty; {WANTED}")),
            keys => Ok(SealingKeys(keys)),
        }
    }

    /// `nonce` must be random, and must never be used again.
    pub fn seal(&self, name: &str, value: &Secret, nonce: [u8; NONCE_LEN]) -> String {
        let mut bytes = value.expose().as_bytes().to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0[0]
            .seal_in_place_append_tag(unique, aad(name), &mut bytes)
            .expect("a value is short enough");
        let mut text = SEALED.to_owned();
        STANDARD.encode_string([&nonce[..], &bytes].concat(), &mut text);
        text
    }

    /// The error does not show the value.
    pub fn open(&self, name: &str, text: &str) -> Result<Secret, String> {
        let Some(text) = text.strip_prefix(SEALED) else {
            return Err(
                "it is not encrypted, and with --secrets-key-file it must be: put it \
                        there by outhook secrets set"
                    .into(),
            );
        };
        let bytes = STANDARD.decode(text).ok();
        let Some((nonce, sealed)) = bytes.as_deref().and_then(|b| b.split_first_chunk()) else {
            return Err("what is stored is not whole".into());
        };
        for key in &self.0 {
            let mut bytes = Zeroizing::new(sealed.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            if let Ok(value) = key.open_in_place(nonce, aad(name), &mut bytes) {
                return Secret::from_file(value.to_vec());
            }
        }
        Err(
            "it does not open with the keys of --secrets-key-file: it was encrypted with another, \
             or changed, or stood under another name"
                .into(),
        )
    }
}

/// Whether a stored value is encrypted.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(SEALED)
}

const WANTED: &str = "it must hold a key as outhook keygen --secrets-key makes one";

fn read_key(line: &str) -> Result<LessSafeKey, String> {
    let Some(text) = line.strip_prefix(KEY_PREFIX) else {
        return Err(format!("it does not begin with {KEY_PREFIX}; {WANTED}"));
    };
    let bytes = STANDARD.decode(text).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| format!("what follows {KEY_PREFIX} is not base64; {WANTED}"))?;
    match UnboundKey::new(&AES_256_GCM, &bytes) {
        Ok(key) => Ok(LessSafeKey::new(key)),
        Err(_) => Err(format!(
            "its base64 holds {} bytes, and not {KEY_BYTES}; {WANTED}",
            bytes.len()
        )),
    }
}

fn aad(name: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("outhook secret\0{name}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        format!("{KEY_PREFIX}{}", STANDARD.encode([byte; KEY_BYTES]))
    }

    fn keys(text: &str) -> Result<SealingKeys, String> {
        SealingKeys::parse(&Secret::new(text.into()))
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_with_its_key_alone() {
        let value = Secret::new("whsec_a\nwhsec_b".into());
        let old = keys(&key(1)).unwrap();
        let sealed = old.seal("acme", &value, [7; NONCE_LEN]);
        assert!(is_sealed(&sealed) && !sealed.contains("whsec"));
        assert_eq!(old.open("acme", &sealed).unwrap(), value);
        // A change of keys: the first of the file seals, the old one still opens.
        let both = keys(&format!("{}\n{}\n", key(2), key(1))).unwrap();
        assert_eq!(both.open("acme", &sealed).unwrap(), value);
        let anew = both.seal("acme", &value, [8; NONCE_LEN]);
        assert!(old.open("acme", &anew).is_err());
        for (name, text, words) in [
            ("other", sealed.clone(), "another name"),
            ("acme", sealed.replace("sealed1:A", "sealed1:B"), "another"),
            ("acme", sealed.replace("sealed1:B", "sealed1:C"), "another"),
            ("acme", format!("{sealed}="), "whole"),
            ("acme", "sealed1:AAAA".into(), "whole"),
            ("acme", "whsec_a".into(), "not encrypted"),
        ] {
            if text == sealed && name == "acme" {
                continue;
            }
            let e = old.open(name, &text).expect_err(&text);
            assert!(e.contains(words) && !e.contains("whsec"), "{e}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        for (text, words) in [
            (String::new(), "empty"),
            ("\n\n".into(), "empty"),
            ("hunter2".into(), "begin with ohsk_"),
            ("ohsk_hunter2!".into(), "base64"),
            (
                format!("{KEY_PREFIX}{}", STANDARD.encode([1; 16])),
                "16 bytes",
            ),
        ] {
            let e = keys(&text).err().unwrap();
            assert!(e.contains(words) && !e.contains("hunter"), "{e}");
        }
    }
}
