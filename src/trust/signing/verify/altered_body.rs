//! Undoes what frameworks do to a body before a receiver sees it, to find the body that was signed.

use serde::de::IgnoredAny;

/// Longer bodies are not tried with all spellings of JSON.
const MOST: usize = 1 << 18;

/// No sender uses a layout that makes the body this many times as long.
const MOST_TIMES: usize = 8;

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

/// All layouts, with the change that a body in such a layout has undergone.
const LAYOUTS: [(Layout, &str); 5] = [
    (Layout::AsIs, ""),
    (Layout::Compact, "white space was put into its JSON"),
    (
        Layout::Spaced,
        "the blanks behind its commas and colons were taken away",
    ),
    (Layout::Indented(2), "its indentation was taken away"),
    (Layout::Indented(4), "its indentation was taken away"),
];

const SPELLINGS: [(Spelling, &str); 4] = [
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
];

/// Tries bodies that differ from `body` only in ways that no program sees, one after another, until
/// one fits. Returns in words what was done to it since it was signed. The body may come from
/// anyone: only one candidate is in memory at a time, and none is much longer than the body.
pub fn find(body: &[u8], fits: &mut dyn FnMut(&[u8]) -> bool) -> Option<String> {
    let mut is_it = |bytes: &[u8]| bytes != body && fits(bytes);
    for end in END_CHANGES {
        if let Some((words, bytes)) = end(body)
            && is_it(&bytes)
        {
            return Some(words.to_owned());
        }
    }
    let text = std::str::from_utf8(body)
        .ok()
        .map(|t| t.trim_start_matches('\u{feff}'));
    let json = text.filter(|t| t.len() <= MOST && serde_json::from_str::<IgnoredAny>(t).is_ok())?;
    for (layout, laid) in LAYOUTS {
        let Some(laid_out) = lay_out(json, layout) else {
            continue;
        };
        for (spelling, spelled) in SPELLINGS {
            let mut text = spell(&laid_out, spelling);
            let done: Vec<&str> = [laid, spelled]
                .into_iter()
                .filter(|w| !w.is_empty())
                .collect();
            let words = match done.is_empty() {
                true => "white space around it was changed".to_owned(),
                false => done.join(", and "),
            };
            if is_it(text.as_bytes()) {
                return Some(words);
            }
            if text.contains('/') && is_it(text.replace('/', "\\/").as_bytes()) {
                return Some(format!("{words}, and \\/ replaced by /"));
            }
            text.push('\n');
            if is_it(text.as_bytes()) {
                return Some(format!("{words}, and the line end behind it taken away"));
            }
        }
    }
    None
}

/// A change at the ends or of the line ends, undone, where it may have been made.
type EndChange = fn(&[u8]) -> Option<(&'static str, Vec<u8>)>;

const BOM: &[u8] = "\u{feff}".as_bytes();

const END_CHANGES: [EndChange; 6] = [
    |body| {
        Some((
            "the line end behind it was taken away",
            [body, b"\n"].concat(),
        ))
    },
    |body| {
        Some((
            "the line end behind it was taken away",
            [body, b"\r\n"].concat(),
        ))
    },
    |body| {
        Some((
            "the byte order mark before it was taken away",
            [BOM, body].concat(),
        ))
    },
    |body| {
        let rest = body.strip_suffix(b"\r\n").or(body.strip_suffix(b"\n"))?;
        Some(("a line end was added behind it", rest.to_vec()))
    },
    |body| {
        let rest = body.strip_prefix(BOM)?;
        Some(("a byte order mark was added before it", rest.to_vec()))
    },
    |body| {
        let text = String::from_utf8_lossy(body);
        if text.contains("\r\n") {
            let bytes = text.replace("\r\n", "\n").into_bytes();
            return Some(("its line ends were made CR LF", bytes));
        }
        let bytes = text.replace('\n', "\r\n").into_bytes();
        Some(("its line ends were made LF", bytes))
    },
];

/// Lays out JSON anew; strings and numbers stay as they are. `None` if the result is far too long:
/// each level of nesting adds to each line.
fn lay_out(json: &str, layout: Layout) -> Option<String> {
    if let Layout::AsIs = layout {
        return Some(json.trim().to_owned());
    }
    let most = 1024 + json.len() * MOST_TIMES;
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let (mut in_string, mut escaped) = (false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if out.len() > most {
            return None;
        }
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
    Some(out)
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
    use crate::dice::Dice;

    #[test]
    fn what_common_frameworks_do_is_undone() {
        let signed = "{\"a\": [1.10, {\"b\\\"\": \"x\\u00e9: ,\"}], \"c\": {}, \"d\": []}";
        for seen in [
            "{\"a\":[1.10,{\"b\\\"\":\"x\\u00e9: ,\"}],\"c\":{},\"d\":[]}",
            "{\"a\":[1.10,{\"b\\\"\":\"xé: ,\"}],\"c\":{},\"d\":[]}",
            "{\n  \"a\": [\n    1.10,\n    {\n      \"b\\\"\": \"xé: ,\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}\n",
            "\u{feff}{\"a\": [1.10, {\"b\\\"\": \"x\\u00e9: ,\"}], \"c\": {}, \"d\": []}",
        ] {
            let found = find(seen.as_bytes(), &mut |bytes| bytes == signed.as_bytes());
            assert!(found.is_some(), "{seen}");
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
            let found = find(seen.as_bytes(), &mut |bytes| bytes == signed.as_bytes());
            assert!(found.is_some(), "{seen}");
        }
        assert!(tried(b"").0 < 10 && tried(&[0xff; 9]).0 < 10);
    }

    /// How many bodies are tried in vain, and how many bytes the longest has.
    fn tried(body: &[u8]) -> (usize, usize) {
        let (mut n, mut longest) = (0, 0);
        find(body, &mut |bytes| {
            (n, longest) = (n + 1, longest.max(bytes.len()));
            false
        });
        (n, longest)
    }

    #[test]
    fn a_body_made_to_cost_is_tried_within_bounds() {
        let deep = |n: usize, inner: usize| {
            let inner = vec!["1"; inner].join(",");
            "[".repeat(n) + &inner + &"]".repeat(n)
        };
        for body in [deep(120, 60_000), deep(126, 200_000), "é/".repeat(90_000)] {
            let body = if body.starts_with('[') {
                body
            } else {
                format!("\"{body}\"")
            };
            let (n, longest) = tried(body.as_bytes());
            assert!(
                n <= 70 && longest <= 100_000 + body.len() * 14,
                "{n} {longest}"
            );
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut dice = Dice::usual(5);
        let pieces = [
            "{", "}", "[", "]", "\"", "\\", "\\u00e9", "\\ud83d", "é", ":", ",", "1", " ", "\n",
            "\"a\"", "\u{feff}",
        ];
        for _ in 0..3000 {
            dice.step();
            let text: String = (0..dice.below(12)).map(|_| *dice.pick(&pieces)).collect();
            for layout in [
                Layout::AsIs,
                Layout::Compact,
                Layout::Spaced,
                Layout::Indented(2),
            ] {
                for spelling in [Spelling::Escaped, Spelling::Plain, Spelling::Html] {
                    spell(&lay_out(&text, layout).unwrap(), spelling);
                }
            }
            find(text.as_bytes(), &mut |bytes| {
                assert!(bytes != text.as_bytes());
                false
            });
        }
    }
}
