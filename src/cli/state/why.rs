//! Why a message waits. Redis says for what; only a replica knows how its endpoint is.

use std::time::{Duration, Instant};

use super::endpoints::{Known, short_error};
use super::waiting::{Place, peek_at};
use crate::cli::output::times::{ago, coarse};
use crate::cli::output::{number_of, value};
use crate::delivery::hold::{Cause, covers};
use crate::store::ParkedMessage;

/// What is due is taken sooner where a replica runs.
const TAKEN: u64 = 10_000;

/// See the module's header.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// For programs: this stays.
    pub word: &'static str,
    /// For people.
    pub text: String,
}

impl Why {
    fn new(word: &'static str, text: impl Into<String>) -> Why {
        Why {
            word,
            text: text.into(),
        }
    }
}

/// `now`: Unix milliseconds.
pub fn why(message: &ParkedMessage, place: &Place, known: Option<&Known>, now: u64) -> Why {
    match (place, known) {
        (Place::Backlog(name), Some(known)) => for_endpoint(message, name, known, now),
        (Place::Backlog(_), None) => Why::new("endpoint", "for its endpoint"),
        (Place::Time, _) => for_time(message, now),
    }
}

fn for_time(message: &ParkedMessage, now: u64) -> Why {
    let attempts = number_of(&message.fields, "attempts").unwrap_or_default();
    let last = last(message);
    if message.due.saturating_add(TAKEN) < now {
        let text = format!("was due {} and no replica takes it", ago(message.due, now));
        return Why::new("due", text);
    }
    if message.due <= now {
        return Why::new("due", "is due");
    }
    let at = peek_at(&message.fields).and_then(|glimpse| glimpse.deliver_at);
    match (attempts, at) {
        (0, Some(at)) if at > now => Why::new("deliver_at", "for its deliverAt"),
        (0, _) if last.is_empty() => Why::new("put_off", "put off before its first attempt"),
        (0, _) => Why::new("put_off", format!("put off: {last}")),
        (n, _) => {
            let plural = if n == 1 { "" } else { "s" };
            let last = if last.is_empty() {
                String::new()
            } else {
                format!(": {last}")
            };
            Why::new(
                "retry",
                format!("for its retry after {n} attempt{plural}{last}"),
            )
        }
    }
}

fn for_endpoint(message: &ParkedMessage, name: &str, known: &Known, now: u64) -> Why {
    let url = peek_at(&message.fields).map(|glimpse| glimpse.url);
    let url = url.unwrap_or_else(|| name.to_owned());
    let mut holds = known.holds.iter();
    let hold = holds.find(|(key, _)| *key == name || covers(key, &url));
    if let Some((_, hold)) = hold {
        let left = hold.left(Instant::now());
        let end = left.map_or("until it is resumed".into(), |left| {
            format!("for {} more", coarse(left))
        });
        return match hold.cause {
            Cause::Paused => Why::new("paused", format!("paused {end}")),
            Cause::Gone => Why::new("gone", format!("its URL answered 410; held {end}")),
        };
    }
    if known.heard == 0 {
        let last = last(message);
        let last = if last.is_empty() {
            String::new()
        } else {
            format!("; its endpoint: {last}")
        };
        return Why::new("no_replica", format!("no replica is running{last}"));
    }
    let Some(lane) = known.worst(name) else {
        return Why::new("unknown", "for a probe of its endpoint");
    };
    let error = short_error(lane);
    let since = lane.failing_since_ms.map(|ms| now.saturating_sub(ms));
    let since = since.map_or(String::new(), |ms| {
        format!(" for {}", coarse(Duration::from_millis(ms)))
    });
    match &*lane.state {
        "disabled" => Why::new("disabled", "disabled in the endpoints file"),
        "healthy" => Why::new("turn", "for its turn: its endpoint takes no more at a time"),
        "probing" => Why::new("failing", format!("failing{since}, probed now: {error}")),
        _ => Why::new("failing", format!("failing{since}: {error}")),
    }
}

/// What its last attempt came to, or what was wrong with its endpoint.
fn last(message: &ParkedMessage) -> String {
    let text = String::from_utf8_lossy(value(&message.fields, "last")).into_owned();
    text.strip_prefix("error=")
        .map_or(text.clone(), str::to_owned)
}
