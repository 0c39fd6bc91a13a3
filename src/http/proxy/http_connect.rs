//! CONNECT (RFC 9110 9.3.6): the request, and the head of its answer. Pure.

use zeroize::Zeroizing;

use super::blame::Blame;
use crate::delivery::FailureKind;
use crate::http::request::USER_AGENT;
use crate::message::printable::printable;

/// A proxy's head is no longer.
const MAX_HEAD: usize = 16 * 1024;

/// This many characters are shown of what a proxy says.
const MAX_SHOWN: usize = 160;

/// Fields in which proxies say what went wrong: the standard's (RFC 9209), Squid's, Smokescreen's.
const DETAILS: [&str; 3] = ["proxy-status", "x-squid-error", "x-smokescreen-error"];

/// Asks for a tunnel to `authority`.
pub fn request(authority: &str, authorization: Option<&str>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    let head = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\n"
    );
    bytes.extend_from_slice(head.as_bytes());
    if let Some(value) = authorization {
        for part in ["Proxy-Authorization: ", value, "\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// What a proxy has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    status: u16,
    /// Status, reason, and what else the proxy says of it.
    said: String,
    /// The proxy asks who we are.
    asks: bool,
}

/// Reads the head of an answer.
#[derive(Debug, Default)]
pub struct AnswerReader {
    head: Vec<u8>,
}

impl AnswerReader {
    /// Takes bytes, up to the end of the head, and says how many. Interim answers are passed over.
    /// The error says what came instead of an answer.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Answer>), String> {
        let mut used = 0;
        while used < bytes.len() {
            let end = bytes[used..].iter().position(|b| *b == b'\n');
            let taken = end.map_or(bytes.len() - used, |end| end + 1);
            self.head.extend_from_slice(&bytes[used..used + taken]);
            used += taken;
            if !self.may_be_http() {
                return Err(format!(
                    "it does not speak HTTP: it sent \"{}\"",
                    show(&self.head)
                ));
            }
            if self.head.len() > MAX_HEAD {
                return Err(format!("its answer's head is longer than {MAX_HEAD} bytes"));
            }
            let is_whole = self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n");
            if end.is_some() && is_whole {
                let answer = read(&std::mem::take(&mut self.head))?;
                if !(100..200).contains(&answer.status) {
                    return Ok((used, Some(answer)));
                }
            }
        }
        Ok((used, None))
    }

    fn may_be_http(&self) -> bool {
        let n = self.head.len().min(5);
        self.head[..n].eq_ignore_ascii_case(&b"HTTP/"[..n])
    }
}

fn read(head: &[u8]) -> Result<Answer, String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let line = first.split_once(' ').map_or("", |(_, rest)| rest.trim());
    let digits = line.split(' ').next().unwrap_or_default();
    let status = digits.parse().ok().filter(|_| digits.len() == 3);
    let status = status.ok_or_else(|| format!("it sent \"{}\"", show(first.as_bytes())))?;
    let mut said = show(line.as_bytes());
    let mut asks = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        asks |= name == "proxy-authenticate";
        if DETAILS.contains(&&*name) && !value.is_empty() && said.len() <= line.len() {
            said = format!("{said} ({})", show(value.as_bytes()));
        }
    }
    Ok(Answer { status, said, asks })
}

fn show(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    printable(text.trim()).take(MAX_SHOWN).collect()
}

impl Answer {
    /// An answer to a request that was written for the proxy to read.
    pub fn new(status: u16, says: Option<&str>, asks: bool) -> Answer {
        let said = match says {
            Some(says) => format!("{status} ({})", show(says.as_bytes())),
            None => status.to_string(),
        };
        Answer { status, said, asks }
    }

    /// Whose fault it is that there is no tunnel, if there is none.
    ///
    /// Proxies that do not reach the target, or may not, answer every status from 403 to 504: Squid says
    /// 503, tinyproxy 500, Envoy and Smokescreen 502 to 504. Smokescreen says 407 to what it denies, without
    /// asking who we are. So these are the target's. A fault is the proxy's own if no target could be its
    /// cause: it does not know us, or does not know CONNECT.
    pub fn blame(&self, has_login: bool) -> Option<Blame> {
        let said = &self.said;
        Some(match self.status {
            200..=299 => return None,
            401 => Blame::Login(asked(said, has_login)),
            407 if self.asks => Blame::Login(asked(said, has_login)),
            400 | 405 | 501 => Blame::Unclear(format!(
                "it answered {said} to CONNECT: is it an HTTP proxy, and may it lead to this port?"
            )),
            403 | 407 => Blame::Target(
                FailureKind::Connect,
                format!("the proxy refuses to lead there: {said}"),
            ),
            _ => Blame::Target(
                FailureKind::Connect,
                format!("the proxy did not lead there: {said}"),
            ),
        })
    }
}

