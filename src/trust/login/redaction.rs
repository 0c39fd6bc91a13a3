//! Takes secrets out of texts that others wrote: some receivers repeat the request in their answers, and
//! some of these write it in another way. Pure.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::trust::secret::Secret;

const MASK: &[u8] = b"***";

/// Shorter secrets may be part of any text; redacting them would leave nothing of it.
const SHORTEST: usize = 4;

/// This much of the beginning of a secret counts as the secret: anywhere, and where a text or a
/// quotation was cut.
const SHORTEST_PART: usize = 8;
const SHORTEST_CUT: usize = 4;

/// The bytes that an encoded character begins with.
const ENCODED: &[u8] = b"%\\&+";

/// Secrets, in all spellings that are looked for.
#[derive(Clone)]
pub struct Redactor {
    spellings: Arc<[Secret]>,
    /// The bytes that a spelling may begin with: most bytes of a text are none of them.
    starts: Arc<[bool; 256]>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(not shown)")
    }
}

impl Redactor {
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Redactor {
        let mut spellings: Vec<Secret> = Vec::new();
        let long = |secret: &Secret| secret.expose().len() >= SHORTEST;
        for secret in secrets.into_iter().filter(long) {
            let more = in_base64(secret.expose().as_bytes());
            for one in std::iter::once(secret).chain(more) {
                if !spellings.contains(&one) {
                    spellings.push(one);
                }
            }
        }
        let mut starts = [false; 256];
        for first in spellings.iter().filter_map(|s| s.expose().bytes().next()) {
            for start in ENCODED.iter().chain([&first]) {
                starts[usize::from(*start)] = true;
            }
        }
        Redactor {
            spellings: spellings.into(),
            starts: Arc::new(starts),
        }
    }

    /// Replaces the secrets anywhere in `text`, also a secret that was cut.
    pub fn redact(&self, text: &mut Vec<u8>) {
        let (mut at, mut kept, mut out) = (0, 0, Vec::new());
        while at < text.len() {
            let long = match self.starts[usize::from(text[at])] {
                true => self.longest_at(&text[at..]),
                false => 0,
            };
            if long == 0 {
                at += 1;
                continue;
            }
            out.extend_from_slice(&text[kept..at]);
            out.extend_from_slice(MASK);
            at += long;
            kept = at;
        }
        if kept > 0 {
            out.extend_from_slice(&text[kept..]);
            *text = out;
        }
    }

    /// The same for a sentence.
    pub fn redact_in(&self, text: String) -> String {
        let mut bytes = text.into_bytes();
        self.redact(&mut bytes);
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into())
    }

    fn longest_at(&self, text: &[u8]) -> usize {
        let may_begin =
            |secret: &&str| text.first() == secret.as_bytes().first() || ENCODED.contains(&text[0]);
        let all = self.spellings.iter().map(Secret::expose);
        all.filter(may_begin)
            .map(|secret| length(secret, text))
            .max()
            .unwrap_or(0)
    }
}

/// The base64 digits of these bytes, for each of the three alignments in an encoded text. Digits
/// that also encode neighbouring bytes are left out.
fn in_base64(secret: &[u8]) -> Vec<Secret> {
    let mut all = Vec::new();
    for (before, skipped) in [(0, 0), (1, 2), (2, 3)] {
        let padded = [&[0; 2][..before], secret].concat();
        let whole = padded.len() * 8 / 6;
        for encoded in [
            BASE64_STANDARD_NO_PAD.encode(&padded),
            BASE64_URL_SAFE_NO_PAD.encode(&padded),
        ] {
            all.push(Secret::new(encoded[skipped..whole].to_owned()));
        }
        drop(Secret::new(String::from_utf8(padded).unwrap_or_default()));
    }
    all.retain(|secret| secret.expose().len() > SHORTEST);
    all
}

