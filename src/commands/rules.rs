//! The endpoints file: read at start, and again on SIGHUP.

use std::fs;
use std::io;
use std::path::Path;

use log::{info, warn};

use crate::cli::read_authorities;
use crate::control::{Command, Commands};
use crate::rules::Rules;
use crate::rules_file::{self, Bounds, Readers};
use crate::signals::Reload;

/// For the files that rules name.
const READERS: Readers<'static> = Readers {
    authorities: &read_authorities,
};

/// Reads the file, if there is one, and answers its rules, and what reads it again. When it is
/// bad then, it is refused, and the old rules stay. The error is one line.
pub fn watch(
    path: Option<&Path>,
    bounds: Bounds,
    orders: Commands,
) -> Result<(Rules, Reload), String> {
    let Some(path) = path.map(Path::to_owned) else {
        let nothing = || info!("SIGHUP: there is no --endpoints file to read again");
        return Ok((Rules::default(), Box::new(nothing)));
    };
    let rules = read(&path, &bounds)?;
    let reload = move || match read(&path, &bounds) {
        Ok(rules) => {
            info!("SIGHUP: {} rules in {}", rules.len(), path.display());
            orders.give(Command::Rules(rules));
        }
        Err(e) => warn!("SIGHUP: {e}; the old rules stay"),
    };
    Ok((rules, Box::new(reload)))
}

fn read(path: &Path, bounds: &Bounds) -> Result<Rules, String> {
    let name = path.display().to_string();
    // A pipe that nobody writes to would block the thread that serves signals.
    let text = match fs::metadata(path) {
        Ok(data) if !data.is_file() => Err(io::Error::other("not a file")),
        Ok(_) => fs::read_to_string(path),
        Err(e) => Err(e),
    }
    .map_err(|e| format!("--endpoints {name}: {e}; it must be a readable file"))?;
    let rules = rules_file::parse(&text, &name, bounds, READERS);
    let rules = rules.map_err(|e| format!("--endpoints {name}: {e}"))?;
    for rule in rules.iter().filter(|rule| rule.max_age_raised) {
        let age = humantime::format_duration(rule.max_age.unwrap_or_default());
        info!(
            "--endpoints {name}: {}: max_age is raised to {age}: all attempts take so long",
            rule.matches
        );
    }
    Ok(rules)
}
