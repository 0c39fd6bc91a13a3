//! How deliveries are signed where the endpoints file says nothing of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::secret_files::{read_secret_again, secret_of};
use crate::delivery::rules::Defaults;
use crate::trust::secret::Secret;
use crate::trust::signing::scheme::Contract;
use crate::trust::signing::{Signing, TimedKey};

/// How deliveries are signed.
#[derive(Debug, Clone, Args)]
pub struct SigningArgs {
    /// Sign every delivery with this key (whsec_… or whsk_…, from outhook keygen) as Standard Webhooks
    /// says; the endpoints file can change it for an endpoint
    #[arg(long, env = "OUTHOOK_SIGNING_SECRET", value_name = "KEY", hide_env_values = true)]
    signing_secret: Option<Secret>,
    /// File that holds the signing key; read again on SIGHUP
    #[arg(long, env = "OUTHOOK_SIGNING_SECRET_FILE", value_name = "FILE")]
    signing_secret_file: Option<PathBuf>,
    /// Send the webhookId also as Idempotency-Key; the endpoints file can change it for an endpoint
    #[arg(long, env = "OUTHOOK_IDEMPOTENCY_KEY")]
    idempotency_key: bool,
}

impl SigningArgs {
    /// Whether reading it again may give another key.
    pub fn is_read_again(&self) -> bool {
        self.signing_secret_file.is_some()
    }

    /// Reads the key anew. The error is one line, and does not show it.
    pub fn load(&self) -> Result<Defaults, String> {
        Ok(Defaults {
            signing: self.signing()?,
            idempotency_key: self.idempotency_key,
        })
    }

    fn signing(&self) -> Result<Option<Arc<Signing>>, String> {
        let (flag, file) = ("--signing-secret", self.signing_secret_file.as_deref());
        let shown = |e: String, path: &Path| format!("{flag}-file {}: {e}", path.display());
        if let (None, Some(path)) = (&self.signing_secret, file) {
            read_secret_again(&path.to_string_lossy()).map_err(|e| shown(e, path))?;
        }
        let Some(secret) = secret_of(flag, self.signing_secret.as_ref(), file)? else {
            return Ok(None);
        };
        let contract = Contract::standard();
        let key = contract.key(&secret);
        let key = key.map_err(|e| match file {
            Some(path) => shown(e, path),
            None => format!("{flag}: {e}"),
        })?;
        let keys = vec![TimedKey::always(key)];
        Ok(Some(Arc::new(Signing::new(Arc::new(contract), keys))))
    }
}
