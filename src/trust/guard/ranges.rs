//! Addresses at which no customer's server can be: all special-purpose ranges of IANA's
//! registries as of 2026-11, with what else is not global unicast, and the addresses of the
//! clouds' metadata services. Pure.
//!
//! The list includes ranges that the registries call globally reachable (AS112, AMT and the like):
//! they hold infrastructure, and no receiver.

use std::net::IpAddr;
use std::sync::LazyLock;

use super::cidr::Cidr;

/// A range, and its purpose.
pub type Range = (Cidr, &'static str);

/// Where several hold an address, the first names it.
const V4: &[(&str, &str)] = &[
    ("169.254.169.254/32", "the metadata service of clouds"),
    ("169.254.170.2/32", "the credentials service of AWS ECS"),
    ("169.254.170.23/32", "the credentials service of AWS EKS"),
    (
        "100.100.100.200/32",
        "the metadata service of Alibaba Cloud",
    ),
    ("192.0.0.192/32", "the metadata service of Oracle Cloud"),
    // Part of a public range, and in no registry.
    (
        "168.63.129.16/32",
        "the metadata service of Azure (WireServer)",
    ),
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by carriers (CGNAT)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.8/32", "the IPv4 dummy address"),
    ("192.0.0.9/32", "port control (PCP) anycast"),
    ("192.0.0.10/32", "relays (TURN) anycast"),
    ("192.0.0.170/31", "NAT64/DNS64 discovery"),
    ("192.0.0.0/29", "IPv4 service continuity (DS-Lite)"),
    ("192.0.0.0/24", "IETF protocol assignments"),
    ("192.0.2.0/24", "documentation (TEST-NET-1)"),
    ("192.31.196.0/24", "AS112-v4"),
    ("192.52.193.0/24", "multicast tunnels (AMT)"),
    ("192.88.99.2/32", "6a44 relay anycast"),
    ("192.88.99.0/24", "6to4 relay anycast"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "AS112 direct delegation"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation (TEST-NET-2)"),
    ("203.0.113.0/24", "documentation (TEST-NET-3)"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
];

const V6: &[(&str, &str)] = &[
    ("fd00:ec2::254/128", "the metadata service of AWS"),
    ("fd00:ec2::23/128", "the credentials service of AWS EKS"),
    ("fd20:ce::254/128", "the metadata service of Google Cloud"),
    ("fd00:42::42/128", "the metadata service of Scaleway"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("::ffff:0:0:0/96", "IPv4-translated (SIIT)"),
    ("::/96", "IPv4-compatible"),
    // The guard judges it by the IPv4 address inside, before it looks here.
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64 for local use"),
    ("100::/64", "discard-only"),
    ("100:0:0:1::/64", "the IPv6 dummy prefix"),
    ("2001::/32", "Teredo"),
    ("2001:1::1/128", "port control (PCP) anycast"),
    ("2001:1::2/128", "relays (TURN) anycast"),
    ("2001:1::3/128", "service registration (DNS-SD) anycast"),
    ("2001:2::/48", "benchmarking"),
    ("2001:3::/32", "multicast tunnels (AMT)"),
    ("2001:4:112::/48", "AS112-v6"),
    ("2001:10::/28", "ORCHID"),
    ("2001:20::/28", "ORCHIDv2"),
    ("2001:30::/28", "drone remote identification"),
    ("2001::/23", "IETF protocol assignments"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("2620:4f:8000::/48", "AS112 direct delegation"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing (SRv6)"),
    ("fc00::/7", "private (unique local)"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    // The rest outside 2000::/3: only that is allocated.
    ("::/3", "not global unicast"),
    ("4000::/3", "not global unicast"),
    ("6000::/3", "not global unicast"),
    ("8000::/3", "not global unicast"),
    ("a000::/3", "not global unicast"),
    ("c000::/3", "not global unicast"),
    ("e000::/4", "not global unicast"),
    ("f000::/4", "not global unicast"),
];

static V4_RANGES: LazyLock<Vec<Range>> = LazyLock::new(|| V4.iter().map(read).collect());
static V6_RANGES: LazyLock<Vec<Range>> = LazyLock::new(|| V6.iter().map(read).collect());

fn read((range, what): &(&str, &'static str)) -> Range {
    let (base, length) = range.split_once('/').expect("a range");
    let length = length.parse().expect("a length");
    let cidr = match base.parse().expect("an address") {
        IpAddr::V4(base) => Cidr::v4(base.octets(), length),
        IpAddr::V6(base) => Cidr::v6(base.segments(), length),
    };
    (cidr, what)
}

/// The range that an address is in, if no customer's server can be there.
pub fn find(ip: IpAddr) -> Option<&'static Range> {
    let holds = |range: &&Range| range.0.contains(ip);
    match ip {
        IpAddr::V4(_) => V4_RANGES.iter().find(holds),
        IpAddr::V6(_) => V6_RANGES.iter().find(holds),
    }
}
