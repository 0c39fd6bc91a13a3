//! A range of addresses, as operators write it: `10.0.0.0/8`. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::embedded_ipv4;

/// A range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cidr {
    V4(u32, u8),
    V6(u128, u8),
}

impl Cidr {
    pub const fn v4(base: [u8; 4], length: u8) -> Cidr {
        Cidr::V4(u32::from_be_bytes(base), length)
    }

    pub const fn v6(base: [u16; 8], length: u8) -> Cidr {
        let [a, b, c, d, e, f, g, h] = base;
        Cidr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits(), length)
    }

    /// The range of one address.
    pub fn only(ip: IpAddr) -> Cidr {
        match ip {
            IpAddr::V4(ip) => Cidr::V4(ip.to_bits(), 32),
            IpAddr::V6(ip) => Cidr::V6(ip.to_bits(), 128),
        }
    }

    /// An address of one family is never in a range of the other.
    pub fn contains(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Cidr::V4(base, length), IpAddr::V4(ip)) => (base ^ ip.to_bits()) & mask4(length) == 0,
            (Cidr::V6(base, length), IpAddr::V6(ip)) => (base ^ ip.to_bits()) & mask6(length) == 0,
            _ => false,
        }
    }

    fn base(self) -> IpAddr {
        match self {
            Cidr::V4(base, _) => Ipv4Addr::from_bits(base).into(),
            Cidr::V6(base, _) => Ipv6Addr::from_bits(base).into(),
        }
    }

    fn length(self) -> u8 {
        match self {
            Cidr::V4(_, length) | Cidr::V6(_, length) => length,
        }
    }

    /// Refuses an IPv4 range in IPv6 notation: sockets and URLs give its addresses as IPv4, so it
    /// would match nothing. A whole form, such as `::ffff:0:0/96`, is a range of IPv6.
    fn plain(self) -> Result<Cidr, String> {
        match (self, embedded_ipv4::notation(self.base())) {
            (Cidr::V6(_, length @ 97..), Some(inside)) => {
                let meant = Cidr::V4(inside.to_bits(), length - 96);
                Err(format!("it holds IPv4 addresses in IPv6: write {meant}"))
            }
            _ => Ok(self),
        }
    }

    /// The range, with the bits behind its length cleared.
    fn cut(self) -> Cidr {
        match self {
            Cidr::V4(base, length) => Cidr::V4(base & mask4(length), length),
            Cidr::V6(base, length) => Cidr::V6(base & mask6(length), length),
        }
    }
}

