//! How connections to receivers leave this machine.

use std::net::{IpAddr, UdpSocket};

use clap::Args;

use super::values::ip_address;
use crate::egress::{Egress, Source};

/// How connections to receivers leave this machine.
#[derive(Debug, Args)]
pub struct EgressArgs {
    /// Connect from this address of this machine; one IPv4 and one IPv6 address may be given, and a
    /// family that is not given is not used then
    #[arg(long = "bind-address", env = "OUTHOOK_BIND_ADDRESS", value_name = "IP", value_delimiter = ',', value_parser = ip_address)]
    bind_addresses: Vec<IpAddr>,
}

impl EgressArgs {
    /// The error is one line.
    pub fn config(&self) -> Result<Egress, String> {
        let source =
            Source::new(&self.bind_addresses).map_err(|e| format!("--bind-address {e}"))?;
        for address in source.all() {
            // A datagram socket takes no port that a connection could need.
            UdpSocket::bind((address, 0)).map_err(|e| {
                format!("--bind-address {address}: {e}; it must be an address of this machine")
            })?;
        }
        Ok(Egress { source })
    }
}
