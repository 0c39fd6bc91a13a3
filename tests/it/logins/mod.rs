//! Logins at the receiver: what the endpoints file says of them reaches who it is for, and nobody
//! else.

mod certificates;
mod headers;
mod oauth2;
mod refused;
mod repeated;
mod shared;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::service::{Finished, Outhook};

/// A folder with an endpoints file, and what it names.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and gives its name as it stands in TOML.
    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("to write");
        self.shown(name)
    }

    pub fn shown(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").to_owned()
    }

    pub fn rules(&self, text: &str) -> String {
        self.write("endpoints.toml", text)
    }

    /// Delivers these lines by this file, one after another, each with one attempt.
    pub fn deliver(&self, rules: &str, args: &[&str], lines: &str) -> Finished {
        let rules = self.rules(rules);
        let usual = ["deliver", "--max-attempts", "1", "--workers", "1"];
        let args = [&usual[..], &["--endpoints", &*rules], args].concat();
        Outhook::new(&args).run(lines)
    }
}
