//! Where settings come from, and what is said of that.
//!
//! The definitions that clap has are the one table of options. [`read`] lays two more layers under
//! the command line: variables (clap's own, with what clap takes for set or wrong put right), and the
//! file of `--config`, whose values take the place of defaults. So a flag wins over a variable, and
//! that over the file. What is wrong is named with the place that it stands at.

mod errors;
mod file;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use log::{info, warn};

use super::Cli;
use super::args::values::switch;
use errors::one_line;
use file::ConfigFile;

/// Variables that others have set before outhook came, in place of our own.
const INHERITED: &[(&str, &[&str])] = &[("redis-address", &["REDIS_ADDRESS", "REDIS_URL"])];

/// Why nothing is run.
pub enum Stop {
    /// It was asked for: help, or the version.
    Shown(clap::Error),
    /// A bad configuration, in one line.
    Bad(String),
}

/// An option that may be set by a variable.
struct Known {
    flag: String,
    variable: String,
    default: Vec<OsString>,
}

/// What was set, and where.
pub struct Settings {
    typed: Vec<String>,
    /// Those that are not empty: an empty one is what compose and Kubernetes make of an unset one.
    variables: BTreeMap<String, String>,
    file: Option<ConfigFile>,
    known: Vec<Known>,
    /// For the line at the start.
    shown: Vec<String>,
}

/// The layer that an option's value stands in.
#[derive(Debug, PartialEq)]
enum Layer {
    Default,
    File,
    Variable(String),
    Flag,
}

/// Reads the command line, the variables, and the file that one of these names.
pub fn read(
    typed: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Cli, Settings), Stop> {
    let typed: Vec<OsString> = typed.into_iter().collect();
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let variables = variables.into_iter().map(|(k, v)| (lossy(k), lossy(v)));
    let mut settings = Settings {
        typed: typed.iter().cloned().map(lossy).collect(),
        variables: variables.filter(|(_, value)| !value.is_empty()).collect(),
        file: None,
        known: known(&Cli::command()),
        shown: Vec::new(),
    };
    settings.read_file().map_err(Stop::Bad)?;
    let mut command = settings.lay_under(Cli::command());
    let parsed = command.try_get_matches_from_mut(typed);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = parsed.map_err(|e| settings.stop(e))?;
    settings.look_at(&command, &matches).map_err(Stop::Bad)?;
    Ok((cli, settings))
}

/// All options with variables, of all commands, each once.
fn known(command: &Command) -> Vec<Known> {
    fn walk(command: &Command, found: &mut BTreeMap<String, Known>) {
        for arg in command.get_arguments() {
            if let (Some(flag), Some(variable)) = (arg.get_long(), arg.get_env()) {
                found.entry(flag.to_owned()).or_insert_with(|| Known {
                    flag: flag.to_owned(),
                    variable: variable.to_string_lossy().into_owned(),
                    default: arg.get_default_values().iter().map(|v| v.into()).collect(),
                });
            }
        }
        for subcommand in command.get_subcommands() {
            walk(subcommand, found);
        }
    }
    let mut found = BTreeMap::new();
    walk(command, &mut found);
    found.into_values().collect()
}

impl Settings {
    /// What stands on the command line for this flag, if its value is in one of two forms.
    fn typed(&self, flag: &str) -> Option<&str> {
        let mut words = self.typed.iter().take_while(|word| *word != "--");
        while let Some(word) = words.next() {
            match word.strip_prefix("--").and_then(|w| w.strip_prefix(flag)) {
                Some("") => return Some(words.next().map_or("", String::as_str)),
                Some(rest) if rest.starts_with('=') => return Some(&rest[1..]),
                _ => {}
            }
        }
        None
    }

    /// The variable that sets this option.
    fn variable(&self, flag: &str, own: &str) -> Option<&str> {
        let is_set = |name: &&str| self.variables.contains_key(*name);
        if self.variables.contains_key(own) {
            return self.variables.get_key_value(own).map(|(name, _)| &**name);
        }
        let inherited = INHERITED.iter().find(|(of, _)| *of == flag);
        let twin = format!("{flag}-file");
        let has_twin = self.typed(&twin).is_some()
            || self
                .known(&twin)
                .is_some_and(|twin| self.variables.contains_key(&twin.variable));
        let (_, names) = inherited.filter(|_| !has_twin)?;
        names.iter().copied().find(is_set)
    }

