//! What frameworks make of a body before a receiver sees it, undone: bodies that may be the ones that
//! were signed.

use serde::de::IgnoredAny;

/// Longer ones are not tried with all spellings of JSON.
const MOST: usize = 1 << 20;

/// How JSON is laid out.
#[derive(Clone, Copy)]
enum Layout {
    AsIs,
    Compact,
    /// A blank behind commas and colons, as Python does.
    Spaced,
    Indented(usize),
}

/// How characters stand in strings.
#[derive(Clone, Copy)]
enum Spelling {
    AsIs,
    /// Beyond ASCII as `\u00e9`.
    Escaped,
    /// And these as themselves.
    Plain,
    /// `<`, `>` and `&` as `\u003c`, as Go does.
    Html,
}

/// Other bodies that differ from `body` in what is no difference to a program, each with what was
/// done to it since it was signed, in words.
pub fn candidates(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |words: String, bytes: Vec<u8>| {
        if bytes != body && !found.iter().any(|(_, known)| *known == bytes) {
            found.push((words, bytes));
        }
    };
    for (words, bytes) in ends(body) {
        add(words.to_owned(), bytes);
    }
    let text = std::str::from_utf8(body)
        .ok()
        .map(|t| t.trim_start_matches('\u{feff}'));
    let json = text.filter(|t| t.len() <= MOST && serde_json::from_str::<IgnoredAny>(t).is_ok());
    let Some(json) = json else {
        return found;
    };
    for (layout, laid) in [
        (Layout::AsIs, ""),
        (Layout::Compact, "white space was put into its JSON"),
        (
            Layout::Spaced,
            "the blanks behind its commas and colons were taken away",
        ),
        (Layout::Indented(2), "its indentation was taken away"),
        (Layout::Indented(4), "its indentation was taken away"),
    ] {
        for (spelling, spelled) in [
            (Spelling::AsIs, ""),
            (
                Spelling::Escaped,
                "escapes as \\u00e9 were replaced by characters",
            ),
            (
                Spelling::Plain,
                "characters were replaced by escapes as \\u00e9",
            ),
            (
                Spelling::Html,
                "escapes as \\u003c were replaced by characters",
            ),
        ] {
            let text = spell(&lay_out(json, layout), spelling);
            let done: Vec<&str> = [laid, spelled]
                .into_iter()
                .filter(|w| !w.is_empty())
                .collect();
            let words = match done.is_empty() {
                true => "white space around it was changed".to_owned(),
                false => done.join(", and "),
            };
            let slashes = text.replace('/', "\\/");
            let with_end = format!("{text}\n");
            add(words.clone(), text.into_bytes());
            add(
                format!("{words}, and the line end behind it taken away"),
                with_end.into(),
            );
            add(format!("{words}, and \\/ replaced by /"), slashes.into());
        }
    }
    found
}

fn ends(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    const BOM: &[u8] = "\u{feff}".as_bytes();
    let mut list = vec![
        (
            "the line end behind it was taken away",
            [body, b"\n"].concat(),
        ),
        (
            "the line end behind it was taken away",
            [body, b"\r\n"].concat(),
        ),
        (
            "the byte order mark before it was taken away",
            [BOM, body].concat(),
        ),
    ];
    for end in [&b"\r\n"[..], b"\n"] {
        if let Some(rest) = body.strip_suffix(end) {
            list.push(("a line end was added behind it", rest.to_vec()));
            break;
        }
    }
    if let Some(rest) = body.strip_prefix(BOM) {
        list.push(("a byte order mark was added before it", rest.to_vec()));
    }
    if body.windows(2).any(|pair| pair == b"\r\n") {
        let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
        list.push(("its line ends were made CR LF", text.into_bytes()));
    } else if body.contains(&b'\n') {
        let text = String::from_utf8_lossy(body).replace('\n', "\r\n");
        list.push(("its line ends were made LF", text.into_bytes()));
    }
    list
}

/// Lays out JSON anew; what stands in strings and numbers stays as it is.
fn lay_out(json: &str, layout: Layout) -> String {
    if let Layout::AsIs = layout {
        return json.trim().to_owned();
    }
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let (mut in_string, mut escaped) = (false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if chars.peek().is_some_and(|next| !matches!(next, '}' | ']')) {
                    depth += 1;
                    line(&mut out, layout, depth);
                } else {
                    out.extend(chars.next());
                }
            }
            '}' | ']' => {
                depth = usize::saturating_sub(depth, 1);
                line(&mut out, layout, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                match layout {
                    Layout::Spaced => out.push(' '),
                    _ => line(&mut out, layout, depth),
                }
            }
            ':' => {
                out.push(c);
                if !matches!(layout, Layout::Compact) {
                    out.push(' ');
                }
            }
            c => {
                out.push(c);
                in_string = c == '"';
            }
        }
    }
    out
}

