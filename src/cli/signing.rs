//! How deliveries are signed where the endpoints file says nothing of it.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::secrets::secret_of;
use crate::secret::Secret;
use crate::signing::key::{Key, KeyForm};
use crate::signing::{Signing, TimedKey};

/// How deliveries are signed.
#[derive(Debug, Clone, Args)]
pub struct SigningArgs {
    /// Sign every delivery with this key, as Standard Webhooks says: whsec_… or whsk_…, which outhook
    /// keygen makes; the endpoints file may say otherwise
    #[arg(
        long,
        env = "OUTHOOK_SIGNING_SECRET",
        value_name = "KEY",
        hide_env_values = true
    )]
    signing_secret: Option<Secret>,
    /// Read that key from a file; read again on SIGHUP
    #[arg(long, env = "OUTHOOK_SIGNING_SECRET_FILE", value_name = "FILE")]
    signing_secret_file: Option<PathBuf>,
}

impl SigningArgs {
    /// Whether reading it again may give another key.
    pub fn is_read_again(&self) -> bool {
        self.signing_secret_file.is_some()
    }

    /// Reads the key anew. The error is one line, and does not show it.
    pub fn load(&self) -> Result<Option<Arc<Signing>>, String> {
        let (flag, file) = ("--signing-secret", self.signing_secret_file.as_deref());
        let Some(secret) = secret_of(flag, self.signing_secret.as_ref(), file)? else {
            return Ok(None);
        };
        let key = Key::parse(&secret, KeyForm::Prefixed, ring::hmac::HMAC_SHA256);
        let key = key.map_err(|e| match file {
            Some(path) => format!("{flag}-file {}: {e}", path.display()),
            None => format!("{flag}: {e}"),
        })?;
        let always = TimedKey {
            key,
            from: 0,
            until: u64::MAX,
        };
        Ok(Some(Arc::new(Signing::standard(vec![always]))))
    }
}
