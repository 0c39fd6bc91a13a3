//! Secrets in files, each named as they are.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{MAX_VALUE, Read, keys_of};
use crate::trust::secret::Secret;

/// A directory of them. Links are followed, as they are how secrets are mounted and changed.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// The error is one line.
    pub fn open(path: &Path) -> Result<Directory, String> {
        match fs::read_dir(path) {
            Ok(_) => Ok(Directory(path.to_owned())),
            Err(e) => Err(format!("{e}; it must be a readable directory")),
        }
    }

    /// Reads the file of a name, which is known to be no path. The outer error: the directory cannot
    /// be asked now.
    pub fn read(&self, name: &str) -> Result<Read, String> {
        let path = self.0.join(name);
        let wrong = |e: std::io::Error| match e.kind() {
            ErrorKind::NotFound if !self.0.is_dir() => {
                Err(format!("{}: it is not there any more", self.0.display()))
            }
            ErrorKind::NotFound => Ok(Err("there is no such file".to_owned())),
            ErrorKind::PermissionDenied => Ok(Err("its file may not be read".to_owned())),
            _ => Err(format!("{}: {e}", path.display())),
        };
        let data = match fs::metadata(&path) {
            Ok(data) => data,
            Err(e) => return wrong(e),
        };
        if !data.is_file() || data.len() > MAX_VALUE as u64 {
            return Ok(Err(
                "in its place is something else than a file with keys".into()
            ));
        }
        Ok(match fs::read(&path) {
            Ok(bytes) => Secret::from_file(bytes).and_then(|value| keys_of(&value)),
            Err(e) => return wrong(e),
        })
    }
}
