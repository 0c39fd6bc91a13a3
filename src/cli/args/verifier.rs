//! What signatures are held against, for `outhook verify` and `outhook listen`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::secret_files::secret_of;
use super::values::duration;
use crate::trust::secret::Secret;
use crate::trust::signing::scheme::{NAMES, Spec};
use crate::trust::signing::verify::Verifier;

/// See the module's header.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// Verify with this secret or public key (whpk_…)
    #[arg(long, env = "OUTHOOK_SECRET", value_name = "KEY", hide_env_values = true)]
    secret: Option<Secret>,
    /// File that holds the secret
    #[arg(long, env = "OUTHOOK_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Signature scheme: standard, svix, github, stripe, shopify, slack or rfc9421
    #[arg(long, env = "OUTHOOK_SCHEME", value_name = "NAME", default_value = "standard")]
    scheme: String,
    /// How far the time of a signature may differ from now
    #[arg(long, env = "OUTHOOK_TOLERANCE", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub tolerance: Duration,
}

impl SecretArgs {
    /// The error is one line, and does not show the secret.
    pub fn verifier(&self) -> Result<Option<Verifier>, String> {
        let (flag, file) = ("--secret", self.secret_file.as_deref());
        let Some(secret) = secret_of(flag, self.secret.as_ref(), file)? else {
            // Nothing would be verified, and whoever names a scheme thinks that it is.
            return match &*self.scheme {
                "standard" => Ok(None),
                scheme => Err(format!(
                    "--scheme {scheme}: it needs --secret or --secret-file"
                )),
            };
        };
        let spec = Spec {
            scheme: Some(self.scheme.clone()),
            ..Spec::default()
        };
        let contract = spec.build();
        let contract = contract.map_err(|_| format!("--scheme: it must be one of {NAMES}"))?;
        let verifier = Verifier::of_secret(contract, &secret).map_err(|e| match file {
            Some(path) => format!("{flag}-file {}: {e}", path.display()),
            None => format!("{flag}: {e}"),
        })?;
        Ok(Some(verifier))
    }
}
