use std::process::ExitCode;

fn main() -> ExitCode {
    outhook::cli::main()
}
