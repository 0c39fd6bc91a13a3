//! A terminal, as a person has it: a process that runs there finds one at all three ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What stood on the terminal when the process had ended.
#[derive(Debug)]
pub struct Shown {
    pub code: i32,
    /// Its lines, without colours and what else acts on a terminal.
    pub lines: Vec<String>,
    /// Byte for byte.
    pub raw: String,
}

impl Shown {
    pub fn has(&self, part: &str) -> bool {
        self.lines.iter().any(|line| line.contains(part))
    }

    /// The line that holds this.
    pub fn line(&self, part: &str) -> &str {
        let line = self.lines.iter().find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("no line with {part:?}: {self:#?}"))
    }
}

/// Runs a command to its end on a terminal of so many columns. `typed` waits there for whoever reads.
pub fn run(mut command: Command, columns: u16, typed: &str) -> Shown {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("to grant it");
    unlockpt(&master).expect("to unlock it");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let open = || -> File {
        let name = name.to_str().expect("a path");
        let file = OpenOptions::new().read(true).write(true).open(name);
        file.expect("to open it")
    };
    let slave = open();
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).expect("to set its size");
    let mut master = File::from(master);
    master.write_all(typed.as_bytes()).expect("to type");
    command.env("TERM", "xterm");
    let end = || Stdio::from(slave.try_clone().expect("a copy"));
    command.stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().expect("to start the binary");
    // The terminal ends for us when nobody else has it open.
    drop((command, slave));
    let mut raw = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = master.read(&mut buffer) {
        raw.extend_from_slice(&buffer[..n]);
    }
    let status = child.wait().expect("a child");
    let raw = String::from_utf8_lossy(&raw).into_owned();
    Shown {
        code: status
            .code()
            .or_else(|| status.signal().map(|s| -s))
            .unwrap_or(-1),
        lines: plain(&raw).lines().map(str::to_owned).collect(),
        raw,
    }
}

/// Without escape sequences; a line that was drawn over is as it was left.
fn plain(raw: &str) -> String {
    let mut text = String::new();
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => while rest.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
            '\r' => {}
            c => text.push(c),
        }
    }
    text
}
