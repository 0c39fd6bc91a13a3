//! The HTTP client of a pipeline, from what the user has set.

use std::sync::Arc;

use crate::delivery::config::DeliveryConfig;
use crate::http::{Client, ClientConfig, Files, ResolverConfig};
use crate::service::descriptors::{descriptor_limit, idle_that_fit};
use crate::trust::keyring::Keyring;

/// The error is one line.
pub fn make_client(
    config: &DeliveryConfig,
    keyring: Option<Keyring>,
) -> Result<Arc<Client>, String> {
    let client = Client::new(client_config(config), keyring);
    let client = client.map_err(|e| format!("the HTTP client cannot be started: {e}"))?;
    Ok(Arc::new(client))
}

fn client_config(config: &DeliveryConfig) -> ClientConfig {
    ClientConfig {
        timeout: config.timeout,
        connect_timeout: config.connect_timeout,
        max_idle: config
            .max_idle_connections
            .unwrap_or_else(|| idle_that_fit(config.workers, descriptor_limit())),
        authorities: config.authorities.clone(),
        public_authorities: config.public_authorities,
        egress: config.egress.clone(),
        guard: config.guard.clone(),
        names: ResolverConfig {
            servers: config.dns_servers.clone(),
            system: config.system_resolver,
            files: Files::default(),
        },
    }
}
