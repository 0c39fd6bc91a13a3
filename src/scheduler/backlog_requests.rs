//! Which messages are asked back from backlogs, and when. Pure.
//!
//! When a back-off is over, a lane asks for one message as the probe. When its endpoint is healthy, it asks
//! for as many as it has room for, oldest first. There is one question at a time for each lane, and the
//! answer says how many messages come and how many are left. A message that comes must find room, or it
//! would go back and be asked for again. So messages under way are counted, and those that came back stay.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Now, Scheduler};
use crate::delivery::parked::Want;
use crate::delivery::{Delivery, Job, LaneId};

/// How many messages are asked for at a time that are for other lanes, or will be given up.
const BATCH: usize = 64;

/// How many messages are asked for at a time at most.
const MOST_ASKED: usize = 1024;

/// About how many bytes come at a time at most.
const MOST_BYTES: usize = 1 << 20;

/// The questions to the store, and the lanes that may have one.
#[derive(Debug, Default)]
pub struct BacklogRequests {
    /// Questions that the store has not been asked yet.
    wants: Vec<Want>,
    /// Lanes that may have room for more of their backlogs, once all else is done.
    to_look_at: Vec<LaneId>,
    /// Lanes that stand in line for one message to be tried with: lanes that have never answered, and
    /// lanes that are probing.
    new: VecDeque<LaneId>,
    probing: VecDeque<LaneId>,
}

impl BacklogRequests {
    /// A lane may have room for more of its backlog.
    pub fn look_at(&mut self, lane: LaneId) {
        self.to_look_at.push(lane);
    }

    fn want(&mut self, name: Arc<str>, count: usize, latest: Option<u64>) {
        self.wants.push(Want::Release {
            name,
            count: count.min(MOST_ASKED),
            latest,
        });
    }

    fn stand_in_line(&mut self, lane: LaneId, is_new: bool) {
        match is_new {
            true => self.new.push_back(lane),
            false => self.probing.push_back(lane),
        }
    }

    /// The next lane in line.
    fn next_in_line(&mut self, may_probe: bool) -> Option<LaneId> {
        let new = self.new.pop_front();
        new.or_else(|| match may_probe {
            true => self.probing.pop_front(),
            false => None,
        })
    }
}

/// What is to be done about a lane's backlog now.
#[derive(Debug)]
enum Question {
    None,
    /// This many messages; only those that were received by then, in Unix milliseconds.
    Ask(usize, Option<u64>),
    /// One message to try it with, when there is room for that.
    Probe,
    /// Nothing before then.
    Later(Instant),
}

impl Scheduler {
    /// The questions to the store, to be called when everything else is done.
    pub fn wants(&mut self, now: Now) -> Vec<Want> {
        for id in std::mem::take(&mut self.recalls.to_look_at) {
            if self.lanes.get(id).is_some() {
                self.update_turn(id, now.mono);
            }
        }
        self.ask_for_probes(now.mono);
        std::mem::take(&mut self.recalls.wants)
    }

    /// A message has come. It may be one that was asked of a backlog.
    pub(super) fn note_released(&mut self, delivery: &Delivery) {
        let name = delivery.backlog.as_ref();
        let Some(id) = name.and_then(|name| self.lanes.find(name)) else {
            return;
        };
        self.lanes.change(id, |lane| lane.backlog.note_come());
        // When it has found its place, there may be room for the next.
        self.recalls.look_at(id);
    }

    /// A message of a backlog says something of those behind it.
    pub(super) fn learn_of_backlog(&mut self, job: &Job, now: Now) {
        let name = job.delivery.backlog.as_ref();
        let Some(id) = name.and_then(|name| self.lanes.find(name)) else {
            return;
        };
        if self.held_by(job, now).is_none() {
            let is_foreign = id != job.lane;
            self.lanes
                .change(id, |lane| lane.backlog.set_foreign(is_foreign));
        }
        if !self.limits.is_too_old(job, now) {
            self.lanes
                .change(id, |lane| lane.backlog.note_young(now.mono));
        }
    }

    /// The ledger has made true that one more is in a backlog.
    pub(super) fn note_deferred(&mut self, id: LaneId) {
        self.lanes.change(id, |lane| lane.backlog.note_added());
        self.recalls.look_at(id);
    }

    /// These backlogs are in the store. An endpoint that is not known here has failed, for other replicas
    /// or in an earlier life.
    pub fn set_backlogs(&mut self, backlogs: Vec<(Arc<str>, u64)>, now: Now) {
        for (name, oldest) in backlogs {
            let id = self.find_on_probation(&name, now.mono);
            self.note_apart(&name);
            self.lanes.change(id, |lane| lane.backlog.note_more());
            self.set_oldest(id, oldest, now);
            self.update_turn(id, now.mono);
        }
    }

