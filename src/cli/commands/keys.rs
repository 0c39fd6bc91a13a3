//! `outhook keys`: look at messages that go one after another (`orderKey`), and let a key go on
//! whose head does not come.

use std::process::ExitCode;

use crate::cli::args::select::CommonArgs;
use crate::cli::args::values::nonempty;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::{Out, Stop, ended, object};
use crate::cli::state::waiting::with_url;
use crate::store::{Admin, Fields};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    pub act: KeyAct,
}

#[derive(Debug, Subcommand)]
pub enum KeyAct {
    /// List keys, one a line: where the first message is (an entry, parked or backlog), and how many
    /// follow it
    List {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Show the messages of a key, in their order
    Show {
        /// Origin and orderKey, as outhook keys list prints them
        #[arg(value_name = "KEY", value_parser = nonempty)]
        key: String,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Stop waiting for the first message of a key: the next one goes
    Skip {
        /// Origin and orderKey, as outhook keys list prints them
        #[arg(value_name = "KEY", value_parser = nonempty)]
        key: String,
        /// Change nothing; say which message would be skipped
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
}

const COLUMNS: [Column; 3] = [
    Column::whole("key"),
    Column::cut("head", 12),
    Column::number("followers"),
];

/// The error is a bad configuration, in one line.
pub fn run(args: &KeysArgs) -> Result<ExitCode, String> {
    let (KeyAct::List { common } | KeyAct::Show { common, .. } | KeyAct::Skip { common, .. }) =
        &args.act;
    let (redis, keys) = (common.redis.open()?, common.redis.keys()?);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        let mut out = Out::list(common.json, &COLUMNS);
        let good = match &args.act {
            KeyAct::List { .. } => list(&mut admin, &mut out),
            KeyAct::Show { key, .. } => show(&mut admin, &mut out, key),
            KeyAct::Skip { key, dry_run, .. } => skip(&mut admin, &mut out, key, *dry_run),
        }?;
        out.flush()?;
        Ok(good)
    };
    Ok(ended(work()))
}

fn list(admin: &mut Admin, out: &mut Out) -> Result<bool, Stop> {
    let mut cursor = 0;
    loop {
        let (page, next) = admin.keys(cursor)?;
        for found in page {
            let fields = || {
                let mut fields = place(&found.key, &found.head);
                fields.push(("followers".into(), found.followers.to_string().into_bytes()));
                object(&fields)
            };
            let cells = || {
                vec![
                    Cell::Text(found.key.clone()),
                    Cell::Text(found.head.clone()),
                    Cell::Count(found.followers),
                ]
            };
            out.row(fields, cells)?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(true);
        }
    }
}

fn show(admin: &mut Admin, out: &mut Out, key: &str) -> Result<bool, Stop> {
    let head = admin.head(key)?;
    if let Some(head) = &head {
        let mut fields = place(key, head);
        let entry = admin.head_entry(head)?;
        fields.extend(
            with_url(entry)
                .into_iter()
                .filter(|(name, _)| name != "head"),
        );
        out.block(&fields)?;
    }
    let mut start = 0;
    loop {
        let page = admin.followers(key, start)?;
        if page.is_empty() {
            break;
        }
        start += page.len();
        for message in page {
            out.block(&with_url(message.fields))?;
        }
    }
    if head.is_none() && start == 0 {
        print_unknown(key);
    }
    Ok(head.is_some() || start > 0)
}

fn skip(admin: &mut Admin, out: &mut Out, key: &str, dry_run: bool) -> Result<bool, Stop> {
    let head = admin.head(key)?;
    let Some(head) = head else {
        print_unknown(key);
        return Ok(false);
    };
    if !dry_run && !admin.skip(key, &head)? {
        eprintln!("outhook: the first message of the key has just changed; see outhook keys list");
        return Ok(false);
    }
    let object = [
        ("key", key.into()),
        ("skipped", head.as_str().into()),
        ("dry_run", dry_run.into()),
    ];
    let word = if dry_run {
        "would be skipped"
    } else {
        "is skipped"
    };
    out.result(
        &object,
        &format!("{key}: its first message ({head}) {word}"),
    )?;
    if !dry_run {
        eprintln!(
            "outhook: the next message of the key goes now; the skipped one may still be delivered, \
             after others or at the same time"
        );
    }
    Ok(true)
}

fn place(key: &str, head: &str) -> Fields {
    vec![("key".into(), key.into()), ("head".into(), head.into())]
}

fn print_unknown(key: &str) {
    eprintln!("outhook: there is no message with the key {key:?}; see outhook keys list");
}
