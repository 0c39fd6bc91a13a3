//! How the operator's tools print, and why they stop.
//!
//! Everything has two forms: JSON (`--json`), whose keys stay, for programs; and text for people,
//! in which times are RFC 3339 with their distance, and the last line of a list is never wider than
//! the terminal. The pieces: [`table`] prints lists, [`plan`] says what is
//! about to be changed, [`tally`] counts by what is common,
//! [`terminal`] knows where the text goes and asks, [`times`] says times and numbers.

pub mod plan;
pub mod table;
pub mod tally;
pub mod terminal;
pub mod times;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};

use crate::cli::exit::exit_code;
use crate::message::printable::visible;
use crate::message::timestamp::unix_ms;
use crate::store::{Fields, StoreError, insert_bytes};
use table::{Cell, Column, Table};
use terminal::Screen;

/// Fields of Redis that are numbers in JSON, beside those whose names end in `_ms`.
const NUMBERS: [&str; 3] = ["followers", "attempts", "status"];

/// Those of `_ms` that are a length. The others are times.
const LENGTHS: [&str; 6] = [
    "took_ms",
    "waits_ms",
    "held_ms",
    "probe_in_ms",
    "p50_ms",
    "p99_ms",
];

/// In this order fields are shown to people: what it is, what is wrong, how it came to that, and
/// last what may be long. Others stand before `source`.
const ORDER: [&str; 25] = [
    "id",
    "entry",
    "key",
    "head",
    "url",
    "endpoint",
    "backlog",
    "state",
    "reason",
    "detail",
    "why",
    "attempts",
    "status",
    "error",
    "last",
    "received_ms",
    "last_attempt_ms",
    "dead_ms",
    "due_ms",
    "at_ms",
    "took_ms",
    "next_ms",
    "source",
    "answer",
    "message",
];

/// A list for people has as many, if nothing else is said.
pub const LISTED: u64 = 50;

/// Why a tool ends before its time.
pub enum Stop {
    /// Nobody reads any more (`| head`): a good end.
    Unread,
    Failed(String),
}

impl From<StoreError> for Stop {
    fn from(e: StoreError) -> Self {
        Stop::Failed(e.to_string())
    }
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Stop::Unread,
            _ => Stop::Failed(format!("standard output: {e}")),
        }
    }
}

/// Turns how a tool ended into an exit code; tells what failed.
pub fn ended(result: Result<bool, Stop>) -> ExitCode {
    match result {
        Ok(good) => exit_code(good),
        Err(Stop::Unread) => ExitCode::SUCCESS,
        Err(Stop::Failed(text)) => {
            eprintln!("outhook: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Standard output.
pub struct Out {
    out: BufWriter<io::Stdout>,
    json: bool,
    screen: Screen,
    table: Option<Table>,
    now: u64,
}

impl Out {
    pub fn new(json: bool) -> Out {
        Out {
            out: BufWriter::new(io::stdout()),
            json,
            screen: Screen::stdout(),
            table: None,
            now: unix_ms(SystemTime::now()),
        }
    }

    /// The same, for rows with these columns.
    pub fn list(json: bool, columns: &[Column]) -> Out {
        let mut out = Out::new(json);
        out.table = Some(Table::new(columns, out.screen, out.now));
        out
    }

    /// Somebody reads it as it comes.
    pub fn is_watched(&self) -> bool {
        self.screen.is_terminal && !self.json
    }

    /// A row of the list: an object, or its cells.
    pub fn row(
        &mut self,
        object: impl FnOnce() -> Map<String, Value>,
        cells: impl FnOnce() -> Vec<Cell>,
    ) -> io::Result<()> {
        match (self.json, &mut self.table) {
            (false, Some(table)) => table.push(&mut self.out, cells()),
            _ => self.object(object()),
        }
    }

    /// All `fields`, one a line, and an empty line; or an object.
    pub fn block(&mut self, fields: &[(String, Vec<u8>)]) -> io::Result<()> {
        if self.json {
            return self.object(object(fields));
        }
        let place = |name: &str| ORDER.iter().position(|known| *known == name);
        let source = place("source").unwrap_or_default();
        let mut fields: Vec<_> = fields.iter().collect();
        // What has no place there stands before the source.
        fields.sort_by_key(|(name, _)| place(name).map_or((source, 0), |at| (at, 1)));
        for (name, value) in fields {
            let label = name.strip_suffix("_ms").unwrap_or(name);
            let value = for_people(name, value, self.now);
            writeln!(self.out, "{:<16} {value}", visible(label))?;
        }
        writeln!(self.out)
    }

    /// What was done: an object, or a sentence.
    pub fn result(&mut self, object: &[(&str, Value)], sentence: &str) -> io::Result<()> {
        match self.json {
            true => {
                let object = object.iter().cloned();
                self.object(
                    object
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }
            false => writeln!(self.out, "{}", visible(sentence)),
        }
    }

    pub fn object(&mut self, object: Map<String, Value>) -> io::Result<()> {
        writeln!(self.out, "{}", Value::Object(object))
    }

    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(table) = &mut self.table {
            table.flush(&mut self.out)?;
        }
        self.out.flush()
    }
}

/// Fields as JSON. Redis knows no numbers: a field is one by its name, or null if it is empty.
pub fn object(fields: &[(String, Vec<u8>)]) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in fields {
        match number(name, value) {
            Some(number) => drop(object.insert(name.clone(), number)),
            None => drop(insert_bytes(&mut object, name, value)),
        }
    }
    object
}

fn number(name: &str, value: &[u8]) -> Option<Value> {
    if !NUMBERS.contains(&name) && !name.ends_with("_ms") {
        return None;
    }
    match value {
        [] => Some(Value::Null),
        digits => serde_json::from_slice::<u64>(digits).ok().map(Value::from),
    }
}

fn for_people(name: &str, value: &[u8], now: u64) -> String {
    let text = String::from_utf8_lossy(value);
    let ms = name.ends_with("_ms").then(|| text.parse::<u64>().ok());
    match ms.flatten() {
        Some(ms) if LENGTHS.contains(&name) => times::latency(Duration::from_millis(ms)),
        Some(ms) => times::moment(ms, now),
        None if text.is_empty() => "-".into(),
        None => visible(&text),
    }
}

/// The value of a field; nothing if it is not there.
pub fn value<'a>(fields: &'a Fields, name: &str) -> &'a [u8] {
    let field = fields.iter().find(|(n, _)| n == name);
    field.map(|(_, value)| &value[..]).unwrap_or_default()
}

/// The same, of a number.
pub fn number_of(fields: &Fields, name: &str) -> Option<u64> {
    std::str::from_utf8(value(fields, name)).ok()?.parse().ok()
}

/// How far it is, on a terminal.
pub struct Progress {
    what: &'static str,
    begun: Instant,
    shown_at: Instant,
    shows: bool,
}

impl Progress {
    pub fn new(what: &'static str) -> Progress {
        let now = Instant::now();
        Progress {
            what,
            begun: now,
            shown_at: now,
            shows: io::stderr().is_terminal(),
        }
    }

    pub fn at(&mut self, count: u64) {
        if self.shows && self.shown_at.elapsed() > Duration::from_millis(200) {
            self.shown_at = Instant::now();
            let rate = count as f64 / self.begun.elapsed().as_secs_f64();
            eprint!("\r{} {count} ({rate:.0}/s)\x1b[K", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shows && self.shown_at != self.begun {
            eprint!("\r\x1b[K");
        }
    }
}
