//! The values of one `[[endpoint]]`, checked while they are read, so that an error has its line.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::{HeaderValue, Method};
use serde::{Deserialize, Deserializer, de::Error};

use crate::delivery::retry_schedule::RetrySchedule;
use crate::delivery::rules::Match;
use crate::message::endpoint::Endpoint;
use crate::message::headers::{self, Headers};

/// The longest `max_age`: a year.
const MAX_AGE: Duration = Duration::from_secs(31_557_600);

/// The least time between two starts that a rate may mean.
const LEAST_PACE: Duration = Duration::from_micros(1);

/// Reads a string and converts it with `make`.
fn read<'de, D: Deserializer<'de>, T>(
    d: D,
    make: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(d)?;
    let made = make(text.trim());
    made.map(Some)
        .map_err(|e| D::Error::custom(format!("{text:?}: {e}")))
}

pub fn prefix<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Match>, D::Error> {
    // In the form in which URLs are compared; it has a path, so that no name is cut in half.
    read(d, |text| Ok(Match::Prefix(Endpoint::parse(text)?.url)))
}

pub fn host<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Match>, D::Error> {
    read(d, |text| {
        let (star, name) = match text.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", text),
        };
        let host = plain_host(name).ok_or("it must be a host name, or *. and the end of one")?;
        if !star.is_empty() && (host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()) {
            return Err(format!("nothing is below the address {host}"));
        }
        Ok(Match::Host(format!("{star}{host}")))
    })
}

/// A host in the form that it has in parsed URLs. A rule with another spelling would match nothing,
/// and nobody would notice.
fn plain_host(text: &str) -> Option<String> {
    let name = match text.parse::<Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => text.to_owned(),
    };
    let is_more = name.contains(['/', '?', '#', '@', '*']);
    let has_port = name.contains(':') && !name.ends_with(']');
    if is_more || has_port {
        return None;
    }
    let endpoint = Endpoint::parse(&format!("http://{name}/")).ok()?;
    endpoint.uri.host().map(str::to_owned)
}

pub fn rate<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    read(d, |text| {
        let wrong = || "it must be a number for a second or a minute, as 100/s or 600/m".to_owned();
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let unit = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            _ => return Err(wrong()),
        };
        let count = match count.trim().parse::<u32>() {
            Ok(count) if count > 0 => count,
            _ => return Err(wrong()),
        };
        // A far greater rate would leave no time between two starts, and so be no limit.
        match unit / count {
            pace if pace >= LEAST_PACE => Ok(pace),
            _ => Err("it must be at most 1000000/s; without a limit, leave it out".into()),
        }
    })
}

pub fn timeout<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    read(d, |text| match humantime::parse_duration(text) {
        Ok(t) if t >= Duration::from_millis(1) => Ok(t),
        _ => Err("it must be a duration as 500ms or 5s".into()),
    })
}

pub fn max_age<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    read(d, |text| match humantime::parse_duration(text) {
        Ok(t) if t >= Duration::from_secs(1) && t <= MAX_AGE => Ok(t),
        _ => Err("it must be a duration as 30s or 7d, of a second to a year".into()),
    })
}

pub fn delays<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Duration>>, D::Error> {
    read(d, RetrySchedule::parse_list)
}

pub fn header_table<'de, D: Deserializer<'de>>(d: D) -> Result<Headers, D::Error> {
    let map = BTreeMap::<String, String>::deserialize(d)?;
    headers::vet(&map).map_err(D::Error::custom)
}

pub fn method<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Method>, D::Error> {
    read(d, |text| match text {
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        _ => Err("it must be POST, PUT or PATCH".into()),
    })
}

pub fn user_agent<'de, D: Deserializer<'de>>(d: D) -> Result<Option<HeaderValue>, D::Error> {
    read(d, |text| {
        let (_, value) = headers::check("user-agent", text)?;
        Ok(value)
    })
}
