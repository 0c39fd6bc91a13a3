//! Addresses at which no customer's server can be: all special-purpose ranges of IANA's
//! registries as of 2026-11, with what else is not global unicast, and the addresses of the
//! clouds' metadata services. Pure.
//!
//! Ranges that the registries call globally reachable (AS112, AMT and the like) are among them:
//! infrastructure is there, and nobody's webhooks.

use std::net::IpAddr;

use super::cidr::Cidr;

/// A range, and what it is for.
pub type Range = (Cidr, &'static str);

const fn v4(base: [u8; 4], length: u8, what: &'static str) -> Range {
    (Cidr::v4(base, length), what)
}

const fn v6(base: [u16; 8], length: u8, what: &'static str) -> Range {
    (Cidr::v6(base, length), what)
}

/// Of several that hold an address the first names it.
const V4: [Range; 31] = [
    v4([169, 254, 169, 254], 32, "the metadata service of clouds"),
    v4([169, 254, 170, 2], 32, "the credentials service of AWS ECS"),
    v4(
        [169, 254, 170, 23],
        32,
        "the credentials service of AWS EKS",
    ),
    v4(
        [100, 100, 100, 200],
        32,
        "the metadata service of Alibaba Cloud",
    ),
    v4([192, 0, 0, 192], 32, "the metadata service of Oracle Cloud"),
    // Of a public range: in no registry.
    v4(
        [168, 63, 129, 16],
        32,
        "the metadata service of Azure (WireServer)",
    ),
    v4([0, 0, 0, 0], 8, "this network"),
    v4([10, 0, 0, 0], 8, "private"),
    v4([100, 64, 0, 0], 10, "shared by carriers (CGNAT)"),
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([169, 254, 0, 0], 16, "link-local"),
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 0, 0, 8], 32, "the IPv4 dummy address"),
    v4([192, 0, 0, 9], 32, "port control (PCP) anycast"),
    v4([192, 0, 0, 10], 32, "relays (TURN) anycast"),
    v4([192, 0, 0, 170], 31, "NAT64/DNS64 discovery"),
    v4([192, 0, 0, 0], 29, "IPv4 service continuity (DS-Lite)"),
    v4([192, 0, 0, 0], 24, "IETF protocol assignments"),
    v4([192, 0, 2, 0], 24, "documentation (TEST-NET-1)"),
    v4([192, 31, 196, 0], 24, "AS112-v4"),
    v4([192, 52, 193, 0], 24, "multicast tunnels (AMT)"),
    v4([192, 88, 99, 2], 32, "6a44 relay anycast"),
    v4([192, 88, 99, 0], 24, "6to4 relay anycast"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([192, 175, 48, 0], 24, "AS112 direct delegation"),
    v4([198, 18, 0, 0], 15, "benchmarking"),
    v4([198, 51, 100, 0], 24, "documentation (TEST-NET-2)"),
    v4([203, 0, 113, 0], 24, "documentation (TEST-NET-3)"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([255, 255, 255, 255], 32, "broadcast"),
    v4([240, 0, 0, 0], 4, "reserved"),
];

const V6: [Range; 41] = [
    v6(
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
        128,
        "the metadata service of AWS",
    ),
    v6(
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
        128,
        "the credentials service of AWS EKS",
    ),
    v6(
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
        128,
        "the metadata service of Google Cloud",
    ),
    v6(
        [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],
        128,
        "the metadata service of Scaleway",
    ),
    v6([0; 8], 128, "unspecified"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated (SIIT)"),
    v6([0; 8], 96, "IPv4-compatible"),
    // Judged by the IPv4 address inside, before it comes to this.
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "NAT64 for local use"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard-only"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "the IPv6 dummy prefix"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    v6(
        [0x2001, 1, 0, 0, 0, 0, 0, 1],
        128,
        "port control (PCP) anycast",
    ),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "relays (TURN) anycast"),
    v6(
        [0x2001, 1, 0, 0, 0, 0, 0, 3],
        128,
        "service registration (DNS-SD) anycast",
    ),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "multicast tunnels (AMT)"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112-v6"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2"),
    v6(
        [0x2001, 0x30, 0, 0, 0, 0, 0, 0],
        28,
        "drone remote identification",
    ),
    v6(
        [0x2001, 0, 0, 0, 0, 0, 0, 0],
        23,
        "IETF protocol assignments",
    ),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    v6(
        [0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0],
        48,
        "AS112 direct delegation",
    ),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing (SRv6)"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private (unique local)"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
    // What is left of all that is not 2000::/3, which alone is given out.
    v6([0; 8], 3, "not global unicast"),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 3, "not global unicast"),
    v6([0x6000, 0, 0, 0, 0, 0, 0, 0], 3, "not global unicast"),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 3, "not global unicast"),
    v6([0xa000, 0, 0, 0, 0, 0, 0, 0], 3, "not global unicast"),
    v6([0xc000, 0, 0, 0, 0, 0, 0, 0], 3, "not global unicast"),
    v6([0xe000, 0, 0, 0, 0, 0, 0, 0], 4, "not global unicast"),
    v6([0xf000, 0, 0, 0, 0, 0, 0, 0], 4, "not global unicast"),
];

/// The range that an address is in, if no customer's server can be there.
pub fn find(ip: IpAddr) -> Option<&'static Range> {
    let holds = |range: &&Range| range.0.contains(ip);
    match ip {
        IpAddr::V4(_) => V4.iter().find(holds),
        IpAddr::V6(_) => V6.iter().find(holds),
    }
}
