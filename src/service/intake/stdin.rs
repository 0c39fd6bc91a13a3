//! The reader: messages from standard input, one JSON object a line.
//!
//! It waits for input with a timeout, so that it notices the drain. It also waits for the timer,
//! which takes a line only when there is room: unlike Pub/Sub, a pipe keeps unread messages.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;

use log::error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Closed, Intake};
use crate::service::drain::Drain;

/// How soon a drain is noticed while no input comes.
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// At most this much of a longer line is kept for its dead letter: input without line ends must not
/// fill the memory. Larger than any `--max-message-bytes` that makes sense in a line.
const LINE_KEPT: usize = 64 << 20;

/// Reads standard input to its end, or until the drain. Empty lines are passed over. A line
/// longer than `max_bytes` is refused as too large, and kept whole up to [`LINE_KEPT`].
pub fn run(max_bytes: usize, intake: &mut Intake, drain: &Drain) {
    if let Err(e) = read(LINE_KEPT.max(max_bytes + 1), intake, drain) {
        error!("standard input: {e}");
    }
}

fn read(kept: usize, intake: &mut Intake, drain: &Drain) -> io::Result<()> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut input = BufReader::with_capacity(64 * 1024, stdin);
    let mut line = Vec::new();
    loop {
        // What was taken from the pipe is ours, the last part of a line too.
        if drain.has_begun() && input.buffer().is_empty() {
            let _ = offer(&mut line, intake);
            return Ok(());
        }
        if input.buffer().is_empty() && !is_readable(input.get_ref())? {
            continue;
        }
        let chunk = match input.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let (used, ends) = match chunk.iter().position(|&b| b == b'\n') {
            Some(end) => (end + 1, true),
            None => (chunk.len(), chunk.is_empty()),
        };
        let room = kept.saturating_sub(line.len());
        let text = chunk[..used].strip_suffix(b"\n").unwrap_or(&chunk[..used]);
        line.extend_from_slice(&text[..text.len().min(room)]);
        input.consume(used);
        let at_end = used == 0;
        if ends && offer(&mut line, intake).is_err() {
            return Ok(());
        }
        if at_end {
            return Ok(());
        }
    }
}

fn offer(line: &mut Vec<u8>, intake: &mut Intake) -> Result<(), Closed> {
    let mut line = std::mem::take(line);
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match line.iter().all(u8::is_ascii_whitespace) {
        true => Ok(()),
        false => intake.offer(line),
    }
}

fn is_readable(file: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut fds, Some(&POLL)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
