//! The guard: its table of ranges, and what is made of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::dice::Dice;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn guard(allow: &[&str], deny: &[&str]) -> Guard {
    let read = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
    Guard {
        allow: read(allow),
        deny: read(deny),
        ..Guard::default()
    }
}

fn refusal(guard: &Guard, text: &str) -> String {
    let refused = guard.check(ip(text)).expect_err(text);
    refused.to_string()
}

#[test]
fn special_ranges_are_refused_to_their_edges_and_named() {
    let usual = Guard::default();
    for (first, last, what) in [
        ("0.0.0.0", "0.255.255.255", "this network"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("100.64.0.0", "100.127.255.255", "CGNAT"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "link-local"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.0.11", "192.0.0.255", "IETF"),
        ("192.88.99.0", "192.88.99.255", "6to4"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("198.18.0.0", "198.19.255.255", "benchmarking"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.254", "reserved"),
        ("fc00::", "fdff::1", "unique local"),
        ("fe80::", "febf::1", "link-local"),
        ("2001:db8::", "2001:db8:ffff::", "documentation"),
        ("3fff::", "3fff:fff::1", "documentation"),
        ("5f00::", "5f00:ffff::", "SRv6"),
        ("4000::", "efff::", "not global unicast"),
        ("::2", "::ffff:0:0", "IPv4-"),
    ] {
        for address in [first, last] {
            let text = refusal(&usual, address);
            assert!(text.contains(what), "{address}: {text}");
            assert!(
                text.starts_with(&format!("{} is refused: ", ip(address))),
                "{text}"
            );
            let helps = text.contains("--allow-cidr") || what == "IPv4-";
            assert!(helps, "{text}");
        }
    }
    for open in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "168.63.129.15",
        "2000::",
        "2001:200::",
        "2003::1",
        "2606:4700::1111",
        "3ffe::1",
        "3fff:1000::",
    ] {
        assert_eq!(usual.check(ip(open)).map(Checked::ip), Ok(ip(open)));
    }
}

#[test]
fn the_rule_that_is_named_is_the_narrowest() {
    let usual = Guard::default();
    for (address, what) in [
        (
            "169.254.169.254",
            "metadata service of clouds (169.254.169.254/32); whoever wrote this URL",
        ),
        ("100.100.100.200", "Alibaba"),
        ("168.63.129.16", "Azure"),
        ("192.0.0.192", "Oracle"),
        ("192.0.0.171", "NAT64/DNS64"),
        ("255.255.255.255", "broadcast"),
        ("fd00:ec2::254", "AWS (fd00:ec2::254/128)"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("2001::1", "Teredo"),
        ("2001:2::1", "benchmarking"),
        ("2001:21::1", "ORCHIDv2"),
        ("2001:100::", "IETF"),
    ] {
        let text = refusal(&usual, address);
        assert!(text.contains(what), "{address}: {text}");
    }
}

/// All ways in which an IPv6 address is known to hold an IPv4 one.
fn wrapped(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b] = [v4.to_bits() >> 16, v4.to_bits() & 0xffff].map(|n| n as u16);
    vec![
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, a, b),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, a, b),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
        Ipv6Addr::new(0x64, 0xff9b, 1, 7, 0, 0, a, b),
        Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !a, !b),
        Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, a, b),
        Ipv6Addr::new(0x2a00, 1, 2, 3, 0x200, 0x5efe, a, b),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b),
    ]
}

#[test]
fn an_ipv4_address_is_refused_in_whatever_it_is_wrapped() {
    let (usual, denying) = (Guard::default(), guard(&["::/0"], &["10.0.0.0/8"]));
    for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254"] {
        for v6 in wrapped(address.parse().unwrap()) {
            assert!(usual.check(v6.into()).is_err(), "{v6}");
        }
    }
    for v6 in wrapped(Ipv4Addr::new(10, 1, 2, 3)) {
        let refused = denying.check(v6.into()).expect_err("it is denied");
        assert!(matches!(refused, Refusal::Denied(..)), "{refused}");
    }
    for v6 in wrapped(Ipv4Addr::new(8, 8, 8, 8)) {
        let open = matches!(v6.segments(), [0x64, 0xff9b, 0, ..] | [0x2a00, ..]);
        assert_eq!(usual.check(v6.into()).is_ok(), open, "{v6}");
    }
    // A network whose IPv4 is behind NAT64, and a private receiver in it.
    let private = guard(&["10.0.0.0/8"], &[]);
    assert!(private.check(ip("64:ff9b::10.0.0.1")).is_ok());
    assert!(private.check(ip("64:ff9b::127.0.0.1")).is_err());
    assert!(private.check(ip("2a00:1:2:3:0:5efe:10.0.0.1")).is_ok());
    assert!(private.check(ip("2a00:1:2:3:0:5efe:127.0.0.1")).is_err());
    assert!(private.check(ip("fe80::5efe:10.0.0.1")).is_err());
    assert!(private.check(ip("::ffff:10.0.0.1")).is_err());
}

#[test]
fn what_is_said_to_allow_an_ipv4_address_in_ipv6_does() {
    for (address, words) in [
        ("64:ff9b::10.0.0.1", "--allow-cidr 10.0.0.1/32 "),
        ("2a00:1:2:3:0:5efe:10.0.0.1", "--allow-cidr 10.0.0.1/32 "),
        ("2002:a00:1::1", "--allow-cidr 2002:a00:1::1/128 "),
        ("::ffff:10.0.0.1", "; only 10.0.0.1 itself can be allowed"),
        ("::10.0.0.1", "; only 10.0.0.1 itself can be allowed"),
        ("::ffff:0:10.0.0.1", "; only 10.0.0.1 itself can be allowed"),
    ] {
        let text = refusal(&Guard::default(), address);
        assert!(text.contains(words), "{address}: {text}");
        if let Some((_, range)) = words.split_once("cidr ") {
            let allowing = guard(&[range.trim()], &[]);
            assert!(allowing.check(ip(address)).is_ok(), "{address}");
        }
    }
}

