//! Where a message goes.

use std::sync::Arc;

use ureq::http::Uri;
use url::Url;

/// The longest URL, in bytes, as common servers and proxies allow.
pub const MAX_URL_BYTES: usize = 8192;

/// A vetted URL, and the origin (scheme, host, port) it shares a lane and connections with.
#[derive(Debug)]
pub struct Endpoint {
    pub uri: Uri,
    /// The same as text.
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

    /// Reads a URL as browsers do (WHATWG) and keeps its serialised form, so that every
    /// odd spelling of a host has become the plain one before anyone resolves it.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let vet = |text: &str| match text.len() {
            ..=MAX_URL_BYTES => Ok(()),
            n => Err(format!(
                "{n} bytes are too long; at most {MAX_URL_BYTES} are allowed"
            )),
        };
        vet(text)?;
        let mut url = Url::parse(text).map_err(|e| e.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("scheme {:?} is not http or https", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("user and password are not allowed; send a header instead".into());
        }
        let host = url.host_str().filter(|h| !h.is_empty());
        let host = host.ok_or("it has no host")?;
        let name = host.strip_suffix('.').unwrap_or(host);
        if name.len() > 253 || name.split('.').any(|l| l.is_empty() || l.len() > 63) {
            return Err("its host is not a valid name".into());
        }
        if url.port() == Some(0) {
            return Err("port 0 is not allowed".into());
        }
        url.set_fragment(None);
        // Characters that must be encoded have made it longer.
        vet(url.as_str())?;
        let origin = url.origin().ascii_serialization().into();
        let uri = Uri::try_from(url.as_str()).map_err(|e| e.to_string())?;
        let url = url.as_str().into();
        Ok(Endpoint { uri, url, origin })
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
        for (text, uri, origin) in [
            ("http://H/a?b=c#d", "http://h/a?b=c", "http://h"),
            ("HTTPS://h:443/", "https://h/", "https://h"),
            ("http://0x7f.1/", "http://127.0.0.1/", "http://127.0.0.1"),
            (
                "http://[::1]:8080/x",
                "http://[::1]:8080/x",
                "http://[::1]:8080",
            ),
            (
                "http://bücher.example/ü",
                "http://xn--bcher-kva.example/%C3%BC",
                "http://xn--bcher-kva.example",
            ),
            (
                "http://h/a b?q=\"x\"",
                "http://h/a%20b?q=%22x%22",
                "http://h",
            ),
        ] {
            let e = Endpoint::parse(text).unwrap();
            assert_eq!(e.uri.to_string(), uri);
            assert_eq!(&*e.origin, origin);
        }
    }

    #[test]
    fn what_cannot_be_posted_to_is_refused() {
        let long = format!("http://h/{}", "a".repeat(MAX_URL_BYTES));
        for text in [
            "",
            "/x",
            "//h/x",
            "h/x",
            "ftp://h/",
            "http://",
            "http://u:p@h/",
            "http://u@h/",
            "http://h:0/",
            "http://h:99999/",
            "http://a..b/",
            "file:///etc/passwd",
            "javascript:1",
            &long,
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
