//! All that is known of one message, in the order of time: for whoever has to find out why it came
//! twice, or not at all.

use std::collections::BTreeSet;

use super::clock::{At, seconds};
use super::endpoint::Arrival;
use super::judge::Judge;
use super::producer::Sent;
use super::trace::{Call, lossy};

/// How much of a command is shown.
const SHOWN: usize = 300;

/// Faults shortly before and after it are shown too.
const AROUND: At = At::from_secs(4);

pub fn tell(judge: &Judge, id: &str, sent: Option<&Sent>, arrivals: &[Arrival]) -> String {
    let mut events: Vec<(At, String)> = Vec::new();
    if let Some(at) = sent.and_then(|sent| sent.at) {
        events.push((at, "added".into()));
    }
    for arrival in arrivals.iter().filter(|a| a.id == id) {
        tell_arrival(arrival, &mut events);
    }
    let given = judge.trace.given.get(id).map_or(&[][..], Vec::as_slice);
    let mut names: BTreeSet<&str> = BTreeSet::from([id]);
    for g in given {
        names.insert(&g.entry);
        let (name, came) = (&judge.lives[g.life].name, g.came.map(seconds));
        let text = format!("Redis gives {} to {name}, came {came:?}", g.entry);
        events.push((g.at, text));
    }
    let calls = names
        .iter()
        .filter_map(|name| judge.trace.naming.get(*name));
    for number in calls.flatten().collect::<BTreeSet<_>>() {
        let call = &judge.trace.calls[*number];
        let name = &judge.lives[call.life].name;
        let text = format!("{name} asks on {}", describe(call));
        events.push((call.sent, text));
    }
    events.sort();
    let from = events.first().map_or(At::ZERO, |(at, _)| *at);
    let to = events.last().map_or(At::ZERO, |(at, _)| *at);
    tell_faults(judge, from.saturating_sub(AROUND), to + AROUND, &mut events);
    events.sort();
    let mut lines = vec![format!("--- the story of {id}: {sent:?}")];
    lines.extend(
        events
            .iter()
            .map(|(at, text)| format!("{} {text}", seconds(*at))),
    );
    lines.extend(log_lines(judge, id));
    lines.join("\n")
}

/// A command in one line, and its answer in another.
pub fn describe(call: &Call) -> String {
    let words: Vec<String> = call.words.iter().map(|w| lossy(w)).collect();
    let words: String = words.join(" ").chars().take(SHOWN).collect();
    let [sent, reached, answered, came] = [Some(call.sent), call.reached, call.answered, call.came]
        .map(|at| {
            let at = at.map(seconds);
            at.map_or("never".to_owned(), |at| at.trim().to_owned())
        });
    let answer: String = format!("{:?}", call.answer).chars().take(SHOWN).collect();
    format!(
        "{}: {words}\n           sent {sent} reached {reached} answered {answered} came {came}: {answer}",
        call.link
    )
}

fn tell_arrival(arrival: &Arrival, events: &mut Vec<(At, String)>) {
    let record = arrival.link.lock().unwrap();
    let [client, server, cut] =
        [record.client_left, record.server_left, record.cut].map(|at| at.map(seconds));
    drop(record);
    let text = format!(
        "arrives at endpoint {} from {} (sent {}): {:?}, {:?}; answered {:?}, heard {:?}; \
         its connection: client left {client:?}, server left {server:?}, cut {cut:?}",
        arrival.endpoint,
        arrival.life,
        seconds(arrival.sent),
        arrival.mood,
        arrival.status,
        arrival.answered.map(seconds),
        arrival.heard().map(seconds),
    );
    events.push((arrival.at, text));
}

fn tell_faults(judge: &Judge, from: At, to: At, events: &mut Vec<(At, String)>) {
    for fault in judge.faults.iter().filter(|f| f.span.overlaps(from, to)) {
        events.push((fault.span.from, format!("* {}", fault.line())));
    }
    for life in &judge.lives {
        let record = life.record.lock().unwrap();
        if record.ended.is_none_or(|ended| ended >= from) && life.spawned <= to {
            let text = format!(
                "* life {}: killed {:?}, terminated {:?}, ended {:?}, stops {:?}",
                life.name, record.killed, record.terminated, record.ended, record.stops
            );
            events.push((life.spawned, text));
        }
    }
}

fn log_lines(judge: &Judge, id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for life in &judge.lives {
        let record = life.record.lock().unwrap();
        let told = record.log.iter().filter(|line| {
            let word = format!("id={id} ");
            line.contains(&word)
        });
        lines.extend(told.map(|line| format!("         log of {}: {line}", life.name)));
    }
    lines
}
