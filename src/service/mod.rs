//! The running service: threads, the channels between them, and the clocks. Threads
//! are started only here; the resolver has its own. `http` reads the clock for its deadlines, and
//! the pure folders never do.
//!
//! Start reading at `pipeline.rs`, which wires all of it, then `timer.rs`, in the middle of the star,
//! which alone owns the scheduler. `intake/` brings messages, `worker.rs` makes attempts, `ledger/`
//! writes what has become of them.

pub mod boot_clock;
pub mod channel;
pub mod control;
pub mod descriptors;
pub mod digest;
pub mod drain;
pub mod intake;
pub mod ledger;
pub mod lender;
pub mod logging;
pub mod outage;
pub mod pipeline;
pub mod pulse;
pub mod receiver;
pub mod secret_directory;
pub mod secret_loader;
pub mod signals;
pub mod threads;
pub mod timer;
pub mod worker;
