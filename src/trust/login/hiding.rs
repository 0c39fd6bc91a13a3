//! Blots secrets out of what a server has said: some repeat the request in their answers. Pure.

const BLOT: &[u8] = b"***";

/// Shorter ones may be a part of any text; with them nothing would be left of it.
const SHORTEST: usize = 4;

/// At the end of an answer that was cut, so much of a secret is enough to be one.
const SHORTEST_CUT: usize = 4;

/// Replaces `secret` wherever it stands in `text`, and the beginning of it where the text ends.
pub fn hide(secret: &[u8], text: &mut Vec<u8>) {
    if secret.len() < SHORTEST {
        return;
    }
    let mut from = 0;
    while let Some(at) = find(secret, &text[from..]) {
        text.splice(from + at..from + at + secret.len(), BLOT.iter().copied());
        from += at + BLOT.len();
    }
    let longest = (secret.len() - 1).min(text.len());
    let cut = (SHORTEST_CUT..=longest).rev();
    for n in cut {
        if text.ends_with(&secret[..n]) {
            text.truncate(text.len() - n);
            text.extend_from_slice(BLOT);
            return;
        }
    }
}

fn find(part: &[u8], text: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_blotted_out_wherever_it_stands() {
        for (secret, text, hidden) in [
            ("abcd1234", "nothing of it", "nothing of it"),
            ("abcd1234", "abcd1234", "***"),
            ("abcd1234", "<abcd1234abcd1234>", "<******>"),
            ("abcd1234", "is abcd123", "is ***"),
            ("abcd1234", "is abcd", "is ***"),
            ("abcd1234", "is abc", "is abc"),
            ("abcd1234", "", ""),
            ("abc", "abc", "abc"),
            ("", "abc", "abc"),
            ("aaaa", "aaaaaa", "***aa"),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            hide(secret.as_bytes(), &mut bytes);
            assert_eq!(
                String::from_utf8(bytes).unwrap(),
                hidden,
                "{secret} in {text}"
            );
        }
    }
}
