//! What holds for endpoints: the endpoints file, and the key that signs where it says nothing. Read at
//! start, and again on SIGHUP.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, info, log, warn};
use rustls::pki_types::UnixTime;

use crate::cli::args::secret_files::read_secret_again;
use crate::cli::args::signing::SigningArgs;
use crate::cli::args::values::read_authorities;
use crate::delivery::endpoints_file::{self, Bounds, Readers};
use crate::delivery::rules::{EndpointRule, EndpointRules};
use crate::message::endpoint::Endpoint;
use crate::message::timestamp::{format_rfc3339, unix_ms};
use crate::service::control::{Command, Commands};
use crate::service::signals::Reload;
use crate::trust::keyring::Keyring;
use crate::trust::login::Authorization;
use crate::trust::signing::Signing;

/// Keys that end within 30 days are worth a warning.
const SOON: u64 = 30 * 86_400_000;

/// For the files that rules name.
const READERS: Readers<'static> = Readers {
    authorities: &read_authorities,
    secret: &read_secret_again,
};

/// Where rules come from.
struct Origin {
    path: Option<PathBuf>,
    bounds: Bounds,
    signing: SigningArgs,
}

/// Reads the rules, and answers them, and what reads them again. When they are bad then, they are
/// refused, and the old rules stay. The error is one line.
pub fn watch(
    path: Option<&Path>,
    bounds: Bounds,
    signing: &SigningArgs,
    commands: Commands,
) -> Result<(EndpointRules, Reload), String> {
    let origin = Origin {
        path: path.map(Path::to_owned),
        bounds,
        signing: signing.clone(),
    };
    let rules = origin.read()?;
    let reload = move || match (origin.read(), &origin.path) {
        (Ok(rules), path) => {
            let count = rules.len();
            commands.give(Command::Rules(rules));
            match path {
                Some(path) => info!("SIGHUP: {count} rules in {}", path.display()),
                None if origin.signing.is_read_again() => info!("SIGHUP: the signing key is read"),
                None => info!("SIGHUP: there is no --endpoints file to read again"),
            }
        }
        (Err(e), _) => warn!("SIGHUP: {e}; the old rules stay"),
    };
    Ok((rules, Box::new(reload)))
}

/// The same, and secrets that messages name are read again.
pub fn and_secrets(reload: Reload, keyring: Option<Keyring>) -> Reload {
    Box::new(move || {
        reload();
        if let Some(keyring) = &keyring {
            keyring.read_again();
            info!("SIGHUP: secrets that messages name are read again");
        }
    })
}

/// How deliveries to this URL are signed, as this file says. The error is one line.
pub fn signing_for(path: &Path, url: &str) -> Result<Option<Arc<Signing>>, String> {
    let name = path.display().to_string();
    let endpoint = Endpoint::parse(url).map_err(|e| format!("--url {url}: {e}"))?;
    let text = read_text(path)?;
    let signing = endpoints_file::signing_for(&text, &name, &endpoint, READERS);
    signing.map_err(|e| format!("--endpoints {name}: {e}"))
}

fn read_text(path: &Path) -> Result<String, String> {
    // A pipe that nobody writes to would block the thread that serves signals.
    let text = match fs::metadata(path) {
        Ok(data) if !data.is_file() => Err(io::Error::other("not a file")),
        Ok(_) => fs::read_to_string(path),
        Err(e) => Err(e),
    };
    let name = path.display();
    text.map_err(|e| format!("--endpoints {name}: {e}; it must be a readable file"))
}

impl Origin {
    fn read(&self) -> Result<EndpointRules, String> {
        let defaults = self.signing.load()?;
        let Some(path) = &self.path else {
            let mut rules = EndpointRules::default();
            rules.set_defaults(defaults);
            return Ok(rules);
        };
        let name = path.display().to_string();
        let text = read_text(path)?;
        let rules = endpoints_file::parse(&text, &name, &self.bounds, READERS, defaults);
        let rules = rules.map_err(|e| format!("--endpoints {name}: {e}"))?;
        for rule in rules.iter().filter(|rule| rule.max_age_raised) {
            let age = humantime::format_duration(rule.max_age.unwrap_or_default());
            info!(
                "--endpoints {name}: {}: max_age is raised to {age}, because all attempts take that long",
                rule.matches
            );
        }
        for rule in rules.iter() {
            let guard = rule.guard.as_ref();
            if let Some(off) = guard.and_then(|guard| guard.describe_off()) {
                warn!(
                    "--endpoints {name}: {}: the address guard is {off}",
                    rule.matches
                );
            }
        }
        look_at_keys(&rules, unix_ms(SystemTime::now()))
            .map_err(|e| format!("--endpoints {name}: {e}"))?;
        for rule in rules.iter() {
            warn_of_login(&name, rule);
        }
        Ok(rules)
    }
}

/// Where nothing can be signed now, or not for long, that is better known before.
fn look_at_keys(rules: &EndpointRules, now: u64) -> Result<(), String> {
    for rule in rules.iter() {
        let Some(signing) = &rule.signing else {
            continue;
        };
        for doubt in signing.doubts() {
            warn!("{}: signing: {doubt}", rule.matches);
        }
        let until = signing.signs_until(now);
        let until = until.map_err(|e| format!("{}: {e}", rule.matches))?;
        if until < u64::MAX {
            let level = match until - now < SOON {
                true => Level::Warn,
                false => Level::Info,
            };
            log!(
                level,
                "{}: signing: from {} on no key is valid, and its messages wait: see not_after of \
                 its keys in the endpoints file",
                rule.matches,
                format_rfc3339(until)
            );
        }
    }
    Ok(())
}

/// What an operator should know of a login, at each start and each time it is read again.
fn warn_of_login(name: &str, rule: &EndpointRule) {
    let Some(login) = &rule.login else {
        return;
    };
    let (of, now) = (&rule.matches, UnixTime::now());
    if login.insecure_tls {
        warn!(
            "--endpoints {name}: {of}: insecure_tls: certificates are not verified there; anyone \
             on the way can read and change what is sent"
        );
    }
    if let Some(Authorization::OAuth2(oauth2)) = &login.authorization
        && !oauth2.grant.endpoint.is_https()
    {
        warn!(
            "--endpoints {name}: {of}: oauth2: its token_url is http://, where anyone on the way can \
             read the client secret"
        );
    }
    if let Some(since) = login.identity.as_ref().and_then(|own| own.expired(now)) {
        let since = UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let since = humantime::format_rfc3339_seconds(since);
        warn!("--endpoints {name}: {of}: client_cert_file: the certificate expired at {since}");
    }
}
