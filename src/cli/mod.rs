//! What the user typed: flags, environment variables, and what they mean.
//!
//! Every option is a flag `--some-name`, a variable `OUTHOOK_SOME_NAME`, a key of the file of
//! `--config`, a default and a line of help; see `settings`. What is wrong ends the program with
//! code 2 and one line that names the option, where it is set, the value and what is allowed.

mod args;
mod commands;
mod exit;
mod nearest;
mod output;
mod settings;
mod startup;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::service::logging::LogFormat;
use crate::service::{logging, signals};
use commands::Command;
use exit::bad_config;
use settings::{Settings, Stop};

/// Sends webhooks: takes messages from Redis and POSTs each one until it is accepted.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Read options from this TOML file, under the names of their flags; flags and variables win
    #[arg(long, global = true, env = "OUTHOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to log to standard error: a level, or env_logger's syntax such as info,outhook=debug
    /// [default: info]
    #[arg(long, global = true, env = "OUTHOOK_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Format of the log
    #[arg(
        long,
        global = true,
        env = "OUTHOOK_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    match settings::read(std::env::args_os(), std::env::vars_os()) {
        Ok((cli, settings)) => run(cli, &settings),
        Err(Stop::Shown(text)) => {
            let _ = text.print();
            ExitCode::from(text.exit_code() as u8)
        }
        Err(Stop::Bad(text)) => bad_config(text),
    }
}

fn run(cli: Cli, settings: &Settings) -> ExitCode {
    signals::block();
    // The demo draws a table, which log lines would tear.
    let quiet = matches!(cli.command, Command::Demo(_));
    let default = if quiet { "error" } else { "info" };
    let filter = cli.log.as_deref().unwrap_or(default);
    if let Err(e) = logging::start(filter, cli.log_format) {
        return bad_config(settings.name_places(&format!(
            "--log {filter:?}: {e}; it must be a level, or a filter such as warn,outhook=debug"
        )));
    }
    // These say themselves which thread is to get signals. The others do one thing, which a
    // signal may end.
    if !matches!(
        cli.command,
        Command::Serve(_) | Command::Deliver(_) | Command::Demo(_) | Command::Listen(_)
    ) {
        signals::unblock();
    }
    let result = cli.command.run(settings);
    logging::flush();
    result.unwrap_or_else(|e| bad_config(settings.name_places(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_option_has_a_variable_of_its_name_and_a_line_of_help() {
        Cli::command().debug_assert();
        // The operator's tools are typed, not deployed.
        let deployed = ["serve", "deliver", "demo", "listen", "check"];
        for name in deployed {
            let cli = Cli::command();
            let command = cli.find_subcommand(name).unwrap();
            for arg in command
                .get_arguments()
                .filter(|a| a.get_long() != Some("help"))
            {
                let flag = arg.get_long().expect("options only");
                let name = format!("OUTHOOK_{}", flag.replace('-', "_").to_uppercase());
                assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(&*name));
                assert!(arg.get_help().is_some(), "--{flag}");
            }
        }
    }
}
