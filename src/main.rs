use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use outhook::cli::{Cli, bad_config, one_line, run};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(e) => match e.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let _ = e.print();
                ExitCode::from(e.exit_code() as u8)
            }
            _ => bad_config(one_line(&e)),
        },
    }
}
