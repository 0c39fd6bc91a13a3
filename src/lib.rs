//! outhook: a webhook sender that needs only Redis. See README.md for its use and
//! ARCHITECTURE.md for its shape; the modules stand on floors, and import downward only.
//!
//! The library exists for the binary and its tests; its interface is not stable.

// Floor 4: what the user typed.
pub mod cli;
pub mod commands;
// What must hold for any bytes: for tests and the crate in `fuzz/`, and in nothing that ships.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
// Floor 3: threads, channels and clocks.
mod clock;
mod control;
mod drain;
mod intake;
mod ledger;
mod lender;
pub mod logging;
mod outage;
mod pipeline;
mod pulse;
mod receiver;
mod secret_loader;
mod signals;
mod threads;
mod timer;
mod wake;
mod work_queue;
mod worker;
// Floor 2: blocking I/O, and what the system allows.
mod descriptors;
mod http;
mod keyring;
mod store;
// Floor 1: decisions, pure.
mod lane;
mod scheduler;
// Floor 0: values and pure functions.
mod authorities;
mod backoff;
mod config;
mod delivery;
mod egress;
mod endpoint;
mod entry;
mod guard;
mod headers;
mod history;
mod hold;
mod limits;
mod login;
mod message;
mod places;
mod record;
mod report;
mod rules;
mod rules_file;
mod sealed;
mod secret;
mod signing;
mod timestamp;
mod verdict;
