//! Where a message goes. Pure.
//!
//! The host is read as browsers read it (WHATWG, the url crate), so that every odd spelling becomes
//! the plain one before it is resolved. Everything behind the host is sent **as it was published**,
//! where RFC 3986 allows its bytes: signatures are made over it, and `/./` may be part of a key.
//! Nothing is decoded, resolved or put into another case. Bytes that a URI cannot hold are
//! percent-encoded. Bytes that can only be a mistake are refused.

use std::fmt::Write;
use std::sync::Arc;

use http::Uri;
use url::Url;

use crate::message::detail::Detail;

/// The longest URL, in bytes, as common servers and proxies allow.
pub const MAX_URL_BYTES: usize = 8192;

/// A vetted URL, and the origin (scheme, host, port) it shares a lane and connections with.
#[derive(Debug)]
pub struct Endpoint {
    pub uri: Uri,
    /// The URL as text, and as it is sent: the origin, then the request-target.
    pub url: Arc<str>,
    pub origin: Arc<str>,
}

impl Endpoint {
    /// The name or address to connect to, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        let usual = if self.is_https() { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(usual)
    }

    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Reads a URL. The error is a sentence that says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Endpoint, Detail> {
        vet_length(text)?;
        vet_characters(text)?;
        let (scheme, rest) = split_scheme(text)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let origin = read_origin(scheme, authority)?;
        let target = rest.split('#').next().unwrap_or_default();
        let mut url = String::with_capacity(origin.len() + 1 + target.len());
        url.push_str(&origin);
        if !target.starts_with('/') {
            url.push('/');
        }
        encode(target, &mut url);
        // Encoding may have made it longer.
        vet_length(&url)?;
        let uri = Uri::try_from(&*url).map_err(|e| e.to_string())?;
        Ok(Endpoint {
            uri,
            url: url.into(),
            origin: origin.into(),
        })
    }
}

fn vet_length(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("it is empty; it must begin with http:// or https://".into()),
        1..=MAX_URL_BYTES => Ok(()),
        n => Err(format!(
            "{n} bytes are too long; at most {MAX_URL_BYTES} are allowed"
        )),
    }
}

/// Refuses characters that only a mistake or an attack puts into a URL: a line end read from a
/// file, a Windows path, an attempt to hide where the URL leads. Browsers drop or change them
/// silently.
fn vet_characters(text: &str) -> Result<(), String> {
    let trimmed = text.trim_start().len();
    if trimmed < text.len() {
        return Err("it begins with a blank".into());
    }
    if text.trim_end().len() < text.len() {
        return Err("it ends with a blank".into());
    }
    let bad = |c: &(usize, char)| c.1.is_control() || c.1 == '\\';
    let Some((place, c)) = (1..).zip(text.chars()).find(bad) else {
        return Ok(());
    };
    let name = match c {
        '\\' => "a backslash; write / or %5C",
        '\t' => "a tab; write %09 if it is meant",
        '\n' => "a line feed; write %0A if it is meant",
        '\r' => "a carriage return; write %0D if it is meant",
        '\0' => "NUL; write %00 if it is meant",
        c => {
            return Err(format!(
                "character {place} is the control character U+{:04X}",
                u32::from(c)
            ));
        }
    };
    Err(format!("character {place} is {name}"))
}

/// Returns the scheme, and what follows `//`.
fn split_scheme(text: &str) -> Result<(&str, &str), Detail> {
    let missing = || {
        // A host, with a port or a path, as it stands in many a configuration.
        let host = text.trim_start_matches('/');
        let port = host.split_once(':').map_or("0", |(_, port)| port);
        let is_host = host.starts_with(char::is_alphanumeric)
            && port.starts_with(|c: char| c.is_ascii_digit());
        let example = is_host.then(|| format!(", such as https://{host}"));
        let must = "it must begin with http:// or https://";
        Detail::quoting(must, example.unwrap_or_default())
    };
    let (scheme, rest) = text.split_once(':').ok_or_else(missing)?;
    if !["http", "https"]
        .iter()
        .any(|s| scheme.eq_ignore_ascii_case(s))
    {
        return Err(match rest.starts_with("//") {
            true => format!("scheme {scheme:?} is not http or https").into(),
            false => missing(),
        });
    }
    // Browsers take `http:host` and `http:///host` too; nobody means them.
    let rest = rest.strip_prefix("//");
    let rest = rest.ok_or("it must begin with http:// or https://, with both slashes")?;
    Ok((scheme, rest))
}

