//! outhook: a webhook sender that needs only Redis. README.md and docs/ tell how to use it,
//! ARCHITECTURE.md tells its shape.
//!
//! The folders are floors: each imports only those below it in this list. The library exists for
//! the binary and its tests; its interface is not stable.

pub mod cli;
// Threads, channels and clocks.
mod service;
// Blocking I/O: the receivers' side, then Redis.
mod http;
mod store;
// From here on all is pure: no clock, thread or I/O. A comment stands between these lines, as they
// would be sorted by name otherwise.
mod scheduler;
// What the scheduler decides about.
mod delivery;
// Who may be sent to, and how a receiver knows us.
mod trust;
// What a producer sent.
mod message;

#[cfg(test)]
#[path = "../tests/it/support/dice.rs"]
mod dice;

// What must hold for any bytes: for tests and the crate in `fuzz/`, and in nothing that ships.
#[cfg(any(test, feature = "fuzzing"))]
#[path = "../fuzz/oracles/mod.rs"]
pub mod fuzzing;
