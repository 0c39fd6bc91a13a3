//! Where messages are kept: Redis, or, for dead letters alone, a file of JSON lines. Blocking
//! I/O without threads of its own; knows nothing of scheduling.

mod admin;
mod advice;
mod appointment;
mod condition;
mod connection;
mod consumers;
mod discovery;
mod entries;
mod holds;
mod keys;
mod keys_admin;
mod ledger;
mod ndjson;
mod odd;
mod permissions;
mod reading;
mod recall;
mod redis;
mod reply;
mod scripts;
mod secrets;
mod shares;
mod socket;
mod subscription;
mod turns;
mod upkeep;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::endpoint_snapshot::EndpointSnapshots;
use crate::delivery::parked::Parked;
use crate::delivery::receipt::{Turn, Unmoved, Why};
use crate::delivery::status_update::StatusUpdate;
use crate::delivery::{DeadLetter, Delivery};
use crate::message::entry::EntryId;

pub use admin::{Admin, Fields, NewMessage, ParkedMessage};
pub use advice::advice;
pub use appointment::Appointment;
pub use condition::{Condition, find_wrong_types};
pub use consumers::{Beats, Peer};
pub use entries::{Entries, Seen, forget_consumer};
pub use holds::fetch_holds;
pub use keys::Keys;
pub use ledger::{LedgerConfig, RedisLedger};
pub use ndjson::{Ndjson, insert_bytes};
pub use permissions::{Lack, Part, find_lacks};
pub use reading::Read;
pub use recall::tell_due;
pub use redis::{Redis, RedisConfig};
pub use secrets::{SECRETS_CHANGED, SecretHash};
pub use shares::{Lent, MOST_ASKED, Shares};
pub use subscription::{Finding, Heard, Observer, Subscription};
pub use turns::{Card, Dealt};
pub use upkeep::Memory;

/// Writes what the ledger holds. Each method makes all of its argument true, or answers why
/// not, and then the same is offered again; what was true already is not doubled. An entry that
/// is not ours any more is left alone, and answered. Each blocks for `limit` at most.
///
/// Every store keeps dead letters. What has a body here is for a store that has a stream; where
/// there is none, there are no entries, and nothing is asked of it.
pub trait Store: Send {
    fn bury(&mut self, letters: &[DeadLetter], limit: Duration)
    -> Result<Vec<Unmoved>, StoreError>;

    /// Where dead letters go, for the log.
    fn place(&self) -> String;

    /// Entries whose messages were delivered go.
    fn settle(&mut self, _entries: &[EntryId], _limit: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    /// The same of heads of keys: the next of each may come.
    fn advance(
        &mut self,
        _heads: &[(EntryId, Arc<str>)],
        _limit: Duration,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whose turn it is of these entries with keys, for each. The others wait in the store then.
    fn queue(
        &mut self,
        _deliveries: &[Delivery],
        _limit: Duration,
    ) -> Result<Vec<Result<Turn, Why>>, StoreError> {
        Ok(Vec::new())
    }

    /// Entries get their lease renewed, and the number of attempts begun.
    fn note(
        &mut self,
        _notes: &[(EntryId, u32)],
        _limit: Duration,
    ) -> Result<Vec<Unmoved>, StoreError> {
        Ok(Vec::new())
    }

    fn park(&mut self, _parked: &[Parked], _limit: Duration) -> Result<Vec<Unmoved>, StoreError> {
        Err(StoreError::new("this store cannot park"))
    }

    /// Notes what attempts came to, for whoever asks.
    fn tell(&mut self, _told: &[StatusUpdate], _limit: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    /// Has all replicas send nothing to these URLs for so long.
    fn gone(&mut self, _urls: &[(Arc<str>, Duration)], _limit: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    /// Leaves reports where they are waited for.
    fn answer(
        &mut self,
        _answers: &[(Arc<str>, Box<EndpointSnapshots>)],
        _limit: Duration,
    ) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Why the store did not take something, in words for the operator.
#[derive(Debug)]
pub struct StoreError {
    text: String,
    /// What the server calls it (`NOAUTH`, `OOM`); empty when it cannot be reached.
    code: String,
}

impl StoreError {
    pub fn new(text: impl Into<String>) -> Self {
        StoreError {
            text: text.into(),
            code: String::new(),
        }
    }

    /// The same, with more to say.
    fn with(&self, more: &str) -> Self {
        StoreError {
            text: format!("{}{more}", self.text),
            code: self.code.clone(),
        }
    }

    /// Two errors of one code are the same trouble, whatever their words: a server that
    /// goes away is reset, then refused, then loading.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The server refuses just this, and will when it is asked again; it is not in trouble
    /// itself.
    pub fn is_refusal(&self) -> bool {
        matches!(&*self.code, "WRONGTYPE" | "NOPERM" | "OOM" | "ERR")
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StoreError {}
