//! Secrets by name in a hash of Redis, encrypted or not.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value, cmd};

use super::admin::Admin;
use super::connection::Connection;
use super::reply::{bytes, items, text};
use super::{Keys, Redis, StoreError};
use crate::trust::encryption::{SealingKeys, is_sealed};
use crate::trust::keyring::{Read, keys_of};
use crate::trust::secret::Secret;

/// Redis has so long to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Names in one page.
const PAGE: usize = 100;

/// What replicas are told when a secret has changed.
pub const SECRETS_CHANGED: &str = "secrets";

/// For whoever reads secrets.
pub struct SecretHash {
    redis: Redis,
    keys: Keys,
    /// Without them nothing encrypted can be read, and with them nothing else is.
    sealing: Option<SealingKeys>,
    connection: Option<Connection>,
}

impl SecretHash {
    pub fn new(redis: Redis, keys: Keys, sealing: Option<SealingKeys>) -> SecretHash {
        SecretHash {
            redis,
            keys,
            sealing,
            connection: None,
        }
    }

    /// What they are encrypted with from now on.
    pub fn set_sealing(&mut self, sealing: Option<SealingKeys>) {
        self.sealing = sealing;
    }

    /// Reads these, in their order.
    pub fn read(&mut self, names: &[Arc<str>]) -> Result<Vec<Read>, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.redis.connect(LIMIT)?),
        };
        let mut get = cmd("HMGET");
        get.arg(&self.keys.secrets);
        for name in names {
            get.arg(&**name);
        }
        let reply: RedisResult<Value> = get.query(connection);
        let values: Vec<Value> = match reply {
            Ok(reply) => items(Some(reply)).collect(),
            Err(e) => {
                self.connection = None;
                return Err(self.redis.error(&e));
            }
        };
        if values.len() != names.len() {
            self.connection = None;
            return Err(StoreError::new("the hash of secrets answered oddly"));
        }
        let both = names.iter().zip(values);
        Ok(both.map(|(name, value)| self.open(name, value)).collect())
    }

    fn open(&self, name: &str, value: Value) -> Read {
        if matches!(value, Value::Nil) {
            return Err("there is none of this name; outhook secrets set puts one there".into());
        }
        let value = Secret::from_file(bytes(value))?;
        let value = match &self.sealing {
            Some(keys) => keys.open(name, value.expose())?,
            None if is_sealed(value.expose()) => {
                return Err("it is encrypted, and there is no --secrets-key-file".into());
            }
            None => value,
        };
        keys_of(&value)
    }
}

/// What an operator does with them. Values are never read back.
impl Admin {
    /// Puts a value there, in place of any other, and tells all replicas.
    pub fn set_secret(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut set = cmd("HSET");
        set.arg(&self.keys.secrets).arg(name).arg(value);
        let reply: RedisResult<Value> = set.query(&mut self.connection);
        self.done(reply)?;
        self.tell_changed()
    }

    /// Whether it was there.
    pub fn delete_secret(&mut self, name: &str) -> Result<bool, StoreError> {
        let mut delete = cmd("HDEL");
        delete.arg(&self.keys.secrets).arg(name);
        let reply: RedisResult<u64> = delete.query(&mut self.connection);
        let was_there = self.done(reply)? > 0;
        self.tell_changed()?;
        Ok(was_there)
    }

    /// About a page of names from `cursor` on, whether each is encrypted, and where to go on; 0 at the
    /// end.
    pub fn secrets(&mut self, cursor: u64) -> Result<(Vec<(String, bool)>, u64), StoreError> {
        let mut scan = cmd("HSCAN");
        scan.arg(&self.keys.secrets).arg(cursor);
        scan.arg("COUNT").arg(PAGE);
        let reply: RedisResult<Value> = scan.query(&mut self.connection);
        let mut reply = items(Some(self.done(reply)?));
        let next = reply.next().and_then(text).and_then(|t| t.parse().ok());
        let mut fields = items(reply.next());
        let mut found = Vec::new();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            let value = Secret::from_file(bytes(value));
            let sealed = value.is_ok_and(|value| is_sealed(value.expose()));
            found.extend(text(name).map(|name| (name, sealed)));
        }
        Ok((found, next.unwrap_or_default()))
    }

    fn tell_changed(&mut self) -> Result<(), StoreError> {
        let mut publish = cmd("PUBLISH");
        publish.arg(&self.keys.control).arg(SECRETS_CHANGED);
        let reply: RedisResult<Value> = publish.query(&mut self.connection);
        self.done(reply).map(|_| ())
    }
}
