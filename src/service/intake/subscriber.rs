//! The subscriber: Redis Pub/Sub in.
//!
//! Redis keeps nothing for a subscriber that is away or slow. So this thread waits only for Redis,
//! as far as possible, and subscribes again as soon as it can.
//!
//! A channel counts as *subscribed* when Redis has confirmed it, and confirms it again when it is
//! asked. A refused channel is tried again and again, while the others are read. A silent
//! connection gets a PING. After any error the connection is dropped, once everything in its socket
//! is read. The time until the next confirmation is a *gap*, in which messages may have been lost;
//! it is logged and counted.
//!
//! It is the last to leave (`ending.rs`): what is published while the rest drains is appended to
//! the stream.

mod ending;
mod gap;

use std::time::{Duration, Instant};

use log::{info, warn};

use self::ending::{LAST_ANSWER, Leaving};
use self::gap::Past;
use super::sessions::End;
use super::{Closed, Intake};
use crate::service::control::{Command, Commands};
use crate::service::drain::{Drain, EndSignals};
use crate::service::outage::OutageTracker;
use crate::store::{
    Finding, Heard, Keys, Observer, Redis, SECRETS_CHANGED, StoreError, Subscription, fetch_holds,
};
use crate::trust::keyring::Keyring;

/// How soon a drain is noticed in silence.
const POLL: Duration = Duration::from_millis(100);

/// After a silence of this length Redis gets a PING. With [`ANSWER`] this bounds how long a dead
/// connection goes unnoticed: under 10 s.
const SILENCE: Duration = Duration::from_secs(3);

/// How long Redis may take to answer. Longer than a common stall (fork, slow command): giving up
/// too soon loses what is published until the next SUBSCRIBE.
const ANSWER: Duration = Duration::from_secs(6);

/// How often channels that were refused are tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How often Redis is asked whether the subscription stands, and how long it may take to answer:
/// short, as nothing is heard meanwhile.
const CHECK: Duration = Duration::from_secs(10);
const CHECK_ANSWER: Duration = Duration::from_secs(1);

/// See the module's header.
pub struct Subscriber {
    pub redis: Redis,
    pub keys: Keys,
    pub channels: Vec<String>,
    /// For commands of operators' tools.
    pub commands: Commands,
    /// Told when secrets have changed.
    pub keyring: Option<Keyring>,
    pub outage: OutageTracker,
    /// Tracks refused channels and holds that cannot be read. They are no reason to drop the
    /// connection, or to wait before the next.
    pub refusing: OutageTracker,
}

/// One connection.
struct Session {
    subscription: Subscription,
    observer: Observer,
    confirmed: Vec<String>,
    refused: Vec<String>,
    /// The holds must be read: they may have changed while nothing was subscribed.
    holds_due: bool,
    /// The confirmed channels of which other replicas know that this one hears them.
    announced: Vec<String>,
    /// Unsubscribed from, and not confirmed yet.
    left: Vec<String>,
    retry_at: Instant,
    check_at: Instant,
    /// The subscription surely stood then.
    stood_at: Instant,
    /// How long Redis may take to answer.
    patience: Duration,
    /// How soon a signal of the end is noticed in silence.
    poll: Duration,
    leaving: Leaving,
    /// How long nothing was heard while this process was running.
    silence: Duration,
    was_asked: bool,
    /// PINGs that are not answered yet.
    pings: usize,
}

impl Subscriber {
    /// Subscribes and hands on messages, until everything else has ended, or the timer has.
    pub fn run(mut self, intake: &mut Intake, ends: &EndSignals) {
        let mut past = Past::default();
        loop {
            match self.session(&mut past, intake, ends) {
                Ok(()) | Err(End::Closed) => return,
                Err(End::Failed(e)) => {
                    let delay = self.outage.begin(&e);
                    let is_draining = ends.drain.has_begun() || ends.drain.wait(delay);
                    if is_draining && ends.last.wait(delay) {
                        self.report_gap(past.end());
                        return;
                    }
                }
            }
        }
    }

