//! `/etc/resolv.conf` and `/etc/hosts`: read at start, and again when they have changed.
//!
//! Looked at when something is to be looked up, and not more often than every few seconds: an
//! idle outhook reads nothing. A missing file is an empty one.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More of a file is not read.
const MAX_BYTES: u64 = 4 << 20;

const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Files {
    pub resolv_conf: PathBuf,
    pub hosts: PathBuf,
}

impl Default for Files {
    fn default() -> Files {
        Files {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
        }
    }
}

/// By these it is seen that a file has changed: when it was modified (seconds, nanoseconds), its length, its
/// inode.
type Stamp = Option<(i64, i64, u64, u64)>;

/// A file that is read again when it has changed.
pub struct WatchedFile {
    path: PathBuf,
    stamp: Stamp,
}

impl WatchedFile {
    /// With its text as it is now.
    pub fn new(path: PathBuf) -> (WatchedFile, String) {
        let stamp = stamp(&path);
        let text = read(&path);
        (WatchedFile { path, stamp }, text)
    }

    /// Its text, if it has changed since the last time.
    pub fn changed(&mut self) -> Option<String> {
        let stamp = stamp(&self.path);
        if stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        Some(read(&self.path))
    }
}

/// Says when it is time to look again.
pub struct Interval(Instant);

impl Interval {
    pub fn starting(now: Instant) -> Interval {
        Interval(now)
    }

    pub fn has_passed(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.0) >= LOOK_AGAIN;
        if passed {
            self.0 = now;
        }
        passed
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // As much of it is used as could be read.
        let _ = file.take(MAX_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
