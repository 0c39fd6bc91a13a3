//! A proxy, as the operator names it. Pure.
//!
//! No error of this file repeats its input, because that may hold a password.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use url::{Host, Url};

use crate::trust::secret::Secret;

/// The protocol of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Http,
    /// The same, within TLS.
    Https,
    /// SOCKS5 with addresses.
    Socks5,
    /// SOCKS5 with names.
    Socks5h,
}

/// A proxy's address, and our login there.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub kind: Kind,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
    /// For people.
    name: String,
}

/// A user and a password.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    pub user: Secret,
    pub password: Secret,
}

/// SOCKS5 has one byte for the length of each (RFC 1929).
const MAX_LOGIN: usize = 255;

const FORM: &str = "it must be as http://proxy.example:3128, with http, https, socks5 or socks5h";

impl Proxy {
    /// Reads the URL. `login`: what a file says of the login. The error is a sentence that follows
    /// the option's name.
    pub fn parse(text: &str, login: Option<Login>) -> Result<Proxy, String> {
        let url = Url::parse(text.trim()).map_err(|e| format!("{e}; {FORM}"))?;
        let (kind, usual) = match url.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" => (Kind::Socks5, 1080),
            "socks5h" => (Kind::Socks5h, 1080),
            other => return Err(format!("{other:?} is no scheme of a proxy; {FORM}")),
        };
        let is_more = !matches!(url.path(), "" | "/") || url.query().is_some();
        if is_more || url.fragment().is_some() {
            return Err(format!("a proxy has no path; {FORM}"));
        }
        let host = read_host(&url)?;
        let port = match url.port().unwrap_or(usual) {
            0 => return Err(format!("there is no port 0; {FORM}")),
            port => port,
        };
        let in_url = read_login(&url)?;
        let login = match (in_url, login) {
            (Some(_), Some(_)) => {
                return Err(
                    "it has a user and password, and so has --proxy-credentials-file; \
                            set one"
                        .into(),
                );
            }
            (in_url, login) => in_url.or(login),
        };
        if let Some(login) = &login {
            login.vet(kind)?;
        }
        let shown = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        Ok(Proxy {
            kind,
            name: format!("{}://{shown}:{port}", url.scheme()),
            host,
            port,
            login,
        })
    }

    /// Whether it gets names, and looks up their addresses itself.
    pub fn resolves(&self) -> bool {
        self.kind != Kind::Socks5
    }

    pub fn speaks_http(&self) -> bool {
        matches!(self.kind, Kind::Http | Kind::Https)
    }
}

/// Without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The url crate does not normalise the host of a scheme that it does not know.
fn read_host(url: &Url) -> Result<String, String> {
    let written = url.host_str().unwrap_or_default();
    let decoded = decode(written)?;
    let host = Host::parse(&decoded).map_err(|e| format!("{e}; {FORM}"))?;
    Ok(match host {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    })
}

fn read_login(url: &Url) -> Result<Option<Login>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    Ok(Some(Login {
        user: Secret::new(decode(url.username())?),
        password: Secret::new(decode(url.password().unwrap_or_default())?),
    }))
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "what its % stand for is not text (UTF-8)".into())
}

impl Login {
    /// Reads the contents of a file. The error is a sentence that follows the option's name.
    pub fn parse(text: &Secret) -> Result<Login, String> {
        let (user, password) = text
            .expose()
            .split_once(':')
            .ok_or("it must hold user:password")?;
        Ok(Login {
            user: Secret::new(user.to_owned()),
            password: Secret::new(password.to_owned()),
        })
    }

    fn vet(&self, kind: Kind) -> Result<(), String> {
        let both = [self.user.expose(), self.password.expose()];
        if both.iter().any(|text| text.contains(char::is_control)) {
            return Err("its user or password holds a control character".into());
        }
        if self.user.expose().is_empty() {
            return Err("there is a password and no user".into());
        }
        match kind {
            Kind::Http | Kind::Https if self.user.expose().contains(':') => {
                Err("its user holds a colon, which Basic has no place for".into())
            }
            Kind::Socks5 | Kind::Socks5h if self.password.expose().is_empty() => {
                Err("there is a user and no password, which SOCKS5 has no place for".into())
            }
            Kind::Socks5 | Kind::Socks5h if both.iter().any(|text| text.len() > MAX_LOGIN) => Err(
                format!("its user or password is longer than the {MAX_LOGIN} bytes of SOCKS5"),
            ),
            _ => Ok(()),
        }
    }

