//! A request as it arrived.

use http::HeaderMap;

/// See the module's header.
#[derive(Debug)]
pub struct Received<'a> {
    pub method: &'a str,
    /// With scheme and host, for signatures that cover it.
    pub url: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}
