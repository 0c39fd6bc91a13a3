//! The endpoints file: rules within their bounds, or one sentence.

use std::sync::Arc;
use std::time::Duration;

use super::assert_sentence;
use crate::delivery::endpoints_file::{Bounds, Readers, parse};
use crate::delivery::retry_schedule::{DELAY_MAX, Delays, RetrySchedule};
use crate::delivery::rules::{Defaults, EndpointRule, Match};
use crate::message::MAX_ATTEMPTS;
use crate::message::endpoint::Endpoint;

const SECOND: Duration = Duration::from_secs(1);

/// The text of a file; JSON where it begins with a brace.
pub fn endpoints(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let name = match text.starts_with('{') {
        true => "a.json",
        false => "a.toml",
    };
    let bounds = bounds();
    let no_file = |path: &str| Err(format!("{path} is not there"));
    let readers = Readers {
        authorities: &no_file,
        secret: &|path| Err(format!("{path} is not there")),
    };
    match parse(&text, name, &bounds, readers, Defaults::default()) {
        Ok(rules) => {
            for rule in rules.iter() {
                check(rule, &bounds);
            }
        }
        Err(e) => {
            assert_sentence(&e);
            assert!(e.len() < 2500, "{} bytes", e.len());
        }
    }
}

fn bounds() -> Bounds {
    Bounds {
        schedule: RetrySchedule {
            attempts: 5,
            delays: Delays::Doubling {
                base: SECOND,
                max: SECOND,
            },
            jitter: 0.2,
        },
        timeout: 20 * SECOND,
        usual_timeout: 15 * SECOND,
        max_age: 86_400 * SECOND,
        workers: 128,
        guard: Arc::default(),
    }
}

fn check(rule: &EndpointRule, bounds: &Bounds) {
    assert!(rule.pace.is_none_or(|pace| !pace.is_zero()), "no rate");
    assert!(rule.max_in_flight.is_none_or(|n| (1..=128).contains(&n)));
    assert!(
        rule.timeout
            .is_none_or(|t| !t.is_zero() && t <= 20 * SECOND)
    );
    if let Some(schedule) = &rule.schedule {
        let timeout = rule.timeout.unwrap_or(bounds.usual_timeout);
        assert!(schedule.attempts >= 1);
        assert!(
            rule.max_age
                .is_some_and(|age| age >= schedule.longest(timeout))
        );
        let delays = (1..=schedule.attempts.min(MAX_ATTEMPTS)).map(|n| schedule.delay("a", n));
        let longest = DELAY_MAX.mul_f64(1.0 + schedule.jitter);
        assert!(delays.flatten().all(|pause| pause <= longest));
    }
    // What a rule is for is shown as it is written, and read as it is shown.
    let shown = rule.matches.to_string();
    assert_sentence(&shown);
    match &rule.matches {
        Match::Prefix(prefix) => {
            let endpoint = Endpoint::parse(&shown).expect("it was read");
            assert_eq!(endpoint.url, *prefix);
        }
        Match::Host(host) => assert!(!host.ends_with('.') && *host == host.to_lowercase()),
    }
}