fn mask4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// Whether these ranges together cover all of IPv4, and all of IPv6.
pub fn hold_all(ranges: &[Cidr]) -> (bool, bool) {
    let spans = |v4: bool| {
        let mut spans: Vec<(u128, u128)> = ranges
            .iter()
            .filter_map(|range| match *range {
                Cidr::V4(base, length) if v4 => {
                    Some((base.into(), u128::from(base | !mask4(length))))
                }
                Cidr::V6(base, length) if !v4 => Some((base, base | !mask6(length))),
                _ => None,
            })
            .collect();
        spans.sort_unstable();
        spans
    };
    let whole = |spans: Vec<(u128, u128)>, last: u128| {
        let mut next = 0;
        for (from, to) in spans {
            if from > next {
                return false;
            }
            if to >= last {
                return true;
            }
            next = next.max(to + 1);
        }
        false
    };
    (
        whole(spans(true), u32::MAX.into()),
        whole(spans(false), u128::MAX),
    )
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Cidr, String> {
        let text = text.trim();
        let wrong = || {
            "it must be a range of addresses as 10.0.0.0/8 or fd00::/8, or one address".to_owned()
        };
        let (base, length) = match text.split_once('/') {
            Some((base, length)) => (base, Some(length)),
            None => (text, None),
        };
        let whole = Cidr::only(base.parse().map_err(|_| wrong())?);
        let Some(length) = length else {
            return whole.plain();
        };
        // `+8` and `08` are numbers to the parser of numbers.
        let is_plain = length.bytes().all(|b| b.is_ascii_digit()) && !length.starts_with("00");
        let length: u8 = length.parse().map_err(|_| wrong())?;
        let range = match whole {
            Cidr::V4(base, 32) if length <= 32 && is_plain => Cidr::V4(base, length),
            Cidr::V6(base, 128) if length <= 128 && is_plain => Cidr::V6(base, length),
            _ => return Err(wrong()),
        };
        match range.cut() == range {
            true => range.plain(),
            // An operator who writes this means one of the two, and they differ by a whole network.
            false => Err(format!("it must be {} or {whole}", range.cut())),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Cidr {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn a_range_holds_its_first_and_last_address_and_no_other() {
        for (range, inside, outside) in [
            (
                "10.0.0.0/8",
                ["10.0.0.0", "10.255.255.255"],
                ["9.255.255.255", "11.0.0.0"],
            ),
            (
                "0.0.0.0/0",
                ["0.0.0.0", "255.255.255.255"],
                ["::", "::ffff:1.2.3.4"],
            ),
            ("127.0.0.1", ["127.0.0.1"; 2], ["127.0.0.0", "127.0.0.2"]),
            (
                "fe80::/10",
                ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                ["fec0::", "fe7f::1"],
            ),
            ("::/0", ["::", "ffff::"], ["0.0.0.0", "1.2.3.4"]),
            ("::1", ["::1"; 2], ["::", "::2"]),
        ] {
            let cidr = read(range);
            for ip in inside {
                assert!(cidr.contains(ip.parse().unwrap()), "{ip} in {range}");
            }
            for ip in outside {
                assert!(!cidr.contains(ip.parse().unwrap()), "{ip} in {range}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_is_meant() {
        for (text, words) in [
            ("", "10.0.0.0/8"),
            ("10", "10.0.0.0/8"),
            ("10/8", "10.0.0.0/8"),
            ("localhost", "10.0.0.0/8"),
            ("10.0.0.0/33", "10.0.0.0/8"),
            ("10.0.0.0/-1", "10.0.0.0/8"),
            ("10.0.0.0/+8", "10.0.0.0/8"),
            ("10.0.0.0/", "10.0.0.0/8"),
            ("010.0.0.0/8", "10.0.0.0/8"),
            ("fd00::/129", "fd00::/8"),
            ("[::1]", "fd00::/8"),
            ("10.1.2.3/8", "10.0.0.0/8 or 10.1.2.3/32"),
            ("fd00::1/8", "fd00::/8 or fd00::1/128"),
            // As IPv4, which is in them.
            ("::ffff:127.0.0.1", "write 127.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
            ("::ffff:a9fe:a9fe/128", "write 169.254.169.254/32"),
            ("::ffff:0:0/97", "write 0.0.0.0/1"),
            ("64:ff9b::10.0.0.0/104", "write 10.0.0.0/8"),
            ("::ffff:0:192.168.0.0/112", "write 192.168.0.0/16"),
            ("::10.0.0.0/104", "write 10.0.0.0/8"),
        ] {
            let error = text.parse::<Cidr>().expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        assert_eq!(read(" ::1 ").to_string(), "::1/128");
        // Whole forms, and addresses that are none.
        for range in [
            "::/0",
            "::/96",
            "::ffff:0:0/96",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "2002::/16",
            "::/128",
            "::1/128",
        ] {
            assert!(range.parse::<Cidr>().is_ok(), "{range}");
        }
    }

    #[test]
    fn all_of_a_family_may_be_held_in_parts() {
        let all = |texts: &[&str]| hold_all(&texts.iter().map(|t| read(t)).collect::<Vec<_>>());
        assert_eq!(all(&[]), (false, false));
        assert_eq!(all(&["0.0.0.0/0"]), (true, false));
        assert_eq!(all(&["::/0"]), (false, true));
        assert_eq!(
            all(&["128.0.0.0/1", "0.0.0.0/1", "8000::/1"]),
            (true, false)
        );
        assert_eq!(all(&["0.0.0.0/1", "128.0.0.0/2"]), (false, false));
        assert_eq!(all(&["8000::/1", "::/1", "10.0.0.0/8"]), (false, true));
    }
}
