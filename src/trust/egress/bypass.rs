//! Which receivers no proxy is used for: the list that Go and curl read from `NO_PROXY`. Pure.
//!
//! It is compared with the host of the URL. No name is looked up for it.

use std::net::IpAddr;

/// The list of `--no-proxy`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bypass(Vec<Rule>);

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    what: What,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    All,
    /// A network: an address, and how many of its bits count.
    Net(IpAddr, u8),
    /// A name, and all names below it.
    Name(String),
    /// All names below it; it begins with a dot.
    Below(String),
}

impl Bypass {
    /// The error is a sentence that follows the option's name.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Bypass, String> {
        let entries = entries.into_iter().flat_map(str::split_whitespace);
        let rules: Result<Vec<Rule>, String> = entries.map(read).collect();
        rules.map(Bypass)
    }

    /// `host` is a name in lower case without a dot at its end, or an address without brackets.
    pub fn covers(&self, host: &str, port: u16) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let address = host.parse().ok().map(canonical);
        self.0.iter().any(|rule| {
            rule.port.is_none_or(|only| only == port) && rule.what.covers(host, address)
        })
    }
}

impl What {
    fn covers(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (What::All, _) => true,
            (What::Net(net, bits), Some(address)) => is_in(address, *net, *bits),
            (What::Name(name), None) => {
                let above = host.strip_suffix(&**name);
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            (What::Below(end), None) => host.ends_with(&**end),
            _ => false,
        }
    }
}

fn read(text: &str) -> Result<Rule, String> {
    let wrong = || {
        format!(
            "{text:?}: it must be a name, .name, an address, a network as 10.0.0.0/8, one of these \
             with a port, or *"
        )
    };
    if let Some((address, bits)) = text.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= most);
        let bits = bits.ok_or_else(wrong)?;
        let (address, bits) = match (canonical(address), bits) {
            (inside @ IpAddr::V4(_), 96..) => (inside, bits - 96),
            _ => (address, bits),
        };
        return Ok(Rule {
            what: What::Net(address, bits),
            port: None,
        });
    }
    if let Ok(address) = text.parse() {
        return Ok(Rule {
            what: one(address),
            port: None,
        });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, Some(port.parse().map_err(|_| wrong())?))
        }
        _ => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let what = match bare.unwrap_or(host).parse() {
        Ok(address) => one(address),
        Err(_) => read_name(host).ok_or_else(wrong)?,
    };
    Ok(Rule { what, port })
}

fn one(address: IpAddr) -> What {
    let address = canonical(address);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    What::Net(address, bits)
}

fn read_name(host: &str) -> Option<What> {
    if host == "*" {
        return Some(What::All);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let (is_below, name) = match host.strip_prefix("*.").or(host.strip_prefix('.')) {
        Some(name) => (true, name),
        None => (false, host),
    };
    let name = match url::Host::parse(name).ok()? {
        url::Host::Domain(name) if !name.is_empty() && !name.contains('*') => name,
        _ => return None,
    };
    Some(match is_below {
        true => What::Below(format!(".{name}")),
        false => What::Name(name),
    })
}

/// `::ffff:10.0.0.1` is 10.0.0.1.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn is_in(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    let (a, b, width) = match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    (a ^ b).checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_is_what_go_and_curl_cover() {
        for (list, host, port, covered) in [
            ("", "h.example", 443, false),
            ("*", "h.example", 443, true),
            ("*", "10.0.0.1", 443, true),
            ("h.example", "h.example", 443, true),
            ("h.example", "a.b.h.example", 443, true),
            ("h.example", "xh.example", 443, false),
            ("h.example", "h.example.evil", 443, false),
            (".h.example", "h.example", 443, false),
            (".h.example", "a.h.example", 443, true),
            ("*.h.example", "a.h.example", 443, true),
            ("*.h.example", "h.example", 443, false),
            ("H.EXAMPLE.", "h.example", 443, true),
            ("bücher.example", "xn--bcher-kva.example", 443, true),
            ("h.example:8443", "h.example", 8443, true),
            ("h.example:8443", "h.example", 443, false),
            ("*:8443", "h.example", 8443, true),
            ("*:8443", "h.example", 80, false),
            ("10.0.0.1", "10.0.0.1", 80, true),
            ("10.0.0.1", "10.0.0.2", 80, false),
            ("10.0.0.1:81", "10.0.0.1", 80, false),
            ("10.0.0.0/8", "10.255.1.2", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.0.0.0/8", "10.h.example", 80, false),
            ("10.0.0.1/8", "10.2.0.1", 80, true),
            ("10.0.0.0/32", "10.0.0.1", 80, false),
            ("0.0.0.0/0", "1.2.3.4", 80, true),
            ("0.0.0.0/0", "::1", 80, false),
            ("::/0", "::1", 80, true),
            ("fd00::/8", "fd12::1", 80, true),
            ("fd00::/8", "fe12::1", 80, false),
            ("::1", "::1", 80, true),
            ("[::1]", "::1", 80, true),
            ("[::1]:80", "::1", 81, false),
            ("::ffff:10.0.0.1", "10.0.0.1", 80, true),
            ("10.0.0.1", "::ffff:a00:1", 80, true),
            ("::ffff:10.0.0.0/104", "10.2.0.1", 80, true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", 80, false),
            ("::ffff:10.0.0.0/104", "::ffff:a00:1", 80, true),
            ("::ffff:0:0/96", "8.8.8.8", 80, true),
            ("a  b.example c", "b.example", 80, true),
            ("1.1", "1.1.example", 80, false),
            ("example", "h.example", 80, true),
        ] {
            // What the resolver would make of a short address is one of IPv4, and no name.
            let Ok(bypass) = Bypass::new(list.split(',')) else {
                assert!(!covered, "{list:?}");
                continue;
            };
            assert_eq!(bypass.covers(host, port), covered, "{list:?} {host}:{port}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/x",
            "h.example/8",
            "h:port",
            "a:1:2",
            ".",
            "*.",
            "h.example:99999",
            "a b/8",
            "http://h.example",
            "*x*",
            "[::1",
        ] {
            let e = Bypass::new([bad]).expect_err(bad);
            assert!(e.contains("10.0.0.0/8"), "{e}");
        }
    }
}
