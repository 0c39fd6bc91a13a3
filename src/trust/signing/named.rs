//! Signatures with keys that belong to a name which the message gives.

use std::sync::Arc;

use super::scheme::Contract;
use super::{Signing, TimedKey};
use crate::trust::secret::Secret;

impl Signing {
    /// As `own` does, with its `keyid`, or else as Standard Webhooks says, but with these keys, at any
    /// time. The error
    /// says which of them is wrong, and does not show it.
    pub fn with_secrets(own: Option<&Signing>, secrets: &[Secret]) -> Result<Signing, String> {
        let contract = match own {
            Some(own) => own.contract.clone(),
            None => Arc::new(Contract::standard()),
        };
        let keys: Result<Vec<TimedKey>, String> = (1..)
            .zip(secrets)
            .map(|(n, secret)| {
                let key = contract.key(secret).map_err(|e| match secrets.len() {
                    1 => e,
                    _ => format!("key {n}: {e}"),
                });
                key.map(TimedKey::always)
            })
            .collect();
        let keyid = own.and_then(|own| own.keyid.clone());
        Ok(Signing::new(contract, keys?).with_keyid(keyid))
    }
}
