//! What a lane has of limits that hold for all replicas together: places for attempts at a time,
//! and starts. Pure.
//!
//! A lane never begins more than it holds. Only the lane itself reduces its share, and it stops using
//! a place before it gives that place back. New places arrive as the lender's answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::delivery::limits::{
    AHEAD, CALM, Claim, Grant, LEAD, LOAN, RENEW, RETRY, SLICE, Standing, careful,
};
use crate::delivery::rules::EndpointRule;

/// Starts that were asked for what is queued are not used later than this: others follow.
const GRACE: Duration = Duration::from_millis(60);

/// A few are asked for what is about to come, and wait for it so long.
const WAITING: Duration = Duration::from_millis(250);

/// See the module's header.
#[derive(Debug)]
pub struct Share {
    /// What the rule says for all; none when there is no such rule.
    limit: Option<u32>,
    pace: Option<Duration>,
    /// Places, and what they must come down to.
    held: u32,
    goal: u32,
    /// The most that there was work for since the last answer.
    peak: u32,
    /// When the loan of the places ends.
    ends: Instant,
    /// They have become fewer since the last question.
    gives_back: bool,
    slices: VecDeque<Slice>,
    /// Starts used since the last were granted.
    used: u32,
    /// No more are to be had before that.
    no_start_before: Instant,
    /// What is lent next begins then at the earliest.
    free_from: Instant,
    replicas: u32,
    answered: Instant,
    is_away: bool,
    calm_until: Instant,
    told: Claim,
}

/// Some starts that follow each other.
#[derive(Debug)]
struct Slice {
    next: Instant,
    left: u32,
    pace: Duration,
    /// The time of the one behind the last.
    end: Instant,
    /// None is used later than then.
    until: Instant,
}

/// What the lane has to do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub busy: u32,
    pub queued: u32,
    /// Attempts that its window has room for; none while it is failing.
    pub room: u32,
}

impl Share {
    pub fn new(standing: Standing, now: Instant) -> Share {
        Share {
            limit: None,
            pace: None,
            held: 0,
            goal: 0,
            peak: 0,
            ends: now,
            gives_back: false,
            slices: VecDeque::new(),
            used: 0,
            no_start_before: now,
            free_from: now,
            replicas: standing.replicas.max(1),
            // Long ago.
            answered: now.checked_sub(RENEW).unwrap_or(now),
            is_away: standing.is_away,
            calm_until: standing.calm_until,
            told: Claim::default(),
        }
    }

    /// Takes over what the operator has set.
    pub fn set(&mut self, rule: Option<&EndpointRule>) {
        self.limit = rule.and_then(|r| r.max_in_flight).map(|n| n as u32);
        let pace = rule.and_then(|rule| rule.pace).map(careful);
        self.pace = pace.filter(|pace| !pace.is_zero());
    }

    /// Nobody can be asked, and it has nothing yet: a part as large as any other's.
    fn take_part(&mut self) {
        let limit = self.limit.unwrap_or_default();
        self.held = (limit / self.replicas).max(1.min(limit));
        self.goal = self.held;
    }

    /// Whether it may begin one more besides those in flight.
    pub fn allows(&self, busy: u32, now: Instant) -> bool {
        // Where nobody can be asked, its pace is enough.
        let has_start =
            self.pace.is_none() || self.is_away || self.next_start(now).is_some_and(|at| at <= now);
        has_start && self.has_place(busy, now)
    }

    /// The least time between two beginnings here, while the lender is away or nothing is lent.
    pub fn min_interval(&self) -> Option<Duration> {
        self.pace.map(|pace| pace * self.replicas)
    }

    /// Whether the lender cannot be reached.
    pub fn is_away(&self) -> bool {
        self.is_away
    }

    /// When its next start is at the earliest, of those that it has or may be lent.
    pub fn first_start(&self, now: Instant) -> Instant {
        self.next_start(now).unwrap_or(self.free_from)
    }

    fn has_place(&self, busy: u32, now: Instant) -> bool {
        self.limit.is_none() || busy < self.held && (self.is_away || self.ends > now)
    }

    /// When the next start is, of those that it has.
    pub fn next_start(&self, now: Instant) -> Option<Instant> {
        let mut left = self.slices.iter().filter(|slice| slice.until >= now);
        left.next().map(|slice| slice.next)
    }

    fn in_hand(&self, now: Instant) -> u32 {
        let left = self.slices.iter().filter(|slice| slice.until >= now);
        left.map(|slice| slice.left).sum()
    }

    /// One has begun.
    pub fn use_start(&mut self, now: Instant) {
        self.slices.retain(|slice| slice.until >= now);
        let Some(slice) = self.slices.front_mut() else {
            return;
        };
        let late = now.checked_sub(GRACE).unwrap_or(now);
        let next = slice.next.max(late) + slice.pace;
        slice.next = next;
        slice.left -= 1;
        if slice.left == 0 {
            self.slices.pop_front();
        }
        if let Some(slice) = self.slices.front_mut() {
            slice.next = slice.next.max(next);
        }
        self.used += 1;
    }

    /// A start was not used, and may be for a while. False where starts are not limited.
    pub fn return_start(&mut self, now: Instant) -> bool {
        let Some(pace) = self.pace else {
            return false;
        };
        self.slices.push_front(Slice {
            next: now,
            left: 1,
            pace,
            end: now,
            until: now + WAITING,
        });
        true
    }