/// How long the secret is that stands at the beginning of `text`: 0 if there is none.
fn length(secret: &str, text: &[u8]) -> usize {
    if text.starts_with(secret.as_bytes()) {
        return secret.len();
    }
    let (mut at, mut seen) = (0, 0);
    for c in secret.chars().filter(|c| *c != '\\') {
        match spelled(c, &text[at..]) {
            Some(n) => at += n,
            None => {
                let rest = &text[at..];
                let is_torn = rest.len() < 6 && matches!(rest.first(), Some(b'%' | b'\\' | b'&'));
                let is_cut = rest.is_empty() || is_torn || rest[0] == b'"';
                let least = if is_cut { SHORTEST_CUT } else { SHORTEST_PART };
                return match seen >= least {
                    true if is_torn => text.len(),
                    true => at,
                    false => 0,
                };
            }
        }
        seen += 1;
    }
    if seen < SHORTEST { 0 } else { at }
}

/// How many bytes at the beginning of `text` spell `c`, in any of the encodings of JSON, URLs,
/// forms, HTML and our own quotations.
fn spelled(c: char, text: &[u8]) -> Option<usize> {
    let mut buffer = [0; 4];
    let plain = c.encode_utf8(&mut buffer).as_bytes();
    // Encoding twice adds more of them.
    let slashes = text.iter().take_while(|b| **b == b'\\').count();
    let behind = &text[slashes..];
    let long = match behind.first()? {
        b'%' => by_bytes(plain, behind, |text| {
            let mut n = 1;
            while text.first() == Some(&b'%') && text.get(n..n + 2) == Some(b"25") {
                n += 2;
            }
            Some((hex(text.get(n..n + 2).filter(|_| text[0] == b'%')?)?, n + 2))
        }),
        b'u' if slashes > 0 => {
            let code = hex(behind.get(1..5).unwrap_or_default());
            code.filter(|code| *code == u32::from(c)).map(|_| 5)
        }
        b'x' if slashes > 0 => by_bytes(plain, &text[slashes - 1..], |text| {
            let is_one = text.get(..2) == Some(b"\\x");
            Some((hex(text.get(2..4).filter(|_| is_one)?)?, 4))
        })
        .map(|n| n - 1),
        b'&' => in_html(c, behind),
        b'+' if c == ' ' => Some(1),
        _ => None,
    };
    let long = long.or_else(|| behind.starts_with(plain).then_some(plain.len()));
    long.map(|n| slashes + n)
}

/// Reads `plain` byte by byte: `read` gives a byte, and how many it is written with.
fn by_bytes(
    plain: &[u8],
    text: &[u8],
    read: impl Fn(&[u8]) -> Option<(u32, usize)>,
) -> Option<usize> {
    let mut at = 0;
    for byte in plain {
        let (value, n) = read(&text[at..])?;
        if value != u32::from(*byte) {
            return None;
        }
        at += n;
    }
    Some(at)
}

