//! Why a message was given up.

use std::fmt;

use crate::message::RejectReason;

/// Why a message was given up; [`fmt::Display`] gives the word that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadReason {
    Rejected(RejectReason),
    /// The endpoint answered 410.
    Gone,
    /// All attempts failed.
    Exhausted,
    /// Unfinished when the drain's time was over, with no store to park it in.
    Drained,
    /// Its `expiresAt` passed before it was delivered.
    Expired,
    /// The operator has disabled its endpoint, with no store to park it in.
    Disabled,
    /// There was no room in memory, and no store to park it in.
    Overflow,
    /// Another message with the same id and URL, but other bytes, came before.
    IdReused,
    /// It has waited for longer than `--max-age`.
    TooOld,
    /// Its endpoint is failing, and Redis holds more than `--redis-budget`.
    OverBudget,
    /// The address guard forbids its address.
    RefusedAddress,
    /// For an hour there was no secret of the name that it gives.
    NoSecret,
}

impl DeadReason {
    /// All there are.
    pub fn all() -> impl Iterator<Item = DeadReason> {
        let others = [
            DeadReason::Gone,
            DeadReason::Exhausted,
            DeadReason::Drained,
            DeadReason::Expired,
            DeadReason::Disabled,
            DeadReason::Overflow,
            DeadReason::IdReused,
            DeadReason::TooOld,
            DeadReason::OverBudget,
            DeadReason::RefusedAddress,
            DeadReason::NoSecret,
        ];
        let rejected = RejectReason::ALL.map(DeadReason::Rejected);
        rejected.into_iter().chain(others)
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeadReason::Rejected(reason) => reason.fmt(f),
            DeadReason::Gone => f.write_str("gone"),
            DeadReason::Exhausted => f.write_str("exhausted"),
            DeadReason::Drained => f.write_str("drained"),
            DeadReason::Expired => f.write_str("expired"),
            DeadReason::Disabled => f.write_str("disabled"),
            DeadReason::Overflow => f.write_str("overflow"),
            DeadReason::IdReused => f.write_str("id_reused"),
            DeadReason::TooOld => f.write_str("too_old"),
            DeadReason::OverBudget => f.write_str("over_budget"),
            DeadReason::RefusedAddress => f.write_str("refused_address"),
            DeadReason::NoSecret => f.write_str("no_secret"),
        }
    }
}
