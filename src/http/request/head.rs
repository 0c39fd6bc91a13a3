//! Writes the head of a request as the strictest receivers want it: `Host` first, and the names of
//! fields in their customary case. Pure.
//!
//! Names have no case (RFC 9110 5.1) and fields no order, but there are receivers and firewalls that
//! look for `Content-Length:` in just this spelling. The http crate knows lower case alone, and
//! ureq writes `host` behind other fields. All is done in place, as no byte is added or taken away.

/// Parts of names that are not written with one capital letter at their beginning.
const WORDS: [&[u8]; 5] = [b"ETag", b"GitHub", b"MD5", b"SOAPAction", b"WWW"];

/// Rewrites the head at the beginning of `request`, and returns its length. When the head is not
/// complete, nothing is changed. Bytes behind the head are not touched.
pub fn tidy(request: &mut [u8]) -> Option<usize> {
    let fields = find_line_end(request, 0)?;
    let mut host = None;
    let mut at = fields;
    let end = loop {
        let next = find_line_end(request, at)?;
        let line = &request[at..next];
        if matches!(line, b"\r\n" | b"\n") {
            break next;
        }
        let name = line.get(..5);
        if host.is_none() && name.is_some_and(|name| name.eq_ignore_ascii_case(b"host:")) {
            host = Some((at, next));
        }
        at = next;
    };
    if let Some((begin, next)) = host {
        request[fields..next].rotate_right(next - begin);
    }
    let mut rest = &mut request[fields..end];
    while let Some(next) = find_line_end(rest, 0) {
        let (line, after) = rest.split_at_mut(next);
        if let Some(colon) = line.iter().position(|b| *b == b':') {
            write_case(&mut line[..colon]);
        }
        rest = after;
    }
    Some(end)
}

/// The index behind the line end that comes next.
fn find_line_end(bytes: &[u8], from: usize) -> Option<usize> {
    let length = bytes[from..].iter().position(|b| *b == b'\n')?;
    Some(from + length + 1)
}