    /// The value of `Proxy-Authorization`.
    pub fn basic(&self) -> Secret {
        let pair = Secret::new(format!("{}:{}", self.user.expose(), self.password.expose()));
        Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair.expose())))
    }

    /// The secrets that must be taken out of what the proxy says.
    pub fn hidden(&self) -> [Secret; 2] {
        let pair = self.basic().expose().replacen("Basic ", "", 1);
        [Secret::new(pair), self.password.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read() {
        for (text, kind, name) in [
            ("http://p:3128", Kind::Http, "http://p:3128"),
            ("http://P.Example./", Kind::Http, "http://p.example:80"),
            ("https://p", Kind::Https, "https://p:443"),
            ("socks5://10.0.0.1", Kind::Socks5, "socks5://10.0.0.1:1080"),
            ("socks5h://P:9", Kind::Socks5h, "socks5h://p:9"),
            ("socks5://[::1]:9", Kind::Socks5, "socks5://[::1]:9"),
            ("http://[::1]:9", Kind::Http, "http://[::1]:9"),
            (
                "socks5h://b%C3%BCcher",
                Kind::Socks5h,
                "socks5h://xn--bcher-kva:1080",
            ),
            (" http://u:p%3a%40%zz@p:1 ", Kind::Http, "http://p:1"),
        ] {
            let proxy = Proxy::parse(text, None).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((proxy.kind, &*proxy.to_string()), (kind, name), "{text}");
            assert!(!proxy.host.contains('['), "{text}");
        }
        let login = Proxy::parse("socks5://u:p%3a%40%zz@p:1", None).unwrap();
        let login = login.login.unwrap();
        assert_eq!(
            (login.user.expose(), login.password.expose()),
            ("u", "p:@%zz")
        );
        assert_eq!(
            Login::parse(&Secret::new("Aladdin:open sesame".into()))
                .unwrap()
                .basic()
                .expose(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }

    #[test]
    fn what_is_wrong_is_said_and_no_password_is_shown() {
        let long = format!("socks5://hunter2:{}@p", "x".repeat(256));
        for (text, words) in [
            ("", "http://proxy.example:3128"),
            ("hunter2", "http://proxy.example:3128"),
            ("p:3128", "no scheme of a proxy"),
            ("ftp://u:hunter2@p", "\"ftp\" is no scheme"),
            ("socks4://p", "\"socks4\" is no scheme"),
            ("http://u:hunter2@", "host"),
            ("http://u:hunter2@p/x", "no path"),
            ("http://u:hunter2@p?x", "no path"),
            ("http://u:hunter2@p#x", "no path"),
            ("http://u:hunter2@p:0", "port 0"),
            ("http://u:hunter2@p:99999", "port"),
            ("http://u:hunter2@a b", "domain name"),
            ("socks5://u:hunter2@a b", "character"),
            ("http://:hunter2@p", "no user"),
            ("socks5://hunter2@p", "no password"),
            ("http://a%3Ab:hunter2@p", "colon"),
            ("http://a:hunter2%0d%0ax@p", "control"),
            ("http://a:hunter2%ff@p", "UTF-8"),
            (&*long, "255"),
        ] {
            let e = Proxy::parse(text, None).expect_err(text);
            assert!(e.contains(words), "{text}: {e}");
            assert!(!e.contains("hunter2"), "{e}");
        }
        let file = || Login::parse(&Secret::new("u:hunter2".into())).ok();
        assert!(
            Proxy::parse("http://u:p@p", file())
                .unwrap_err()
                .contains("set one")
        );
        assert!(Login::parse(&Secret::new("hunter2".into())).is_err());
        let shown = format!("{:?}", Proxy::parse("http://u:hunter2@p", None));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
