//! The arithmetic of `store/lua/share.lua` in Rust, for models: the loans of one endpoint.

use std::collections::BTreeMap;

use super::{AHEAD, Claim, LOAN, SLICE};

const ROTATION_MS: u64 = 1000;

/// The loans of one endpoint.
#[derive(Debug, Default)]
pub struct LenderModel {
    /// Held, wanted, and until when (ms), by replica.
    loans: BTreeMap<String, (u32, u32, u64)>,
    next_us: f64,
}

/// Held, goal, claimants, starts, and the time to wait (us).
pub type Answer = (u32, u32, u32, u32, f64);

impl LenderModel {
    pub fn ask(&mut self, me: &str, claim: Claim, now_us: u64) -> Answer {
        let now_ms = now_us / 1000;
        self.loans.retain(|_, (_, _, ends)| *ends > now_ms);
        if claim.is_idle() {
            self.loans.remove(me);
            return (0, 0, 1, 0, 0.0);
        }
        let (held, goal, claimants) = self.lend_attempts(me, claim, now_ms);
        let (mut count, mut wait) = (0, 0.0);
        if !claim.pace.is_zero() && claim.starts > 0 {
            let (now, ahead) = (now_us as f64, AHEAD.as_micros() as f64);
            let pace = claim.pace.as_nanos() as f64 / 1000.0;
            let first = now.max(self.next_us.min(now + ahead + pace));
            let fit = ((now + ahead - first) / pace).floor() + 1.0;
            let fair = (SLICE.as_micros() as f64 / (pace * f64::from(claimants))).floor();
            count = f64::from(claim.starts).min(fit).min(fair.max(1.0)).max(0.0) as u32;
            wait = match count {
                0 => 20_000f64.max(first - now - ahead),
                _ => first - now,
            };
            self.next_us = first + f64::from(count) * pace;
        }
        let ends = now_ms + LOAN.as_millis() as u64;
        self.loans.insert(me.into(), (held, claim.wanted, ends));
        (held, goal, claimants, count, wait.floor())
    }

    fn lend_attempts(&self, me: &str, claim: Claim, now_ms: u64) -> (u32, u32, u32) {
        let limit = i64::from(claim.limit);
        let mut names: Vec<&str> = self.loans.keys().map(|name| &**name).collect();
        names.push(me);
        names.sort_unstable();
        names.dedup();
        let count = names.len() as i64;
        let (mut free, mut lacking, mut own) = (limit, 0, 0);
        for (rank, name) in (0..).zip(&names) {
            let base = limit / count;
            let turn = if base == 0 {
                (now_ms / ROTATION_MS) as i64
            } else {
                0
            };
            let entitled = base + i64::from((rank + turn) % count < limit - base * count);
            if *name == me {
                own = entitled;
                continue;
            }
            let (held, wanted, _) = self.loans[*name];
            free -= i64::from(held);
            lacking += (entitled.min(i64::from(wanted)) - i64::from(held)).max(0);
        }
        let (mut held, wanted) = (i64::from(claim.held), i64::from(claim.wanted));
        let known = self.loans.contains_key(me) || held == 0;
        if !known {
            held = held.min(free.max(0));
        }
        free -= held;
        let mut grow = |most: fn(i64, i64, i64, i64) -> i64| {
            let more = (wanted - held).min(most(own, held, free, lacking)).max(0);
            (held, free) = (held + more, free - more);
        };
        if known {
            grow(|own, held, free, _| free.min(own - held));
            grow(|_, _, free, lacking| free - lacking);
        }
        let goal = match lacking > free && held > own {
            true => own.max(held - (lacking - free)),
            false => held,
        };
        (held as u32, goal as u32, count as u32)
    }
}
