//! Secrets by the names that messages give: where they are.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::secret_files::{read_secret, read_secret_again};
use crate::service::secret_directory::SecretDirectory;
use crate::trust::encryption::SealingKeys;
use crate::trust::secret::Secret;

/// Where secrets are that messages name.
#[derive(Debug, Clone, Args)]
pub struct KeyringArgs {
    /// Directory of the secrets that messages name (field secret): one file a secret, one key a line
    #[arg(long, env = "OUTHOOK_SECRETS_DIR", value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// Take the secrets that messages name from here (see outhook secrets)
    #[arg(
        long,
        env = "OUTHOOK_SECRETS_FROM",
        value_enum,
        value_name = "PLACE",
        conflicts_with = "secrets_dir"
    )]
    secrets_from: Option<SecretsFrom>,
    #[command(flatten)]
    sealing: SealingArgs,
}

/// Another place than a directory.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum SecretsFrom {
    /// The hash {PREFIX}:secrets
    Redis,
}

/// How secrets in Redis are encrypted.
#[derive(Debug, Clone, Args)]
pub struct SealingArgs {
    /// File with the key that encrypts secrets in Redis; unencrypted secrets are refused then. It may
    /// hold several keys, one a line: the first encrypts, and all are tried for decryption
    #[arg(long, env = "OUTHOOK_SECRETS_KEY_FILE", value_name = "FILE")]
    secrets_key_file: Option<PathBuf>,
}

/// Where secrets are.
pub enum SecretPlace {
    Nowhere,
    Directory(SecretDirectory, String),
    Redis(SealingArgs),
}

impl KeyringArgs {
    pub fn are_in_redis(&self) -> bool {
        self.secrets_from == Some(SecretsFrom::Redis)
    }

    /// The error is one line.
    pub fn place(&self) -> Result<SecretPlace, String> {
        let key_file = &self.sealing.secrets_key_file;
        match (&self.secrets_dir, self.secrets_from) {
            (_, Some(SecretsFrom::Redis)) => Ok(SecretPlace::Redis(self.sealing.clone())),
            (_, None) if key_file.is_some() => Err(
                "--secrets-key-file: it is for secrets in Redis; set --secrets-from redis, or leave it out"
                    .into(),
            ),
            (Some(path), None) => {
                let place = format!("--secrets-dir {}", path.display());
                match SecretDirectory::open(path) {
                    Ok(directory) => Ok(SecretPlace::Directory(directory, place)),
                    Err(e) => Err(format!("{place}: {e}")),
                }
            }
            (None, None) => Ok(SecretPlace::Nowhere),
        }
    }
}

impl SealingArgs {
    /// The error is one line, and shows no key.
    pub fn keys(&self) -> Result<Option<SealingKeys>, String> {
        self.read(read_secret)
    }

    /// The same while it runs.
    pub fn keys_again(&self) -> Result<Option<SealingKeys>, String> {
        self.read(read_secret_again)
    }

    fn read(
        &self,
        read: impl FnOnce(&str) -> Result<Secret, String>,
    ) -> Result<Option<SealingKeys>, String> {
        let Some(path) = &self.secrets_key_file else {
            return Ok(None);
        };
        let text = read(&path.to_string_lossy());
        let keys = text.and_then(|text| SealingKeys::parse(&text));
        keys.map(Some)
            .map_err(|e| format!("--secrets-key-file {}: {e}", path.display()))
    }
}
