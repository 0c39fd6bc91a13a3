//! Exit codes, and the line that goes with a bad configuration.

use std::process::ExitCode;

use crate::trust::secret::without_keys;

/// The exit code for a configuration that cannot be run with.
const BAD_CONFIG: u8 = 2;

/// Ends with one line on standard error. Errors repeat what they were told, also a key that stands
/// where a file or URL is expected.
pub fn bad_config(text: String) -> ExitCode {
    eprintln!("outhook: {}", without_keys(&text));
    ExitCode::from(BAD_CONFIG)
}

pub fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
