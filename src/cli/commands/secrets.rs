//! `outhook secrets`: put secrets that messages name into Redis, list their names, delete some. No
//! value is ever shown, or taken from the command line, which others can see.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ring::rand::{SecureRandom, SystemRandom};

use crate::cli::args::keyring::SealingArgs;
use crate::cli::args::secret_files::read_secret;
use crate::cli::args::select::CommonArgs;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::{Out, Stop, ended, object};
use crate::message::vet_secret_name;
use crate::store::Admin;
use crate::trust::encryption::SealingKeys;
use crate::trust::keyring::{MAX_VALUE, keys_of};
use crate::trust::secret::Secret;
use crate::trust::signing::Signing;

#[derive(Debug, Args)]
pub struct SecretsArgs {
    #[command(subcommand)]
    pub act: SecretAct,
}

#[derive(Debug, Subcommand)]
pub enum SecretAct {
    /// Store a secret, from standard input or a file, one key a line; replaces an older value
    Set {
        /// Name of the secret, as in the field secret of messages
        #[arg(value_name = "NAME", value_parser = secret_name)]
        name: String,
        /// Read the secret from this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Accept any text: for schemes such as github or slack, whose key is not a Standard Webhooks key
        #[arg(long)]
        text: bool,
        /// Look at the secret, and store nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        sealing: SealingArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// List the names, and whether each secret is encrypted; never the secret itself
    List {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Delete a secret. Messages that name it wait for an hour, and then become dead letters
    Delete {
        /// Name of the secret, as in the field secret of messages
        #[arg(value_name = "NAME", value_parser = secret_name)]
        name: String,
        /// Delete nothing; say whether it is there
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
}

fn secret_name(text: &str) -> Result<String, String> {
    vet_secret_name(text)?;
    Ok(text.to_owned())
}

const COLUMNS: [Column; 2] = [Column::whole("name"), Column::whole("encrypted")];

/// The error is a bad configuration, in one line.
pub fn run(args: &SecretsArgs) -> Result<ExitCode, String> {
    let (SecretAct::Set { common, .. }
    | SecretAct::List { common }
    | SecretAct::Delete { common, .. }) = &args.act;
    let (redis, keys) = (common.redis.open()?, common.redis.keys()?);
    let value = match &args.act {
        SecretAct::Set {
            name,
            file,
            text,
            sealing,
            ..
        } => Some(value(name, file.as_deref(), *text, sealing.keys()?)?),
        _ => None,
    };
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        let mut out = Out::list(common.json, &COLUMNS);
        let good = match (&args.act, &value) {
            (SecretAct::Set { name, dry_run, .. }, Some(value)) => {
                if !dry_run {
                    admin.set_secret(name, value)?;
                }
                print(&mut out, name, "stored", *dry_run)?;
                true
            }
            (SecretAct::Delete { name, dry_run, .. }, _) => {
                let was_there = match dry_run {
                    true => has(&mut admin, name)?,
                    false => admin.delete_secret(name)?,
                };
                match was_there {
                    true => print(&mut out, name, "deleted", *dry_run)?,
                    false => {
                        eprintln!("outhook: there is no secret {name}; see outhook secrets list")
                    }
                }
                was_there
            }
            _ => list(&mut admin, &mut out)?,
        };
        out.flush()?;
        Ok(good)
    };
    Ok(ended(work()))
}

/// What is to be stored. The error is one line, and does not show it.
fn value(
    name: &str,
    file: Option<&Path>,
    is_text: bool,
    sealing: Option<SealingKeys>,
) -> Result<String, String> {
    let (place, read) = match file {
        Some(path) => (
            format!("--file {}", path.display()),
            read_secret(&path.to_string_lossy()),
        ),
        None => ("standard input".to_owned(), read_input()),
    };
    let secret = read.map_err(|e| format!("{place}: {e}"))?;
    let keys = keys_of(&secret).map_err(|e| format!("{place}: {e}"))?;
    look_at(&secret, &keys, is_text).map_err(|e| format!("{place}: {e}; nothing was stored"))?;
    let Some(sealing) = sealing else {
        return Ok(secret.expose().to_owned());
    };
    let mut nonce = [0; 12];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(sealing.seal(name, &secret, nonce))
}

/// A working key is not to be replaced by what somebody copied badly.
fn look_at(value: &Secret, keys: &[Secret], is_text: bool) -> Result<(), String> {
    let (value, is_key) = (value.expose(), Signing::with_secrets(None, keys));
    if value.contains('\u{feff}') {
        return Err("it has a byte order mark; store it as UTF-8 without one".into());
    }
    match is_key {
        Ok(_) => Ok(()),
        Err(e) if value.contains("whsec_") || value.contains("whsk_") => Err(e),
        Err(_) if is_text => Ok(()),
        Err(e) => Err(format!(
            "{e}. For endpoints whose scheme takes any text (github, slack, …) add --text"
        )),
    }
}

fn read_input() -> Result<Secret, String> {
    let mut bytes = Vec::new();
    let mut input = stdin().lock().take(MAX_VALUE as u64 + 1);
    input.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() > MAX_VALUE {
        return Err(format!("a secret has at most {MAX_VALUE} bytes"));
    }
    Secret::from_file(bytes)
}

fn list(admin: &mut Admin, out: &mut Out) -> Result<bool, Stop> {
    let mut cursor = 0;
    loop {
        let (page, next) = admin.secrets(cursor)?;
        for (name, sealed) in page {
            let sealed = if sealed { "yes" } else { "no" };
            let fields = || {
                let name = ("name".into(), name.clone().into_bytes());
                object(&[name, ("encrypted".into(), sealed.into())])
            };
            let cells = || vec![Cell::Text(name.clone()), Cell::Text(sealed.into())];
            out.row(fields, cells)?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(true);
        }
    }
}

fn print(out: &mut Out, name: &str, done: &'static str, dry_run: bool) -> Result<(), Stop> {
    let object = [(done, name.into()), ("dry_run", dry_run.into())];
    let word = if dry_run { "would be" } else { "is" };
    Ok(out.result(&object, &format!("secret {name} {word} {done}"))?)
}

fn has(admin: &mut Admin, wanted: &str) -> Result<bool, Stop> {
    let mut cursor = 0;
    loop {
        let (page, next) = admin.secrets(cursor)?;
        if page.iter().any(|(name, _)| name == wanted) {
            return Ok(true);
        }
        cursor = next;
        if cursor == 0 {
            return Ok(false);
        }
    }
}
