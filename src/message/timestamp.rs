//! Times as people write them. Pure.

use std::time::{Duration, SystemTime};

/// The end of the year 9999, beyond which RFC 3339 has no form.
pub const LATEST_MS: u64 = 253_402_300_799_999;

/// Reads an RFC 3339 time, with `Z` or an offset, into Unix milliseconds. Times before 1970
/// are not read.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    // The crate knows only `Z`.
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return utc_ms(utc);
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let part = |digits: &str, bound: u64| {
        let all_digits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        all_digits
            .then(|| digits.parse::<u64>().ok())?
            .filter(|n| *n < bound)
    };
    let minutes = part(hours, 24)? * 60 + part(minutes, 60)?;
    let (ms, offset_ms) = (utc_ms(local)?, minutes * 60_000);
    match offset.as_bytes()[0] {
        b'+' => ms.checked_sub(offset_ms),
        b'-' => Some(ms + offset_ms),
        _ => None,
    }
}

/// Writes Unix milliseconds as RFC 3339 in UTC.
pub fn format_rfc3339(ms: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(ms.min(LATEST_MS));
    humantime::format_rfc3339_millis(time).to_string()
}

fn utc_ms(text: &str) -> Option<u64> {
    // The crate also takes a blank for the T, which RFC 3339 leaves to agreement.
    let time = humantime::parse_rfc3339_weak(&format!("{text}Z").to_uppercase()).ok()?;
    Some(unix_ms(time))
}

/// Unix milliseconds of `time`; 0 for times before 1970.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offsets_and_written_in_utc() {
        let noon = 1_798_718_400_000;
        for (text, ms) in [
            ("2026-12-31T12:00:00Z", Some(noon)),
            ("2026-12-31T12:00:00.250Z", Some(noon + 250)),
            ("2026-12-31t12:00:00z", Some(noon)),
            ("2026-12-31T14:00:00+02:00", Some(noon)),
            ("2026-12-31T08:30:00.5-03:30", Some(noon + 500)),
            ("1970-01-01T00:00:00+00:01", None),
            ("2026-12-31T12:00:00+24:00", None),
            ("2026-12-31T12:00:00*02:00", None),
            ("2026-12-31T12:00:00+2:00", None),
            ("2026-02-30T12:00:00Z", None),
            ("2026-12-31", None),
            ("tomorrow", None),
            ("日本語", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), ms, "{text}");
        }
        assert_eq!(format_rfc3339(noon + 250), "2026-12-31T12:00:00.250Z");
        assert!(format_rfc3339(u64::MAX).starts_with("9999"));
    }
}
