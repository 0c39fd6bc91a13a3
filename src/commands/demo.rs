use crate::cli::DemoArgs;
use std::process::ExitCode;
pub fn run(_: &DemoArgs) -> Result<ExitCode, String> { Err("x".into()) }
