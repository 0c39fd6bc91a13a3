//! How values are written. Each error says what is allowed.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::delivery::config::Budget;
use crate::delivery::retry_schedule::DELAY_MAX;
use crate::trust::authorities::Authorities;

pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|e| format!("{e}; it must be a duration such as 500ms, 15s or 1h"))
}

pub fn delay(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::ZERO, DELAY_MAX)
}

pub fn drain(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::ZERO, Duration::from_secs(24 * 3600))
}

pub fn lease(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_secs(1), Duration::from_secs(24 * 3600))
}

pub fn keep(text: &str) -> Result<Duration, String> {
    bounded(
        text,
        Duration::from_secs(1),
        Duration::from_secs(31_557_600),
    )
}

/// Reads a file of certificates.
pub fn read_authorities(path: &str) -> Result<Authorities, String> {
    let pem = std::fs::read(path).map_err(|e| format!("{e}; it must be a readable PEM file"))?;
    Authorities::parse(&pem)
}

pub fn address(text: &str) -> Result<SocketAddr, String> {
    let parsed = text.trim().parse();
    parsed.map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:9000".into())
}

pub fn ip_address(text: &str) -> Result<IpAddr, String> {
    let parsed = text.trim().parse();
    parsed.map_err(|_| "it must be an IP address, such as 192.0.2.7 or 2001:db8::7".into())
}

/// A name server: an IP address, with a port or without.
pub fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    match bare.or_else(|_| text.parse()) {
        Ok(server) if server.port() != 0 && !server.ip().is_unspecified() => Ok(server),
        _ => Err(
            "it must be an IP address, with or without a port, such as 10.0.0.2 or [::1]:5353"
                .into(),
        ),
    }
}

pub fn prefix(text: &str) -> Result<String, String> {
    match nonempty(text)? {
        name if name.contains(['{', '}']) => Err("it must not contain { or }".into()),
        name => Ok(name),
    }
}

pub fn timeout(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_millis(1), Duration::from_secs(3600))
}

pub fn bounded(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let d = duration(text)?;
    let shown = humantime::format_duration;
    match (least..=most).contains(&d) {
        true => Ok(d),
        false => Err(format!(
            "it must be between {} and {}",
            shown(least),
            shown(most)
        )),
    }
}

/// An empty Redis has nearly as much: what is less was hardly meant for bytes.
const SMALLEST_BUDGET: u64 = 1 << 20;

/// `none`, a share as `80%`, or bytes, with or without a unit.
pub fn budget(text: &str) -> Result<Budget, String> {
    let text = text.trim().to_lowercase();
    let wrong = || "it must be bytes such as 512mb, a share such as 80%, or none".to_owned();
    if text == "none" {
        return Ok(Budget::None);
    }
    if let Some(share) = text.strip_suffix('%') {
        let share = share
            .parse()
            .ok()
            .filter(|share| (1.0..=100.0).contains(share));
        return share.map(Budget::Percent).ok_or_else(wrong);
    }
    let units = [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30), ("", 1)];
    let read = |(unit, bytes): (&str, u64)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(bytes).filter(|bytes| *bytes > 0)
    };
    let bytes = units.into_iter().find_map(read).ok_or_else(wrong)?;
    match bytes < SMALLEST_BUDGET {
        true => Err(format!(
            "it would be {bytes} bytes; it must be at least 1mb, or a share such as 80%"
        )),
        false => Ok(Budget::Bytes(bytes)),
    }
}

/// How a switch is written where it is no flag.
pub fn switch(text: &str) -> Result<bool, String> {
    match &*text.trim().to_lowercase() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("it must be true or false (or yes or no, on or off, 1 or 0)".into()),
    }
}

/// A whole number between these, both included.
pub fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| match text.trim().parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!("it must be a whole number from {least} to {most}")),
    }
}

pub fn share(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}

pub fn nonempty(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it must not be empty".into()),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_bytes_or_a_share_or_none() {
        for (text, read) in [
            ("none", Budget::None),
            ("80%", Budget::Percent(80.0)),
            (" 512MB ", Budget::Bytes(512 << 20)),
            ("2gb", Budget::Bytes(2 << 30)),
            ("2000000", Budget::Bytes(2_000_000)),
        ] {
            assert_eq!(budget(text), Ok(read), "{text}");
        }
        for bad in [
            "",
            "0",
            "80",
            "512kb",
            "0%",
            "101%",
            "mb",
            "1tb",
            "-1",
            "99999999999gb",
        ] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }
}
