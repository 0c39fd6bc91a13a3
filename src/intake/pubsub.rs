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

use log::{debug, info};
use redis::{Connection, Msg, PubSub};

use super::{Closed, Intake};
use crate::drain::Drain;
use crate::store::{Redis, StoreError};
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

/// Subscribes to `channels` and hands on what comes, until the drain or the timer's end.
pub fn run(
    redis: &Redis,
    channels: &[String],
    mut trouble: Trouble,
    intake: &mut Intake,
    drain: &Drain,
) {
    loop {
        match session(redis, channels, intake, drain, &mut trouble) {
            Ok(()) | Err(End::Closed) => return,
            Err(End::Failed(e)) => {
                let pause = trouble.begin(&e);
                if drain.wait(pause) {
                    return;
                }
            }
        }
    }
}

/// Why a session ended before the drain.
enum End {
    Closed,
    Failed(StoreError),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        End::Closed
    }
}

/// One connection, from connecting to its end. `Ok`: the drain began, and all that Redis
/// had sent before it confirmed the UNSUBSCRIBE has been handed on.
fn session(
    redis: &Redis,
    channels: &[String],
    intake: &mut Intake,
    drain: &Drain,
    trouble: &mut Trouble,
) -> Result<(), End> {
    let mut connection = redis.connect(ANSWER).map_err(End::Failed)?;
    let mut subscription = Subscription::new(&mut connection);
    let result = subscription.serve(redis, channels, intake, drain, trouble);
    // Answers that came in between two messages have not been handed on yet.
    let rest = subscription.drain_read(intake);
    result.and(rest.map_err(End::from))
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

    fn serve(
        &mut self,
        redis: &Redis,
        channels: &[String],
        intake: &mut Intake,
        drain: &Drain,
        trouble: &mut Trouble,
    ) -> Result<(), End> {
        let failed = |e| End::Failed(redis.error(&e));
        for channel in channels {
            self.pubsub().subscribe(channel).map_err(failed)?;
        }
        trouble.end();
        info!("ready: subscribed to {} at {redis}", channels.join(", "));
        self.pubsub().set_read_timeout(Some(POLL)).map_err(failed)?;
        let mut heard = Instant::now();
        while !drain.has_begun() {
            match self.pubsub().get_message() {
                Ok(message) => {
                    offer(intake, &message)?;
                    heard = Instant::now();
                }
                Err(e) if e.is_timeout() => {
                    if heard.elapsed() >= SILENCE {
                        self.within(ANSWER, |p| p.ping::<()>()).map_err(failed)?;
                        heard = Instant::now();
                    }
                }
                Err(e) => return Err(failed(e)),
            }
        }
        for channel in channels {
            // One by one, each to its own confirmation: messages of the other channels
            // may still come in between.
            if let Err(e) = self.within(LAST_ANSWER, |p| p.unsubscribe(channel)) {
                debug!("unsubscribe: {}", redis.error(&e));
                break;
            }
        }
        Ok(())
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

    /// Hands on what was read while an answer was awaited.
    fn drain_read(&mut self, intake: &mut Intake) -> Result<(), Closed> {
        let pubsub = self.pubsub();
        // Fails on a broken connection, on which the reads below fail at once anyway.
        let _ = pubsub.set_read_timeout(Some(Duration::from_millis(1)));
        while let Ok(message) = pubsub.get_message() {
            offer(intake, &message)?;
        }
        Ok(())
    }
}

fn offer(intake: &mut Intake, message: &Msg) -> Result<(), Closed> {
    intake.set_detail(message.get_channel_name());
    intake.offer(message.get_payload_bytes().to_vec())
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        // PubSub's own drop would send UNSUBSCRIBE and wait for the answer, on a connection
        // that is about to be closed. What is forgotten is an empty queue.
        mem::forget(self.pubsub.take());
    }
}
