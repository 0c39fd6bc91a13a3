//! When to try again. Pure: the same message and attempt give the same delay, on any
//! replica and after any restart, because jitter is a hash and not a random number.

use std::time::{Duration, SystemTime};

/// The longest delay that a `Retry-After` may ask for. A longer one is cut to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// At most this many parts of a `Retry-After`, between commas, are read.
const MAX_WISHES: usize = 32;

/// The longest single delay that may be configured.
pub const DELAY_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many attempts a message gets, and the delays between them.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySchedule {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    pub delays: Delays,
    /// Share of a delay that may be added to it (0.2: up to 20 % later). Never subtracted,
    /// so that a schedule is also a promise of how long a receiver is left alone.
    pub jitter: f64,
}

/// The delays between attempts, before jitter.
#[derive(Debug, Clone, PartialEq)]
pub enum Delays {
    /// `base`, twice that, four times …, at most `max`.
    Doubling { base: Duration, max: Duration },
    /// One delay after each failed attempt; the last one repeats.
    List(Vec<Duration>),
}

impl RetrySchedule {
    /// The delay after the `made`-th attempt (1 is the first) of message `id` has failed; `None`
    /// when there are no delays at all. The caller knows how many attempts there are, because a
    /// message may bring its own number.
    pub fn delay(&self, id: &str, made: u32) -> Option<Duration> {
        let delay = self.before_jitter(made)?;
        Some(delay.mul_f64(1.0 + self.jitter * unit(id, made)))
    }

    fn before_jitter(&self, made: u32) -> Option<Duration> {
        let step = made.saturating_sub(1);
        match &self.delays {
            Delays::Doubling { base, max } => {
                let factor = 2u32.saturating_pow(step);
                Some(base.checked_mul(factor).unwrap_or(*max).min(*max))
            }
            Delays::List(list) => list.get(step as usize).or(list.last()).copied(),
        }
    }

    /// How long all attempts take at most, each up to `timeout`, if nothing holds them up.
    pub fn longest(&self, timeout: Duration) -> Duration {
        let delays = (1..self.attempts).filter_map(|made| self.before_jitter(made));
        let delays: Duration = delays.sum();
        delays.mul_f64(1.0 + self.jitter) + timeout.saturating_mul(self.attempts)
    }

    /// One attempt more than there are delays.
    pub fn list(delays: Vec<Duration>, jitter: f64) -> Self {
        RetrySchedule {
            attempts: delays.len() as u32 + 1,
            delays: Delays::List(delays),
            jitter,
        }
    }

    /// Reads delays: `standard`, or a list as `5s,5m,30m`.
    pub fn parse_list(text: &str) -> Result<Vec<Duration>, String> {
        if text == "standard" {
            return Ok(Self::standard());
        }
        let read = |delay: &str| humantime::parse_duration(delay.trim()).ok();
        let delays: Option<Vec<Duration>> = text.split(',').map(read).collect();
        delays
            .filter(|delays| delays.iter().all(|p| *p <= DELAY_MAX))
            .ok_or_else(|| {
                "it must be \"standard\" or a list as 5s,5m,30m, none longer than 30 days".into()
            })
    }

    /// The schedule that the Standard Webhooks specification recommends: ten attempts
    /// over three days.
    pub fn standard() -> Vec<Duration> {
        const HOUR: u64 = 3600;
        [
            5,
            300,
            1800,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ]
        .map(Duration::from_secs)
        .to_vec()
    }
}

/// A number in [0, 1) that depends on the message and the attempt alone.
fn unit(id: &str, attempt: u32) -> f64 {
    // FNV-1a, then the finaliser of SplitMix64, as FNV alone leaves the high bits poor.
    // Written out because std's hasher may change between releases, and due times that
    // are kept in Redis must not.
    let mut h = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    h ^= u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^= h >> 31;
    (h >> 11) as f64 / (1u64 << 53) as f64
}

/// Reads a `Retry-After` header: seconds, or an HTTP date. A value that cannot be read, or that
/// lies in the past, asks for nothing. A longer delay than [`RETRY_AFTER_MAX`] is cut to it.
/// Proxies may add values of their own: the longest one that need not be cut counts.
///
/// `date` is the answer's own `Date`: a wish that is a date is counted from it, so that a
/// receiver whose clock is wrong gets the pause that it means.
pub fn parse_retry_after(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let reference = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    let reference = reference.unwrap_or(now);
    let parts: Vec<&str> = value.split(',').take(MAX_WISHES).collect();
    let single = parts.iter().filter_map(|part| parse_wish(part, reference));
    // Most dates have a comma behind the day of the week.
    let pairs = parts.windows(2).filter_map(|pair| {
        let date = format!("{},{}", pair[0], pair[1]);
        parse_wish(&date, reference)
    });
    let wishes: Vec<Duration> = single.chain(pairs).collect();
    let sensible = wishes.iter().filter(|wish| **wish <= RETRY_AFTER_MAX).max();
    match (sensible, wishes.is_empty()) {
        (Some(wish), _) => Some(*wish),
        (None, false) => Some(RETRY_AFTER_MAX),
        (None, true) => None,
    }
}

