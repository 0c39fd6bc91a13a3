//! Secrets that messages name, in a directory: a file a secret, of the same name.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::trust::keyring::{MAX_VALUE, Read, keys_of};
use crate::trust::secret::Secret;

/// Links are followed: that is how secrets are mounted and changed.
#[derive(Debug, Clone)]
pub struct SecretDirectory(PathBuf);

impl SecretDirectory {
    /// The error is one line.
    pub fn open(path: &Path) -> Result<SecretDirectory, String> {
        match fs::read_dir(path) {
            Ok(_) => Ok(SecretDirectory(path.to_owned())),
            Err(e) => Err(format!("{e}; it must be a readable directory")),
        }
    }

    /// Reads the file of a name that was checked to be no path. The outer error means that no file
    /// can be read now.
    pub fn read(&self, name: &str) -> Result<Read, String> {
        match read_file(&self.0.join(name)) {
            Ok(read) => Ok(read),
            Err(e) if is_starved(&e) => Err(format!("{}: {e}", self.0.display())),
            // A bad file must not stop all others.
            Err(e) => match fs::metadata(self.0.join(".")) {
                Err(e) => Err(format!("{}: {e}", self.0.display())),
                Ok(_) => Ok(Err(match e.kind() {
                    ErrorKind::NotFound => "there is no such file".to_owned(),
                    ErrorKind::PermissionDenied => "its file may not be read".to_owned(),
                    _ => format!("its file cannot be read: {e}"),
                })),
            },
        }
    }
}

fn read_file(path: &Path) -> io::Result<Read> {
    let no_file = || {
        Ok(Err(
            "in its place is something else than a file with keys".into()
        ))
    };
    if !fs::metadata(path)?.is_file() {
        return no_file();
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(MAX_VALUE as u64 + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() > MAX_VALUE {
        return no_file();
    }
    Ok(Secret::from_file(bytes).and_then(|value| keys_of(&value)))
}

/// No descriptor or memory is left: the file is not to blame.
fn is_starved(e: &io::Error) -> bool {
    const ENOMEM_ENFILE_EMFILE: [i32; 3] = [12, 23, 24];
    e.raw_os_error()
        .is_some_and(|code| ENOMEM_ENFILE_EMFILE.contains(&code))
}