/// Reads the host and port, and returns the origin in its one form.
fn read_origin(scheme: &str, authority: &str) -> Result<String, String> {
    if authority.is_empty() {
        return Err("it has no host between // and the path".into());
    }
    if authority.contains('@') {
        return Err("user and password are not allowed; send a header instead".into());
    }
    let url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|e| e.to_string())?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("it has no host between // and the path")?;
    // A dot at the end says that the name is complete. The server is the same, so it is one
    // endpoint: a dot must not bypass a pause or a Retry-After. Neither certificates nor SNI (RFC
    // 6066) know the dot.
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > 253 || host.split('.').any(|l| l.is_empty() || l.len() > 63) {
        return Err("its host is not a valid name".into());
    }
    let mut origin = format!("{}://{host}", url.scheme());
    match url.port() {
        Some(0) => return Err("port 0 is not allowed".into()),
        Some(port) => write!(origin, ":{port}").map_err(|e| e.to_string())?,
        None => {}
    }
    Ok(origin)
}

/// Appends a path and query, with only those bytes encoded that no URI can hold. `%` passes,
/// because the receiver decodes what follows it. Brackets pass too, because many producers write
/// them in queries.
fn encode(target: &str, url: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for c in target.chars() {
        if c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%[]".contains(c) {
            url.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            for part in [
                '%',
                HEX[usize::from(byte >> 4)] as char,
                HEX[usize::from(byte & 15)] as char,
            ] {
                url.push(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_url_is_longer_than_allowed_once_it_is_encoded() {
        let long = |n: usize, with: &str| format!("http://h/{}", with.repeat(n));
        assert!(Endpoint::parse(&long(MAX_URL_BYTES - 9, "x")).is_ok());
        assert!(Endpoint::parse(&long(MAX_URL_BYTES - 8, "x")).is_err());
        assert!(Endpoint::parse(&long(1300, "ü")).is_ok());
        assert!(Endpoint::parse(&long(1500, "ü")).is_err());
    }

    #[test]
    fn one_origin_for_all_spellings() {
        for (text, url, origin) in [
            ("http://H/a?b=c#d", "http://h/a?b=c", "http://h"),
            ("HTTPS://h:443/", "https://h/", "https://h"),
            ("http://h:80", "http://h/", "http://h"),
            ("http://h:/", "http://h/", "http://h"),
            ("http://h:0080/x", "http://h/x", "http://h"),
            ("https://h:80/", "https://h:80/", "https://h:80"),
            ("http://h./x", "http://h/x", "http://h"),
            (
                "http://H.Example.:8080/",
                "http://h.example:8080/",
                "http://h.example:8080",
            ),
            (
                "http://127.0.0.1./",
                "http://127.0.0.1/",
                "http://127.0.0.1",
            ),
            ("http://0x7f.1/", "http://127.0.0.1/", "http://127.0.0.1"),
            (
                "http://2130706433/",
                "http://127.0.0.1/",
                "http://127.0.0.1",
            ),
            (
                "http://%31%32%37.1/",
                "http://127.0.0.1/",
                "http://127.0.0.1",
            ),
            (
                "http://[0:0::1]:8080/x",
                "http://[::1]:8080/x",
                "http://[::1]:8080",
            ),
            (
                "http://bücher.example/",
                "http://xn--bcher-kva.example/",
                "http://xn--bcher-kva.example",
            ),
            (
                "http://bücher。example/",
                "http://xn--bcher-kva.example/",
                "http://xn--bcher-kva.example",
            ),
        ] {
            let e = Endpoint::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((&*e.url, &*e.origin), (url, origin), "{text}");
        }
    }

    /// The head of a request as ureq writes it.
    fn request(endpoint: &Endpoint) -> String {
        use ureq_proto::{client::Call, http::Request};
        let request = Request::post(endpoint.uri.clone()).body(()).unwrap();
        let mut call = Call::new(request).unwrap().proceed();
        let mut head = vec![0; 3 * MAX_URL_BYTES];
        let n = call.write(&mut head).unwrap();
        String::from_utf8(head[..n].to_vec()).unwrap()
    }

    #[test]
    fn behind_the_host_all_is_sent_as_published_that_a_uri_can_hold() {
        let s3 =
            "/b/k?X-Amz-Credential=A%2f20261125%2Fus-east-1&X-Amz-Signature=0f'(!*)~&a=+%20+&&=";
        for (target, sent) in [
            ("", "/"),
            ("/", "/"),
            ("?", "/?"),
            ("?x=1", "/?x=1"),
            ("/?", "/?"),
            ("/??x=/?y", "/??x=/?y"),
            ("//", "//"),
            ("//x//y/", "//x//y/"),
            ("/a/../b", "/a/../b"),
            ("/a/./b", "/a/./b"),
            ("/..", "/.."),
            ("/a/%2e%2E/b", "/a/%2e%2E/b"),
            ("/a%2fb%2Fc", "/a%2fb%2Fc"),
            ("/%61", "/%61"),
            ("/%zz?%", "/%zz?%"),
            ("/it's?sig=a'b", "/it's?sig=a'b"),
            ("/a;b=1;c/[x]?q[]=1&s[a]=2", "/a;b=1;c/[x]?q[]=1&s[a]=2"),
            ("/A?B=C", "/A?B=C"),
            ("/http://x@y:1/", "/http://x@y:1/"),
            (s3, s3),
            ("/a?b#c?d", "/a?b"),
            ("#/x", "/"),
            ("/a b?c d", "/a%20b?c%20d"),
            (
                "/\"<>^`{|}?\"<>^`{|}",
                "/%22%3C%3E%5E%60%7B%7C%7D?%22%3C%3E%5E%60%7B%7C%7D",
            ),
            ("/ü/日?é=😀", "/%C3%BC/%E6%97%A5?%C3%A9=%F0%9F%98%80"),
            ("/a\u{200b}\u{feff}b", "/a%E2%80%8B%EF%BB%BFb"),
        ] {
            let e = Endpoint::parse(&format!("http://h:81{target}")).unwrap();
            assert_eq!(*e.url, *format!("http://h:81{sent}"), "{target}");
            assert_eq!(e.uri.to_string(), *e.url, "{target}");
            let head = request(&e);
            let line = format!("POST {sent} HTTP/1.1\r\n");
            assert!(head.starts_with(&line), "{target}: {head}");
            let again = Endpoint::parse(&e.url).unwrap();
            assert_eq!(again.url, e.url, "it is as it stays");
        }
    }

    #[test]
    fn host_names_the_port_where_it_is_not_the_schemes_own() {
        for (text, host) in [
            ("http://H/", "h"),
            ("http://h.:80/", "h"),
            ("https://h:443/", "h"),
            ("https://h:80/", "h:80"),
            ("http://[::1]/", "[::1]"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://127.1:9/", "127.0.0.1:9"),
        ] {
            let head = request(&Endpoint::parse(text).unwrap());
            let line = format!("\r\nhost: {host}\r\n");
            assert!(head.contains(&line), "{text}: {head}");
        }
    }

    #[test]
    fn every_character_below_u_0180_is_sent_encoded_or_refused() {
        for c in (0..0x180).filter_map(char::from_u32) {
            for text in [format!("http://h/a{c}b"), format!("http://h/?a{c}b")] {
                let refused = c.is_control() || c == '\\';
                match Endpoint::parse(&text) {
                    Ok(_) if refused => panic!("{c:?} is taken"),
                    Err(e) if !refused => panic!("{c:?}: {e}"),
                    Err(e) => assert!(e.sentence().contains("character 1"), "{e}"),
                    Ok(e) => assert!(request(&e).contains(" HTTP/1.1\r\n"), "{c:?}"),
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_posted_to_is_refused() {
        let long = format!("http://h/{}", "a".repeat(MAX_URL_BYTES));
        for (text, words) in [
            ("", "empty"),
            ("/x", "http:// or https://"),
            ("//h/x", "http:// or https://"),
            ("h/x", "http:// or https://"),
            ("127.0.0.1:9000", "http:// or https://"),
            ("webhook.site/abc", "http:// or https://"),
            ("javascript:1", "http:// or https://"),
            ("http:h/x", "http:// or https://"),
            ("http:/h/x", "http:// or https://"),
            ("http:", "http:// or https://"),
            ("ftp://h/", "\"ftp\" is not http or https"),
            ("file:///etc/passwd", "\"file\""),
            ("http://", "no host"),
            ("http:///h/x", "no host"),
            ("http://?x", "no host"),
            ("http://#x", "no host"),
            ("http://:80/", "host"),
            ("http://u:p@h/", "user and password"),
            ("http://u@h/", "user and password"),
            ("http://@h/", "user and password"),
            ("http://h:0/", "port 0"),
            ("http://h:99999/", "port"),
            ("http://h:x/", "port"),
            ("http://a..b/", "valid name"),
            ("http://h../", "valid name"),
            ("http://./", "valid name"),
            ("http://a b/", "domain"),
            ("http://a%2fb/", "domain"),
            ("http://a%23b/", "domain"),
            (" http://h/", "begins with a blank"),
            ("\nhttp://h/", "begins with a blank"),
            ("http://h/\n", "ends with a blank"),
            ("http://h/ ", "ends with a blank"),
            ("http://h/\u{a0}", "ends with a blank"),
            ("http://h/a\tb", "character 11 is a tab"),
            ("ht\ttp://h/", "character 3 is a tab"),
            ("http://ü/\n/", "character 10 is a line feed"),
            ("http://h/\r\nx", "character 10 is a carriage return"),
            ("http://h/#\0x", "character 11 is NUL"),
            (
                "http://h/\x1bx",
                "character 10 is the control character U+001B",
            ),
            ("http://h/\u{85}x", "U+0085"),
            ("http:\\\\h\\x", "character 6 is a backslash"),
            ("http://h\\x", "character 9 is a backslash"),
            (&long, "too long"),
        ] {
            let error = Endpoint::parse(text).expect_err(text);
            assert!(error.to_string().contains(words), "{text:?}: {error}");
        }
    }
}
