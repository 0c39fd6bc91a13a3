//! `outhook dead`: look at dead letters, count them, replay them, delete them.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::args::select::{ChangeArgs, Choice, OrderArgs, SelectArgs};
use crate::cli::output::plan::Plan;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::tally::Tally;
use crate::cli::output::{LISTED, Out, Progress, Stop, ended, object, value};
use crate::delivery::DeadReason;
use crate::message::endpoint::Endpoint;
use crate::message::timestamp;
use crate::store::{Admin, Fields, First, StoreError};

#[derive(Debug, Args)]
pub struct DeadArgs {
    #[command(subcommand)]
    pub act: DeadAct,
}

#[derive(Debug, Subcommand)]
pub enum DeadAct {
    /// List dead letters, one a line, the newest first
    List {
        #[command(flatten)]
        letters: Letters,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Show all fields of each dead letter, the newest first
    Show {
        #[command(flatten)]
        letters: Letters,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Count dead letters by what they have in common
    Count {
        /// Fields to group by, in this order
        #[arg(
            long,
            value_name = "WHAT",
            value_enum,
            value_delimiter = ',',
            default_value = "reason"
        )]
        by: Vec<By>,
        #[command(flatten)]
        letters: Letters,
    },
    /// Send the messages again, each with its full number of attempts
    Replay {
        #[command(flatten)]
        letters: Letters,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Delete dead letters
    Purge {
        #[command(flatten)]
        letters: Letters,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Which dead letters. Their time is when they died.
#[derive(Debug, Args)]
pub struct Letters {
    /// Only dead letters with this reason
    #[arg(long, value_name = "WORD", value_parser = reason)]
    pub reason: Option<String>,
    #[command(flatten)]
    pub select: SelectArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum By {
    /// Why it was given up
    Reason,
    /// Scheme, host and port
    Endpoint,
    Url,
    /// Result of the last attempt: a status, or a kind of error
    Status,
}

const COLUMNS: [Column; 6] = [
    Column::whole("died"),
    Column::whole("reason"),
    Column::number("attempts"),
    Column::cut("id", 16),
    Column::cut("url", 16),
    Column::cut("last", 10),
];

/// The error is a bad configuration, in one line.
pub fn run(args: &DeadArgs) -> Result<ExitCode, String> {
    let letters = match &args.act {
        DeadAct::List { letters, .. }
        | DeadAct::Show { letters, .. }
        | DeadAct::Count { letters, .. } => letters,
        DeadAct::Replay { letters, .. } | DeadAct::Purge { letters, .. } => {
            let is_given = letters.reason.is_some();
            letters
                .select
                .choice
                .check_chosen(&[("--reason", is_given)])?;
            letters
        }
    };
    let select = &letters.select;
    let (redis, keys) = (select.redis.open()?, select.redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        match &args.act {
            DeadAct::List { order, .. } => list(&mut admin, letters, order),
            DeadAct::Show { order, .. } => show(&mut admin, letters, order),
            DeadAct::Count { by, .. } => {
                let tally = tally(&mut admin, letters, by)?;
                tally.print(select.json).map(|()| true)
            }
            DeadAct::Replay { change, .. } => {
                let plan = Plan {
                    change,
                    what: "dead letter",
                    act: "replay",
                    done: "replayed",
                };
                act(&mut admin, letters, &plan, Admin::replay)
            }
            DeadAct::Purge { change, .. } => {
                let plan = Plan {
                    change,
                    what: "dead letter",
                    act: "delete",
                    done: "deleted",
                };
                act(&mut admin, letters, &plan, Admin::purge)
            }
        }
    };
    Ok(ended(work()))
}

fn list(admin: &mut Admin, letters: &Letters, order: &OrderArgs) -> Result<bool, Stop> {
    let mut out = Out::list(letters.select.json, &COLUMNS);
    let is_short =
        out.is_watched() && letters.select.choice.limit.is_none() && !letters.select.choice.all;
    let limit = if is_short { LISTED } else { u64::MAX };
    let shown = print(admin, letters, order, limit, |letter| {
        out.row(|| letter.object(), || letter.cells())
    })?;
    out.flush()?;
    let all = admin.dead_count()?;
    if is_short && shown == LISTED && all > LISTED {
        let which = if order.oldest { "oldest" } else { "newest" };
        eprintln!("outhook: the {LISTED} {which} of {all}; --limit or --all lists more");
    }
    is_found(shown, &letters.select.choice)
}

fn show(admin: &mut Admin, letters: &Letters, order: &OrderArgs) -> Result<bool, Stop> {
    let mut out = Out::new(letters.select.json);
    let json = letters.select.json;
    let shown = print(admin, letters, order, u64::MAX, |letter| match json {
        true => out.object(letter.object()),
        false => out.block(&letter.for_people()),
    })?;
    out.flush()?;
    is_found(shown, &letters.select.choice)
}

fn is_found(shown: u64, select: &Choice) -> Result<bool, Stop> {
    if shown == 0 && select.is_narrow() {
        eprintln!("outhook: no dead letter has this id; outhook status says more");
    }
    Ok(shown > 0 || !select.is_narrow())
}

fn print(
    admin: &mut Admin,
    letters: &Letters,
    order: &OrderArgs,
    limit: u64,
    mut print: impl FnMut(&Found) -> std::io::Result<()>,
) -> Result<u64, Stop> {
    let order = if order.oldest {
        First::Oldest
    } else {
        First::Newest
    };
    let mut shown = 0;
    each_page(admin, letters, order, limit, |_, page| {
        shown += page.len() as u64;
        page.iter().try_for_each(&mut print)?;
        Ok(())
    })?;
    Ok(shown)
}

fn tally(admin: &mut Admin, letters: &Letters, by: &[By]) -> Result<Tally, Stop> {
    let mut tally = Tally::new(by.iter().map(|by| by.name()).collect());
    let mut progress = Progress::new("counted");
    each_page(admin, letters, First::Oldest, u64::MAX, |_, page| {
        for letter in page {
            tally.add(
                by.iter().map(|by| by.of(&letter.fields)).collect(),
                letter.died,
            );
        }
        progress.at(tally.total());
        Ok(())
    })?;
    Ok(tally)
}

fn act(
    admin: &mut Admin,
    letters: &Letters,
    plan: &Plan,
    act: impl Fn(&mut Admin, &[String]) -> Result<u64, StoreError>,
) -> Result<bool, Stop> {
    let json = letters.select.json;
    if plan.counts(letters.select.choice.is_narrow()) {
        let meant = tally(admin, letters, &[By::Reason])?;
        if !plan.is_agreed(json, &meant)? {
            return Ok(plan.change.dry_run);
        }
    }
    let mut progress = Progress::new(plan.done);
    let mut done = 0;
    each_page(admin, letters, First::Oldest, u64::MAX, |admin, page| {
        let entries: Vec<String> = page.into_iter().map(|letter| letter.entry).collect();
        done += act(admin, &entries)?;
        progress.at(done);
        Ok(())
    })?;
    drop(progress);
    plan.print(json, done)?;
    if done == 0 {
        eprintln!("outhook: no dead letter matches; see outhook dead list");
    }
    Ok(done > 0)
}

/// One dead letter.
struct Found {
    entry: String,
    /// Unix milliseconds.
    died: u64,
    fields: Fields,
}

impl Found {
    fn object(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut object = object(&self.fields);
        let time = timestamp::format_rfc3339(self.died);
        object.insert("time".into(), time.into());
        object.insert("entry".into(), self.entry.as_str().into());
        object
    }

    fn for_people(&self) -> Fields {
        let mut fields = self.fields.clone();
        fields.push(("entry".into(), self.entry.clone().into_bytes()));
        if value(&fields, "dead_ms").is_empty() {
            fields.push(("dead_ms".into(), self.died.to_string().into_bytes()));
        }
        fields
    }

    fn cells(&self) -> Vec<Cell> {
        let get = |name| value(&self.fields, name);
        let id = match get("id") {
            // It can be named by its entry.
            [] => self.entry.as_bytes(),
            id => id,
        };
        let last = [get("status"), get("error"), get("detail")];
        let last = last.into_iter().find(|text| !text.is_empty());
        let attempts = std::str::from_utf8(get("attempts")).ok();
        vec![
            Cell::Time(self.died),
            Cell::text(get("reason")),
            attempts
                .and_then(|n| n.parse().ok())
                .map_or(Cell::Nothing, Cell::Count),
            Cell::text(id),
            Cell::text(get("url")),
            Cell::text(last.unwrap_or_default()),
        ]
    }
}

/// Hands on those that are meant, page by page.
fn each_page(
    admin: &mut Admin,
    letters: &Letters,
    order: First,
    limit: u64,
    mut act: impl FnMut(&mut Admin, Vec<Found>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let select = &letters.select.choice;
    let bound = |time: Option<u64>, open: &str| time.map_or(open.to_owned(), |t| t.to_string());
    let mut range = Some((bound(select.since, "-"), bound(select.until, "+")));
    let mut left = select.limit.unwrap_or(limit);
    while let Some((from, to)) = range.filter(|_| left > 0) {
        let (page, rest) = admin.dead(&from, &to, order)?;
        let mut meant = Vec::new();
        for letter in page {
            if left > 0 && letters.covers(&letter.fields, &letter.entry) {
                left -= 1;
                let ms = letter.entry.split('-').next();
                meant.push(Found {
                    died: ms.and_then(|ms| ms.parse().ok()).unwrap_or_default(),
                    entry: letter.entry,
                    fields: letter.fields,
                });
            }
        }
        if !meant.is_empty() {
            act(admin, meant)?;
        }
        range = rest;
    }
    Ok(())
}

impl Letters {
    fn covers(&self, fields: &Fields, entry: &str) -> bool {
        let get = |name| value(fields, name);
        let is_reason = |reason: &String| reason.as_bytes() == get("reason");
        self.select.choice.has_id(get("id"), entry)
            && self.select.choice.has_url(get("url"))
            && self.reason.as_ref().is_none_or(is_reason)
    }
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Reason => "reason",
            By::Endpoint => "endpoint",
            By::Url => "url",
            By::Status => "status",
        }
    }

    /// What a dead letter is counted as.
    fn of(self, fields: &Fields) -> String {
        let get = |name| String::from_utf8_lossy(value(fields, name)).into_owned();
        let url = get("url");
        match self {
            By::Reason => get("reason"),
            By::Url => url,
            By::Endpoint => match Endpoint::parse(&url) {
                Ok(endpoint) => endpoint.origin.to_string(),
                Err(_) => url,
            },
            By::Status => match (get("status"), get("error")) {
                (status, _) if !status.is_empty() => status,
                (_, error) => error.split(':').next().unwrap_or_default().to_owned(),
            },
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    let all: Vec<String> = DeadReason::all().map(|r| r.to_string()).collect();
    match all.iter().any(|known| known == text) {
        true => Ok(text.to_owned()),
        false => Err(format!("it must be one of {}", all.join(" "))),
    }
}
