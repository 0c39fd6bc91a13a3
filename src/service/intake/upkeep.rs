//! What the consumer looks after beside messages: how full Redis is, how many dead letters it
//! keeps, and keys whose head is gone. The consumer does it because it has a connection, and time.

use std::sync::Once;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::delivery::config::Budget;
use crate::service::control::{Command, Commands};
use crate::store::{Entries, Memory, StoreError};

/// How often Redis is asked while it is far from the budget, and when it is near.
const SELDOM: Duration = Duration::from_secs(10);
const OFTEN: Duration = Duration::from_secs(1);

/// How often dead letters are deleted in one go; messages wait meanwhile.
const ROUNDS: usize = 20;

/// Pages of keys that are looked at in one round.
const PAGES: usize = 50;

/// See the module's header.
#[derive(Debug)]
pub struct Upkeep {
    pub budget: Budget,
    /// Older dead letters are deleted.
    pub dead_max_age: Option<Duration>,
    /// The oldest dead letters beyond this number are deleted.
    pub dead_max: Option<u64>,
    pub next: Option<Instant>,
    pub over: bool,
    /// The refusal of Redis was logged.
    pub refused: Once,
}

impl Upkeep {
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// A refusal of the server is logged once: messages must not wait for it.
    pub fn run(&mut self, entries: &mut Entries, commands: &Commands) -> Result<(), StoreError> {
        self.next = Some(Instant::now() + SELDOM);
        match self.look_after(entries, commands) {
            Err(e) if e.is_refusal() => {
                self.refused.call_once(|| {
                    warn!("redis refuses to trim dead letters, or to say how full it is: {e}")
                });
                Ok(())
            }
            done => done,
        }
    }

    fn look_after(&mut self, entries: &mut Entries, commands: &Commands) -> Result<(), StoreError> {
        let mut wait = SELDOM;
        if !matches!(self.budget, Budget::None)
            && let Some(memory) = entries.memory()?
            && let Some(budget) = bytes(self.budget, memory)
        {
            self.compare(memory, budget, commands);
            if memory.used > budget / 8 * 7 {
                wait = OFTEN;
            }
            let trimmed = make_room(entries, memory, budget)?;
            log_deleted(trimmed, "to make room in Redis; see --redis-budget");
        }
        if let Some(age) = self.dead_max_age {
            log_deleted(
                entries.trim_old_dead(age)?,
                "that were older than --dead-max-age",
            );
        }
        if let Some(most) = self.dead_max {
            log_deleted(
                entries.trim_dead(most)?,
                "that were the oldest beyond --dead-max",
            );
        }
        self.next = Some(Instant::now() + wait);
        Ok(())
    }

    /// Tells the timer when Redis is over the budget, and when it is below again.
    fn compare(&mut self, memory: Memory, budget: u64, commands: &Commands) {
        let used = memory.used;
        // A little below the budget, so that it does not go to and fro.
        let over = used > if self.over { budget / 16 * 15 } else { budget };
        if over == self.over {
            return;
        }
        self.over = over;
        commands.give(Command::OverBudget(over));
        if over {
            warn!(
                "Redis holds {used} bytes, and --redis-budget is {budget}: nothing more is parked \
                 for endpoints that fail, their oldest messages become dead letters (over_budget)"
            );
        } else {
            info!("Redis holds {used} bytes again, below --redis-budget");
        }
    }
}

/// Lets keys (`orderKey`) go on whose head somebody has deleted. Returns whether the server allows
/// it.
pub fn revive(
    entries: &mut Entries,
    commands: &Commands,
    cursor: &mut u64,
) -> Result<bool, StoreError> {
    let mut revived = 0;
    for _ in 0..PAGES {
        let (count, next) = match entries.revive(*cursor) {
            Err(e) if e.is_refusal() => return Ok(false),
            done => done?,
        };
        (revived, *cursor) = (revived + count, next);
        if next == 0 {
            break;
        }
    }
    if revived > 0 {
        commands.give(Command::Due);
        warn!(
            "{revived} messages that others of their orderKey waited for are gone: refused by a replica \
             (see its dead letters), or deleted or trimmed by someone else; the next of these keys go"
        );
    }
    Ok(true)
}

/// Deletes the oldest dead letters while Redis is nearly full. Returns how many.
fn make_room(entries: &mut Entries, mut memory: Memory, budget: u64) -> Result<u64, StoreError> {
    let mut trimmed = 0;
    for _ in 0..ROUNDS {
        if memory.used <= last_resort(budget, memory) {
            break;
        }
        let more = entries.trim_oldest_dead()?;
        trimmed += more;
        match entries.memory()? {
            Some(now) if more > 0 => memory = now,
            _ => break,
        }
    }
    Ok(trimmed)
}

fn log_deleted(count: u64, which: &str) {
    if count > 0 {
        info!("{count} dead letters {which} were deleted");
    }
}

/// The budget in bytes, if there is any.
fn bytes(budget: Budget, memory: Memory) -> Option<u64> {
    match budget {
        Budget::None => None,
        Budget::Bytes(bytes) => Some(bytes),
        Budget::Percent(percent) => {
            (memory.most > 0).then(|| (memory.most as f64 * percent / 100.0) as u64)
        }
    }
}

/// Beyond this, dead letters are deleted too, because they have been given up already.
fn last_resort(budget: u64, memory: Memory) -> u64 {
    match memory.most {
        0 => budget / 8 * 9,
        most => budget.midpoint(most.max(budget)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_needs_a_bound_and_the_last_resort_lies_between() {
        let memory = |most| Memory { used: 0, most };
        assert_eq!(bytes(Budget::Percent(80.0), memory(0)), None);
        assert_eq!(bytes(Budget::Percent(80.0), memory(1000)), Some(800));
        assert_eq!(bytes(Budget::Bytes(7), memory(0)), Some(7));
        assert_eq!(bytes(Budget::None, memory(1000)), None);
        assert_eq!(last_resort(800, memory(1000)), 900);
        assert_eq!(last_resort(800, memory(0)), 900);
        assert_eq!(last_resort(2000, memory(1000)), 2000);
    }
}
