//! `outhook secrets`: put secrets that messages name into Redis, list their names, delete some. No
//! value is ever shown, or taken from the command line, which others can see.

use std::io::{Read, stdin};
use std::path::Path;
use std::process::ExitCode;

use ring::rand::{SecureRandom, SystemRandom};

use super::print::{Out, Stop, ended};
use crate::cli::{KeyringArgs, SecretAct, SecretPlace, SecretsArgs, read_secret};
use crate::service::outage::OutageTracker;
use crate::service::secret_loader::{self, SecretSource};
use crate::store::{Admin, Keys, Redis, SecretHash};
use crate::trust::keyring::{Keyring, MAX_VALUE, keys_of};
use crate::trust::sealed::SealingKeys;
use crate::trust::secret::Secret;
use crate::trust::signing::Signing;

const COLUMNS: [&str; 2] = ["name", "encrypted"];

/// The keyring of a service, if there is one. `redis`: of one that has it. The error is one line.
pub fn keyring(
    args: &KeyringArgs,
    redis: Option<(&Redis, &Keys)>,
    trouble: OutageTracker,
) -> Result<Option<Keyring>, String> {
    let (source, place, trouble) = match (args.place()?, redis) {
        (SecretPlace::Nowhere, _) => return Ok(None),
        (SecretPlace::Directory(directory, place), _) => {
            let trouble = OutageTracker::new("secrets").with("secrets");
            (SecretSource::Directory(directory), place, trouble)
        }
        (SecretPlace::Redis(sealing), Some((redis, keys))) => {
            let place = keys.secrets.clone();
            let hash = SecretHash::new(redis.clone(), keys.clone(), sealing.keys()?);
            let again = Box::new(move || sealing.keys_again());
            (SecretSource::Redis(Box::new(hash), again), place, trouble)
        }
        (SecretPlace::Redis(_), None) => {
            return Err(
                "--secrets-from redis: this command uses no Redis; set --secrets-dir".into(),
            );
        }
    };
    secret_loader::start(source, place, trouble).map(Some)
}

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
        let mut out = Out::new(common.json);
        let good = match (&args.act, &value) {
            (SecretAct::Set { name, .. }, Some(value)) => {
                admin.set_secret(name, value)?;
                true
            }
            (SecretAct::Delete { name, .. }, _) => {
                let was_there = admin.delete_secret(name)?;
                if !was_there {
                    eprintln!("outhook: there is no secret {name}; see outhook secrets list");
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
            let fields = vec![
                ("name".into(), name.into_bytes()),
                ("encrypted".into(), sealed.into()),
            ];
            out.line(&fields, &COLUMNS)?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(true);
        }
    }
}
