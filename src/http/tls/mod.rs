//! TLS: whom we trust, who we are, the stream over a connection, and what its failures mean.

mod certificate_errors;
mod client_certificate;
mod errors;
mod origin;
mod records;
mod stream;
mod verifier;

pub use origin::{OriginTls, TrustStore};
pub use stream::TlsStream;
