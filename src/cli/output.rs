//! How the operator's tools print, and why they stop.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::cli::exit::exit_code;
use crate::store::{Fields, StoreError, insert_bytes};

/// Fields that are numbers in JSON, beside those whose names end in `_ms`.
const NUMBERS: [&str; 8] = [
    "followers",
    "attempts",
    "status",
    "replayed",
    "deleted",
    "flushed",
    "lifted",
    "receivers",
];

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
}

impl Out {
    pub fn new(json: bool) -> Out {
        Out {
            out: BufWriter::new(io::stdout()),
            json,
        }
    }

    /// One line: an object of all `fields`, or `columns` of them.
    pub fn line(&mut self, fields: &[(String, Vec<u8>)], columns: &[&str]) -> io::Result<()> {
        if self.json {
            return self.bytes(fields);
        }
        let cells = columns.iter().map(|column| {
            let field = fields.iter().find(|(name, _)| name == column);
            field.map_or("-".into(), |(_, value)| plain(value))
        });
        let cells: Vec<String> = cells.collect();
        writeln!(self.out, "{}", cells.join("  "))
    }

    /// Lines with `columns`, below their names. For what fits on a screen.
    pub fn table(&mut self, rows: &[Fields], columns: &[&str]) -> io::Result<()> {
        let cell = |row: &Fields, column: &&str| {
            let field = row.iter().find(|(name, _)| name == column);
            field.map_or("-".into(), |(_, value)| plain(value))
        };
        let names = columns.iter().map(|name| (*name).to_owned()).collect();
        let cells = rows
            .iter()
            .map(|row| columns.iter().map(|c| cell(row, c)).collect());
        let lines: Vec<Vec<String>> = std::iter::once(names).chain(cells).collect();
        let width = |n: usize| lines.iter().map(|line| line[n].chars().count()).max();
        let widths: Vec<usize> = (0..columns.len()).filter_map(width).collect();
        for line in &lines {
            let padded = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            let padded: Vec<String> = padded.collect();
            writeln!(self.out, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// All `fields`, one a line, and an empty line; or an object.
    pub fn block(&mut self, fields: &[(String, Vec<u8>)]) -> io::Result<()> {
        if self.json {
            return self.bytes(fields);
        }
        for (name, value) in fields {
            writeln!(self.out, "{:<16} {}", plain(name.as_bytes()), plain(value))?;
        }
        writeln!(self.out)
    }

    pub fn object(&mut self, object: Map<String, Value>) -> io::Result<()> {
        writeln!(self.out, "{}", Value::Object(object))
    }

    fn bytes(&mut self, fields: &[(String, Vec<u8>)]) -> io::Result<()> {
        let mut object = Map::new();
        for (name, value) in fields {
            match number(name, value) {
                Some(number) => drop(object.insert(name.clone(), number)),
                None => drop(insert_bytes(&mut object, name, value)),
            }
        }
        self.object(object)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Redis knows no numbers: a field is one by its name, or null if it is empty.
fn number(name: &str, value: &[u8]) -> Option<Value> {
    if !NUMBERS.contains(&name) && !name.ends_with("_ms") {
        return None;
    }
    match value {
        [] => Some(Value::Null),
        digits => serde_json::from_slice::<u64>(digits).ok().map(Value::from),
    }
}

/// What came from outside must not steer the terminal.
fn plain(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if shown.is_empty() { "-".into() } else { shown }
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
