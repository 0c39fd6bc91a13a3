//! The subscriber: Redis Pub/Sub in.
//!
//! Redis keeps nothing for a subscriber that is away or slow, so this thread never waits
//! for anything but Redis while it can help it, and subscribes again as soon as it can.
//!
//! It reads through `PubSub::get_message` alone (a hand-made loop loses a message at each
//! timeout) in short waits, so that it notices the drain. A silent connection is asked for a
//! PING. On any error the connection is thrown away, after what it had already read.

use std::mem;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use redis::{Connection, Msg, PubSub};

use super::{Closed, End, Intake};
use crate::control::{Order, Orders};
use crate::drain::Drain;
use crate::store::{Keys, Redis, fetch_holds};
use crate::trouble::Trouble;

/// How soon a drain is noticed in silence.
const POLL: Duration = Duration::from_millis(100);

/// After so long a silence Redis is asked whether it is there. With [`ANSWER`] this bounds
/// how long a dead connection goes unnoticed: under 10 s, as DESIGNed for.
const SILENCE: Duration = Duration::from_secs(3);

/// How long Redis may take to answer. Longer than a common stall (fork, slow command), as
/// giving up too soon loses what is published until the next SUBSCRIBE.
const ANSWER: Duration = Duration::from_secs(6);

/// The same at the end, when nothing can be lost by it but time.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// See the module's header.
pub struct Subscriber {
    pub redis: Redis,
    pub keys: Keys,
    pub channels: Vec<String>,
    /// For what operators' tools publish.
    pub orders: Orders,
    pub trouble: Trouble,
}

impl Subscriber {
    /// Subscribes and hands on what comes, until the drain or the timer's end.
    pub fn run(mut self, intake: &mut Intake, drain: &Drain) {
        loop {
            match self.session(intake, drain) {
                Ok(()) | Err(End::Closed) => return,
                Err(End::Failed(e)) => {
                    let pause = self.trouble.begin(&e);
                    if drain.wait(pause) {
                        return;
                    }
                }
            }
        }
    }

    /// One connection, from connecting to its end. `Ok`: the drain began, and all that Redis
    /// had sent before it confirmed the UNSUBSCRIBE has been handed on.
    fn session(&mut self, intake: &mut Intake, drain: &Drain) -> Result<(), End> {
        let mut connection = self.redis.connect(ANSWER).map_err(End::Failed)?;
        let mut subscription = Subscription::new(&mut connection);
        let result = self.serve(&mut subscription, intake, drain);
        // Answers that came in between two messages have not been handed on yet.
        let rest = self.drain_read(&mut subscription, intake);
        result.and(rest.map_err(End::from))
    }

    fn serve(
        &mut self,
        subscription: &mut Subscription<'_>,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let redis = self.redis.clone();
        let failed = |e| End::Failed(redis.error(&e));
        let pubsub = subscription.pubsub();
        for channel in self.channels.iter().chain([&self.keys.control]) {
            pubsub.subscribe(channel).map_err(failed)?;
        }
        pubsub.set_read_timeout(Some(POLL)).map_err(failed)?;
        self.fetch_holds()?;
        self.trouble.end();
        let names = self.channels.join(", ");
        info!("ready: subscribed to {names} at {redis}");
        let mut heard = Instant::now();
        while !drain.has_begun() {
            match subscription.pubsub().get_message() {
                Ok(message) => {
                    self.take(intake, &message)?;
                    heard = Instant::now();
                }
                Err(e) if e.is_timeout() => {
                    if heard.elapsed() >= SILENCE {
                        let ping = subscription.within(ANSWER, |p| p.ping::<()>());
                        ping.map_err(failed)?;
                        heard = Instant::now();
                    }
                }
                Err(e) => return Err(failed(e)),
            }
        }
        for channel in &self.channels {
            // One by one, each to its own confirmation: messages of the other channels
            // may still come in between.
            if let Err(e) = subscription.within(LAST_ANSWER, |p| p.unsubscribe(channel)) {
                debug!("unsubscribe: {}", redis.error(&e));
                break;
            }
        }
        Ok(())
    }

    /// What was ordered while this was not subscribed. On a connection of its own, as one that
    /// is subscribed can do nothing else; after subscribing, so that nothing falls between.
    fn fetch_holds(&self) -> Result<(), End> {
        let holds = fetch_holds(&self.redis, &self.keys, ANSWER).map_err(End::Failed)?;
        self.orders.give(Order::Holds(holds));
        Ok(())
    }

    /// Hands on what was read while an answer was awaited.
    fn drain_read(
        &self,
        subscription: &mut Subscription<'_>,
        intake: &mut Intake,
    ) -> Result<(), Closed> {
        let pubsub = subscription.pubsub();
        // Fails on a broken connection, on which the reads below fail at once anyway.
        let _ = pubsub.set_read_timeout(Some(Duration::from_millis(1)));
        while let Ok(message) = pubsub.get_message() {
            self.take(intake, &message)?;
        }
        Ok(())
    }

    fn take(&self, intake: &mut Intake, message: &Msg) -> Result<(), Closed> {
        let channel = message.get_channel_name();
        if channel == self.keys.control {
            let text = String::from_utf8_lossy(message.get_payload_bytes());
            match Order::parse(&text, Instant::now()) {
                Some(Order::Report(key, _)) if !self.keys.is_reply(&key) => {
                    warn!("{channel}: not a place for an answer: {key:?}");
                }
                Some(order) => self.orders.give(order),
                None => warn!("{channel}: not an order that is known: {text:?}"),
            }
            return Ok(());
        }
        intake.set_detail(channel);
        intake.offer(message.get_payload_bytes().to_vec())
    }
}

struct Subscription<'a> {
    /// Taken out only by `drop`.
    pubsub: Option<PubSub<'a>>,
}

impl<'a> Subscription<'a> {
    fn new(connection: &'a mut Connection) -> Self {
        Subscription {
            pubsub: Some(connection.as_pubsub()),
        }
    }

    fn pubsub(&mut self) -> &mut PubSub<'a> {
        self.pubsub.as_mut().expect("taken by drop alone")
    }

    /// Runs a command that awaits an answer; messages that come before it are kept.
    fn within<T>(
        &mut self,
        limit: Duration,
        run: impl FnOnce(&mut PubSub<'a>) -> redis::RedisResult<T>,
    ) -> redis::RedisResult<T> {
        let pubsub = self.pubsub();
        pubsub.set_read_timeout(Some(limit))?;
        let result = run(pubsub)?;
        pubsub.set_read_timeout(Some(POLL))?;
        Ok(result)
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        // PubSub's own drop would send UNSUBSCRIBE and wait for the answer, on a connection
        // that is about to be closed. What is forgotten is an empty queue.
        mem::forget(self.pubsub.take());
    }
}
