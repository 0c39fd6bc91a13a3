//! `outhook keygen`: makes keys that sign, and those that secrets are encrypted with.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::cli::args::secret_files::read_secret;
use crate::cli::exit::exit_code;
use crate::trust::encryption::KEY_PREFIX;
use crate::trust::secret::Secret;
use crate::trust::signing::key::write_key;
use crate::trust::signing::scheme::Contract;

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

/// As long as the digest of the signature.
const BYTES: usize = 32;

/// The error is a bad configuration, in one line.
pub fn run(args: &KeygenArgs) -> Result<ExitCode, String> {
    if let Some(path) = &args.public_of {
        let shown = path.display();
        let secret = read_secret(&path.to_string_lossy());
        let key = secret.and_then(|secret| Contract::standard().key(&secret));
        let key = key.map_err(|e| format!("--public-of {shown}: {e}"))?;
        let public = key.public().ok_or_else(|| {
            format!("--public-of {shown}: it is a secret for both sides (whsec_), which has none")
        })?;
        return print(&[&public]);
    }
    let mut bytes = Zeroizing::new([0; BYTES]);
    SystemRandom::new()
        .fill(&mut *bytes)
        .map_err(|_| "the system gives no random bytes".to_owned())?;
    if args.secrets_key {
        return print(&[&Zeroizing::new(write_key(KEY_PREFIX, &*bytes))]);
    }
    if !args.ed25519 {
        return print(&[&Zeroizing::new(write_key("whsec_", &*bytes))]);
    }
    let private = Secret::new(write_key("whsk_", &*bytes));
    let public = Contract::standard().key(&private)?.public();
    let public = public.ok_or("the key cannot be used")?;
    print(&[private.expose(), &public])
}

/// One line each.
fn print(lines: &[&str]) -> Result<ExitCode, String> {
    let text = Zeroizing::new(lines.join("\n") + "\n");
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|e| format!("standard output: {e}"))?;
    Ok(exit_code(true))
}
