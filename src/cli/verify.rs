//! What `outhook keygen` and `outhook verify` are told, and `outhook listen` of signatures.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::secrets::secret_of;
use super::values::duration;
use crate::message::timestamp::parse_rfc3339;
use crate::trust::secret::Secret;
use crate::trust::signing::scheme::{NAMES, Spec};
use crate::trust::signing::verify::Verifier;

#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Make an ed25519 key pair (whsk_ for you, whpk_ for the receiver) in place of a shared secret
    /// (whsec_)
    #[arg(long)]
    pub ed25519: bool,
    /// Make no key, but print the public key (whpk_) of the private key (whsk_) in this file
    #[arg(long, value_name = "FILE", conflicts_with = "ed25519")]
    pub public_of: Option<PathBuf>,
    /// Make a key that encrypts secrets in Redis (ohsk_), for --secrets-key-file
    #[arg(long, conflicts_with_all = ["ed25519", "public_of"])]
    pub secrets_key: bool,
}

/// What signatures are held against.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// Verify with this secret or public key (whpk_…)
    #[arg(
        long,
        env = "OUTHOOK_SECRET",
        value_name = "KEY",
        hide_env_values = true
    )]
    secret: Option<Secret>,
    /// File that holds the secret
    #[arg(long, env = "OUTHOOK_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Signature scheme: standard, svix, github, stripe, shopify, slack or rfc9421
    #[arg(
        long,
        env = "OUTHOOK_SCHEME",
        value_name = "NAME",
        default_value = "standard"
    )]
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

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub secret: SecretArgs,
    /// Take scheme and keys from this endpoints file: those of its rule for --url
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with_all = ["secret", "secret_file"])]
    pub endpoints: Option<PathBuf>,
    /// A header of the request, as 'Name: value'; repeatable
    #[arg(long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// File with the headers, one a line; a request line before them is allowed
    #[arg(long, value_name = "FILE")]
    pub headers_file: Option<PathBuf>,
    /// File with the body, byte for byte [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// URL of the request, for schemes that sign it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Method of the request, for schemes that sign it
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    pub method: String,
    /// Time of arrival, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = at)]
    pub at: Option<u64>,
}

fn at(text: &str) -> Result<u64, String> {
    parse_rfc3339(text.trim())
        .ok_or_else(|| "it must be a time in RFC 3339, such as 2027-01-31T12:00:00Z".into())
}

impl VerifyArgs {
    /// Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.at
            .unwrap_or_else(|| crate::message::timestamp::unix_ms(SystemTime::now()))
    }
}
