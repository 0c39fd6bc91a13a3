//! A request as a proxy wants it: with the whole URL in its first line (RFC 9112 3.2.2). Pure.
//!
//! That is how all proxies take `http://`; many allow CONNECT to no port but 443.

use zeroize::Zeroizing;

/// Writes the beginning of a request anew, of which at least the first line and `Host` are there: the
/// URL is `origin` and the path of the first line. The rest is not touched.
pub fn rewrite(request: &[u8], origin: &str, authorization: Option<&str>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(request.len() + origin.len() + 512));
    let method = request.iter().position(|b| *b == b' ').map_or(0, |n| n + 1);
    let ends = |from: usize| request[from..].iter().position(|b| *b == b'\n');
    let first = ends(0).map_or(request.len(), |n| n + 1);
    // `Host` is the second line, and stays so.
    let host = ends(first).map_or(request.len(), |n| first + n + 1);
    bytes.extend_from_slice(&request[..method]);
    bytes.extend_from_slice(origin.as_bytes());
    bytes.extend_from_slice(&request[method..host]);
    if let Some(value) = authorization {
        for part in ["Proxy-Authorization: ", value, "\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    bytes.extend_from_slice(&request[host..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_stands_in_the_first_line_and_the_login_behind_the_host() {
        let request = b"POST /a?b=http://c HTTP/1.1\r\nHost: h:81\r\nA: b\r\n\r\nbody\r\nx";
        for (login, line) in [
            (None, ""),
            (Some("Basic eA=="), "Proxy-Authorization: Basic eA==\r\n"),
        ] {
            let got = rewrite(request, "http://h:81", login).to_vec();
            let want = format!(
                "POST http://h:81/a?b=http://c HTTP/1.1\r\nHost: h:81\r\n{line}A: b\r\n\r\nbody\r\nx"
            );
            assert_eq!(String::from_utf8(got).unwrap(), want);
        }
    }
}
