//! What is asked back from backlogs, and when. Pure.
//!
//! There is one question at a time for each lane, and its answer says how many messages come and what
//! is left. Whatever a lane is asked for must find room when it comes, or it would go back and be
//! asked for again: so what is under way is counted, and what has come back stays.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlogs::UNPROVEN_PART;
use super::{Now, Scheduler};
use crate::delivery::LaneId;
use crate::delivery::parked::Want;

/// Messages of a backlog that are for others, or are to be given up, at a time.
const BATCH: usize = 64;

/// Messages that are asked for at a time.
const MOST_ASKED: usize = 1024;

/// What comes at a time has about so many bytes at most.
const MOST_BYTES: usize = 1 << 20;

/// Lanes that are to have one message to be tried with, when there is room for it.
#[derive(Debug, Default)]
pub struct Line {
    /// Those that have never answered.
    new: VecDeque<LaneId>,
    closed: VecDeque<LaneId>,
}

impl Scheduler {
    /// These backlogs are in the store. Who is not known here has failed, for others or before.
    pub fn set_backlogs(&mut self, backlogs: Vec<(Arc<str>, u64)>, now: Now) {
        for (name, oldest) in backlogs {
            let id = self.find_on_probation(&name, now.mono);
            self.note_apart(&name);
            self.lanes.change(id, |lane| lane.backlog.note_more());
            self.set_oldest(id, oldest, now);
            self.update_turn(id, now.mono);
        }
    }

    /// Some replica has deferred the first message for an endpoint. If that answers here, it can have
    /// it here.
    pub fn note_backlog(&mut self, name: &Arc<str>, oldest: u64, now: Now) {
        if let Some(id) = self.lanes.find(name) {
            self.lanes.change(id, |lane| lane.backlog.note_more());
            self.set_oldest(id, oldest, now);
            self.to_ask.push(id);
        }
    }

    pub(super) fn set_oldest(&mut self, id: LaneId, received: u64, now: Now) {
        let most = self.limits.max_age;
        self.lanes.change(id, |lane| {
            let age = lane.max_age().unwrap_or(most);
            let age = age.checked_sub(Duration::from_millis(now.unix_ms.saturating_sub(received)));
            // What is too old already is found now.
            let until = now.mono.checked_add(age.unwrap_or_default());
            lane.backlog.set_oldest(received, until);
        });
    }

    /// Who asked for what is too old, and got something that is not, does not ask again at once: the
    /// age of a message is not all that says how long it may wait.
    pub(super) fn note_young(&mut self, id: LaneId, now: Now) {
        self.lanes
            .change(id, |lane| lane.backlog.note_young(now.mono));
    }

    /// So many messages come from a backlog, and so many are left there.
    pub fn released(
        &mut self,
        name: &Arc<str>,
        count: usize,
        left: u64,
        oldest: Option<u64>,
        now: Now,
    ) {
        let Some(id) = self.lanes.find(name) else {
            return;
        };
        self.lanes
            .change(id, |lane| lane.backlog.release(count, left));
        if let Some(oldest) = oldest {
            self.set_oldest(id, oldest, now);
        }
        self.to_ask.push(id);
    }

    /// Asks for some of a lane's backlog, if it is time and there is room.
    pub(super) fn ask(&mut self, id: LaneId, now: Instant) {
        let Some(lane) = self.lanes.get(id).filter(|l| l.backlog.is_askable()) else {
            return;
        };
        if self.drain.has_begun() || !self.limits.parking.is_possible() {
            return;
        }
        if let Some(latest) = lane.backlog.expired(now) {
            return self.want_until(id, BATCH, Some(latest));
        }
        let to_bury = lane.backlog.to_bury().min(BATCH);
        let hold = self.holds.find_exact(self.lanes.name(id), now);
        if hold.is_some() || lane.is_disabled() {
            let alarm = lane.backlog.alarm(hold.and_then(|hold| hold.until));
            if let Some(alarm) = alarm.filter(|_| to_bury == 0) {
                self.wake_lane(id, alarm);
            }
            return self.want(id, to_bury);
        }
        if lane.backlog.is_foreign() {
            return self.want(id, BATCH);
        }
        if lane.breaker().is_failing() {
            if to_bury > 0 {
                return self.want(id, to_bury);
            }
            if lane.needs_probe(now) {
                self.stand_in_line(id);
            } else if let Some(alarm) = lane.backlog.alarm(lane.breaker().failing_until(now)) {
                self.wake_lane(id, alarm);
            }
            return;
        }
        if !lane.is_healthy() {
            // One at a time, until it has answered.
            if lane.active() == 0 {
                self.stand_in_line(id);
            }
            return;
        }
        let (ahead, in_play) = (self.ahead(lane), lane.in_play());
        let room = self
            .limits
            .share
            .saturating_sub(lane.active())
            .min(ahead - in_play.min(ahead));
        let fits = lane.bytes() + MOST_BYTES <= self.limits.share_bytes || lane.active() == 0;
        if in_play * 4 <= ahead * 3 && fits {
            self.want(id, room);
        }
    }

    fn want(&mut self, id: LaneId, count: usize) {
        self.want_until(id, count, None);
    }

    fn want_until(&mut self, id: LaneId, count: usize, latest: Option<u64>) {
        if count > 0 {
            self.lanes.change(id, |lane| lane.backlog.ask());
            self.wants.push(Want::Release {
                name: self.lanes.name(id).clone(),
                count: count.min(MOST_ASKED),
                latest,
            });
        }
    }

    /// There may be more endpoints to be tried than are good for the others.
    fn stand_in_line(&mut self, id: LaneId) {
        let joins = self.lanes.change(id, |lane| {
            let joins = lane.backlog.stand_in_line();
            joins.then(|| lane.breaker().is_failing())
        });
        match joins.flatten() {
            Some(true) => self.line.closed.push_back(id),
            Some(false) => self.line.new.push_back(id),
            None => {}
        }
    }

    /// Asks for one message for those who stand in line, as far as there is room for them.
    pub(super) fn ask_for_probes(&mut self, now: Instant) {
        let most = (self.failing_share() * 2).min(self.limits.max_active / UNPROVEN_PART);
        while self.has_room_for_one() {
            let next = self.line.new.pop_front();
            let next = next.or_else(|| match self.lanes.tally().probes < most.max(1) {
                true => self.line.closed.pop_front(),
                false => None,
            });
            let Some(id) = next else {
                return;
            };
            self.lanes.change(id, |lane| lane.backlog.leave_line());
            let Some(lane) = self.lanes.get(id) else {
                continue;
            };
            let is_new = !lane.breaker().is_failing() && !lane.is_healthy() && lane.active() == 0;
            let is_meant = lane.needs_probe(now) || is_new;
            match is_meant && lane.backlog.is_askable() && !self.drain.has_begun() {
                true => self.want(id, 1),
                false => self.update_turn(id, now),
            }
        }
    }

    /// Whether one more may be asked for that is not known to answer, besides those under way.
    fn has_room_for_one(&self) -> bool {
        let (count, bytes) = (
            self.lanes.tally().unproven,
            self.lanes.tally().unproven_bytes,
        );
        count + self.lanes.tally().expected < (self.limits.max_active / 2).max(1)
            && bytes < (self.limits.max_active_bytes / 2).max(1)
    }
}
