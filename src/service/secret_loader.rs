//! The thread that reads secrets by name, from a directory or from Redis, as workers ask for them.
//!
//! It ends when no worker is left that could ask. While it cannot read, it logs that once, and
//! gives back the names that are asked for meanwhile.

use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::Instant;

use log::warn;

use crate::service::outage::OutageTracker;
use crate::service::secret_directory::SecretDirectory;
use crate::store::{SecretHash, StoreError};
use crate::trust::encryption::SealingKeys;
use crate::trust::keyring::{Keyring, Read, Requests, keyring};

/// Names read at a time.
const BATCH: usize = 64;

type ReadKeys = Box<dyn Fn() -> Result<Option<SealingKeys>, String> + Send>;

/// Where secrets are.
pub enum SecretSource {
    Directory(SecretDirectory),
    /// The hash, and a function that reads the encryption keys again.
    Redis(Box<SecretHash>, ReadKeys),
}

/// Starts the thread. `place`: what is read, for sentences. The error is one line.
pub fn start(
    source: SecretSource,
    place: String,
    outage: OutageTracker,
) -> Result<Keyring, String> {
    let (keyring, requests) = keyring(place);
    let started = Builder::new()
        .name("secrets".into())
        .spawn(move || run(source, &requests, outage));
    match started {
        Ok(_) => Ok(keyring),
        Err(e) => Err(format!("the thread secrets cannot be started: {e}")),
    }
}

fn run(mut source: SecretSource, requests: &Requests, mut outage: OutageTracker) {
    let (mut is_well, mut last) = (true, 0);
    while let Some(names) = requests.next(BATCH) {
        let (epoch, begun) = (requests.epoch(), Instant::now());
        if epoch != last {
            // Something was changed, perhaps the key too.
            source.read_keys();
            last = epoch;
        }
        match source.read(&names) {
            Ok(all) => {
                for (name, read) in names.iter().zip(all) {
                    requests.put(name, read, epoch, begun);
                }
                if !is_well {
                    outage.end();
                    is_well = true;
                }
            }
            Err(e) => {
                is_well = false;
                requests.note_failure(Instant::now());
                let delay = outage.begin(&e);
                sleep(delay);
                requests.give_back(&names);
            }
        }
    }
}

impl SecretSource {
    fn read_keys(&mut self) {
        if let SecretSource::Redis(hash, keys) = self {
            match keys() {
                Ok(keys) => hash.set_sealing(keys),
                Err(e) => warn!("{e}; the old keys stay"),
            }
        }
    }

    /// As many answers as names.
    fn read(&mut self, names: &[Arc<str>]) -> Result<Vec<Read>, StoreError> {
        match self {
            SecretSource::Directory(directory) => names
                .iter()
                .map(|name| directory.read(name).map_err(|e| StoreError::new(&e)))
                .collect(),
            SecretSource::Redis(hash, _) => hash.read(names),
        }
    }
}
