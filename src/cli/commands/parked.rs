//! `outhook parked`: look at messages that wait in Redis, for a time or for their endpoint, make
//! them due now, or delete them.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::cli::args::select::SelectArgs;
use crate::cli::output::{Out, Progress, Stop, ended};
use crate::message::peek;
use crate::message::timestamp;
use crate::store::{Admin, Fields, ParkedMessage};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct ParkedArgs {
    #[command(subcommand)]
    pub act: ParkedAct,
}

#[derive(Debug, Subcommand)]
pub enum ParkedAct {
    /// List messages, one a line: first those that wait for a time, in the order of that time, then
    /// those that wait for their endpoint
    List(SelectArgs),
    /// Make messages that wait for a time due now
    Flush(SelectArgs),
    /// Delete messages
    Purge(SelectArgs),
}

const COLUMNS: [&str; 6] = ["due", "backlog", "id", "attempts", "url", "source"];

/// The error is a bad configuration, in one line.
pub fn run(args: &ParkedArgs) -> Result<ExitCode, String> {
    let select = match &args.act {
        ParkedAct::List(s) => s,
        ParkedAct::Flush(s) | ParkedAct::Purge(s) => {
            s.check_chosen()?;
            s
        }
    };
    if select.reason.is_some() {
        return Err("--reason: parked messages have none; it is for dead letters".into());
    }
    let (redis, keys) = (select.redis.open()?, select.redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        match &args.act {
            ParkedAct::List(s) => list(&mut admin, s),
            ParkedAct::Flush(s) => flush(&mut admin, s),
            ParkedAct::Purge(s) => purge(&mut admin, s),
        }
    };
    Ok(ended(work()))
}

fn list(admin: &mut Admin, select: &SelectArgs) -> Result<bool, Stop> {
    let mut out = Out::new(select.json);
    let now = timestamp::unix_ms(SystemTime::now());
    let (mut start, mut found, mut left) = (0, 0, select.limit.unwrap_or(u64::MAX));
    loop {
        let page = admin.parked(start)?;
        start += page.len();
        if page.is_empty() || left == 0 {
            break;
        }
        for message in page {
            if left > 0 && select.waits(&message.fields, message.due) {
                let mut fields = with_url(message.fields);
                let due = timestamp::format_rfc3339(message.due).into_bytes();
                fields.insert(0, ("due".into(), due));
                out.line(&fields, &COLUMNS)?;
                (left, found) = (left - 1, found + 1);
            }
        }
    }
    for (name, _) in admin.backlogs()? {
        let mut start = 0;
        while left > 0 {
            let page = admin.backlog(&name, start)?;
            start += page.len();
            if page.is_empty() {
                break;
            }
            for message in page {
                if left > 0 && select.waits(&message.fields, now) {
                    let mut fields = with_url(message.fields);
                    fields.insert(0, ("backlog".into(), name.clone().into_bytes()));
                    out.line(&fields, &COLUMNS)?;
                    (left, found) = (left - 1, found + 1);
                }
            }
        }
    }
    out.flush()?;
    if found == 0 && select.is_narrow() {
        eprintln!("outhook: no parked message has this id");
    }
    Ok(found > 0 || !select.is_narrow())
}

fn flush(admin: &mut Admin, select: &SelectArgs) -> Result<bool, Stop> {
    let mut left = select.limit.unwrap_or(u64::MAX);
    let done = flush_those(admin, |message| {
        let goes = left > 0 && select.waits(&message.fields, message.due);
        left -= u64::from(goes);
        goes
    })?;
    let mut out = Out::new(select.json);
    out.line(
        &[("flushed".into(), done.to_string().into_bytes())],
        &["flushed"],
    )?;
    out.flush()?;
    if done == 0 {
        eprintln!(
            "outhook: no message that waits for a time matches; see outhook parked list; messages \
             that wait for their endpoint go with outhook endpoints resume"
        );
    }
    Ok(done > 0)
}

/// Deletes what is meant, wherever it waits.
fn purge(admin: &mut Admin, select: &SelectArgs) -> Result<bool, Stop> {
    let mut left = select.limit.unwrap_or(u64::MAX);
    let now = timestamp::unix_ms(SystemTime::now());
    let mut progress = Progress::new("purged");
    let names = admin.backlogs()?.into_iter().map(|(name, _)| Some(name));
    let mut done = 0;
    for name in std::iter::once(None).chain(names) {
        let mut start = 0;
        loop {
            let mut page = match &name {
                None => admin.parked(start)?,
                Some(name) => admin.backlog(name, start)?,
            };
            let read = page.len();
            page.retain(|message| {
                let at = if name.is_some() { now } else { message.due };
                let goes = left > 0 && select.waits(&message.fields, at);
                left -= u64::from(goes);
                goes
            });
            // What is deleted leaves the order, and what follows moves up.
            start += read - page.len();
            if !page.is_empty() {
                done += admin.purge_parked(name.as_deref(), &page)?;
                progress.at(done);
            }
            if read == 0 || left == 0 {
                break;
            }
        }
    }
    let mut out = Out::new(select.json);
    let count = done.to_string().into_bytes();
    out.line(&[("purged".into(), count)], &["purged"])?;
    out.flush()?;
    if done == 0 {
        eprintln!("outhook: no waiting message matches; see outhook parked list");
    }
    Ok(done > 0)
}

/// Makes due now what is parked and meant, but for what is not to be delivered yet. Answers how
/// many.
pub(super) fn flush_those(
    admin: &mut Admin,
    mut is_meant: impl FnMut(&ParkedMessage) -> bool,
) -> Result<u64, Stop> {
    let mut progress = Progress::new("flushed");
    let now = timestamp::unix_ms(SystemTime::now());
    // Some are parked again behind us, at once; each is moved once, and no more than there are now.
    let most = admin.parked_count()? as u64;
    let mut moved = HashSet::new();
    let mut done = 0;
    loop {
        let before = done;
        let mut start = 0;
        loop {
            let mut page = admin.parked(start)?;
            let read = page.len();
            page.retain(|message| {
                let at = peek_at(&message.fields).and_then(|(_, at)| at);
                let early = at.is_some_and(|at| at > now);
                !early && is_meant(message) && moved.insert(message.hash())
            });
            // What is moved leaves the order, and what follows moves up.
            start += read - page.len();
            if !page.is_empty() {
                done += admin.flush(&page)?;
                progress.at(done);
            }
            if read == 0 || done >= most {
                break;
            }
        }
        // What replicas took out meanwhile has moved up others that we passed over.
        if done == before || done >= most {
            return Ok(done);
        }
    }
}

/// What a parked message says of itself, in its producer's words.
fn peek_at(fields: &Fields) -> Option<(String, Option<u64>)> {
    let message = fields.iter().find(|(name, _)| name == "message");
    peek(&message?.1)
}

/// The URL is in the message alone.
pub(super) fn with_url(mut fields: Fields) -> Fields {
    if let Some(url) = url(&fields) {
        fields.push(("url".into(), url.into_bytes()));
    }
    fields
}

/// Where a parked message goes, as its producer wrote it.
pub(super) fn url(fields: &Fields) -> Option<String> {
    peek_at(fields).map(|(url, _)| url)
}

impl SelectArgs {
    fn waits(&self, fields: &Fields, due: u64) -> bool {
        let in_time = self.since.is_none_or(|t| due >= t) && self.until.is_none_or(|t| due <= t);
        // Read only where it is asked for.
        in_time
            && match self.url {
                Some(_) => self.covers(&with_url(fields.clone()), ""),
                None => self.covers(fields, ""),
            }
    }
}