    /// One connection, from connecting to its end. `Ok`: all else has ended, and what Redis had
    /// sent before it confirmed the UNSUBSCRIBE has been handed on.
    fn session(
        &mut self,
        past: &mut Past,
        intake: &mut Intake,
        ends: &EndSignals,
    ) -> Result<(), End> {
        let now = Instant::now();
        let patience = match ends.drain.has_begun() {
            true => LAST_ANSWER,
            false => ANSWER,
        };
        let mut session = Session {
            subscription: Subscription::open(&self.redis, patience)?,
            observer: Observer::new(&self.redis),
            confirmed: Vec::new(),
            refused: self.channels.clone(),
            holds_due: false,
            announced: Vec::new(),
            left: Vec::new(),
            retry_at: now,
            check_at: now + CHECK,
            stood_at: now,
            patience,
            poll: POLL,
            leaving: Leaving::No,
            silence: Duration::ZERO,
            was_asked: false,
            pings: 0,
        };
        session.refused.push(self.keys.control.clone());
        let mut result = self.listen(&mut session, past, intake, &ends.drain);
        if result.is_ok() {
            result = self.hear_to_the_last(&mut session, past, intake, &ends.last);
        }
        let has_left = result.is_ok() && self.leave(&mut session, intake);
        if result.is_err() && session.is_listening(&self.keys.control) {
            past.lose();
        }
        // Messages in the socket are ours, even if the connection broke. A connection that works
        // and is still subscribed would never end.
        let end = Instant::now() + LAST_ANSWER;
        while (has_left || Instant::now() < end)
            && let Ok(Some(heard)) = session.subscription.hear(Duration::ZERO)
        {
            if let Heard::Message { channel, payload } = heard
                && let Err(closed) = self.take(intake, &channel, payload)
            {
                result = Err(closed.into());
                break;
            }
        }
        result
    }

    /// Until this signal.
    fn listen(
        &mut self,
        session: &mut Session,
        past: &mut Past,
        intake: &mut Intake,
        until: &Drain,
    ) -> Result<(), End> {
        while !until.has_begun() {
            let now = Instant::now();
            let is_complete = session.refused.is_empty() && !session.holds_due;
            if !is_complete && now >= session.retry_at {
                self.subscribe(session, past)?;
                session.retry_at = now + RETRY;
            }
            // While Redis is silent there is another question open.
            if now >= session.check_at && !session.was_asked {
                self.check(session, past)?;
                session.check_at = now + CHECK;
            }
            self.leave_to_others(session, now)?;
            let heard = session.subscription.hear(session.poll)?;
            session.mind_silence(heard.is_some(), &self.redis)?;
            if heard.is_some() {
                past.hear(session.subscription.empty_at());
            }
            match heard {
                Some(Heard::Message { channel, payload }) => {
                    past.has_messages |= channel != self.keys.control;
                    self.take(intake, &channel, payload)?;
                }
                Some(Heard::Unsubscribed(channel)) if session.has_left(&channel) => {}
                Some(Heard::Unsubscribed(channel)) => {
                    return Err(self.failed(format!("it has ended the subscription to {channel}")));
                }
                Some(Heard::Pong) => session.take_pong(intake),
                Some(Heard::Subscribed) | None => {}
            }
        }
        Ok(())
    }

    /// Subscribes to channels that are not confirmed yet. A refused channel does not stop the
    /// others.
    fn subscribe(&mut self, session: &mut Session, past: &mut Past) -> Result<(), End> {
        let was_listening = session.is_listening(&self.keys.control);
        let before = session.confirmed.len();
        let mut refusals = Vec::new();
        for channel in std::mem::take(&mut session.refused) {
            match session.subscription.subscribe(&channel, session.patience) {
                Ok(()) => session.confirmed.push(channel),
                Err(e) if e.is_refusal() => {
                    refusals.push(self.redis.refused_channel(&e, &channel));
                    session.refused.push(channel);
                }
                Err(e) => return Err(e.into()),
            }
        }
        let is_more = session.confirmed.len() > before;
        if is_more {
            self.announce(session)?;
        }
        if is_more || session.holds_due {
            // No reason to give up a working subscription.
            let fetched = self.fetch_holds(session.patience);
            session.holds_due = fetched.is_err();
            refusals.extend(fetched.err());
        }
        if is_more && session.is_listening(&self.keys.control) {
            let names = session.names(&self.keys.control);
            info!(
                event = "ready", channels = names.as_str();
                "ready: subscribed to {names} at {}",
                self.redis
            );
        }
        if session.is_listening(&self.keys.control) && !was_listening {
            let run_id = session.observer.run_id(CHECK_ANSWER);
            self.report_gap(past.begin(run_id));
        }
        for refusal in &refusals {
            self.refusing.begin(refusal);
        }
        self.outage.end();
        if refusals.is_empty() {
            self.refusing.end();
        }
        Ok(())
    }

