//! The log: to standard error, and never in anyone's way.
//!
//! A pipe that nobody reads blocks whoever writes to it, and a closed one makes `eprintln!`
//! panic. So a thread of its own writes, fed by a bounded queue; lines for which there is no
//! room are counted, and the count is told when there is room again.
//!
//! Which lines there are is decided by a filter, which can be changed while the process runs.

mod line;

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use env_filter::Filter;
use log::kv::Value;
use log::{Level, LevelFilter, Log, Metadata, Record};

pub use line::LogFormat;

/// Lines that may wait. They are counted here, as a bounded channel would hold memory for all of
/// them from the start.
const QUEUE: usize = 4096;

/// At the end of the process, how long the last lines may take.
const FLUSH: Duration = Duration::from_millis(500);

/// The crates whose names begin so log whole requests below this level: URLs with paths and queries, and
/// logins. No filter lets that through, however exactly it names the module.
const REQUESTS: (&str, LevelFilter) = ("ureq", LevelFilter::Info);

/// The crates that write to the log.
const LOGGED: [&str; 3] = ["outhook", "ureq", "ureq_proto"];

/// What the filter is widened by while the log is verbose.
const VERBOSE: &str = "outhook=debug";

static LOGGER: OnceLock<Logger> = OnceLock::new();
static QUEUED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// See the module's header.
struct Logger {
    lines: Sender<Line>,
    format: LogFormat,
    filter: RwLock<Filter>,
    /// The filter as it was set, and as it is when the log is verbose.
    usual: String,
    is_verbose: AtomicBool,
}

enum Line {
    Text(Vec<u8>),
    Flush(Sender<()>),
}

/// Starts the log. `filter` is in env_logger's syntax, as `debug` or `info,outhook=debug`.
/// The error tells what is wrong with it.
pub fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let (lines, queue) = unbounded();
    let logger = Logger {
        lines,
        format,
        filter: RwLock::new(read_filter(filter)?),
        usual: filter.to_owned(),
        is_verbose: AtomicBool::new(false),
    };
    let max_level = logger.max_level();
    let spawned = thread::Builder::new()
        .name("log".into())
        .spawn(move || write(&queue, format));
    if spawned.is_err() || LOGGER.set(logger).is_err() {
        return Err("the log cannot be started".into());
    }
    log::set_max_level(max_level);
    let logger = LOGGER.get().ok_or("the log cannot be started")?;
    log::set_logger(logger).map_err(|e| e.to_string())
}

/// Logs an event with counters, of which each is a key.
pub fn log_counters(event: &str, counters: &[(&str, u64)], says: fmt::Arguments<'_>) {
    let event = std::iter::once(("event", Value::from(event)));
    let counters = counters.iter().map(|(name, n)| (*name, Value::from(*n)));
    let keys: Vec<_> = event.chain(counters).collect();
    let record = Record::builder()
        .level(Level::Info)
        .target(module_path!())
        .args(says)
        .key_values(&keys)
        .build();
    log::logger().log(&record);
}

/// Turns the verbose log on, or off again. Answers the filter that is in force now.
pub fn toggle_verbose() -> Option<String> {
    LOGGER.get()?.toggle_verbose()
}

/// Waits, a little, until what was logged is written. To be called before the process ends.
pub fn flush() {
    let (reply, done) = bounded(1);
    if let Some(logger) = LOGGER.get()
        && logger.lines.send(Line::Flush(reply)).is_ok()
    {
        let _ = done.recv_timeout(FLUSH);
    }
}

/// A word alone is a level, or a module of which all is logged. So any word will do, and a level that
/// is misspelt would turn the log off.
fn look_for_slips(filter: &str) -> Result<(), String> {
    let modules = filter.split('/').next().unwrap_or_default();
    let words = modules.split(',').map(str::trim);
    for word in words.filter(|word| !word.is_empty() && !word.contains('=')) {
        let top = word.split("::").next().unwrap_or_default();
        if word.parse::<LevelFilter>().is_err() && !LOGGED.contains(&top) {
            return Err(format!(
                "{word} is no level (off, error, warn, info, debug, trace) and no module"
            ));
        }
    }
    match modules.split(',').all(|word| word.trim().is_empty()) {
        true => Err("it is empty".into()),
        false => Ok(()),
    }
}

fn shows_requests(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(REQUESTS.0) && metadata.level() > REQUESTS.1
}

fn read_filter(filter: &str) -> Result<Filter, String> {
    look_for_slips(filter)?;
    let mut builder = env_filter::Builder::new();
    builder.try_parse(filter).map_err(|e| e.to_string())?;
    Ok(builder.build())
}

impl Logger {
    fn max_level(&self) -> LevelFilter {
        self.with_filter(Filter::filter)
    }

    fn with_filter<T>(&self, look: impl FnOnce(&Filter) -> T) -> T {
        look(&self.filter.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn toggle_verbose(&self) -> Option<String> {
        let is_verbose = !self.is_verbose.fetch_xor(true, Ordering::Relaxed);
        let text = match is_verbose {
            true => format!("{},{VERBOSE}", self.usual),
            false => self.usual.clone(),
        };
        // It was readable at the start.
        let filter = read_filter(&text).ok()?;
        *self.filter.write().unwrap_or_else(PoisonError::into_inner) = filter;
        log::set_max_level(self.max_level());
        Some(text)
    }

    /// Whether there was room for it.
    fn enqueue(&self, text: Vec<u8>) -> bool {
        let has_room = QUEUED.fetch_add(1, Ordering::Relaxed) < QUEUE;
        let sent = has_room && self.lines.send(Line::Text(text)).is_ok();
        if !sent {
            QUEUED.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !shows_requests(metadata) && self.with_filter(|filter| filter.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if shows_requests(record.metadata()) || !self.with_filter(|filter| filter.matches(record)) {
            return;
        }
        let text = self.format.line(record, SystemTime::now());
        if !self.enqueue(text) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn write(lines: &Receiver<Line>, format: LogFormat) {
    let mut out = io::stderr();
    for line in lines {
        // A closed standard error is no reason to stop delivering.
        let _ = match line {
            Line::Text(text) => {
                QUEUED.fetch_sub(1, Ordering::Relaxed);
                out.write_all(&text)
            }
            Line::Flush(reply) => reply.send(()).map_err(io::Error::other),
        };
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = out.write_all(&format.dropped(dropped, SystemTime::now()));
        }
    }
}
