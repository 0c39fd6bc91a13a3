//! Connections as the system gives them: dialled, read from and written to until a deadline.

pub mod approval;
pub mod carrier;
pub mod dialer;
pub mod socket;
pub mod stream;
