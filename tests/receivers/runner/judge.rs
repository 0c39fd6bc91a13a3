//! Whether what a sender did is right: pure, from the case and what was seen.

use super::case::{Case, Failed, Message, duration};
use super::progress::Outcome;
use super::receiver::Log;
use super::script::latin1;
use super::wire::Seen;

/// What was wrong, a line each; none if all was right.
pub fn faults(
    case: &Case,
    ids: &[String],
    port: u16,
    outcomes: &[Option<Outcome>],
    log: &Log,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (n, message) in case.message.iter().enumerate() {
        let which = if case.message.len() == 1 {
            String::new()
        } else {
            format!("message {}: ", n + 1)
        };
        match &outcomes[n] {
            None => faults.push(format!(
                "{which}never settled, or never let go by the script"
            )),
            Some(outcome) => {
                let wrong = judge(message, outcome);
                faults.extend(wrong.into_iter().map(|wrong| format!("{which}{wrong}")));
            }
        }
    }
    let mut count = |what: &str, wanted: Option<usize>, seen: usize| {
        if wanted.is_some_and(|wanted| wanted != seen) {
            faults.push(format!(
                "{what}: expected {}, got {seen}",
                wanted.unwrap_or_default()
            ));
        }
    };
    count("connections", case.connections, log.connections);
    count("requests", case.requests, log.requests.len());
    if let Some(tls) = &case.tls {
        let resumed = log
            .handshakes
            .iter()
            .filter(|shaken| shaken.resumed)
            .count();
        count("resumed sessions", tls.resumed, resumed);
        if let Some(wanted) = &tls.server_name {
            for shaken in &log.handshakes {
                let name = shaken.server_name.as_deref().unwrap_or("none");
                if name != wanted {
                    faults.push(format!("server name: expected {wanted:?}, got {name:?}"));
                }
            }
        }
    }
    for (n, wanted) in case.request.iter().enumerate() {
        let fill = |text: &str| {
            text.replace("{port}", &port.to_string())
                .replace("{id}", ids.get(n).map_or("", String::as_str))
        };
        match log.requests.get(n) {
            None => faults.push(format!("request {}: never came", n + 1)),
            Some(seen) => faults.extend(compare(wanted, seen, n + 1, fill)),
        }
    }
    faults
}

/// Only what became of the messages, as senders have words and numbers of their own.
pub fn is_right_about_messages(case: &Case, outcomes: &[Option<Outcome>]) -> bool {
    let mut pairs = case.message.iter().zip(outcomes);
    pairs.all(|(message, outcome)| {
        let Some(outcome) = outcome else {
            return false;
        };
        let failed = !outcome.delivered;
        match (&message.delivered, &message.failed) {
            (Some(_), _) => outcome.delivered,
            (_, Some(Failed::Status(status))) => failed && outcome.status == Some(*status),
            _ => failed,
        }
    })
}

fn judge(message: &Message, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let right_end = match (&message.delivered, &message.failed, &message.refused) {
        (Some(status), _, _) => outcome.delivered && outcome.status == Some(*status),
        (_, Some(Failed::Status(status)), _) => {
            !outcome.delivered && outcome.status == Some(*status)
        }
        (_, Some(Failed::Kind(kind)), _) => {
            !outcome.delivered
                && outcome
                    .kind
                    .as_deref()
                    .is_some_and(|got| kind.split('|').any(|one| one == today(got)))
        }
        (_, _, reason) => outcome.refused.is_some() && outcome.refused == *reason,
    };
    if !right_end {
        wrong.push(format!(
            "expected {}, got {}",
            expected(message),
            got(outcome)
        ));
    } else {
        for part in &message.says {
            if !part.split('|').any(|one| holds(&outcome.text, one)) {
                wrong.push(format!("the error must say {part:?}: {:?}", outcome.text));
            }
        }
        for part in message
            .never_says
            .iter()
            .filter(|part| holds(&outcome.text, part))
        {
            wrong.push(format!(
                "the error must not say {part:?}: {:?}",
                outcome.text
            ));
        }
    }
    let attempts = message
        .attempts
        .unwrap_or(if message.refused.is_some() { 0 } else { 1 });
    if right_end && outcome.attempts.is_some_and(|made| made != attempts) {
        wrong.push(format!(
            "attempts: expected {attempts}, got {}",
            outcome.attempts.unwrap_or_default()
        ));
    }
    if let Some(most) = message
        .within
        .as_deref()
        .and_then(|text| duration(text).ok())
        && outcome.took > most
    {
        wrong.push(format!(
            "took {:?}; at most {most:?} is right",
            outcome.took
        ));
    }
    wrong
}

/// `broken` is what outhook called `protocol` first.
fn today(kind: &str) -> &str {
    match kind {
        "broken" => "protocol",
        kind => kind,
    }
}

fn holds(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

pub fn expected(message: &Message) -> String {
    match (&message.delivered, &message.failed, &message.refused) {
        (Some(status), _, _) => format!("delivered {status}"),
        (_, Some(Failed::Status(status)), _) => format!("failed {status}"),
        (_, Some(Failed::Kind(kind)), _) => format!("failed {kind}"),
        (_, _, reason) => format!("refused {}", reason.as_deref().unwrap_or_default()),
    }
}

pub fn got(outcome: &Outcome) -> String {
    let status = outcome.status.map(|status| status.to_string());
    match (&outcome.refused, outcome.delivered, status, &outcome.kind) {
        (Some(reason), ..) => format!("refused {reason} ({})", outcome.text),
        (_, true, status, _) => format!("delivered {}", status.unwrap_or_default()),
        (_, _, Some(status), None) => format!("failed {status}"),
        (_, _, Some(status), Some(kind)) => {
            format!("failed {kind} after {status} ({})", outcome.text)
        }
        (_, _, None, Some(kind)) => format!("failed {kind} ({})", outcome.text),
        (_, _, None, None) => format!("failed ({})", outcome.text),
    }
}

fn compare(
    wanted: &super::case::Request,
    seen: &Seen,
    n: usize,
    fill: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut faults = Vec::new();
    let head: String = seen.head.iter().map(|&b| char::from(b)).collect();
    if let Some(line) = wanted.line.as_deref().map(&fill)
        && seen.line() != line
    {
        faults.push(format!(
            "request {n}: its line must be {line:?}, is {:?}",
            seen.line()
        ));
    }
    for part in wanted
        .has
        .iter()
        .map(|part| fill(part))
        .filter(|part| !head.contains(part))
    {
        faults.push(format!(
            "request {n}: its head must hold {part:?}: {head:?}"
        ));
    }
    for part in wanted
        .lacks
        .iter()
        .map(|part| fill(part))
        .filter(|part| head.contains(part))
    {
        faults.push(format!(
            "request {n}: its head must not hold {part:?}: {head:?}"
        ));
    }
    if let Some(body) = &wanted.body
        && latin1(body).ok().as_deref() != Some(&seen.body)
    {
        faults.push(format!(
            "request {n}: its body must be {body:?}, is {:?}",
            String::from_utf8_lossy(&seen.body)
        ));
    }
    faults
}
