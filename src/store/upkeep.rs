//! How much Redis holds, and what of the dead letters is trimmed.

use std::time::Duration;

use redis::{RedisResult, cmd};

use super::{Entries, StoreError};

/// Dead letters trimmed at a time: no request should block Redis for everyone.
const TRIMMED: u64 = 1000;

/// Bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    pub used: u64,
    /// 0: there is no bound.
    pub most: u64,
}

impl Entries {
    /// What the server holds, and may. Nothing if it does not let us ask.
    pub fn memory(&mut self) -> Result<Option<Memory>, StoreError> {
        let info: RedisResult<Vec<u8>> = cmd("INFO").arg("memory").query(&mut self.connection);
        let info = match info {
            Err(e) if e.code() == Some("NOPERM") => return Ok(None),
            info => info.map_err(|e| self.redis.error(&e))?,
        };
        let info = String::from_utf8_lossy(&info);
        let get = |name: &str| {
            let mut lines = info.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse().ok())
        };
        let used = get("used_memory");
        let most = get("maxmemory").unwrap_or_default();
        Ok(used.map(|used| Memory { used, most }))
    }

    /// Deletes the oldest dead letters until there are no more than `most`. Answers how many.
    pub fn trim_dead(&mut self, most: u64) -> Result<u64, StoreError> {
        let mut trimmed = 0;
        loop {
            let length = self.count_dead()?;
            if length <= most {
                return Ok(trimmed);
            }
            trimmed += self.trim(&[
                "MAXLEN",
                &most.max(length - TRIMMED.min(length)).to_string(),
            ])?;
        }
    }

    /// Deletes a good many of the oldest dead letters. Answers how many.
    pub fn trim_oldest_dead(&mut self) -> Result<u64, StoreError> {
        match self.count_dead()? {
            0 => Ok(0),
            length => self.trim_dead(length.saturating_sub(TRIMMED)),
        }
    }

    /// Deletes dead letters that are older than that. Answers how many.
    pub fn trim_old_dead(&mut self, age: Duration) -> Result<u64, StoreError> {
        let time: RedisResult<(u64, u64)> = cmd("TIME").query(&mut self.connection);
        let (s, us) = time.map_err(|e| self.redis.error(&e))?;
        let oldest = (s * 1000 + us / 1000).saturating_sub(age.as_millis() as u64);
        let (oldest, some) = (oldest.to_string(), TRIMMED.to_string());
        let mut trimmed = 0;
        loop {
            // Whole nodes of the stream first, a few at a time, then the rest of one.
            match self.trim(&["MINID", "~", &oldest, "LIMIT", &some])? {
                0 => return Ok(trimmed + self.trim(&["MINID", &oldest])?),
                more => trimmed += more,
            }
        }
    }

    fn count_dead(&mut self) -> Result<u64, StoreError> {
        let length: RedisResult<u64> = cmd("XLEN").arg(&self.keys.dead).query(&mut self.connection);
        length.map_err(|e| self.redis.error(&e))
    }

    fn trim(&mut self, how: &[&str]) -> Result<u64, StoreError> {
        let trimmed: RedisResult<u64> = cmd("XTRIM")
            .arg(&self.keys.dead)
            .arg(how)
            .query(&mut self.connection);
        trimmed.map_err(|e| self.redis.error(&e))
    }
}