    /// Asks Redis whether the confirmed subscriptions still exist.
    fn check(&self, session: &mut Session, past: &mut Past) -> Result<(), End> {
        let begun = Instant::now();
        let announced = session.announced.iter().map(|c| self.keys.hears(c));
        let announced: Vec<String> = announced.collect();
        let channels = session.confirmed.iter().chain(&announced);
        let channels: Vec<&str> = channels.map(String::as_str).collect();
        let id = session.subscription.id();
        match session.observer.look(id, &channels, CHECK_ANSWER) {
            Finding::Lacks(what) => {
                // What was heard since only shows that the connection is good.
                past.hear(session.stood_at);
                Err(self.failed(format!(
                    "it says that this is no longer subscribed to {what}"
                )))
            }
            Finding::Stands => {
                session.stood_at = begun;
                Ok(())
            }
            // The subscription itself finds out what is wrong with the server.
            Finding::Unknown => Ok(()),
        }
    }

    /// Reads holds that were set while this was not subscribed. It uses a connection of its own,
    /// because a subscribed one can do nothing else. It reads after subscribing, so that no change
    /// falls in between.
    fn fetch_holds(&self, limit: Duration) -> Result<(), StoreError> {
        let holds = fetch_holds(&self.redis, &self.keys, limit)?;
        self.commands.give(Command::Holds(holds));
        Ok(())
    }

    fn report_gap(&self, gap: Option<gap::Gap>) {
        let Some(gap) = gap else {
            return;
        };
        let names = self.channels.join(", ");
        let seconds = gap.length.as_secs_f64();
        warn!(
            event = "gap", channels = names.as_str(), seconds = seconds, loss = gap.is_loss;
            "not subscribed to {names} for {gap}"
        );
        self.commands.give(Command::Gap(gap.length, gap.is_loss));
    }

    fn failed(&self, what: String) -> End {
        End::Failed(StoreError::new(format!("{}: {what}", self.redis)))
    }

    fn take(&self, intake: &mut Intake, channel: &str, payload: Vec<u8>) -> Result<(), Closed> {
        if channel == self.keys.control {
            let text = String::from_utf8_lossy(&payload);
            if text == SECRETS_CHANGED {
                self.keyring.iter().for_each(Keyring::read_again);
                return Ok(());
            }
            match Command::parse(&text, Instant::now()) {
                Some(Command::Report(key, _)) if !self.keys.is_reply(&key) => {
                    warn!("{channel}: not a place for an answer: {key:?}");
                }
                Some(order) => self.commands.give(order),
                None => {
                    // Whatever it is, it may be meant for somebody else.
                    let bytes = text.len();
                    warn!("{channel}: not an order that is known, of {bytes} bytes");
                }
            }
            return Ok(());
        }
        intake.set_detail(channel);
        intake.offer(payload)
    }
}

impl Session {
    /// Whether any channel is listened to that brings messages.
    fn is_listening(&self, control: &str) -> bool {
        self.confirmed.iter().any(|channel| channel != control)
    }

    /// The channels that bring messages, for the log.
    fn names(&self, control: &str) -> String {
        let names = self.confirmed.iter().filter(|channel| *channel != control);
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Has Redis say something when it is silent, and fails when it does not.
    fn mind_silence(&mut self, has_heard: bool, redis: &Redis) -> Result<(), StoreError> {
        if has_heard {
            self.silence = Duration::ZERO;
            self.was_asked = false;
            return Ok(());
        }
        self.silence += self.poll;
        if self.was_asked && self.silence >= SILENCE + ANSWER {
            return Err(StoreError::new(format!("{redis}: no answer in time")));
        }
        if !self.was_asked && self.silence >= SILENCE {
            self.ping()?;
            self.was_asked = true;
        }
        Ok(())
    }
}
