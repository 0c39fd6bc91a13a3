//! IPv4 addresses that are embedded in IPv6 addresses. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 address of which this is only another notation: mapped, compatible, SIIT, and NAT64
/// with the well-known prefix. No host has such an address.
pub fn notation(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else {
        return None;
    };
    match ip.segments() {
        // ::1 and :: are no IPv4 addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(last(ip)),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last(ip)),
        _ => None,
    }
}

/// The IPv4 address that a NAT64 gateway with the well-known prefix sends to. With DNS64 all IPv4
/// servers have such addresses, so the embedded one counts.
pub fn behind_nat64(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V6(ip) if ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => Some(last(ip)),
        _ => None,
    }
}

/// The IPv4 address in an ISATAP interface identifier, which routers of that kind send to.
pub fn behind_isatap(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V6(ip) if matches!(ip.segments()[4..6], [0 | 0x200, 0x5efe]) => Some(last(ip)),
        _ => None,
    }
}

/// The IPv4 address inside an IPv6 address, in any of the known forms.
pub fn any(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else {
        return None;
    };
    match v6.segments() {
        [0x64, 0xff9b, 1, ..] => Some(last(v6)),
        [0x2002, a, b, ..] => Some(of(a, b)),
        [0x2001, 0, .., a, b] => Some(of(!a, !b)),
        _ => notation(ip).or_else(|| behind_isatap(ip)),
    }
}

fn last(ip: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b] = ip.segments();
    of(a, b)
}

fn of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}
