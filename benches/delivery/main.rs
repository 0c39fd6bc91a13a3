//! `cargo bench`: what a delivery costs, so that anyone can see it on their own machine.
//!
//! The release binary runs as a user would run it, against a redis-server and a sink of this
//! benchmark's own, all on loopback. A figure by itself says little about a program and much
//! about the machine, so the same requests are also posted to the same sink by a program that
//! does nothing else, and the ratio is printed.

// The figures come from /proc, and the sink stands on epoll.
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("this benchmark needs Linux");
    std::process::ExitCode::FAILURE
}
