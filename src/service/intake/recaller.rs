//! The recaller: brings back messages that wait in Redis: those that are due, by itself, and those
//! in the backlog of an endpoint, when the timer asks for them ([`Want`]).
//!
//! It has a thread and a connection of its own: messages that come back must not wait behind new
//! ones. Each message that it brings back is an entry of a second stream, ours from its beginning.
//! So entries of a lost reply are our pending entries there, beyond the last entry seen. Handing on
//! blocks while the timer has no room; otherwise it sleeps until something is due or asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError};

use super::hands::Hands;
use super::sessions::{End, Reader, run_sessions};
use super::takeover::{Step, Takeover};
use super::{Arrival, Intake};
use crate::delivery::parked::Want;
use crate::message::boot_time::BootTime;
use crate::message::entry::{Entry, Stream};
use crate::message::timestamp::unix_ms;
use crate::service::boot_clock::boot_time;
use crate::service::channel::wake::WaitingParker;
use crate::service::control::{Command, Commands};
use crate::service::drain::Drain;
use crate::service::outage::OutageTracker;
use crate::service::pulse::Pulse;
use crate::store::{Appointment, Entries, Keys, Redis, StoreError, tell_due};

/// Messages that are brought back at a time.
const BATCH: usize = 128;

/// How often it looks for messages that other replicas have parked, in case these have died.
const LOOK: Duration = Duration::from_secs(10);

/// How long a request may take, and how long the last one.
const ANSWER: Duration = Duration::from_secs(5);
const GOODBYE: Duration = Duration::from_millis(300);

/// See the module's header.
pub struct Recaller {
    pub redis: Redis,
    pub keys: Keys,
    /// Among the group's consumers.
    pub name: String,
    /// How long a lease is: an entry that nobody renewed for this long belongs to a dead consumer.
    pub lease: Duration,
    /// When the next message is due that this process has parked.
    pub appointment: Appointment,
    pub wants: Receiver<Want>,
    /// Woken by `wants` and by `appointment`.
    pub parker: WaitingParker,
    pub hands: Hands,
    pub pulse: Pulse,
    /// Commands to the timer.
    pub commands: Commands,
    pub outage: OutageTracker,
    /// Tracks refusals of the server, and nothing else.
    pub refusals: OutageTracker,
}

/// What outlives a connection.
pub struct Progress {
    takeover: Takeover,
    wanted: VecDeque<Want>,
    /// When to look at the parked messages.
    due: Instant,
    /// Requests that were refused, and when to send them again. A bad backlog must not stop the
    /// others.
    refused: VecDeque<(Instant, Want)>,
}

impl Recaller {
    /// Brings back and hands on, until the drain or the end of the timer.
    pub fn run(mut self, intake: &mut Intake, drain: &Drain) {
        let progress = Progress {
            takeover: Takeover::new(
                self.keys.again.clone(),
                self.lease,
                BATCH,
                self.pulse.clone(),
                self.outage.of("sweep of what came back"),
            ),
            wanted: VecDeque::new(),
            due: Instant::now(),
            refused: VecDeque::new(),
        };
        run_sessions(&mut self, progress, intake, drain);
        let now = unix_ms(SystemTime::now());
        if self.appointment.end().is_some_and(|due| due <= now) {
            // This process would have brought it back. Others look only now and then, so they are
            // told.
            tell_due(&self.redis, &self.keys, GOODBYE);
        }
    }

