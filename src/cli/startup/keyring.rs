//! The keyring of a service: the secrets that messages name, and where they are.

use crate::cli::args::keyring::{KeyringArgs, SecretPlace};
use crate::service::outage::OutageTracker;
use crate::service::secret_loader::{self, SecretSource};
use crate::store::{Keys, Redis, SecretHash};
use crate::trust::keyring::Keyring;

/// The keyring of a service, if there is one. `redis`: of one that has it. The error is one line.
pub fn open(
    args: &KeyringArgs,
    redis: Option<(&Redis, &Keys)>,
    outage: OutageTracker,
) -> Result<Option<Keyring>, String> {
    let (source, place, outage) = match (args.place()?, redis) {
        (SecretPlace::Nowhere, _) => return Ok(None),
        (SecretPlace::Directory(directory, place), _) => {
            let outage = OutageTracker::new("secrets").with("secrets");
            (SecretSource::Directory(directory), place, outage)
        }
        (SecretPlace::Redis(sealing), Some((redis, keys))) => {
            let place = keys.secrets.clone();
            let hash = SecretHash::new(redis.clone(), keys.clone(), sealing.keys()?);
            let again = Box::new(move || sealing.keys_again());
            (SecretSource::Redis(Box::new(hash), again), place, outage)
        }
        (SecretPlace::Redis(_), None) => {
            return Err(
                "--secrets-from redis: this command uses no Redis; set --secrets-dir".into(),
            );
        }
    };
    secret_loader::start(source, place, outage).map(Some)
}
