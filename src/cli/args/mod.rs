//! Options that several subcommands share, and how values are written.
//!
//! Values are checked while they are parsed. What they come to together is checked where it is asked for
//! (`config`, `open`, `verifier`), and its errors name the option.

pub mod channels;
pub mod delivery;
mod egress;
mod guard;
pub mod keyring;
pub mod redis;
pub mod secret_files;
pub mod select;
pub mod signing;
pub mod values;
pub mod verifier;
