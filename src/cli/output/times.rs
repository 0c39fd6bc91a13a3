//! Times and numbers as people say them. Pure.

use std::time::Duration;

use crate::message::timestamp::format_rfc3339;

/// A length to two digits or so: `48s`, `5m30s`, `2h`, `3d4h`.
pub fn coarse(length: Duration) -> String {
    let s = length.as_secs();
    let (m, h, d) = (s / 60, s / 3600, s / 86_400);
    let two = |big, unit, small, part| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{part}"),
    };
    match () {
        () if s < 120 => format!("{s}s"),
        () if m < 10 => two(m, 'm', s % 60, 's'),
        () if m < 180 => format!("{m}m"),
        () if h < 8 => two(h, 'h', m % 60, 'm'),
        () if h < 48 => format!("{h}h"),
        () if d < 8 => two(d, 'd', h % 24, 'h'),
        () => format!("{d}d"),
    }
}

/// How far a time (Unix milliseconds) is from now: `3m ago`, `in 3m`.
pub fn ago(ms: u64, now: u64) -> String {
    match now.checked_sub(ms) {
        Some(past) => format!("{} ago", coarse(Duration::from_millis(past))),
        // What is said to be in five minutes must not be 4m59s a moment later.
        None => format!(
            "in {}",
            coarse(Duration::from_millis((ms - now).saturating_add(500)))
        ),
    }
}

/// A time with its distance: `2026-11-26T12:34:56Z (3m ago)`.
pub fn moment(ms: u64, now: u64) -> String {
    format!("{} ({})", to_the_second(ms), ago(ms, now))
}

/// RFC 3339, without what nobody reads.
pub fn to_the_second(ms: u64) -> String {
    let text = format_rfc3339(ms);
    let end = text.find('.').unwrap_or(text.len());
    format!("{}Z", &text[..end])
}

/// How long an answer took.
pub fn latency(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        ..10.0 => format!("{ms:.1}ms"),
        ..1000.0 => format!("{ms:.0}ms"),
        ..60_000.0 => format!("{:.1}s", ms / 1000.0),
        _ => coarse(time),
    }
}

/// `48,670`
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + 6);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_coarse_and_never_a_different_number() {
        for (s, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (600, "10m"),
            (7200, "120m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 62, "3h1m"),
            (8 * 3600 + 61, "8h"),
            (48 * 3600, "2d"),
            (3 * 86_400 + 4 * 3600, "3d4h"),
            (30 * 86_400, "30d"),
        ] {
            assert_eq!(coarse(Duration::from_secs(s)), text);
        }
        assert_eq!(ago(1000, 4000), "3s ago");
        assert_eq!(ago(301_000, 1_400), "in 5m");
        assert_eq!(
            moment(1_795_693_122_682, 1_795_693_182_682),
            "2026-11-26T11:38:42Z (60s ago)"
        );
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (48_670, "48,670")] {
            assert_eq!(count(n), text);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(latency(Duration::from_micros(1500)), "1.5ms");
        assert_eq!(latency(Duration::from_millis(2500)), "2.5s");
    }
}
