//! Signatures: headers by which a receiver verifies that a delivery is ours. Pure.
//!
//! A [`Signing`] is the agreement with a receiver: a scheme, and keys with their times. The signed
//! bytes are exactly the bytes that are sent. Nothing here reads a clock or a file.

mod component;
mod http_message;
pub mod key;
pub mod scheme;
mod standard_webhooks;
mod subject;
mod template;
mod timed_key;
pub mod verify;

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;

use crate::message::timestamp::format_rfc3339;
use crate::trust::secret::Secret;
use scheme::{Contract, Scheme};
pub use subject::Subject;
pub use timed_key::TimedKey;

/// How the deliveries to some endpoints are signed, and with which keys.
#[derive(Debug)]
pub struct Signing {
    pub contract: Arc<Contract>,
    keys: Box<[TimedKey]>,
    /// The id for keys that have none of their own.
    keyid: Option<Box<str>>,
}

/// No key may sign now. [`fmt::Display`] says which setting helps.
#[derive(Debug, PartialEq, Eq)]
pub struct NoKey {
    at: u64,
    /// When the next key begins.
    next: Option<u64>,
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = format_rfc3339(self.at);
        write!(f, "signing: no key is valid at {now}; ")?;
        match self.next {
            Some(next) => write!(f, "the next begins at {}: ", format_rfc3339(next))?,
            None => f.write_str("all have ended: ")?,
        }
        f.write_str("see not_before and not_after of its keys in the endpoints file")
    }
}

impl Signing {
    /// With these keys, at least one, each read by [`Contract::key`].
    pub fn new(contract: Arc<Contract>, keys: Vec<TimedKey>) -> Signing {
        Signing {
            contract,
            keys: keys.into(),
            keyid: None,
        }
    }

    /// With the scheme and `keyid` of `own`, or else of Standard Webhooks, and with these keys at
    /// any time. The error says which of them is wrong, and does not show it.
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

    /// With this id for all keys that have none, also for keys that a message names.
    pub fn with_keyid(mut self, keyid: Option<Box<str>>) -> Signing {
        for key in &mut self.keys {
            key.id = key.id.take().or_else(|| keyid.clone());
        }
        self.keyid = keyid;
        self
    }

    /// Warnings for the operator about its keys, a sentence each.
    pub fn doubts(&self) -> Vec<&'static str> {
        let mut doubts = Vec::new();
        if self.keys.iter().any(|key| key.short) {
            doubts.push("a secret is so short that anybody may guess it");
        }
        let overlaps = |n: usize, key: &TimedKey| {
            let mut later = self.keys[n + 1..].iter();
            later.any(|other| key.from < other.until && other.from < key.until)
        };
        let mut keys = self.keys.iter().enumerate();
        if !self.contract.takes_several() && keys.any(|(n, key)| overlaps(n, key)) {
            doubts.push(
                "of several keys the first that is valid signs alone, as the scheme has no place \
                 for another (see more): receivers must have it before it begins",
            );
        }
        doubts
    }

    /// Until when it can sign without a gap, if it can sign now.
    pub fn signs_until(&self, now: u64) -> Result<u64, NoKey> {
        let mut until = now;
        while let Some(key) = self.keys.iter().find(|key| key.signs_at(until)) {
            until = key.until;
        }
        match until > now {
            true => Ok(until),
            false => Err(self.no_key(now)),
        }
    }

    /// Adds the headers of the signature, and replaces headers of the same names. All other headers
    /// that it covers must be there already.
    pub fn sign(&self, subject: &Subject<'_>, headers: &mut HeaderMap) -> Result<(), NoKey> {
        let mut keys = self.keys.iter().filter(|key| key.signs_at(subject.at));
        let Some(first) = keys.next() else {
            return Err(self.no_key(subject.at));
        };
        let keys = std::iter::once(first).chain(keys);
        match &self.contract.scheme {
            Scheme::Webhook(names) => standard_webhooks::sign(names, keys, subject, headers),
            Scheme::Template(template) => template.sign(keys.map(|k| &k.key), subject, headers),
            Scheme::Message(cover) => cover.sign(keys, subject, headers),
        }
        Ok(())
    }

    fn no_key(&self, at: u64) -> NoKey {
        let later = self.keys.iter().map(|key| key.from).filter(|f| *f > at);
        NoKey {
            at,
            next: later.min(),
        }
    }
}

#[cfg(test)]
mod tests;
