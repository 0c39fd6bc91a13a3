//! Options that are secrets: each may be given in itself, or as the name of a file that holds it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::trust::secret::Secret;

/// Longer files are no secrets; a device would not end.
const MAX_FILE: u64 = 64 << 10;

/// The secret of `--flag` or `--flag-file`, but not of both. The error is one line, and does not show
/// it.
pub fn secret_of(
    flag: &str,
    value: Option<&Secret>,
    file: Option<&Path>,
) -> Result<Option<Secret>, String> {
    match (value, file) {
        (Some(_), Some(_)) => Err(format!(
            "{flag} and {flag}-file exclude each other; set one"
        )),
        (value, None) => Ok(value.cloned()),
        (None, Some(file)) => {
            let secret = read_secret(&file.to_string_lossy());
            secret
                .map(Some)
                .map_err(|e| format!("{flag}-file {}: {e}", file.display()))
        }
    }
}

/// The same for a file that is read again: a pipe would then block whoever reads it.
pub fn read_secret_again(path: &str) -> Result<Secret, String> {
    match fs::metadata(path) {
        Ok(data) if !data.is_file() => {
            Err("not a file; it must be one, as it is read again".into())
        }
        _ => read_secret(path),
    }
}

/// Reads a file that holds a secret. The error does not name the file.
pub fn read_secret(path: &str) -> Result<Secret, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{e}; it must be a readable file");
    let mut bytes = Vec::new();
    // A pipe will do, and neither it nor a device says how long it is.
    let file = File::open(path).map(|file| file.take(MAX_FILE + 1));
    let read = file.and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|e| wrong(&e))?;
    if bytes.len() as u64 > MAX_FILE {
        drop(Zeroizing::new(bytes));
        return Err(wrong(&"not a file with a secret in it"));
    }
    Secret::from_file(bytes).map_err(|e| wrong(&e))
}
