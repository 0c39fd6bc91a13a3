//! The status line, and what is said of bytes that cannot be one. Pure.

use std::fmt;

/// This many bytes are quoted of what is no answer.
const MAX_QUOTE: usize = 60;

#[derive(Clone, Copy)]
pub struct StatusLine {
    pub status: u16,
    /// Whether the version is 1.1 or later, so that connections stay open unless they are said to close.
    pub persistent: bool,
    /// Whether the version is of HTTP/1 at all.
    pub familiar: bool,
}

/// What came is not an answer of HTTP/1. The sentence quotes its beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct NotHttp(pub(super) String);

impl fmt::Display for NotHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotHttp {}

impl StatusLine {
    /// `HTTP/1.1 200 OK`, with any version, blanks and reason.
    pub fn parse(line: &[u8]) -> Result<StatusLine, NotHttp> {
        StatusLine::find(line).ok_or_else(|| NotHttp(describe(line)))
    }

    fn find(line: &[u8]) -> Option<StatusLine> {
        let version = line.get(5..)?;
        let (major, rest) = split_number(version)?;
        // Some servers write what they speak with others into a head of HTTP/1. More is no HTTP.
        if major > 3 {
            return None;
        }
        let (minor, rest) = match rest {
            [b'.', rest @ ..] => split_number(rest)?,
            rest => (0, rest),
        };
        let status = rest.trim_ascii_start();
        let [a, b, c, reason @ ..] = status else {
            return None;
        };
        let digits = [a, b, c];
        // curl takes `200OK` as well.
        let ends = reason
            .first()
            .is_none_or(|b| b.is_ascii_alphabetic() || b.is_ascii_whitespace());
        if status.len() == rest.len() || !ends || !digits.iter().all(|d| d.is_ascii_digit()) {
            return None;
        }
        let status = digits
            .iter()
            .fold(0, |n, digit| n * 10 + u16::from(**digit - b'0'));
        (status >= 100).then_some(StatusLine {
            status,
            persistent: (major, minor) >= (1, 1),
            familiar: major == 1,
        })
    }

    /// Interim answers are passed over, but for 101, behind which no other comes.
    pub fn is_final(&self) -> bool {
        self.status >= 200 || self.status == 101
    }
}

/// A number of one to three digits, and the bytes behind it.
fn split_number(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = text[..digits].iter().fold(0_u16, |n, d| {
        n.saturating_mul(10).saturating_add(u16::from(d - b'0'))
    });
    (1..=3)
        .contains(&digits)
        .then_some((number, &text[digits..]))
}

/// Refuses at once what cannot become a status line, so that nobody waits for its end.
pub fn check_beginning(line: &[u8]) -> Result<(), NotHttp> {
    const NAME: &[u8] = b"HTTP/";
    let count = line.len().min(NAME.len());
    match line[..count].eq_ignore_ascii_case(&NAME[..count]) {
        true => Ok(()),
        false => Err(NotHttp(describe(line))),
    }
}

/// Says what came, and guesses what sent it.
fn describe(bytes: &[u8]) -> String {
    let guess = match bytes {
        [0x15 | 0x16, 3, ..] => " (TLS: is the URL's scheme https?)",
        [0, 0, _, 4, ..] => " (HTTP/2: outhook speaks HTTP/1.1 only)",
        [b'S', b'S', b'H', b'-', ..] => " (an SSH server)",
        [b'2', b'2', b'0', b' ' | b'-', ..] => " (a mail or FTP server)",
        [b'<', ..] => " (a page without a status line before it)",
        _ => "",
    };
    let quoted = quote(bytes);
    format!("what came is not an answer of HTTP/1: it begins with \"{quoted}\"{guess}")
}

fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::new();
    for escaped in bytes.iter().map(|b| b.escape_ascii()) {
        if quoted.len() + escaped.len() > MAX_QUOTE {
            break;
        }
        quoted.extend(escaped.map(char::from));
    }
    quoted
}
