//! The log: to standard error, and never in anyone's way.
//!
//! A pipe that nobody reads blocks whoever writes to it, and a closed one makes `eprintln!`
//! panic. So a thread of its own writes, fed by a bounded queue; lines for which there is no
//! room are counted, and the count is told when there is room again.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use env_logger::{Builder, Target, WriteStyle};
use log::LevelFilter;

/// Lines that may wait. They are counted here, as a bounded channel would hold memory for all of
/// them from the start.
const QUEUE: usize = 4096;

/// At the end of the process, how long the last lines may take.
const FLUSH: Duration = Duration::from_millis(500);

/// At trace it writes out whole requests, and so their logins.
const DUMPS: &str = "ureq_proto::util";

static LINES: OnceLock<Sender<Line>> = OnceLock::new();
static QUEUED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Line {
    Text(Vec<u8>),
    Flush(Sender<()>),
}

/// Starts the log. `filter` is in env_logger's syntax, as `debug` or `info,outhook=debug`.
/// The error tells what is wrong with it.
pub fn start(filter: &str) -> Result<(), String> {
    env_filter::Builder::new()
        .try_parse(filter)
        .map_err(|e| e.to_string())?;
    let (sender, lines) = unbounded();
    let spawned = thread::Builder::new()
        .name("log".into())
        .spawn(move || write(&lines));
    if spawned.is_err() || LINES.set(sender).is_err() {
        return Err("the log cannot be started".into());
    }
    Builder::new()
        .parse_filters(filter)
        .filter_module(DUMPS, LevelFilter::Debug)
        .format_indent(None)
        .target(Target::Pipe(Box::new(Queue)))
        .write_style(WriteStyle::Never)
        .init();
    Ok(())
}

/// Waits, a little, until what was logged is written. To be called before the process ends.
pub fn flush() {
    let (reply, done) = bounded(1);
    if let Some(lines) = LINES.get()
        && lines.send(Line::Flush(reply)).is_ok()
    {
        let _ = done.recv_timeout(FLUSH);
    }
}

/// Takes each record as one `write`.
struct Queue;

impl Write for Queue {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let mut text = record.to_vec();
        // A line may tell what others have sent. That must not look like a line of ours.
        let end = text.len().saturating_sub(1);
        for byte in &mut text[..end] {
            if byte.is_ascii_control() {
                *byte = b'?';
            }
        }
        if !enqueue(text) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether there was room for it.
fn enqueue(text: Vec<u8>) -> bool {
    let Some(lines) = LINES.get() else {
        return false;
    };
    let has_room = QUEUED.fetch_add(1, Ordering::Relaxed) < QUEUE;
    let sent = has_room && lines.send(Line::Text(text)).is_ok();
    if !sent {
        QUEUED.fetch_sub(1, Ordering::Relaxed);
    }
    sent
}

fn write(lines: &Receiver<Line>) {
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
            let _ = writeln!(
                out,
                "{dropped} log lines dropped: standard error was not read"
            );
        }
    }
}
