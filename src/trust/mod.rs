//! Trust: which addresses may be reached, and how (`guard`, `egress`), how a receiver knows us
//! (`signing`, `login`), which certificates we believe (`authorities`), and the secrets for all
//! that.
//!
//! Pure, except `keyring`: it holds a lock, and may ask a thread to read a secret. It never waits.

pub mod authorities;
pub mod egress;
pub mod encryption;
pub mod guard;
pub mod keyring;
pub mod log_throttle;
pub mod login;
pub mod secret;
pub mod signing;
