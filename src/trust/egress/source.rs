//! From which of this machine's addresses connections are made. Pure.
//!
//! An operator who names an address wants receivers to see no other. So if only one family is
//! named, receivers are not tried over the other family: they would see an address that they do not
//! expect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// At most one address of each family. Without one, the system chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Source {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Source {
    /// The error is a sentence that follows the option's name.
    pub fn new(addresses: &[IpAddr]) -> Result<Source, String> {
        let mut source = Source::default();
        for address in addresses {
            vet(*address)?;
            let before = match address {
                IpAddr::V4(ip) => source.v4.replace(*ip).map(IpAddr::V4),
                IpAddr::V6(ip) => source.v6.replace(*ip).map(IpAddr::V6),
            };
            if let Some(before) = before {
                return Err(format!(
                    "{address}: there is {before} already; one IPv4 and one IPv6 address may be named"
                ));
            }
        }
        Ok(source)
    }

    /// The addresses that were named.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }

    pub fn is_any(&self) -> bool {
        self.all().next().is_none()
    }

    /// Whether a connection to this address may be made at all.
    pub fn leads_to(&self, to: IpAddr) -> bool {
        self.is_any() || self.address_for(to).is_some()
    }

    /// The address to connect from. `None`: the system chooses.
    pub fn address_for(&self, to: IpAddr) -> Option<IpAddr> {
        match to {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.all().map(|ip| ip.to_string()).collect();
        f.write_str(&all.join(" and "))
    }
}

/// Refuses addresses that can be bound, but not connected from.
fn vet(address: IpAddr) -> Result<(), String> {
    let is_broadcast = matches!(address, IpAddr::V4(ip) if ip.is_broadcast());
    let wrong = match address {
        ip if ip.is_unspecified() => "that is any address; leave the option away instead",
        ip if ip.is_multicast() || is_broadcast => "nobody can connect from there",
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => "write the IPv4 address itself",
        _ => return Ok(()),
    };
    Err(format!("{address}: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Result<Source, String> {
        let list: Vec<IpAddr> = text
            .split(' ')
            .filter(|t| !t.is_empty())
            .map(|t| t.parse().unwrap())
            .collect();
        Source::new(&list)
    }

    #[test]
    fn a_family_that_is_not_named_is_not_used() {
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        for (named, for_v4, for_v6) in [
            ("", (true, None), (true, None)),
            ("10.0.0.7", (true, Some("10.0.0.7")), (false, None)),
            ("fd00::7", (false, None), (true, Some("fd00::7"))),
            (
                "fd00::7 10.0.0.7",
                (true, Some("10.0.0.7")),
                (true, Some("fd00::7")),
            ),
        ] {
            let source = source(named).unwrap();
            for (to, (may, from)) in [(v4, for_v4), (v6, for_v6)] {
                let got = source.address_for(to).map(|ip| ip.to_string());
                assert_eq!(
                    (source.leads_to(to), got.as_deref()),
                    (may, from),
                    "{named:?} {to}"
                );
            }
        }
        assert_eq!(
            source("fd00::7 10.0.0.7").unwrap().to_string(),
            "10.0.0.7 and fd00::7"
        );
    }

    #[test]
    fn what_cannot_be_a_source_is_refused() {
        for bad in [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "::ffff:10.0.0.1",
            "10.0.0.1 10.0.0.2",
            "10.0.0.1 ::1 ::2",
        ] {
            assert!(source(bad).is_err(), "{bad}");
        }
    }
}