fn asked(said: &str, has_login: bool) -> String {
    match has_login {
        true => format!("it does not accept our user and password: {said}"),
        false => format!("it wants a user and password ({said}): set --proxy-credentials-file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn the_request_has_all_and_no_more() {
        let text = |auth| String::from_utf8(request("[::1]:443", auth).to_vec()).unwrap();
        let plain = format!(
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nUser-Agent: {USER_AGENT}\r\n"
        );
        assert_eq!(text(None), format!("{plain}\r\n"));
        assert_eq!(
            text(Some("Basic eA==")),
            format!("{plain}Proxy-Authorization: Basic eA==\r\n\r\n")
        );
    }

    /// Whose fault it is: `-` nobody's, `p` the proxy's perhaps, `l` our login's, `t` the target's.
    const ANSWERS: [(&str, char, &str); 19] = [
        ("HTTP/1.1 200 Connection established\r\n\r\n", '-', ""),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", '-', ""),
        ("HTTP/1.1 204\r\n\r\n", '-', ""),
        ("HTTP/1.1 200 x\n\n", '-', ""),
        (
            "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            '-',
            "",
        ),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
            'l',
            "wants a user and password (407 Proxy Authentication Required)",
        ),
        (
            "HTTP/1.1 407 Request rejected by proxy\r\nX-Smokescreen-Error: Egress proxying is denied\r\n\r\n",
            't',
            "refuses to lead there: 407 Request rejected by proxy (Egress proxying is denied)",
        ),
        ("HTTP/1.1 403 Filtered\r\n\r\n", 't', "403 Filtered"),
        ("HTTP/1.1 403\r\n\r\n", 't', "there: 403"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", 't', "404 Not Found"),
        ("HTTP/1.1 302 Found\r\n\r\n", 't', "302 Found"),
        (
            "HTTP/1.0 500 Unable to connect\r\n\r\n",
            't',
            "500 Unable to connect",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", 't', "502"),
        (
            "HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\n\r\n",
            't',
            "there: 503 Service Unavailable (ERR_CONNECT_FAIL 111)",
        ),
        (
            "HTTP/1.1 504 Gateway Timeout\r\nProxy-Status: p; error=dns_timeout\r\nX-Squid-Error: y\r\n\r\n",
            't',
            "504 Gateway Timeout (p; error=dns_timeout)",
        ),
        ("HTTP/1.1 429 Too Many Requests\r\n\r\n", 't', "429"),
        (
            "HTTP/1.1 405 Not Allowed\r\n\r\n",
            'p',
            "is it an HTTP proxy",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            'p',
            "is it an HTTP proxy",
        ),
        (
            "HTTP/1.1 501 Unsupported method\r\n\r\n",
            'p',
            "is it an HTTP proxy",
        ),
    ];

    #[test]
    fn each_answer_is_blamed_on_whom_it_says_and_whoever_cuts_it_up() {
        let mut dice = Dice::usual(7);
        for (text, whose, words) in ANSWERS {
            for _ in 0..200 {
                dice.step();
                let bytes = [text.as_bytes(), b"\x16\x03rest"].concat();
                let (mut reader, mut at, mut found) = (AnswerReader::default(), 0, None);
                while found.is_none() {
                    let n = (1 + dice.index(40)).min(bytes.len() - at);
                    let (used, answer) = reader.feed(&bytes[at..at + n]).unwrap();
                    assert!(answer.is_some() || used == n);
                    at += used;
                    found = answer;
                }
                assert_eq!(at, text.len(), "{text:?}");
                let (got, said) = match found.unwrap().blame(false) {
                    None => ('-', String::new()),
                    Some(Blame::Unclear(said)) => ('p', said),
                    Some(Blame::Login(said)) => ('l', said),
                    Some(Blame::Target(_, said)) => ('t', said),
                    Some(Blame::Own(said)) => ('o', said),
                };
                assert_eq!(got, whose, "{text:?}");
                assert!(said.contains(words), "{text:?}: {said}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error_at_once() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        for (text, words) in [
            ("SSH-2.0-OpenSSH", "SSH-2.0"),
            ("\x05\x00", "does not speak HTTP"),
            ("HTTP/1.1 abc\r\n\r\n", "it sent \"HTTP/1.1 abc\""),
            ("HTTP/1.1 2000 x\r\n\r\n", "it sent"),
            ("HTTP/1.1\r\n\r\n", "it sent"),
            (&*long, "longer than"),
        ] {
            let e = AnswerReader::default()
                .feed(text.as_bytes())
                .expect_err(text);
            assert!(e.contains(words), "{e}");
            assert!(!e.contains(char::is_control), "{e}");
        }
    }
}
