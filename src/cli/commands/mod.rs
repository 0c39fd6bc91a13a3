//! The subcommands, one a file. Each answers the process's exit code.

mod check;
mod dead;
mod deliver;
mod demo;
mod descriptors;
mod endpoints;
mod keygen;
mod keys;
mod listen;
mod parked;
mod print;
mod rules;
mod secrets;
mod send;
mod serve;
mod start;
mod status;
mod verify;

use std::process::ExitCode;

use crate::cli::{BAD_CONFIG, Cli, Command};
use crate::service::{logging, signals};
use crate::trust::secret::without_keys;

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
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Listen(args) => listen::run(args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Deliver(args) => deliver::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Dead(args) => dead::run(&args),
        Command::Parked(args) => parked::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Secrets(args) => secrets::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Endpoints(args) => endpoints::run(&args),
    };
    logging::flush();
    result.unwrap_or_else(bad_config)
}

/// Ends with one line on standard error. Errors repeat what they were told, also a key that stands
/// where a file or URL is expected.
pub fn bad_config(text: String) -> ExitCode {
    eprintln!("outhook: {}", without_keys(&text));
    ExitCode::from(BAD_CONFIG)
}

fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
