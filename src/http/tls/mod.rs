//! TLS: whom we trust, who we are, the stream over a connection, and what its failures mean.

mod client_certificate;
mod origin;
pub mod records;
pub mod stream;
mod verifier;

pub use origin::{OriginTls, Trust};