    /// Some replica has deferred the first message for an endpoint. If the endpoint is known here, this
    /// replica can ask for the message.
    pub fn note_backlog(&mut self, name: &Arc<str>, oldest: u64, now: Now) {
        if let Some(id) = self.lanes.find(name) {
            self.lanes.change(id, |lane| lane.backlog.note_more());
            self.set_oldest(id, oldest, now);
            self.recalls.look_at(id);
        }
    }

    pub(super) fn set_oldest(&mut self, id: LaneId, received: u64, now: Now) {
        let most = self.limits.max_age;
        self.lanes.change(id, |lane| {
            let age = lane.max_age().unwrap_or(most);
            let age = age.checked_sub(Duration::from_millis(now.unix_ms.saturating_sub(received)));
            // A message that is too old already is asked for now.
            let until = now.mono.checked_add(age.unwrap_or_default());
            lane.backlog.set_oldest(received, until);
        });
    }

    /// `count` messages come from a backlog, and `left` are left there.
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
        self.recalls.look_at(id);
    }

    /// Asks for some of a lane's backlog, if it is time and there is room.
    pub(super) fn ask(&mut self, id: LaneId, now: Instant) {
        if self.drain.has_begun() || !self.has_store() {
            return;
        }
        match self.question(id, now) {
            Question::None => {}
            Question::Ask(count, latest) => self.want(id, count, latest),
            Question::Probe => self.stand_in_line(id),
            Question::Later(at) => self.wake_lane(id, at),
        }
    }

    fn question(&self, id: LaneId, now: Instant) -> Question {
        let lane = self.lanes.get(id).filter(|l| l.backlog.is_askable());
        let Some(lane) = lane else {
            return Question::None;
        };
        let later = |at| match lane.backlog.alarm(at) {
            Some(at) => Question::Later(at),
            None => Question::None,
        };
        if let Some(latest) = lane.backlog.expired(now) {
            return Question::Ask(BATCH, Some(latest));
        }
        let to_bury = lane.backlog.to_bury().min(BATCH);
        let hold = self.holds.find_exact(self.lanes.name(id), now);
        if hold.is_some() || lane.is_disabled() {
            return match to_bury {
                0 => later(hold.and_then(|hold| hold.until)),
                _ => Question::Ask(to_bury, None),
            };
        }
        if lane.backlog.is_foreign() {
            return Question::Ask(BATCH, None);
        }
        if lane.breaker().is_failing() {
            return match to_bury {
                0 if lane.needs_probe(now) => Question::Probe,
                0 => later(lane.breaker().failing_until(now)),
                _ => Question::Ask(to_bury, None),
            };
        }
        if !lane.is_healthy() {
            // One at a time, until it has answered.
            return match lane.active() {
                0 => Question::Probe,
                _ => Question::None,
            };
        }
        let (ahead, in_play) = (self.room().ahead(lane), lane.in_play());
        let share = self.limits.share.saturating_sub(lane.active());
        let room = share.min(ahead.saturating_sub(in_play));
        let fits = lane.bytes() + MOST_BYTES <= self.limits.share_bytes || lane.active() == 0;
        match in_play * 4 <= ahead * 3 && fits {
            true => Question::Ask(room, None),
            false => Question::None,
        }
    }

    fn want(&mut self, id: LaneId, count: usize, latest: Option<u64>) {
        if count > 0 {
            self.lanes.change(id, |lane| lane.backlog.ask());
            let name = self.lanes.name(id).clone();
            self.recalls.want(name, count, latest);
        }
    }

    /// If too many endpoints were tried at once, the others would suffer. So they stand in line.
    fn stand_in_line(&mut self, id: LaneId) {
        let joins = self.lanes.change(id, |lane| {
            let joins = lane.backlog.stand_in_line();
            joins.then(|| lane.breaker().is_failing())
        });
        if let Some(is_failing) = joins.flatten() {
            self.recalls.stand_in_line(id, !is_failing);
        }
    }

    /// Asks for one message for each lane in line, as far as there is room.
    fn ask_for_probes(&mut self, now: Instant) {
        let most = (self.limits.failing_share() * 2).min(self.limits.unproven_share());
        while self.room().has_one_more() {
            let may_probe = self.lanes.tally().probes < most;
            let Some(id) = self.recalls.next_in_line(may_probe) else {
                return;
            };
            self.lanes.change(id, |lane| lane.backlog.leave_line());
            let Some(lane) = self.lanes.get(id) else {
                continue;
            };
            let is_new = !lane.breaker().is_failing() && !lane.is_healthy() && lane.active() == 0;
            let is_meant = lane.needs_probe(now) || is_new;
            match is_meant && lane.backlog.is_askable() && !self.drain.has_begun() {
                true => self.want(id, 1, None),
                false => self.update_turn(id, now),
            }
        }
    }
}
