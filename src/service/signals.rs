//! Signals: the first SIGTERM or SIGINT begins the drain, a second ends the process at once,
//! SIGUSR1 logs a snapshot, SIGUSR2 makes the log verbose or usual again, SIGHUP reads the endpoints
//! file again.
//!
//! The drain: this thread triggers `drain.rs`, on which the sources end; `timer/ending.rs` says how far
//! it is, and `scheduler/draining.rs` what leaves.
//!
//! A thread of its own waits for them; nothing runs in a signal handler. With handlers in
//! place the process also ends as PID 1 of a container, where the defaults do nothing.
//!
//! All other threads block them, so that no signal interrupts a system call of theirs. A thread
//! inherits what its maker blocks: so [`block`] comes before the first thread is made.

use std::io;
use std::thread;

use log::{info, warn};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::service::control::Commands;
use crate::service::drain::{Drain, DrainTrigger, drain};
use crate::service::logging;

/// What SIGHUP does.
pub type Reload = Box<dyn Fn() + Send>;

/// What a fault in the program itself raises: it must not be blocked, and is no message.
const FAULTS: [Signal; 7] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGABRT,
];

/// From now on this thread, and each that it makes, is interrupted by no signal.
pub fn block() {
    // It fails for arguments that are not these.
    let _ = messages().thread_block();
}

/// This thread is the one that signals are for.
pub fn unblock() {
    let _ = messages().thread_unblock();
}

fn messages() -> SigSet {
    let mut all = SigSet::all();
    for fault in FAULTS {
        all.remove(fault);
    }
    all
}

/// Starts to listen. Must come before anything that may take long.
pub fn listen(commands: Commands, reload: Reload) -> io::Result<Drain> {
    let (trigger, drain) = drain(commands.waker());
    let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || serve(signals, Some(trigger), &commands, &reload))?;
    Ok(drain)
}

fn serve(
    mut signals: Signals,
    mut trigger: Option<DrainTrigger>,
    commands: &Commands,
    reload: &Reload,
) {
    unblock();
    for signal in signals.forever() {
        match signal {
            SIGUSR1 => match commands.snapshot() {
                Some(snapshot) => {
                    let counters = snapshot.counters();
                    let says = format_args!("snapshot: {snapshot}");
                    logging::log_counters("snapshot", &counters, says);
                }
                None => info!("snapshot: the service is not running yet, or no longer"),
            },
            SIGUSR2 => {
                if let Some(filter) = logging::toggle_verbose() {
                    info!("SIGUSR2: the log's filter is {filter:?} now");
                }
            }
            SIGHUP => reload(),
            _ => match trigger.take() {
                Some(trigger) => {
                    let name = if signal == SIGINT {
                        "SIGINT"
                    } else {
                        "SIGTERM"
                    };
                    info!("{name}: finishing what was received; a second signal ends at once");
                    drop(trigger);
                }
                None => {
                    warn!("second signal: ending at once, unfinished messages are lost");
                    logging::flush();
                    // 130 and 143, as shells tell of death by these signals.
                    std::process::exit(128 + signal);
                }
            },
        }
    }
}
