//! A secret: a text that is never shown, and that is wiped when its last copy is dropped. Pure.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A password, key or token. It has no `Display`, and its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(Arc::new(Zeroizing::new(text)))
    }

    /// Reads the contents of a file. An editor adds one line end, which is not part of the secret.
    /// The error does not show the contents.
    pub fn from_file(bytes: Vec<u8>) -> Result<Secret, String> {
        let mut text = match String::from_utf8(bytes) {
            Ok(text) => Zeroizing::new(text),
            Err(e) => {
                drop(Zeroizing::new(e.into_bytes()));
                return Err("it is not text (UTF-8)".into());
            }
        };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(Secret(Arc::new(text)))
    }

    /// The text itself. It must not be logged or become part of an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The prefixes of keys.
const PREFIXES: [&str; 3] = ["whsec_", "whsk_", "ohsk_"];

/// The text with everything that looks like a key cut out: errors repeat values that they do not
/// understand.
pub fn without_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
    while let Some((at, prefix)) = PREFIXES
        .iter()
        .filter_map(|prefix| Some((rest.find(prefix)?, *prefix)))
        .min()
    {
        let (before, behind) = rest.split_at(at + prefix.len());
        out.push_str(before);
        let key = behind.trim_start_matches(is_of_key);
        if key.len() < behind.len() {
            out.push('…');
        }
        rest = key;
    }
    out + rest
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// Takes any text: clap must not refuse an option that holds a secret, because it would show it.
impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Secret, Infallible> {
        Ok(Secret::new(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_shown() {
        let secret: Secret = "hunter2".parse().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?} {:#?}", Some(&secret)).contains("hunter"));
    }

    #[test]
    fn what_may_be_a_key_is_cut_out_of_a_text() {
        for (text, want) in [
            ("", ""),
            ("no key", "no key"),
            ("'whsec_AB+/=' and whsk_x-", "'whsec_…' and whsk_…"),
            (
                "it must begin with whsec_ (HMAC)",
                "it must begin with whsec_ (HMAC)",
            ),
            ("whsec_whsk_é", "whsec_…é"),
        ] {
            assert_eq!(without_keys(text), want);
        }
    }

    #[test]
    fn one_line_end_of_a_file_is_not_part_of_it() {
        for (bytes, text) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r", "a\r"),
            (" a ", " a "),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(Secret::from_file(bytes.into()).unwrap().expose(), text);
        }
        let e = Secret::from_file(vec![b'a', 0xff]).unwrap_err();
        assert!(e.contains("UTF-8"), "{e}");
    }
}