    /// False when the timer asks for nothing more.
    fn take_wants(&self, progress: &mut Progress) -> bool {
        let now = Instant::now();
        while progress.refused.front().is_some_and(|(at, _)| *at <= now) {
            let again = progress.refused.pop_front();
            progress.wanted.extend(again.map(|(_, want)| want));
        }
        loop {
            match self.wants.try_recv() {
                Ok(Want::Look) => progress.due = Instant::now(),
                Ok(want) => progress.wanted.push_back(want),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Brings back messages that are due.
    fn recall(
        &mut self,
        entries: &mut Entries,
        progress: &mut Progress,
        intake: &mut Intake,
    ) -> Result<(), End> {
        self.appointment.take();
        let asked = boot_time();
        let recalled = || entries.recall(BATCH);
        let recalled = self.hands.take(recalled, |recalled| &recalled.entries)?;
        if progress.refused.is_empty() {
            self.refusals.end();
        }
        let delay = recalled.next.map_or(LOOK, |next| next.min(LOOK));
        progress.due = Instant::now() + delay;
        Ok(intake.send_entries(recalled.entries, asked)?)
    }

    /// Does the first request of the timer.
    fn release(
        &mut self,
        entries: &mut Entries,
        progress: &mut Progress,
        intake: &mut Intake,
    ) -> Result<(), End> {
        let Some(Want::Release {
            name,
            count,
            latest,
        }) = progress.wanted.front().cloned()
        else {
            return Ok(());
        };
        let asked = boot_time();
        let released = || entries.release(&name, count, latest);
        let released = self.hands.take(released, |released| &released.entries)?;
        if progress.refused.is_empty() {
            self.refusals.end();
        }
        progress.wanted.pop_front();
        let read = released.entries.into_iter();
        let read: Vec<Arrival> = read.map(|e| intake.read_entry(e, asked)).collect();
        // The timer hears of them before they come, so that it does not ask for more meanwhile.
        self.commands.give(Command::Released {
            name: name.clone(),
            count: read.iter().filter(|arrival| arrival.is_ok()).count(),
            left: released.left,
            oldest: released.oldest,
        });
        for mut arrival in read {
            if let Ok(delivery) = &mut arrival {
                delivery.backlog = Some(name.clone());
            }
            intake.send(arrival)?;
        }
        Ok(())
    }

    /// Takes over entries of dead consumers, and entries that are nobody's.
    fn take_over(
        &self,
        entries: &mut Entries,
        progress: &mut Progress,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let now = Instant::now();
        if !progress.takeover.is_due(now) {
            return Ok(());
        }
        if entries.length()? == 0 {
            progress.takeover.rest(now);
            return Ok(());
        }
        let mut hand_on = |_: &mut Entries, taken: Vec<Entry>, asked: BootTime| {
            Ok(intake.send_entries(taken, asked)?)
        };
        let step = progress.takeover.run(entries, drain, &mut hand_on)?;
        if step == Step::RoundOver && entries.may_have_unheld()? {
            progress.takeover.take_back_orphans(entries)?;
        }
        Ok(())
    }
}

impl Reader for Recaller {
    type Progress = Progress;

    fn session(
        &mut self,
        progress: &mut Progress,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let (redis, keys) = (&self.redis, &self.keys);
        let mut entries = Entries::open(redis, keys, Stream::Again, &self.name, ANSWER)?;
        self.outage.end();
        self.hands.recover(&mut entries, BATCH, |own, asked| {
            Ok(intake.send_entries(own, asked)?)
        })?;
        while !drain.has_begun() {
            if !self.take_wants(progress) {
                return Ok(());
            }
            self.take_over(&mut entries, progress, intake, drain)?;
            if let Some(due) = self.appointment.next() {
                let wait = due.saturating_sub(unix_ms(SystemTime::now()));
                let due = Instant::now() + Duration::from_millis(wait);
                progress.due = progress.due.min(due);
            }
            // One batch of each in turn, so that neither waits for all of the other.
            let now = Instant::now();
            if now >= progress.due {
                match self.recall(&mut entries, progress, intake) {
                    Err(End::Failed(e)) if e.is_refusal() => {
                        progress.due = now + self.refusals.begin(&e);
                    }
                    result => result?,
                }
            }
            match self.release(&mut entries, progress, intake) {
                Err(End::Failed(e)) if e.is_refusal() => {
                    let at = now + self.refusals.begin(&e);
                    let want = progress.wanted.pop_front();
                    progress.refused.extend(want.map(|want| (at, want)));
                }
                result => result?,
            }
            self.parker.sleep(Some(progress.next()));
        }
        Ok(())
    }

    fn outage(&mut self) -> &mut OutageTracker {
        &mut self.outage
    }

    fn resume(progress: &mut Progress, _: &StoreError, now: Instant) {
        progress.takeover.lose_contact(now);
    }
}

impl Progress {
    /// When there is something to do, even if the timer asks for nothing.
    fn next(&self) -> Instant {
        let next = self.due.min(self.takeover.next());
        let again = self.refused.front().map(|(at, _)| *at);
        match self.wanted.is_empty() {
            true => again.map_or(next, |again| next.min(again)),
            false => Instant::now(),
        }
    }
}
