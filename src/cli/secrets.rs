//! Options that are secrets: each may be given in itself, or as the name of a file that holds it.

use std::fs;
use std::path::Path;

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
    let data = fs::metadata(path).map_err(|e| wrong(&e))?;
    if data.is_dir() || data.len() > MAX_FILE {
        return Err(wrong(&"not a file with a secret in it"));
    }
    let bytes = fs::read(path).map_err(|e| wrong(&e))?;
    Secret::from_file(bytes).map_err(|e| wrong(&e))
}
