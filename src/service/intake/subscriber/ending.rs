//! How the subscriber ends: last, as Redis keeps nothing for it.
//!
//! When the drain begins, what Redis had sent before is delivered like all that came before; what
//! it sends from then on is *late*, and appended to the stream. A PING tells one from the other,
//! as Redis answers it in its turn. When all else is done and written, the channels are
//! unsubscribed from, and what had come before the confirmations is the last that is handed on.
//!
//! Each replica says what it hears by subscribing to one more channel for each (`Keys::hears`),
//! and ceases to say so when its drain begins. So a replica that drains knows whether another
//! hears a channel and goes on. Then it leaves that channel alone: what it appended would be
//! delivered twice.

use std::time::{Duration, Instant};

use log::{debug, warn};

use super::{Drain, End, Intake, Past, Session, StoreError, Subscriber};

/// How long Redis may take to answer at the end.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(1);

/// The least that it gets.
const LEAST_ANSWER: Duration = Duration::from_millis(100);

/// How soon the last call is noticed in silence.
const LAST_POLL: Duration = Duration::from_millis(20);

/// How often it is asked whether another replica hears the same, and how long Redis may take to
/// answer: short, as nothing is heard meanwhile.
const OTHERS: Duration = Duration::from_millis(250);
const OTHERS_ANSWER: Duration = Duration::from_millis(300);

/// How far a session's end is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leaving {
    No,
    /// The drain has begun. What Redis sends before it answers the PING of then was published
    /// before.
    Begins(Instant),
    /// All that comes is late. When to look for other replicas again.
    Late(Instant),
}

impl Subscriber {
    /// After the drain has begun, until all else is done.
    pub(super) fn hear_to_the_last(
        &mut self,
        session: &mut Session,
        past: &mut Past,
        intake: &mut Intake,
        last: &Drain,
    ) -> Result<(), End> {
        session.patience = LAST_ANSWER;
        session.poll = LAST_POLL;
        for channel in std::mem::take(&mut session.announced) {
            session.unsubscribe(self.keys.hears(&channel))?;
        }
        if session.is_listening(&self.keys.control) {
            session.leaving = Leaving::Begins(Instant::now());
            session.ping()?;
        } else {
            session.be_late(intake);
        }
        self.listen(session, past, intake, last)
    }

    /// Tells other replicas what this hears. Where that is refused they do not know it, and keep
    /// what they hear while they drain though this hears it too.
    pub(super) fn announce(&self, session: &mut Session) -> Result<(), End> {
        if session.leaving != Leaving::No {
            return Ok(());
        }
        for channel in session.confirmed.clone() {
            if channel == self.keys.control || session.announced.contains(&channel) {
                continue;
            }
            let mark = self.keys.hears(&channel);
            match session.subscription.subscribe(&mark, session.patience) {
                Ok(()) => session.announced.push(channel),
                Err(e) if e.is_refusal() => debug!("SUBSCRIBE {mark}: {e}"),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Unsubscribes from what another replica hears that does not drain.
    pub(super) fn leave_to_others(&self, session: &mut Session, now: Instant) -> Result<(), End> {
        match session.leaving {
            Leaving::Late(look_at) if look_at <= now => {
                session.leaving = Leaving::Late(now + OTHERS);
            }
            _ => return Ok(()),
        }
        let ours = session.confirmed.iter();
        let ours: Vec<String> = ours.filter(|c| **c != self.keys.control).cloned().collect();
        let marks: Vec<String> = ours.iter().map(|c| self.keys.hears(c)).collect();
        let counts = session.observer.count_subscribers(&marks, OTHERS_ANSWER);
        for (channel, count) in ours.into_iter().zip(counts) {
            if count > 0 {
                debug!("{channel}: left to another replica");
                session.confirmed.retain(|c| *c != channel);
                session.unsubscribe(channel)?;
            }
        }
        Ok(())
    }

    /// Unsubscribes from all, with all that comes before that is confirmed. False when it is not.
    pub(super) fn leave(&self, session: &mut Session, intake: &mut Intake) -> bool {
        // One that hangs since the drain began is not waited for once more.
        let limit = match session.leaving {
            Leaving::Begins(at) => LAST_ANSWER.saturating_sub(at.elapsed()).max(LEAST_ANSWER),
            _ => LAST_ANSWER,
        };
        session.be_late(intake);
        // One by one, each to its own confirmation: messages of the others may still come in
        // between. Orders last.
        let (control, channels): (Vec<String>, Vec<String>) =
            std::mem::take(&mut session.confirmed)
                .into_iter()
                .partition(|channel| *channel == self.keys.control);
        for channel in channels.iter().chain(&control) {
            if let Err(e) = session.subscription.unsubscribe(channel, limit) {
                warn!("UNSUBSCRIBE {channel}: {e}; what is published now may be lost");
                return false;
            }
        }
        true
    }
}

impl Session {
    pub(super) fn ping(&mut self) -> Result<(), StoreError> {
        self.pings += 1;
        self.subscription.ping()
    }

    /// Redis has answered a PING.
    pub(super) fn take_pong(&mut self, intake: &mut Intake) {
        self.pings = self.pings.saturating_sub(1);
        if matches!(self.leaving, Leaving::Begins(_)) && self.pings == 0 {
            self.be_late(intake);
        }
    }

    /// From now on all that comes was published while draining.
    fn be_late(&mut self, intake: &mut Intake) {
        intake.set_late();
        self.leaving = Leaving::Late(Instant::now());
    }

    /// Does not wait for the confirmation, which comes among what else is heard.
    fn unsubscribe(&mut self, channel: String) -> Result<(), StoreError> {
        self.subscription.begin_unsubscribe(&channel)?;
        self.left.push(channel);
        Ok(())
    }

    /// Whether this channel was left, and that is confirmed now.
    pub(super) fn has_left(&mut self, channel: &str) -> bool {
        let before = self.left.len();
        self.left.retain(|left| left != channel);
        self.left.len() < before
    }
}
