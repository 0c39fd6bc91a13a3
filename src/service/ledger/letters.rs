//! What the log says of dead letters that are kept: the first of each reason and endpoint, then how
//! many more there are.

use std::time::Instant;

use log::warn;

use crate::delivery::parked::Parked;
use crate::delivery::{AttemptResult, DeadLetter, DeadReason};
use crate::message::RejectReason;
use crate::message::log_name::origin_of;
use crate::service::digest::{Digest, More};

/// See the module's header.
#[derive(Default)]
pub struct LetterLog(Digest<DeadReason, Death>);

/// What a line says of one dead letter.
struct Death {
    name: String,
    /// Its id, if it has one.
    id: Option<String>,
    endpoint: Option<String>,
    source: String,
    /// What its last attempt came to.
    status: Option<u64>,
    error: Option<String>,
    says: String,
}

impl LetterLog {
    /// This one is kept now, in `place`.
    pub fn note(&mut self, letter: &DeadLetter, place: &str, now: Instant) {
        let from = endpoint_of(letter).unwrap_or(&letter.source);
        let death = self.0.note(letter.reason, from, || Death::of(letter), now);
        if let Some(death) = death {
            death.log(letter.reason, place);
        }
    }

    /// So is this, as another of its id and URL came before.
    pub fn note_reused(&mut self, parked: &Parked, place: &str, now: Instant) {
        let (reason, endpoint) = (DeadReason::IdReused, origin_of(&parked.url));
        let death = || Death {
            name: parked.id.to_string(),
            id: Some(parked.id.to_string()),
            endpoint: endpoint.map(str::to_owned),
            source: parked.source.to_string(),
            status: None,
            error: None,
            says: "another message with this id and url came before, within --bridge-dedup".into(),
        };
        let from = endpoint.unwrap_or(&parked.source);
        if let Some(death) = self.0.note(reason, from, death, now) {
            death.log(reason, place);
        }
    }

    /// When [`LetterLog::tell`] has something to say.
    pub fn next(&self) -> Option<Instant> {
        self.0.next()
    }

    /// Says how many more there are, if it is time.
    pub fn tell(&mut self, now: Instant) {
        self.0.due(now).iter().for_each(log_more);
    }

    /// The end has come.
    pub fn end(&mut self, now: Instant) {
        self.0.rest(now).iter().for_each(log_more);
    }
}

/// Nothing if its URL is no URL.
fn endpoint_of(letter: &DeadLetter) -> Option<&str> {
    let is_refused = letter.reason == DeadReason::Rejected(RejectReason::BadUrl);
    letter
        .url
        .as_deref()
        .filter(|_| !is_refused)
        .and_then(origin_of)
}

impl Death {
    fn of(letter: &DeadLetter) -> Death {
        let (status, error) = match letter.last.as_ref().map(|last| &last.result) {
            Some(AttemptResult::Response { status, .. }) => (Some(u64::from(*status)), None),
            Some(AttemptResult::Failure { kind, .. }) => (None, Some(kind.to_string())),
            None => (None, None),
        };
        Death {
            name: letter.name(),
            id: letter.id.as_ref().map(|id| id.to_string()),
            endpoint: endpoint_of(letter).map(str::to_owned),
            source: letter.source.to_string(),
            status,
            error,
            says: letter.detail.sentence().to_owned(),
        }
    }

    fn log(&self, reason: DeadReason, place: &str) {
        let Death {
            name, source, says, ..
        } = self;
        let kind = reason.to_string();
        let to = match &self.endpoint {
            Some(endpoint) => format!("to {endpoint}"),
            None => format!("from {source}"),
        };
        warn!(
            event = "dead", reason = kind.as_str(), count = 1, id = self.id,
            endpoint = self.endpoint, source = source.as_str(), status = self.status,
            error = self.error;
            "dead ({kind}): {name} {to}, kept in {place}: {says}"
        );
    }
}

fn log_more(more: &More<DeadReason, Death>) {
    let More {
        kind,
        place,
        count,
        within,
        example,
    } = more;
    let kind = kind.to_string();
    let to = match (place, &example.endpoint) {
        (None, _) => "of others".to_owned(),
        (Some(_), Some(endpoint)) => format!("to {endpoint}"),
        (Some(_), None) => format!("from {}", example.source),
    };
    let endpoint = example.endpoint.as_ref().filter(|_| place.is_some());
    let (seconds, says) = (within.as_secs().max(1), &example.says);
    let time = humantime::format_duration(std::time::Duration::from_secs(seconds));
    warn!(
        event = "dead", reason = kind.as_str(), count = count, seconds = seconds,
        id = example.id, endpoint = endpoint, status = example.status, error = example.error;
        "dead ({kind}): and {count} more {to} in {time}, one of them {}: {says}",
        example.name
    );
}
