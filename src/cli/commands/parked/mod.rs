//! `outhook parked`: look at messages that wait in Redis, for a time or for their endpoint, make
//! them due now, or delete them.

mod acts;

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::args::select::{ChangeArgs, CommonArgs, OrderArgs, SelectArgs};
use crate::cli::output::plan::Plan;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::tally::Tally;
use crate::cli::output::{LISTED, Out, Progress, Stop, ended, number_of, object, value};
use crate::cli::state::endpoints::Known;
use crate::cli::state::waiting::{Place, Then, each_page, url, with_url};
use crate::cli::state::why::{Why, why};
use crate::message::endpoint::Endpoint;
use crate::message::timestamp::{format_rfc3339, unix_ms};
use crate::store::{Admin, Fields, ParkedMessage};

#[derive(Debug, Args)]
pub struct ParkedArgs {
    #[command(subcommand)]
    pub act: ParkedAct,
}

/// The time of a waiting message is when it was received.
#[derive(Debug, Subcommand)]
pub enum ParkedAct {
    /// List messages and why they wait, one a line, the newest first. Without --limit, a file or a
    /// pipe gets all of them in the order in which they go
    List {
        #[command(flatten)]
        select: SelectArgs,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Show all fields of each message, in the same order
    Show {
        #[command(flatten)]
        select: SelectArgs,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Count messages by what they have in common
    Count {
        /// Fields to group by, in this order
        #[arg(
            long,
            value_name = "WHAT",
            value_enum,
            value_delimiter = ',',
            default_value = "endpoint"
        )]
        by: Vec<By>,
        #[command(flatten)]
        select: SelectArgs,
    },
    /// Make messages that wait for a time due now
    Flush {
        #[command(flatten)]
        select: SelectArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Delete messages; no dead letters are kept
    Purge {
        #[command(flatten)]
        select: SelectArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Delete messages by their id, and say of each what became of it
    Cancel {
        /// webhookId; repeatable
        #[arg(long = "id", value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Change nothing; say what would be cancelled
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum By {
    /// Scheme, host and port, or what else the backlog is named by
    Endpoint,
    Url,
    /// What they wait for
    Why,
}

const COLUMNS: [Column; 6] = [
    Column::number("waits"),
    Column::whole("due"),
    Column::number("attempts"),
    Column::cut("id", 16),
    Column::cut("url", 16),
    Column::cut("why", 10),
];

/// The error is a bad configuration, in one line.
pub fn run(args: &ParkedArgs) -> Result<ExitCode, String> {
    match &args.act {
        ParkedAct::Flush { select, .. } | ParkedAct::Purge { select, .. } => {
            select.choice.check_chosen(&[])?;
        }
        _ => {}
    }
    let redis = match &args.act {
        ParkedAct::List { select, .. }
        | ParkedAct::Show { select, .. }
        | ParkedAct::Count { select, .. }
        | ParkedAct::Flush { select, .. }
        | ParkedAct::Purge { select, .. } => &select.redis,
        ParkedAct::Cancel { common, .. } => &common.redis,
    };
    let (redis, keys) = (redis.open()?, redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        match &args.act {
            ParkedAct::List { select, order } => {
                let out = Out::list(select.json, &COLUMNS);
                show(&mut admin, select, order, out, |out, found| {
                    out.row(|| found.object(), || found.cells())
                })
            }
            ParkedAct::Show { select, order } => {
                let out = Out::new(select.json);
                show(&mut admin, select, order, out, |out, found| {
                    match select.json {
                        true => out.object(found.object()),
                        false => out.block(&found.for_people()),
                    }
                })
            }
            ParkedAct::Count { select, by } => count(&mut admin, select, by),
            ParkedAct::Flush { select, change } => {
                let plan = Plan {
                    change,
                    what: "message",
                    act: "make due",
                    done: "flushed",
                };
                acts::flush(&mut admin, select, &plan)
            }
            ParkedAct::Purge { select, change } => {
                let plan = Plan {
                    change,
                    what: "message",
                    act: "delete",
                    done: "purged",
                };
                acts::purge(&mut admin, select, &plan)
            }
            ParkedAct::Cancel {
                ids,
                dry_run,
                common,
            } => acts::cancel(&mut admin, ids, *dry_run, common.json),
        }
    };
    Ok(ended(work()))
}

/// One waiting message.
struct Found {
    place: Place,
    message: ParkedMessage,
    why: Why,
    now: u64,
}

fn show(
    admin: &mut Admin,
    select: &SelectArgs,
    order: &OrderArgs,
    mut out: Out,
    print: impl Fn(&mut Out, &Found) -> std::io::Result<()>,
) -> Result<bool, Stop> {
    let now = unix_ms(SystemTime::now());
    let is_short = out.is_watched() && select.choice.limit.is_none() && !select.choice.all;
    let limit = if is_short {
        Some(LISTED)
    } else {
        select.choice.limit
    };
    let mut nearest = Nearest {
        keep: limit,
        is_oldest: order.oldest,
        rows: Vec::new(),
    };
    let mut known = None;
    let (mut all, mut progress) = (0, Progress::new("read"));
    let mut print_it = |known: Option<&Known>, (place, message): (Place, ParkedMessage)| {
        let why = why(&message, &place, known, now);
        print(
            &mut out,
            &Found {
                place,
                message,
                why,
                now,
            },
        )
    };
    // The limit is of what is printed, not of what is read.
    let select = select.choice.without_limit();
    each_page(admin, &select, |admin, place, page| {
        all += page.len() as u64;
        if known.is_none() && place.backlog().is_some() {
            known = Some(Known::ask(admin, "")?);
        }
        for message in page {
            match limit {
                Some(_) => nearest.push((place.clone(), message)),
                None => print_it(known.as_ref(), (place.clone(), message))?,
            }
        }
        progress.at(all);
        Ok(Then::Stays)
    })?;
    drop(progress);
    for row in nearest.sorted() {
        print_it(known.as_ref(), row)?;
    }
    out.flush()?;
    if is_short && all > LISTED {
        let which = if order.oldest { "oldest" } else { "newest" };
        eprintln!("outhook: the {LISTED} {which} of {all}; --limit or --all lists more");
    }
    if all == 0 && select.is_narrow() {
        eprintln!("outhook: no parked message has this id; outhook status says more");
    }
    Ok(all > 0 || !select.is_narrow())
}

/// Keeps those that were received last, or first.
struct Nearest {
    keep: Option<u64>,
    is_oldest: bool,
    rows: Vec<(Place, ParkedMessage)>,
}

impl Nearest {
    fn push(&mut self, row: (Place, ParkedMessage)) {
        self.rows.push(row);
        let most = self.keep.unwrap_or(u64::MAX) as usize;
        // Sorted seldom, and never much more than is wanted.
        if self.rows.len() >= most.saturating_mul(2).max(100) {
            self.sort(most);
        }
    }

    fn sort(&mut self, most: usize) {
        self.rows.sort_by_key(|(_, message)| message.received);
        if !self.is_oldest {
            self.rows.reverse();
        }
        self.rows.truncate(most);
    }

    fn sorted(mut self) -> Vec<(Place, ParkedMessage)> {
        self.sort(self.keep.unwrap_or(u64::MAX) as usize);
        self.rows
    }
}

fn count(admin: &mut Admin, select: &SelectArgs, by: &[By]) -> Result<bool, Stop> {
    let now = unix_ms(SystemTime::now());
    let mut tally = Tally::new(by.iter().map(|by| by.name()).collect());
    let (mut known, mut progress) = (None, Progress::new("counted"));
    each_page(admin, &select.choice, |admin, place, page| {
        if known.is_none() && place.backlog().is_some() && by.contains(&By::Why) {
            known = Some(Known::ask(admin, "")?);
        }
        for message in page {
            let of = |by: &By| match by {
                By::Endpoint => endpoint_of(place, &message),
                By::Url => url(&message.fields).unwrap_or_default(),
                By::Why => why(&message, place, known.as_ref(), now).word.to_owned(),
            };
            tally.add(by.iter().map(of).collect(), message.received);
        }
        progress.at(tally.total());
        Ok(Then::Stays)
    })?;
    drop(progress);
    tally.print(select.json).map(|()| true)
}

/// For which endpoint a message waits.
fn endpoint_of(place: &Place, message: &ParkedMessage) -> String {
    match place {
        Place::Backlog(name) => name.clone(),
        Place::Time => {
            let url = url(&message.fields).unwrap_or_default();
            Endpoint::parse(&url).map_or(url, |endpoint| endpoint.origin.to_string())
        }
    }
}

impl Found {
    fn waits(&self) -> Option<u64> {
        let received = Some(self.message.received).filter(|ms| *ms > 0);
        received.map(|received| self.now.saturating_sub(received))
    }

    fn object(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut object = object(&with_url(self.message.fields.clone()));
        match &self.place {
            Place::Time => {
                object.insert("due".into(), format_rfc3339(self.message.due).into());
                object.insert("due_ms".into(), self.message.due.into());
            }
            Place::Backlog(name) => drop(object.insert("backlog".into(), name.as_str().into())),
        }
        object.insert("waits_ms".into(), self.waits().into());
        object.insert("waits_for".into(), self.why.word.into());
        object.insert("why".into(), self.why.text.as_str().into());
        object
    }

    fn for_people(&self) -> Fields {
        let mut fields = with_url(self.message.fields.clone());
        match &self.place {
            Place::Time => fields.push(("due_ms".into(), self.message.due.to_string().into())),
            Place::Backlog(name) => fields.push(("backlog".into(), name.clone().into())),
        }
        fields.push(("why".into(), self.why.text.clone().into()));
        fields
    }

    fn cells(&self) -> Vec<Cell> {
        let fields = &self.message.fields;
        let due = match self.place {
            Place::Time => Cell::Time(self.message.due),
            Place::Backlog(_) => Cell::Nothing,
        };
        let why = match self.why.word {
            "failing" | "gone" | "no_replica" => Cell::Bad(self.why.text.clone()),
            "paused" | "disabled" => Cell::Warning(self.why.text.clone()),
            _ => Cell::Text(self.why.text.clone()),
        };
        vec![
            self.waits().map_or(Cell::Nothing, Cell::Length),
            due,
            number_of(fields, "attempts").map_or(Cell::Nothing, Cell::Count),
            Cell::text(value(fields, "id")),
            Cell::Text(url(fields).unwrap_or_default()),
            why,
        ]
    }
}

impl By {
    pub fn name(self) -> &'static str {
        match self {
            By::Endpoint => "endpoint",
            By::Url => "url",
            By::Why => "waits_for",
        }
    }
}
