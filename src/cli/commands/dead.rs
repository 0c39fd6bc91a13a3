//! `outhook dead`: look at dead letters, replay them, delete them.

use std::process::ExitCode;

use crate::cli::args::select::SelectArgs;
use crate::cli::output::{Out, Progress, Stop, ended};
use crate::message::timestamp;
use crate::store::{Admin, Fields};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct DeadArgs {
    #[command(subcommand)]
    pub act: DeadAct,
}

#[derive(Debug, Subcommand)]
pub enum DeadAct {
    /// List dead letters, one a line, oldest first
    List(SelectArgs),
    /// Show all fields of each dead letter
    Show(SelectArgs),
    /// Send the messages again, with all their attempts before them
    Replay(SelectArgs),
    /// Delete dead letters
    Purge(SelectArgs),
}

const COLUMNS: [&str; 8] = [
    "time", "reason", "id", "url", "attempts", "status", "error", "entry",
];

/// The error is a bad configuration, in one line.
pub fn run(args: &DeadArgs) -> Result<ExitCode, String> {
    let select = match &args.act {
        DeadAct::List(s) | DeadAct::Show(s) => s,
        DeadAct::Replay(s) | DeadAct::Purge(s) => {
            s.check_chosen()?;
            s
        }
    };
    let (redis, keys) = (select.redis.open()?, select.redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        match &args.act {
            DeadAct::List(s) => show(&mut admin, s, |out, f| out.line(f, &COLUMNS)),
            DeadAct::Show(s) => show(&mut admin, s, |out, f| out.block(f)),
            DeadAct::Replay(s) => change(&mut admin, s, "replayed", Admin::replay),
            DeadAct::Purge(s) => change(&mut admin, s, "deleted", Admin::purge),
        }
    };
    Ok(ended(work()))
}

fn show(
    admin: &mut Admin,
    select: &SelectArgs,
    print: impl Fn(&mut Out, &Fields) -> std::io::Result<()>,
) -> Result<bool, Stop> {
    let mut out = Out::new(select.json);
    let mut found = 0;
    each_page(admin, select, |_, page| {
        for (_, fields) in &page {
            print(&mut out, fields)?;
        }
        found += page.len();
        Ok(())
    })?;
    out.flush()?;
    if found == 0 && select.is_narrow() {
        eprintln!("outhook: no dead letter has this id");
    }
    Ok(found > 0 || !select.is_narrow())
}

fn change(
    admin: &mut Admin,
    select: &SelectArgs,
    word: &'static str,
    act: impl Fn(&mut Admin, &[String]) -> Result<u64, crate::store::StoreError>,
) -> Result<bool, Stop> {
    let mut progress = Progress::new(word);
    let mut done = 0;
    each_page(admin, select, |admin, page| {
        let entries: Vec<String> = page.into_iter().map(|(entry, _)| entry).collect();
        done += act(admin, &entries)?;
        progress.at(done);
        Ok(())
    })?;
    drop(progress);
    let mut out = Out::new(select.json);
    out.line(&[(word.into(), done.to_string().into_bytes())], &[word])?;
    out.flush()?;
    if done == 0 {
        eprintln!("outhook: no dead letter matches; see outhook dead list");
    }
    Ok(done > 0)
}

/// Hands on those that are selected, page by page, with their entry and time among the fields.
fn each_page(
    admin: &mut Admin,
    select: &SelectArgs,
    mut act: impl FnMut(&mut Admin, Vec<(String, Fields)>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let bound = |time: Option<u64>, open: &str| time.map_or(open.to_owned(), |t| t.to_string());
    let mut from = Some(bound(select.since, "-"));
    let to = bound(select.until, "+");
    let mut left = select.limit.unwrap_or(u64::MAX);
    while let Some(start) = from.filter(|_| left > 0) {
        let (letters, next) = admin.dead(&start, &to)?;
        let mut page = Vec::new();
        for letter in letters {
            let mut fields = letter.fields;
            if left == 0 || !select.covers(&fields, &letter.entry) {
                continue;
            }
            left -= 1;
            let ms = letter
                .entry
                .split('-')
                .next()
                .and_then(|ms| ms.parse().ok());
            let time = timestamp::format_rfc3339(ms.unwrap_or_default());
            fields.insert(0, ("entry".into(), letter.entry.clone().into_bytes()));
            fields.insert(0, ("time".into(), time.into_bytes()));
            page.push((letter.entry, fields));
        }
        if !page.is_empty() {
            act(admin, page)?;
        }
        from = next;
    }
    Ok(())
}

impl SelectArgs {
    /// Whether finding nothing is worth an exit code.
    pub(super) fn is_narrow(&self) -> bool {
        !self.ids.is_empty()
    }

    pub(super) fn covers(&self, fields: &Fields, entry: &str) -> bool {
        let get = |name: &str| {
            let field = fields.iter().find(|(n, _)| n == name);
            field.map(|(_, value)| &value[..]).unwrap_or_default()
        };
        let is = |id: &String| id.as_bytes() == get("id") || id == entry;
        (self.ids.is_empty() || self.ids.iter().any(is))
            && self
                .reason
                .as_ref()
                .is_none_or(|r| r.as_bytes() == get("reason"))
            && self
                .url
                .as_ref()
                .is_none_or(|u| get("url").starts_with(u.as_bytes()))
    }
}
