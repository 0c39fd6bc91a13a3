//! The endpoints file: read at start, and again on SIGHUP.

use std::fs;
use std::path::Path;

use crossbeam_channel::{Receiver, bounded};
use log::{info, warn};

use crate::rules::Rules;
use crate::rules_file::{self, Bounds};
use crate::signals::Reload;

/// The rules of a run.
pub struct Watch {
    /// Those it begins with.
    pub rules: Rules,
    /// Those that replace them.
    pub changes: Receiver<Rules>,
    /// Reads the file again.
    pub reload: Reload,
}

/// Reads the file, if there is one. When it is read again and is bad, it is refused, and the old
/// rules stay. The error is one line.
pub fn watch(path: Option<&Path>, bounds: Bounds) -> Result<Watch, String> {
    let (sender, changes) = bounded(1);
    let Some(path) = path.map(Path::to_owned) else {
        let nothing = move || {
            // Kept here, as a channel without a sender is always ready.
            let _ = &sender;
            info!("SIGHUP: there is no --endpoints file to read again");
        };
        return Ok(Watch {
            rules: Rules::default(),
            changes,
            reload: Box::new(nothing),
        });
    };
    let rules = read(&path, &bounds)?;
    let reload = move || match read(&path, &bounds) {
        Ok(rules) => {
            info!("SIGHUP: {} rules in {}", rules.len(), path.display());
            let _ = sender.send(rules);
        }
        Err(e) => warn!("SIGHUP: {e}; the old rules stay"),
    };
    Ok(Watch {
        rules,
        changes,
        reload: Box::new(reload),
    })
}

fn read(path: &Path, bounds: &Bounds) -> Result<Rules, String> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|e| format!("--endpoints {name}: {e}; it must be a readable file"))?;
    rules_file::parse(&text, &name, bounds).map_err(|e| format!("--endpoints {name}: {e}"))
}
