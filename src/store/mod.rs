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
mod error;
mod holds;
mod keys;
mod ndjson;
mod odd;
mod order_keys;
mod order_keys_admin;
mod permissions;
mod reading;
mod recall;
mod redis;
mod redis_ledger;
mod reply;
mod scripts;
mod secrets;
mod shares;
mod socket;
mod subscription;
mod upkeep;
mod waiting_admin;

use std::time::Duration;

use crate::delivery::receipt::Unmoved;
use crate::delivery::record::{Move, MoveKind, Notice, NoticeKind};

pub use admin::{Admin, Fields, First, NewMessage};
pub use advice::advice;
pub use appointment::Appointment;
pub use condition::{Condition, find_wrong_types};
pub use consumers::{Beats, Peer};
pub use entries::{Entries, Seen, forget_consumer};
pub use error::StoreError;
pub use holds::fetch_holds;
pub use keys::Keys;
pub use ndjson::{Ndjson, insert_bytes};
pub use order_keys::{Card, Dealt};
pub use permissions::{Lack, Part, find_lacks};
pub use reading::Read;
pub use recall::tell_due;
pub use redis::{Redis, RedisConfig};
pub use redis_ledger::{LedgerConfig, RedisLedger};
pub use secrets::{SECRETS_CHANGED, SecretHash};
pub use shares::{Lent, MOST_ASKED, Shares};
pub use subscription::{Finding, Heard, Observer, Subscription};
pub use upkeep::Memory;
pub use waiting_admin::ParkedMessage;

/// Writes what the ledger holds. What is asked in one call becomes true as a whole or not at all,
/// and then the same is offered again; what was true already is not doubled. Each call blocks for
/// `limit` at most.
pub trait Store: Send {
    /// Makes moves true, which are all of this kind. An entry that is not ours any more is left alone,
    /// and answered.
    fn write(
        &mut self,
        kind: MoveKind,
        moves: &[Move],
        limit: Duration,
    ) -> Result<Unmoved, StoreError>;

    /// Keeps notices, which are all of this kind. Where nobody can ask for them, none are kept.
    fn notify(
        &mut self,
        _kind: NoticeKind,
        _notices: &[Notice],
        _limit: Duration,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// Where dead letters go, for the log.
    fn place(&self) -> String;
}
