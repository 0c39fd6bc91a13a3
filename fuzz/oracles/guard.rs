//! The address guard, held against another list of what is special that knows nothing of the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::message::Message;
use crate::message::endpoint::Endpoint;
use crate::trust::guard::Guard;

/// A URL; or, behind a NUL, the 4 or 16 bytes of an address.
pub fn guard(bytes: &[u8]) {
    let guard = Guard::default();
    if let Some(rest) = bytes.strip_prefix(&[0]) {
        if let Some(ip) = rest.first_chunk::<16>() {
            check(&guard, IpAddr::from(*ip));
        } else if let Some(ip) = rest.first_chunk::<4>() {
            check(&guard, IpAddr::from(*ip));
        }
        return;
    }
    let Ok(url) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(endpoint) = Endpoint::parse(url) else {
        return;
    };
    assert!(!endpoint.origin.contains('@'), "{url:?}");
    let host = endpoint.host();
    match host.parse::<IpAddr>() {
        Ok(ip) => check(&guard, ip),
        Err(_) => assert_name(host),
    }
    // Whoever writes it into a message gets the same.
    let text = format!("{{\"url\":{},\"data\":1}}", serde_json::Value::from(url));
    let read = |url: &str| Endpoint::parse(url).map(Arc::new);
    let message = Message::parse(text.into_bytes(), usize::MAX, || "a".into(), read);
    assert_eq!(message.expect("it was read").endpoint.url, endpoint.url);
}

/// No look-up takes it for an address: not getaddrinfo, whose numbers may be short, octal or hexadecimal,
/// nor anybody who decodes it once more.
fn assert_name(host: &str) {
    let plain = |b: u8| b.is_ascii_graphic() && !b"%@/?#\\:[]<>^|".contains(&b);
    assert!(!host.is_empty() && host.bytes().all(plain), "{host:?}");
    let last = host.rsplit('.').next().unwrap_or_default();
    let digits = last.bytes().all(|b| b.is_ascii_digit());
    let hex = last.strip_prefix("0x");
    let hex = hex.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(!digits && !hex, "{host:?} is a number");
    assert!(!host.bytes().any(|b| b.is_ascii_uppercase()), "{host:?}");
}

fn check(guard: &Guard, ip: IpAddr) {
    match guard.check(ip) {
        Ok(checked) => {
            assert_eq!(checked.ip(), ip);
            assert!(!is_special(ip), "{ip} is allowed");
        }
        Err(refusal) => super::assert_sentence(&refusal.to_string()),
    }
}

fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_special_v4(ip),
        IpAddr::V6(ip) => is_special_v6(ip),
    }
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || matches!(
            (a, b, c),
            (0 | 240..=255, _, _) | (192, 0, 0) | (192, 88, 99)
        )
        || matches!((a, b), (100, 64..=127) | (198, 18..=19))
}

fn is_special_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, _, _, _, g, h] = ip.segments();
    let inside = |g: u16, h: u16| is_special_v4((u32::from(g) << 16 | u32::from(h)).into());
    match (a, b) {
        // NAT64 leads to the address inside.
        (0x64, 0xff9b) if ip.segments()[2..6] == [0; 4] => inside(g, h),
        // 6to4, Teredo, benchmarks, ORCHID, documentation.
        (0x2002, _) | (0x2001, 0x0 | 0xdb8) => true,
        (0x2001, 0x2) => c == 0,
        (0x2001, 0x10..=0x2f) => true,
        (0x3fff, 0..=0xfff) => true,
        _ => a & 0xe000 != 0x2000,
    }
}
