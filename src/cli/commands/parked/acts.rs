//! Changes what waits: makes it due, or deletes it.

use std::time::SystemTime;

use serde_json::Value;

use super::{By, endpoint_of};
use crate::cli::args::select::{Choice, SelectArgs};
use crate::cli::output::plan::Plan;
use crate::cli::output::tally::Tally;
use crate::cli::output::{Out, Progress, Stop, value};
use crate::cli::state::waiting::{Then, covers, each_page, flush_those, is_early, url};
use crate::message::timestamp::unix_ms;
use crate::store::{Admin, ParkedMessage};

pub fn flush(admin: &mut Admin, select: &SelectArgs, plan: &Plan) -> Result<bool, Stop> {
    let now = unix_ms(SystemTime::now());
    if plan.counts(select.choice.is_narrow()) {
        let meant = tally(admin, &select.choice, |place, message| {
            place.is_none() && !is_early(message, now)
        })?;
        if !plan.is_agreed(select.json, &meant)? {
            return Ok(plan.change.dry_run);
        }
    }
    let mut left = select.choice.limit.unwrap_or(u64::MAX);
    let done = flush_those(admin, |message| {
        let goes = left > 0 && covers(&select.choice, message);
        left -= u64::from(goes);
        goes
    })?;
    plan.print(select.json, done)?;
    if done == 0 {
        eprintln!(
            "outhook: no message that waits for a time matches; see outhook parked list; messages \
             that wait for their endpoint go with outhook endpoints resume, and those with a \
             deliverAt not before it"
        );
    }
    Ok(done > 0)
}

/// Deletes what is meant, wherever it waits.
pub fn purge(admin: &mut Admin, select: &SelectArgs, plan: &Plan) -> Result<bool, Stop> {
    if plan.counts(select.choice.is_narrow()) {
        let meant = tally(admin, &select.choice, |_, _| true)?;
        if !plan.is_agreed(select.json, &meant)? {
            return Ok(plan.change.dry_run);
        }
    }
    let mut progress = Progress::new(plan.done);
    let mut done = 0;
    each_page(admin, &select.choice, |admin, place, page| {
        done += admin.purge_parked(place.backlog(), &page)?;
        progress.at(done);
        Ok(Then::Goes)
    })?;
    drop(progress);
    plan.print(select.json, done)?;
    if done == 0 {
        eprintln!("outhook: no waiting message matches; see outhook parked list");
    }
    Ok(done > 0)
}

/// Deletes messages that are named one by one, and says of each what became of it.
pub fn cancel(admin: &mut Admin, ids: &[String], dry_run: bool, json: bool) -> Result<bool, Stop> {
    let mut out = Out::new(json);
    let mut missing: Vec<&String> = ids.iter().collect();
    each_page(admin, &Choice::of_ids(ids), |admin, place, page| {
        let gone = if dry_run {
            0
        } else {
            admin.purge_parked(place.backlog(), &page)?
        };
        // Replicas may have taken some of them.
        let is_done = dry_run || gone == page.len() as u64;
        for message in &page {
            let id = String::from_utf8_lossy(value(&message.fields, "id")).into_owned();
            let url = url(&message.fields).unwrap_or_default();
            if !is_done {
                continue;
            }
            missing.retain(|wanted| **wanted != id);
            let word = if dry_run {
                "would be cancelled"
            } else {
                "cancelled"
            };
            let object = [
                ("id", Value::from(&*id)),
                ("url", Value::from(&*url)),
                ("cancelled", true.into()),
                ("dry_run", dry_run.into()),
            ];
            out.result(&object, &format!("{id} to {url}: {word}"))?;
        }
        Ok(if dry_run { Then::Stays } else { Then::Goes })
    })?;
    for id in &missing {
        let object = [("id", Value::from(&***id)), ("cancelled", false.into())];
        if json {
            out.result(&object, "")?;
        }
        eprintln!("outhook: {id} does not wait in Redis; outhook status {id} says more");
    }
    out.flush()?;
    Ok(missing.is_empty())
}

/// Counts what is meant by endpoint. `is_meant` gets the backlog in which it waits.
fn tally(
    admin: &mut Admin,
    select: &Choice,
    is_meant: impl Fn(Option<&str>, &ParkedMessage) -> bool,
) -> Result<Tally, Stop> {
    let mut tally = Tally::new(vec![By::Endpoint.name()]);
    let mut progress = Progress::new("counted");
    each_page(admin, select, |_, place, page| {
        for message in page.iter().filter(|m| is_meant(place.backlog(), m)) {
            let endpoint = endpoint_of(place, message);
            tally.add(vec![format!("for {endpoint}")], message.received);
        }
        progress.at(tally.total());
        Ok(Then::Stays)
    })?;
    Ok(tally)
}