fn line(out: &mut String, layout: Layout, depth: usize) {
    if let Layout::Indented(width) = layout {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', width * depth));
    }
}

fn spell(json: &str, spelling: Spelling) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    match spelling {
        Spelling::AsIs => return json.to_owned(),
        Spelling::Escaped | Spelling::Html => {
            for c in json.chars() {
                let is_html = matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
                let escapes = match spelling {
                    Spelling::Html => is_html,
                    _ => !c.is_ascii(),
                };
                if !escapes {
                    out.push(c);
                    continue;
                }
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        Spelling::Plain => {
            let mut rest = json;
            while let Some(at) = rest.find('\\') {
                let (before, behind) = rest.split_at(at);
                out.push_str(before);
                let (text, length) = unescape(behind);
                out.push_str(&text);
                rest = &behind[length..];
            }
            out.push_str(rest);
        }
    }
    out
}

/// The escape at the beginning as what it stands for, if that is not ASCII or one of `<>&`; and how
/// many bytes it has.
fn unescape(text: &str) -> (String, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let second = text.chars().nth(1).map_or(1, |c| 1 + c.len_utf8());
    let as_is = (text[..second].to_owned(), second);
    let Some(first) = unit(0) else {
        return as_is;
    };
    let (units, length) = match (first, unit(6)) {
        (0xd800..0xdc00, Some(low)) => (vec![first, low], 12),
        _ => (vec![first], 6),
    };
    match String::from_utf16(&units) {
        Ok(c) if !c.is_ascii() || "<>&".contains(&*c) => (c, length),
        _ => as_is,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_common_frameworks_do_is_undone() {
        let signed = "{\"a\": [1.10, {\"b\\\"\": \"x\\u00e9: ,\"}], \"c\": {}, \"d\": []}";
        for seen in [
            "{\"a\":[1.10,{\"b\\\"\":\"x\\u00e9: ,\"}],\"c\":{},\"d\":[]}",
            "{\"a\":[1.10,{\"b\\\"\":\"xé: ,\"}],\"c\":{},\"d\":[]}",
            "{\n  \"a\": [\n    1.10,\n    {\n      \"b\\\"\": \"xé: ,\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}\n",
            "\u{feff}{\"a\": [1.10, {\"b\\\"\": \"x\\u00e9: ,\"}], \"c\": {}, \"d\": []}",
        ] {
            let found = candidates(seen.as_bytes());
            let hit = found.iter().find(|(_, bytes)| bytes == signed.as_bytes());
            assert!(hit.is_some(), "{seen}: {found:?}");
        }
        for (signed, seen) in [
            ("hi\n", "hi"),
            ("hi", "hi\n"),
            ("hi", "hi\r\n"),
            ("\u{feff}hi", "hi"),
            ("a\r\nb", "a\nb"),
            ("{\"a\":\"\\/x\"}", "{\"a\":\"/x\"}"),
            ("{\"a\":\"\\u003cb\\u003e\"}", "{\"a\":\"<b>\"}"),
            ("{\"a\":\"😀\"}", "{\"a\":\"\\ud83d\\ude00\"}"),
            ("{\n    \"a\": 1\n}", "{\"a\":1}"),
        ] {
            let found = candidates(seen.as_bytes());
            assert!(found.iter().any(|(_, b)| b == signed.as_bytes()), "{seen}");
        }
        assert!(candidates(b"").len() < 10 && candidates(&[0xff; 9]).len() < 10);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let seed: u64 = 5;
        let mut state = seed;
        let mut below = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % n
        };
        let pieces = [
            "{", "}", "[", "]", "\"", "\\", "\\u00e9", "\\ud83d", "é", ":", ",", "1", " ", "\n",
            "\"a\"", "\u{feff}",
        ];
        for round in 0..3000 {
            let text: String = (0..below(12))
                .map(|_| pieces[below(pieces.len())])
                .collect();
            for layout in [
                Layout::AsIs,
                Layout::Compact,
                Layout::Spaced,
                Layout::Indented(2),
            ] {
                for spelling in [Spelling::Escaped, Spelling::Plain, Spelling::Html] {
                    spell(&lay_out(&text, layout), spelling);
                }
            }
            let found = candidates(text.as_bytes());
            assert!(
                found.iter().all(|(_, b)| b != text.as_bytes()),
                "seed {seed}, {round}"
            );
        }
    }
}
