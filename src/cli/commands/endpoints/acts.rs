//! Pauses endpoints, and resumes them.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::cli::output::times::to_the_second;
use crate::cli::output::{Out, Stop};
use crate::cli::state::endpoints::{APPLY_PATIENCE, Known, PATIENCE, Parked, badness};
use crate::cli::state::waiting::{flush_those, url};
use crate::delivery::hold::covers;
use crate::message::endpoint::Endpoint;
use crate::message::timestamp::unix_ms;
use crate::store::Admin;

/// What is known of an endpoint to which something is done.
struct About {
    /// Messages for it that wait in backlogs, and for a time.
    backlog: u64,
    parked: u64,
    /// Of it, or of URLs that belong to it.
    holds: usize,
    /// A replica has sent to it lately, something waits for it, or it is held.
    is_known: bool,
    is_failing: bool,
}

impl About {
    fn new(admin: &mut Admin, named: &str, known: &Known) -> Result<About, Stop> {
        let backlogs = known
            .backlogs
            .iter()
            .filter(|(name, _)| covers(named, name));
        let backlog = backlogs.map(|(_, waiting)| waiting.count).sum();
        let parked = Parked::count(admin, named)?.below(named).count;
        let mut lanes = known.lanes().peekable();
        Ok(About {
            backlog,
            parked,
            holds: known.holds.keys().filter(|key| covers(named, key)).count(),
            is_known: parked > 0 || backlog > 0 || lanes.peek().is_some(),
            is_failing: lanes.any(|(_, lane)| badness(&lane.state) > 1),
        })
    }

    fn waiting(&self) -> u64 {
        self.backlog + self.parked
    }
}

pub fn pause(
    admin: &mut Admin,
    named: &str,
    length: Option<Duration>,
    dry_run: bool,
    json: bool,
) -> Result<bool, Stop> {
    let now = unix_ms(SystemTime::now());
    let was_held = admin.holds()?.iter().any(|(key, _)| **key == *named);
    if !dry_run {
        admin.pause(named, length)?;
    }
    // Whoever answers has obeyed. The hold is kept for those that do not.
    let known = Known::ask_for(admin, named, APPLY_PATIENCE)?;
    known.print_missing(admin);
    let about = About::new(admin, named, &known)?;
    let (replicas, is_known) = (known.reports.len(), about.is_known || was_held);
    let until = length.map(|length| now + length.as_millis() as u64);
    let end = until.map_or("until it is resumed".into(), |until| {
        format!("until {}", to_the_second(until))
    });
    let object = [
        ("paused", Value::from(named)),
        ("until_ms", until.into()),
        ("replicas", replicas.into()),
        ("waiting", about.waiting().into()),
        ("known", is_known.into()),
        ("dry_run", dry_run.into()),
    ];
    let waiting = wait(about.waiting());
    let sentence = match dry_run {
        true => format!("{named}: {waiting}; would be paused {end}"),
        false => format!(
            "{named}: paused {end} on {}; {waiting}",
            replicas_of(replicas)
        ),
    };
    let mut out = Out::new(json);
    out.result(&object, &sentence)?;
    out.flush()?;
    if named.ends_with('/') && named.matches('/').count() == 3 {
        eprintln!(
            "outhook: this URL alone is paused; leave out the / at the end to pause the whole host"
        );
    }
    if !is_known {
        print_unknown(admin, named)?;
    }
    if was_held && !dry_run {
        // What is parked may be so for longer than the new pause.
        flush(admin, named)?;
    }
    Ok(known.is_complete())
}

pub fn resume(admin: &mut Admin, named: &str, dry_run: bool, json: bool) -> Result<bool, Stop> {
    let known = Known::ask_for(admin, named, PATIENCE)?;
    let before = About::new(admin, named, &known)?;
    let (mut lifted, mut flushed) = (before.holds, before.parked);
    let mut replicas = known.reports.len();
    if !dry_run {
        lifted = admin.resume(named)?;
        // Those that have not obeyed would park it as before.
        let known = Known::ask_for(admin, named, APPLY_PATIENCE)?;
        known.print_missing(admin);
        replicas = known.reports.len();
        flushed = flush(admin, named)?;
    }
    let is_known = before.is_known || lifted > 0;
    let object = [
        ("resumed", Value::from(named)),
        ("lifted", lifted.into()),
        ("flushed", flushed.into()),
        ("backlog", before.backlog.into()),
        ("replicas", replicas.into()),
        ("failing", before.is_failing.into()),
        ("known", is_known.into()),
        ("dry_run", dry_run.into()),
    ];
    let what = match (lifted, before.is_failing) {
        (0, true) => "was failing, and is tried at once".to_owned(),
        (0, false) => "was not held".to_owned(),
        (1, _) => "resumed".to_owned(),
        (n, _) => format!("resumed, with its {n} holds"),
    };
    let mut sentence = format!("{named}: {what}");
    if lifted > 0 || before.is_failing {
        sentence += &format!(" on {}", replicas_of(replicas));
    }
    if flushed > 0 {
        sentence += &format!("; {flushed} made due");
    }
    if before.backlog > 0 {
        sentence += &format!("; {} in its backlog go as it takes them", before.backlog);
    }
    if dry_run {
        sentence += " (--dry-run: nothing is done)";
    }
    let mut out = Out::new(json);
    out.result(&object, &sentence)?;
    out.flush()?;
    for (key, hold) in admin.holds()? {
        if covers(&key, named) && !dry_run {
            let cause = hold.cause;
            eprintln!("outhook: {key} is still {cause}, and {named} with it");
        }
    }
    if !is_known {
        print_unknown(admin, named)?;
    }
    // A name that nobody knows and nothing is held by is a mistake, as a rule.
    Ok(is_known)
}

/// Says that nobody knows it, and what may be meant.
pub fn print_unknown(admin: &mut Admin, named: &str) -> Result<(), Stop> {
    let all = Known::ask_for(admin, "", PATIENCE)?;
    // A hold of its own does not make it known.
    let hint = match all.nearest(named) {
        Some(near) => format!("did you mean {near}?"),
        None => "what has been quiet for a minute is forgotten; see outhook endpoints list".into(),
    };
    eprintln!("outhook: nobody knows {named}, and nothing waits for it: {hint}");
    Ok(())
}

fn wait(count: u64) -> String {
    match count {
        0 => "nothing waits for it".into(),
        1 => "1 message waits for it".into(),
        n => format!("{n} messages wait for it"),
    }
}

fn replicas_of(count: usize) -> String {
    match count {
        0 => "no replica, as none is running".into(),
        1 => "1 replica".into(),
        n => format!("{n} replicas"),
    }
}

/// Makes due what is parked for it. Answers how many.
fn flush(admin: &mut Admin, key: &str) -> Result<u64, Stop> {
    flush_those(admin, |message| {
        let to = url(&message.fields).and_then(|url| Endpoint::parse(&url).ok());
        to.is_some_and(|to| covers(key, &to.url))
    })
}