fn parse_wish(value: &str, reference: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than u64 holds are still a wish, and a long one.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    until.duration_since(reference).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn doubling(attempts: u32, jitter: f64) -> RetrySchedule {
        RetrySchedule {
            attempts,
            delays: Delays::Doubling {
                base: SEC,
                max: 3600 * SEC,
            },
            jitter,
        }
    }

    #[test]
    fn doubles_up_to_the_cap() {
        let s = doubling(40, 0.0);
        let got: Vec<u64> = (1..=14)
            .map(|n| s.delay("a", n).unwrap().as_secs())
            .collect();
        assert_eq!(
            got,
            [
                1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600
            ]
        );
        assert_eq!(s.delay("a", u32::MAX), Some(3600 * SEC));
    }

    #[test]
    fn jitter_only_adds_and_spreads_evenly() {
        let s = doubling(5, 0.2);
        let delays: Vec<f64> = (0..4000)
            .map(|n| s.delay(&format!("id-{n}"), 1).unwrap().as_secs_f64())
            .collect();
        assert!(delays.iter().all(|d| (1.0..1.2).contains(d)));
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        assert!((1.09..1.11).contains(&mean), "{mean}");
        assert_eq!(s.delay("a", 2), s.delay("a", 2));
        assert_ne!(s.delay("a", 1), s.delay("b", 1));
    }

    #[test]
    fn a_list_is_followed_and_its_last_delay_repeats() {
        let s = RetrySchedule {
            attempts: 4,
            delays: Delays::List(vec![5 * SEC, 300 * SEC, 1800 * SEC]),
            jitter: 0.0,
        };
        let got: Vec<_> = (1..=4).map(|n| s.delay("a", n)).collect();
        assert_eq!(got, [5, 300, 1800, 1800].map(|s| Some(s * SEC)));
        let none = RetrySchedule::list(Vec::new(), 0.0);
        assert_eq!(none.delay("a", 1), None);
    }

    #[test]
    fn the_longest_time_is_that_of_all_delays_and_attempts() {
        assert_eq!(doubling(5, 0.0).longest(SEC), (1 + 2 + 4 + 8 + 5) * SEC);
        assert_eq!(doubling(1, 0.5).longest(SEC), SEC);
        let standard = RetrySchedule::list(RetrySchedule::standard(), 0.2);
        let hours = standard.longest(15 * SEC).as_secs_f64() / 3600.0;
        assert!((90.0..91.5).contains(&hours), "{hours}");
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = httpdate::parse_http_date("Wed, 25 Nov 2026 01:00:00 GMT").unwrap();
        for (value, wish) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("86401", Some(86400)),
            ("99999999999999999999999", Some(86400)),
            ("Wed, 25 Nov 2026 01:02:00 GMT", Some(120)),
            ("Wednesday, 25-Nov-26 01:02:00 GMT", Some(120)),
            ("Fri, 25 Dec 2026 01:00:00 GMT", Some(86400)),
            ("Wed, 25 Nov 2026 00:59:59 GMT", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("Wed Nov 25 01:02:00 2026", Some(120)),
            ("2, 5", Some(5)),
            ("5,2,", Some(5)),
            ("2, soon", Some(2)),
            ("2, 99999999999", Some(2)),
            ("86401, 99999999999", Some(86400)),
            ("-1, 1.5", None),
            ("7, Wed, 25 Nov 2026 01:02:00 GMT", Some(120)),
            ("Wed, 25 Nov 2026 01:02:00 GMT, 300", Some(300)),
            (
                "Wed, 25 Nov 2026 01:02:00 GMT, Wed, 25 Nov 2026 01:03:00 GMT",
                Some(180),
            ),
        ] {
            let got = parse_retry_after(value, None, now).map(|d| d.as_secs());
            assert_eq!(got, wish, "{value:?}");
        }
    }

    #[test]
    fn of_endless_wishes_only_the_first_are_read() {
        let now = SystemTime::UNIX_EPOCH;
        let wishes = |n: usize| format!("{}9", "1,".repeat(n));
        let seconds = |value: &str| parse_retry_after(value, None, now).map(|d| d.as_secs());
        assert_eq!(seconds(&wishes(MAX_WISHES - 1)), Some(9));
        assert_eq!(seconds(&wishes(MAX_WISHES)), Some(1));
        assert_eq!(seconds(&",".repeat(1 << 20)), None);
    }

    #[test]
    fn a_date_is_counted_from_the_answers_own_date() {
        let now = httpdate::parse_http_date("Wed, 25 Nov 2026 01:00:00 GMT").unwrap();
        let slow = Some(" Wed, 25 Nov 2026 00:00:00 GMT");
        for (value, date, wish) in [
            ("Wed, 25 Nov 2026 00:01:00 GMT", slow, Some(60)),
            ("Wed, 25 Nov 2026 00:01:00 GMT", None, None),
            ("Wed, 25 Nov 2026 00:01:00 GMT", Some("today"), None),
            ("Tue, 24 Nov 2026 23:59:59 GMT", slow, None),
            ("7", slow, Some(7)),
            (
                "Wed, 25 Nov 2026 03:00:10 GMT",
                Some("Wed, 25 Nov 2026 03:00:00 GMT"),
                Some(10),
            ),
        ] {
            let got = parse_retry_after(value, date, now).map(|d| d.as_secs());
            assert_eq!(got, wish, "{value:?} {date:?}");
        }
    }
}