fn hex(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_hex = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

fn in_html(c: char, text: &[u8]) -> Option<usize> {
    let end = text.iter().take(12).position(|b| *b == b';')?;
    let name = std::str::from_utf8(&text[1..end]).ok()?;
    let number = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(digits) => hex(digits.as_bytes())?,
            None => number.parse().ok()?,
        },
        None => match name {
            "amp" => '&'.into(),
            "lt" => '<'.into(),
            "gt" => '>'.into(),
            "quot" => '"'.into(),
            "apos" => '\''.into(),
            _ => return None,
        },
    };
    (number == u32::from(c)).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

    fn hidden(secret: &str, text: &str) -> String {
        Redactor::new([Secret::new(secret.into())]).redact_in(text.into())
    }

    #[test]
    fn a_secret_is_redacted_wherever_it_stands() {
        for (secret, text, want) in [
            ("abcd1234", "nothing of it", "nothing of it"),
            ("abcd1234", "abcd1234", "***"),
            ("abcd1234", "<abcd1234abcd1234>", "<******>"),
            ("abcd1234", "is abcd123", "is ***"),
            ("abcd1234", "is abcd", "is ***"),
            ("abcd1234", "is abc", "is abc"),
            ("abcd1234", "begins \"abcd12\" (a", "begins \"***\" (a"),
            ("abcd1234", "is abcd or so", "is abcd or so"),
            ("abcd12345", "is abcd1234 or so", "is *** or so"),
            ("abcd1234", "", ""),
            ("abc", "abc", "abc"),
            ("", "abc", "abc"),
            ("aaaa", "aaaaaa", "***aa"),
            ("pässwörd", "ist pässwörd, ü", "ist ***, ü"),
        ] {
            assert_eq!(hidden(secret, text), want, "{secret} in {text}");
        }
    }

    #[test]
    fn it_is_found_however_it_is_written() {
        let token = "TOKENabc/def+ghi=SECRET";
        for text in [
            r"TOKENabc\/def+ghi=SECRET",
            r"TOKENabc\\\/def\u002Bghi\u003dSECRET",
            "TOKENabc%2Fdef%2Bghi%3DSECRET",
            "TOKENabc/def%2bghi=SECRET",
            "%54OKENabc%252Fdef%25252Bghi%3DSECRET",
            "TOKENabc&#x2F;def&#43;ghi&#61;SECRET",
            r"TOKENabc\x2fdef+ghi=SECRET",
            r"TOKENabc\/def+g",
            "TOKENabc%2",
        ] {
            assert_eq!(hidden(token, &format!("<{text}")), "<***", "{text}");
        }
        let odd = "a b&\"c\\d%25é<x";
        for text in [
            "a b&\"c\\d%25é<x",
            "a+b%26%22c%5Cd%2525%C3%A9%3Cx",
            r#"a b&\"c\\d%25\u00e9<x"#,
            r#"a b&\"c\\d%25\xc3\xa9<x"#,
            "a b&amp;&quot;c\\d%25é&lt;x",
        ] {
            let shown = hidden(odd, &format!("({text})"));
            // A backslash is looked for in plain texts only; an encoded one may stay.
            assert!(shown.starts_with("(***") || text.contains("%5C"), "{shown}");
        }
    }

    #[test]
    fn it_is_found_in_base64_at_any_place() {
        let token = "tok?en>with~odd~ones";
        for before in ["", "B", "Be", "Bearer ", "\n\n", "xyz12"] {
            for behind in ["", "x", "yz", "\r\n\r\n"] {
                let text = format!("{before}{token}{behind}");
                for encoded in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)] {
                    let shown = hidden(token, &format!("is {encoded}."));
                    let left = shown.replace("***", "").len();
                    let other = (before.len() + behind.len()) * 4 / 3 + 8;
                    assert!(shown.contains("***") && left < other + 5, "{text}: {shown}");
                }
            }
        }
    }

    /// Redaction is not a matter of luck: it works for each text that holds the secret in any
    /// mixture of spellings.
    #[test]
    fn random_spellings_are_found() {
        let mut dice = Dice::usual(std::process::id().into());
        for _ in 0..2000 {
            dice.step();
            let n = 4 + dice.below(30);
            let secret: String = (0..n)
                .map(|_| (b'(' + dice.below(80) as u8) as char)
                .collect();
            let secret = secret.replace(['\\', '%', '&'], "z");
            let spell = |c: char, how: u64| match how {
                0 => format!("%{:02X}", u32::from(c)),
                1 => format!("%25{:02x}", u32::from(c)),
                2 => format!("\\u{:04x}", u32::from(c)),
                3 => format!("\\{c}"),
                4 => format!("&#{};", u32::from(c)),
                _ => c.to_string(),
            };
            let text: String = secret.chars().map(|c| spell(c, dice.below(12))).collect();
            assert_eq!(hidden(&secret, &format!("[{text}]")), "[***]", "{text}");
        }
    }
}
