//! How connections to receivers leave this machine.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::secret_files::read_secret;
use super::values::ip_address;
use crate::trust::egress::{Bypass, Egress, Login, Proxy, Source};
use crate::trust::secret::Secret;

/// How connections to receivers leave this machine.
#[derive(Debug, Args)]
pub struct EgressArgs {
    /// Connect to receivers from this address of this machine. One IPv4 and one IPv6 address may be
    /// given; a family without an address is not used then
    #[arg(long = "bind-address", env = "OUTHOOK_BIND_ADDRESS", value_name = "IP", value_delimiter = ',', value_parser = ip_address)]
    bind_addresses: Vec<IpAddr>,
    /// Reach receivers through this proxy: http://, https://, socks5:// (outhook looks up names) or
    /// socks5h:// (the proxy looks up names)
    #[arg(long, env = "OUTHOOK_PROXY", value_name = "URL", hide_env_values = true)]
    proxy: Option<Secret>,
    /// File that holds user:password for the proxy
    #[arg(long, env = "OUTHOOK_PROXY_CREDENTIALS_FILE", value_name = "FILE")]
    proxy_credentials_file: Option<PathBuf>,
    /// Receivers that are reached without the proxy: host, .domain, address (each also with :port),
    /// network such as 10.0.0.0/8, or * for all
    #[arg(long, env = "OUTHOOK_NO_PROXY", value_name = "LIST", value_delimiter = ',')]
    no_proxy: Vec<String>,
}

impl EgressArgs {
    /// The error is one line.
    pub fn config(&self) -> Result<Egress, String> {
        let bypass = Bypass::new(self.no_proxy.iter().map(String::as_str));
        Ok(Egress {
            source: self.source()?,
            proxy: self.proxy()?.map(Arc::new),
            bypass: bypass.map_err(|e| format!("--no-proxy {e}"))?,
        })
    }

    /// What changes nothing, in a sentence.
    pub fn doubt(&self) -> Option<String> {
        let is_idle = self.proxy.is_none() && !self.no_proxy.is_empty();
        is_idle.then(|| "--no-proxy changes nothing: there is no --proxy".into())
    }

    fn source(&self) -> Result<Source, String> {
        let source =
            Source::new(&self.bind_addresses).map_err(|e| format!("--bind-address {e}"))?;
        for address in source.all() {
            // A datagram socket takes no port that a connection could need.
            UdpSocket::bind((address, 0)).map_err(|e| {
                format!("--bind-address {address}: {e}; it must be an address of this machine")
            })?;
        }
        Ok(source)
    }

    fn proxy(&self) -> Result<Option<Proxy>, String> {
        if let (None, Some(file)) = (&self.proxy, &self.proxy_credentials_file) {
            return Err(format!(
                "--proxy-credentials-file {}: it needs --proxy",
                file.display()
            ));
        }
        let login = self.proxy_credentials_file.as_ref().map(|file| {
            let secret = read_secret(&file.to_string_lossy());
            secret
                .and_then(|secret| Login::parse(&secret))
                .map_err(|e| format!("--proxy-credentials-file {}: {e}", file.display()))
        });
        let login = login.transpose()?;
        let proxy = self.proxy.as_ref();
        let proxy = proxy.map(|url| Proxy::parse(url.expose(), login));
        // Without what was written: it may hold a password.
        proxy.transpose().map_err(|e| format!("--proxy: {e}"))
    }
}
