//! The few things that need the operating system: signals, resets, what a process uses.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// Sends a signal to one process, which the caller has started and not yet reaped.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a process id");
    kill_process(pid, signal).expect("to signal a process of ours");
}

/// Makes the close of this connection a reset.
pub fn reset(stream: TcpStream) {
    reset_at_close(&stream);
}

/// The same, for one that is closed later, by whoever closes it last.
pub fn reset_at_close(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// CPU time that a process has used so far.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
    let rest = stat.rsplit_once(") ").expect("a name").1;
    let ticks: u64 = rest
        .split(' ')
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory that a process has ever held, in bytes.
pub fn peak_rss(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1));
    kib.and_then(|n| n.parse::<u64>().ok()).expect("VmHWM") * 1024
}