#[test]
fn deny_beats_allow_however_narrow_either_is() {
    let both = guard(
        &["10.0.0.0/8", "127.0.0.1/32"],
        &["10.1.0.0/16", "8.8.8.8/32"],
    );
    for (address, open) in [
        ("10.0.0.1", true),
        ("10.1.0.1", false),
        ("127.0.0.1", true),
        ("127.0.0.2", false),
        ("8.8.8.8", false),
        ("8.8.4.4", true),
    ] {
        assert_eq!(both.check(ip(address)).is_ok(), open, "{address}");
    }
    assert!(
        guard(&["10.1.1.1/32"], &["10.0.0.0/8"])
            .check(ip("10.1.1.1"))
            .is_err()
    );
    let text = refusal(&both, "8.8.8.8");
    assert!(
        text.contains("8.8.8.8 is refused: --deny-cidr 8.8.8.8/32"),
        "{text}"
    );
}

#[test]
fn a_name_is_as_bad_as_its_worst_address() {
    let usual = Guard::default();
    let good = [ip("8.8.8.8"), ip("2606:4700::1111")];
    assert!(usual.check_all(&good).is_ok());
    assert!(
        usual
            .check_all(&[good[0], ip("10.0.0.1"), good[1]])
            .is_err()
    );
    assert!(usual.check_all(&[]).is_ok());
}

#[test]
fn ports_and_schemes_are_judged_apart_from_addresses() {
    let all = guard(&["0.0.0.0/0", "::/0"], &[]);
    assert!(all.check_url(false, 80).is_ok() && all.check_url(true, 65535).is_ok());
    let text = all.check_url(true, 6379).unwrap_err().to_string();
    assert!(
        text.contains("known for redis; --allow-port usual,6379"),
        "{text}"
    );
    let strict = all.with(Changes {
        https_only: Some(true),
        ports: Some(Ports::new([PortRule::Span(8443, 8443)])),
        ..Changes::default()
    });
    let text = strict.check_url(false, 8443).unwrap_err().to_string();
    assert!(text.contains("--https-only"), "{text}");
    let text = strict.check_url(true, 443).unwrap_err().to_string();
    assert!(text.contains("none of those"), "{text}");
    assert!(strict.check_url(true, 8443).is_ok());
    let loose = strict.with(Changes {
        https_only: Some(false),
        ..Changes::default()
    });
    assert!(loose.check_url(false, 8443).is_ok());
}

#[test]
fn a_rule_adds_ranges_to_those_of_the_options() {
    let own = guard(&["10.0.0.0/8"], &["10.1.0.0/16"]).with(Changes {
        allow: vec![
            "192.168.0.0/16".parse().unwrap(),
            "10.1.0.0/16".parse().unwrap(),
        ],
        deny: vec!["192.168.1.0/24".parse().unwrap()],
        ..Changes::default()
    });
    for (address, open) in [
        ("10.0.0.1", true),
        ("10.1.0.1", false),
        ("192.168.0.1", true),
        ("192.168.1.1", false),
        ("172.16.0.1", false),
    ] {
        assert_eq!(own.check(ip(address)).is_ok(), open, "{address}");
    }
}

#[test]
fn a_guard_that_is_off_says_so() {
    for (allow, words) in [
        (&[][..], None),
        (&["10.0.0.0/8"], None),
        (&["0.0.0.0/0", "::/0"], Some("off: ")),
        (&["0.0.0.0/0"], Some("off for IPv4: ")),
        (&["::/0"], Some("off for IPv6: ")),
    ] {
        let said = guard(allow, &[]).describe_off();
        assert_eq!(said.is_some(), words.is_some(), "{allow:?}");
        assert!(
            said.unwrap_or_default()
                .starts_with(words.unwrap_or_default())
        );
    }
}

fn bytes<const N: usize>(dice: &mut Dice) -> [u8; N] {
    std::array::from_fn(|_| dice.below(256) as u8)
}

#[test]
fn whatever_is_let_pass_is_global_unicast_and_stays_so_in_every_wrapping() {
    let usual = Guard::default();
    let mut dice = Dice::usual(14);
    for _ in 0..100_000 {
        dice.step();
        let v4 = Ipv4Addr::from(bytes(&mut dice));
        let is_open = usual.check(v4.into()).is_ok();
        // The standard library's view of those that it has stable words for.
        let is_bad = v4.is_private()
            || v4.is_loopback()
            || v4.is_link_local()
            || v4.is_multicast()
            || v4.is_documentation()
            || v4.octets()[0] == 0
            || v4.octets()[0] >= 224;
        assert!(!(is_open && is_bad), "{v4}");
        for v6 in wrapped(v4) {
            let passes = usual.check(v6.into()).is_ok();
            assert!(!passes || is_open, "{v6} for {v4}");
        }
        let v6 = Ipv6Addr::from(bytes(&mut dice));
        if usual.check(v6.into()).is_ok() {
            let first = v6.segments()[0];
            assert!(first >> 13 == 1, "{v6}");
        }
    }
}