    fn known(&self, flag: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.flag == flag)
    }

    /// What the file says of this option, unless another layer sets its twin (`x` and `x-file`).
    fn in_file(&self, flag: &str) -> Option<&[String]> {
        let file = self.file.as_ref()?;
        let twin = match flag.strip_suffix("-file") {
            Some(twin) => twin.to_owned(),
            None => format!("{flag}-file"),
        };
        file.get(flag).filter(|_| self.above_file(&twin).is_none())
    }

    fn above_file(&self, flag: &str) -> Option<Layer> {
        let known = self.known(flag)?;
        if self.typed(flag).is_some() {
            return Some(Layer::Flag);
        }
        let name = self.variable(flag, &known.variable)?;
        Some(Layer::Variable(name.to_owned()))
    }

    fn layer(&self, flag: &str) -> Layer {
        let above = self.above_file(flag);
        above.unwrap_or(match self.in_file(flag) {
            Some(_) => Layer::File,
            None => Layer::Default,
        })
    }

    fn read_file(&mut self) -> Result<(), String> {
        let variable = self.variables.get("OUTHOOK_CONFIG").map(String::as_str);
        let Some(path) = self.typed("config").or(variable) else {
            return Ok(());
        };
        let names = self.known.iter().map(|known| &*known.flag);
        let file = ConfigFile::read(path, &names.collect::<Vec<_>>());
        self.file = Some(file.map_err(|e| self.name_places(&e))?);
        Ok(())
    }

    /// Gives each option its variable or what the file says of it.
    fn lay_under(&self, command: Command) -> Command {
        let command = command.mut_args(|arg| self.lay_under_one(arg));
        command.mut_subcommands(|subcommand| self.lay_under(subcommand))
    }

    fn lay_under_one(&self, arg: Arg) -> Arg {
        let arg = match arg.get_action() {
            // 1, yes and on will do.
            ArgAction::SetTrue => arg.value_parser(switch),
            // So that the error is that of the value.
            ArgAction::Set | ArgAction::Append => arg.allow_negative_numbers(true),
            _ => arg,
        };
        let known = arg.get_long().and_then(|flag| self.known(flag));
        let Some(Known { flag, variable, .. }) = known.filter(|_| arg.get_env().is_some()) else {
            return arg;
        };
        let inherited = match self.variable(flag, variable) {
            Some(name) if name == variable => return arg,
            Some(name) => Some(name.to_owned()),
            None => None,
        };
        let arg = match (inherited, std::env::var_os(variable)) {
            (Some(name), _) => return arg.env(name),
            // clap would take an empty one for set. No variable has no name.
            (None, Some(_)) => arg.env("").hide_env(true),
            (None, None) => arg,
        };
        let is_secret = arg.is_hide_env_values_set();
        match self.in_file(flag) {
            Some(values) => arg
                .default_values(values.to_vec())
                .hide_default_value(is_secret),
            None => arg,
        }
    }

    fn stop(&self, error: clap::Error) -> Stop {
        match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Stop::Shown(error),
            _ => Stop::Bad(self.name_places(&one_line(&error))),
        }
    }

    /// The same sentence, with the variable or file behind each option that was set there.
    pub fn name_places(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for Known { flag, .. } in &self.known {
            let place = match self.layer(flag) {
                Layer::Variable(name) => format!(" ({name})"),
                Layer::File => format!(" ({})", self.file.as_ref().map_or("", |f| &f.name)),
                Layer::Flag | Layer::Default => continue,
            };
            let flag = format!("--{flag}");
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
            let mut found = text.match_indices(&flag).map(|(at, _)| at + flag.len());
            let end = found.find(|end| ends(&text[*end..]));
            if let Some(end) = end.filter(|end| !text[*end..].starts_with(&place)) {
                text.insert_str(end, &place);
            }
        }
        text
    }

    /// What clap says of flags and variables that exclude each other holds for the file too; and
    /// remembers what is not as it is by default.
    fn look_at(&mut self, command: &Command, matches: &ArgMatches) -> Result<(), String> {
        let (mut command, mut matches) = (command, matches);
        while let Some((name, inner)) = matches.subcommand() {
            command = command.find_subcommand(name).unwrap_or(command);
            matches = inner;
        }
        for arg in command.get_arguments() {
            let flag = arg.get_long().unwrap_or_default();
            let layer = self.layer(flag);
            if layer == Layer::Default {
                continue;
            }
            for other in command.get_arg_conflicts_with(arg) {
                let other = other.get_long().unwrap_or_default();
                if self.layer(other) != Layer::Default {
                    let text = format!("--{other} and --{flag} exclude each other; set one");
                    return Err(self.name_places(&text));
                }
            }
            let id = arg.get_id().as_str();
            let raw = matches.get_raw(id).map(|raw| raw.collect::<Vec<_>>());
            let raw = raw.unwrap_or_default();
            let known = self.known(flag);
            let is_default =
                known.is_some_and(|known| raw == known.default.iter().collect::<Vec<_>>());
            let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
            if is_default || is_switch && !matches.get_flag(id) {
                continue;
            }
            let values: Vec<_> = raw.iter().map(|value| value.to_string_lossy()).collect();
            let value = match (is_switch, arg.is_hide_env_values_set()) {
                (true, _) => String::new(),
                (_, true) => " (hidden)".to_owned(),
                (_, false) => format!(" {}", values.join(",")),
            };
            self.shown
                .push(self.name_places(&format!("--{flag}{value}")));
        }
        Ok(())
    }

    /// Logs what whoever deploys outhook should know of them: what is none, and in one line what is not
    /// as it is by default.
    pub fn tell(&self) {
        self.unknown_variables()
            .iter()
            .for_each(|line| warn!("{line}"));
        if !self.shown.is_empty() {
            info!(event = "settings"; "settings: {}", self.shown.join(", "));
        }
    }
}
