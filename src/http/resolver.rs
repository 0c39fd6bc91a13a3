//! The resolver as ureq wants it.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::names::{LookUpError, Names};

/// For an attempt without a deadline of its own.
const LONGEST: Duration = Duration::from_secs(60);

/// A name could not be resolved, and why.
#[derive(Debug, Clone)]
pub struct DnsFailed(LookUpError);

impl fmt::Display for DnsFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for DnsFailed {}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let limit = match timeout.after.is_not_happening() {
            true => LONGEST,
            false => *timeout.after,
        };
        let found = self.addresses(bare, Instant::now() + limit);
        let found = found.map_err(|e| Error::Other(Box::new(DnsFailed(e))))?;
        let mut result = self.empty();
        for ip in found {
            if result.try_push(SocketAddr::new(ip, port)).is_err() {
                break; // The array is full; 16 addresses are plenty.
            }
        }
        Ok(result)
    }
}