fn write_case(name: &mut [u8]) {
    for word in name.split_mut(|b| *b == b'-') {
        if let Some(known) = WORDS.iter().find(|known| word.eq_ignore_ascii_case(known)) {
            word.copy_from_slice(known);
        } else if let Some(first) = word.first_mut() {
            first.make_ascii_uppercase();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn tidied(text: &str) -> Option<String> {
        let mut bytes = text.as_bytes().to_vec();
        let length = tidy(&mut bytes)?;
        assert!(length <= bytes.len());
        let once = bytes.clone();
        assert_eq!(tidy(&mut bytes), Some(length));
        assert_eq!(bytes, once, "twice is as once");
        Some(String::from_utf8(bytes).unwrap())
    }

    /// What ureq writes for a message.
    fn usual() -> String {
        use ureq_proto::{client::Call, http::Request};
        let request = Request::post("http://h.example:8080/a?b=c:d")
            .header("content-type", "application/json")
            .header("x-api-version", "2")
            .header("webhook-id", "msg_1");
        let mut call = Call::new(request.body(()).unwrap()).unwrap();
        for (name, value) in [
            ("content-length", "2"),
            ("user-agent", "outhook/0.1.0"),
            ("accept", "*/*"),
        ] {
            call.header(name, value).unwrap();
        }
        let mut head = [0; 1024];
        let n = call.proceed().write(&mut head).unwrap();
        String::from_utf8(head[..n].to_vec()).unwrap()
    }

    #[test]
    fn host_comes_first_and_names_have_their_customary_case() {
        let got = tidied(&(usual() + "{}")).unwrap();
        let (first, rest) = got.split_at(got.find("\r\n").unwrap() + 2);
        assert_eq!(first, "POST /a?b=c:d HTTP/1.1\r\n");
        assert!(rest.starts_with("Host: h.example:8080\r\n"), "{rest}");
        assert!(rest.ends_with("\r\n\r\n{}"), "{rest}");
        let mut lines: Vec<&str> = rest.split("\r\n").collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "",
                "Accept: */*",
                "Content-Length: 2",
                "Content-Type: application/json",
                "Host: h.example:8080",
                "User-Agent: outhook/0.1.0",
                "Webhook-Id: msg_1",
                "X-Api-Version: 2",
                "{}",
            ]
        );
    }

    #[test]
    fn values_the_body_and_other_lines_stay_as_they_are() {
        for (text, want) in [
            ("P / H\r\n\r\n", "P / H\r\n\r\n"),
            ("P / H\r\nhost: a\r\n\r\n", "P / H\r\nHost: a\r\n\r\n"),
            (
                "P host:x H\r\na-b: host: c-d\r\nHOST: e\r\n\r\n",
                "P host:x H\r\nHOST: e\r\nA-b: host: c-d\r\n\r\n",
            ),
            (
                "P / H\r\na:1\r\nb:2\r\nhost:3\r\nc:4\r\n\r\n",
                "P / H\r\nHost:3\r\nA:1\r\nB:2\r\nC:4\r\n\r\n",
            ),
            (
                "P / H\nb: 1\nhost: 2\n\nhost: 3\na: b\n\n",
                "P / H\nHost: 2\nB: 1\n\nhost: 3\na: b\n\n",
            ),
            (
                "P / H\r\nhost: 1\r\nhost: 2\r\n\r\n",
                "P / H\r\nHost: 1\r\nHost: 2\r\n\r\n",
            ),
            (
                "P / H\r\nhosts: 1\r\nx-host: 2\r\n\r\n",
                "P / H\r\nHosts: 1\r\nX-Host: 2\r\n\r\n",
            ),
            (
                "P / H\r\nno colon\r\n--: 1\r\n: 2\r\n9-a: 3\r\n\r\n",
                "P / H\r\nno colon\r\n--: 1\r\n: 2\r\n9-A: 3\r\n\r\n",
            ),
            (
                "P / H\r\nx-github-event: push\r\nsoapaction: \"\"\r\ncontent-md5: x\r\nwww-a: b\r\netags: 1\r\n\r\n",
                "P / H\r\nX-GitHub-Event: push\r\nSOAPAction: \"\"\r\nContent-MD5: x\r\nWWW-A: b\r\nEtags: 1\r\n\r\n",
            ),
        ] {
            let want = want.replace("A-b", "A-B");
            assert_eq!(tidied(text).as_deref(), Some(&*want), "{text:?}");
        }
    }

    #[test]
    fn an_incomplete_head_is_left_alone() {
        let whole = usual();
        for n in 0..whole.len() {
            let mut bytes = whole.as_bytes()[..n].to_vec();
            assert_eq!(tidy(&mut bytes), None);
            assert_eq!(bytes, whole.as_bytes()[..n]);
        }
        assert!(tidied(&whole).is_some_and(|text| text.len() == whole.len()));
    }

    #[test]
    fn no_bytes_make_it_panic_or_lose_one() {
        let mut dice = Dice::usual(11);
        let pieces: [&[u8]; 12] = [
            b"\r\n",
            b"\n",
            b"\r",
            b":",
            b"host: a\r\n",
            b"-",
            b"x-a: b\r\n",
            b" ",
            b"\0",
            b"\xff",
            b"\r\n\r\n",
            b"etag",
        ];
        let whole = usual().into_bytes();
        for _ in 0..100_000 {
            dice.step();
            let mut bytes = whole.clone();
            for _ in 0..dice.below(6) {
                let at = dice.index(bytes.len() + 1);
                let to = at + dice.index(20).min(bytes.len() - at);
                bytes.splice(at..to, dice.pick(&pieces).iter().copied());
            }
            let before = bytes.clone();
            let shown = || before.escape_ascii();
            let Some(length) = tidy(&mut bytes) else {
                assert_eq!(bytes, before, "{}", shown());
                continue;
            };
            assert_eq!(bytes[length..], before[length..], "{}", shown());
            let lines = |bytes: &[u8]| {
                let mut lines: Vec<Vec<u8>> = bytes[..length]
                    .split_inclusive(|b| *b == b'\n')
                    .map(|line| line.to_ascii_lowercase())
                    .collect();
                lines.sort();
                lines
            };
            assert_eq!(lines(&bytes), lines(&before), "{}", shown());
            let once = bytes.clone();
            assert_eq!(tidy(&mut bytes), Some(length), "{}", shown());
            assert_eq!(bytes, once, "{}", shown());
        }
    }
}
