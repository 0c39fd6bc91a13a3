//! The lender of limits that hold for all replicas together: a script, and a hash for each endpoint
//! in which it notes what it has lent.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Script, Value};

use super::connection::Connection;
use super::reply::{items, text};
use super::{Keys, Redis, StoreError, scripts};
use crate::delivery::limits::{AHEAD, Claim, LOAN, SLICE};

/// Endpoints in one call: Redis is not held up for long.
pub const MOST_ASKED: usize = 64;

/// What was answered for one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Lent {
    pub held: u32,
    pub goal: u32,
    pub replicas: u32,
    pub starts: u32,
    pub wait: Duration,
}

/// A connection to the lender.
pub struct Shares {
    redis: Redis,
    keys: Keys,
    /// Who asks.
    replica: String,
    connection: Connection,
    script: Script,
}

impl Shares {
    /// `limit`: for connecting, and for each answer.
    pub fn open(
        redis: &Redis,
        keys: &Keys,
        replica: &str,
        limit: Duration,
    ) -> Result<Shares, StoreError> {
        Ok(Shares {
            redis: redis.clone(),
            keys: keys.clone(),
            replica: replica.to_owned(),
            connection: redis.connect(limit)?,
            script: Script::new(scripts::SHARE),
        })
    }

    /// Asks for up to [`MOST_ASKED`] endpoints. Answers in the same order.
    pub fn ask(&mut self, claims: &[(Arc<str>, Claim)]) -> Result<Vec<Lent>, StoreError> {
        let mut call = self.script.prepare_invoke();
        call.arg(&self.replica).arg(LOAN.as_millis() as u64);
        call.arg(SLICE.as_micros() as u64);
        call.arg(AHEAD.as_micros() as u64);
        for (endpoint, claim) in claims {
            call.key(self.keys.shares(endpoint));
            call.arg(claim.limit).arg(claim.held).arg(claim.wanted);
            let pace = claim.pace.as_nanos() as f64 / 1000.0;
            call.arg(format!("{pace:.3}")).arg(claim.starts);
        }
        let reply: RedisResult<Value> = call.invoke(&mut self.connection);
        let reply = reply.map_err(|e| self.redis.error(&e))?;
        let lent: Vec<Lent> = items(Some(reply)).filter_map(read).collect();
        match lent.len() == claims.len() {
            true => Ok(lent),
            false => Err(StoreError::new("the lender of limits answered oddly")),
        }
    }
}

fn read(answer: Value) -> Option<Lent> {
    let mut numbers = items(Some(answer)).map(|n| text(n)?.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Lent {
        held: next()? as u32,
        goal: next()? as u32,
        replicas: next()? as u32,
        starts: next()? as u32,
        wait: Duration::from_micros(next()?),
    })
}
