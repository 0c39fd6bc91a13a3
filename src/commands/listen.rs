//! `outhook listen`: prints what arrives, one line a request.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use log::info;

use super::descriptors;
use crate::cli::ListenArgs;
use crate::guard::{Cidr, Guard};
use crate::receiver::{self, Behaviour, Received};
use crate::signals;

/// Longer bodies are printed in part.
const MAX_SHOWN: usize = 4096;

/// The error is a bad configuration, in one line.
pub fn run(args: &ListenArgs) -> Result<ExitCode, String> {
    descriptors::prepare(None);
    ctrlc::set_handler(|| std::process::exit(0)).map_err(|e| format!("signals: {e}"))?;
    let behaviour = Behaviour {
        status: args.status,
        fail_rate: args.fail_rate,
        delay: args.delay,
        hang: args.hang,
        retry_after: args.retry_after,
    };
    let address = receiver::start(args.bind, behaviour, |r| print(&line(&r)))
        .map_err(|e| format!("--bind {}: {e}; it must be a free address", args.bind))?;
    // The threads that answer are not to be interrupted.
    signals::unblock();
    print(&format!("listen: on http://{address}"));
    let ip = address.ip();
    if !ip.is_unspecified() && Guard::default().check(ip).is_err() {
        info!(
            "outhook sends here only with --allow-cidr {}",
            Cidr::only(ip)
        );
    }
    loop {
        thread::park();
    }
}

/// A reader that went away is no reason to stop answering.
fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn line(r: &Received) -> String {
    let shown = String::from_utf8_lossy(&r.body[..r.body.len().min(MAX_SHOWN)]);
    // One line a request, whatever is in it.
    let shown: String = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let more = match r.body.len().checked_sub(MAX_SHOWN) {
        Some(rest) if rest > 0 => format!(" … and {rest} bytes more"),
        _ => String::new(),
    };
    let status = match r.status {
        0 => "hang".to_owned(),
        status => status.to_string(),
    };
    let id = r.id.as_deref().unwrap_or("-");
    format!(
        "{status} {} {} webhook-id={id} {shown}{more}",
        r.method, r.path
    )
}
