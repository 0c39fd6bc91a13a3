//! What the user typed: flags, environment variables, and what they mean.
//!
//! Every option is a flag `--some-name`, a variable `OUTHOOK_SOME_NAME`, a default and a
//! line of help. What is wrong ends the program with [`bad_config`] and one line that names
//! the option, the value and what is allowed.

mod args;
mod commands;
mod exit;
mod output;
mod startup;
mod state;

use std::process::ExitCode;

use clap::Parser;

use crate::service::logging::LogFormat;
use crate::service::{logging, signals};
use commands::Command;
pub use exit::bad_config;

/// Sends webhooks: takes messages from Redis and POSTs each one until it is accepted.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// What to log to standard error: a level, or env_logger's syntax such as info,outhook=debug
    /// [default: info]
    #[arg(long, global = true, env = "OUTHOOK_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Format of the log
    #[arg(
        long,
        global = true,
        env = "OUTHOOK_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// Runs what was asked for.
pub fn run(cli: Cli) -> ExitCode {
    signals::block();
    // The demo draws a table, which log lines would tear.
    let quiet = matches!(cli.command, Command::Demo(_));
    let default = if quiet { "error" } else { "info" };
    let filter = cli.log.as_deref().unwrap_or(default);
    if let Err(e) = logging::start(filter, cli.log_format) {
        return bad_config(format!(
            "--log {filter:?}: {e}; it must be a level, or a filter such as warn,outhook=debug"
        ));
    }
    // These say themselves which thread is to get signals. The others do one thing, which a
    // signal may end.
    if !matches!(
        cli.command,
        Command::Serve(_) | Command::Deliver(_) | Command::Demo(_) | Command::Listen(_)
    ) {
        signals::unblock();
    }
    let result = cli.command.run();
    logging::flush();
    result.unwrap_or_else(bad_config)
}

/// Folds clap's paragraph of an error into one line, and leaves out its advice on `--help`.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let text = words.join(" ");
    text.trim_start_matches("error: ").to_owned()
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
