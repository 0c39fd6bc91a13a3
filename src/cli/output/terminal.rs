//! Where standard output goes: to a terminal of some width, or to a program that reads lines; and
//! the questions to the person in front of it.

use std::io::{IsTerminal, stderr, stdin, stdout};

/// Where a list is printed.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub is_terminal: bool,
    /// Columns that a line may have. Without it lines are not cut.
    pub width: Option<usize>,
    pub has_colours: bool,
}

impl Screen {
    pub fn stdout() -> Screen {
        let is_terminal = stdout().is_terminal();
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen {
            is_terminal,
            width: if is_terminal { width() } else { None },
            has_colours: is_terminal && !is_set("NO_COLOR") && !is_dumb,
        }
    }
}

/// Who exports COLUMNS wants that width. A terminal that does not know its size says 0.
fn width() -> Option<usize> {
    let wanted = std::env::var("COLUMNS").ok();
    let wanted = wanted.and_then(|text| text.trim().parse().ok());
    let real = || {
        let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
        Some(usize::from(size.ws_col))
    };
    wanted.or_else(real).filter(|width| *width > 0)
}

/// Whether a person is there. A script has said with its command line what it wants.
pub fn can_ask() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Whether the person says yes.
pub fn confirm(question: &str) -> bool {
    eprint!("outhook: {question} [y/N] ");
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Says that standard input is read, where somebody could wait for something to happen.
pub fn print_reading(what: &str) {
    if stdin().is_terminal() {
        eprintln!("outhook: {what}; Ctrl-D ends it");
    }
}