    /// The lender cannot be reached: it keeps what it has.
    pub fn keep(&mut self, standing: Standing) {
        self.is_away = true;
        self.slices.clear();
        self.goal = self.held;
        if self.held == 0 {
            self.replicas = self.replicas.max(standing.replicas);
        }
    }

    /// The lender can be reached again: it is asked for what the lane has.
    pub fn share_again(&mut self, standing: Standing, now: Instant) {
        if self.is_away {
            self.is_away = false;
            self.calm_until = standing.calm_until;
            self.ends = now + CALM;
            self.no_start_before = now;
        }
    }

    /// What it asks of the lender, if that is not what it asked last. `anew`: it has got an answer.
    pub fn claim(&mut self, anew: bool, load: Load, now: Instant) -> Option<Claim> {
        let claim = self.new_claim(load, now);
        // How many starts matters only when they are asked for: it is no news by itself.
        let told = self.told;
        let same = Claim {
            starts: claim.starts,
            ..told
        } == claim;
        let is_news = anew || !same || (told.starts == 0) != (claim.starts == 0);
        is_news.then(|| self.told = claim)?;
        Some(claim)
    }

    /// The lender has answered.
    pub fn grant(&mut self, grant: &Grant, load: Load) {
        let is_calm = grant.answered < self.calm_until;
        self.replicas = match is_calm {
            true => self.replicas.max(grant.replicas),
            false => grant.replicas.max(1),
        };
        self.answered = grant.answered;
        self.held = grant.held;
        // What there was no work for is given back.
        self.goal = grant.goal.min(self.peak.max(load.busy));
        self.peak = 0;
        self.gives_back = false;
        self.ends = grant.asked + LOAN;
        if grant.starts == 0 {
            self.no_start_before = self.no_start_before.max(grant.answered + grant.wait);
            if !grant.wait.is_zero() {
                self.free_from = grant.answered + grant.wait + AHEAD;
            }
            return;
        }
        let mut pace = self.pace.unwrap_or_default();
        if is_calm {
            pace *= self.replicas;
        }
        let next = grant.answered + grant.wait;
        let end = next + pace * grant.starts;
        let grace = match grant.starts > load.queued {
            true => WAITING,
            false => GRACE,
        };
        self.slices.push_back(Slice {
            next,
            left: grant.starts,
            pace,
            end,
            until: end + grace,
        });
        (self.used, self.free_from) = (0, end);
    }

    /// What is to be asked for, as things stand.
    fn new_claim(&mut self, load: Load, now: Instant) -> Claim {
        if self.limit.is_none() || !self.is_away && self.ends <= now {
            // Others may have it.
            self.goal = 0;
        }
        if self.is_away && self.held == 0 && load.queued > 0 {
            self.take_part();
        }
        let busy = self.limit.map_or(0, |_| load.busy);
        let kept = self.goal.max(busy);
        if kept < self.held {
            self.held = kept;
            self.gives_back = true;
        }
        let mut claim = Claim {
            limit: self.limit.unwrap_or_default(),
            // What is under way is, whatever was lent.
            held: self.held.max(busy),
            pace: self.pace.unwrap_or_default(),
            ..Claim::default()
        };
        let most = load.busy + load.room.min(load.queued);
        claim.wanted = most.min(claim.limit);
        self.peak = self.peak.max(claim.wanted);
        if now < self.calm_until && self.held > 0 {
            claim.wanted = claim.wanted.min(self.held);
        }
        claim.renew_at = self.renew_at(&claim);
        (claim.starts, claim.starts_at) = self.starts(load, now);
        claim
    }

    fn renew_at(&self, claim: &Claim) -> Option<Instant> {
        let is_wanted = self.peak.min(claim.limit) > 0;
        let at = match claim.held {
            _ if self.gives_back => self.answered,
            0 if is_wanted => self.answered + RETRY,
            0 => return None,
            _ => self.answered + RENEW,
        };
        match claim.held == 0 && claim.wanted > 0 {
            true => Some(at.max(self.calm_until)),
            false => Some(at),
        }
    }

    /// How many starts to ask for, and when.
    fn starts(&self, load: Load, now: Instant) -> (u32, Option<Instant>) {
        let (Some(pace), in_hand) = (self.pace, self.in_hand(now)) else {
            return (0, None);
        };
        let short = load.queued.saturating_sub(in_hand);
        // As many as can begin, and as went lately.
        let mut wanted = short.min(load.room) + self.used;
        if now < self.calm_until {
            let part = SLICE.as_nanos() / (pace * self.replicas).as_nanos().max(1);
            wanted = wanted.min((part as u32).max(1));
        }
        if short == 0 || load.room == 0 {
            return (0, None);
        }
        let early = |slice: &Slice| slice.end.checked_sub(LEAD);
        let at = self.slices.back().and_then(early).unwrap_or(self.answered);
        (wanted, Some(at.max(self.no_start_before)))
    }
}

#[cfg(test)]
impl Share {
    /// Places that it has by a loan that is not over.
    pub fn places(&self, busy: u32, now: Instant) -> u32 {
        match self.is_away || self.ends > now {
            true => self.held.max(busy),
            false => 0,
        }
    }
}
