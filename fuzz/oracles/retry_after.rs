//! `Retry-After`: whatever it asks for, nobody waits for longer than a day.

use std::time::{Duration, SystemTime};

use crate::delivery::retry_schedule::{RETRY_AFTER_MAX, parse_retry_after};

/// The value, and the answer's `Date` behind a line end.
pub fn retry_after(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (value, date) = match text.split_once('\n') {
        Some((value, date)) => (value, Some(date)),
        None => (&*text, None),
    };
    // 25 November 2026, 1:00.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_568_400);
    let wish = parse_retry_after(value, date, now);
    assert!(wish.is_none_or(|wish| wish <= RETRY_AFTER_MAX), "{wish:?}");

    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(u64::MAX);
        let wanted = Duration::from_secs(seconds).min(RETRY_AFTER_MAX);
        assert_eq!(wish, Some(wanted));
    }
    if !value.contains(',') {
        // What stands twice says the same as once.
        let twice = format!("{value}, {value}");
        assert_eq!(parse_retry_after(&twice, date, now), wish, "{twice:?}");
    }
}
