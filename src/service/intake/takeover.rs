//! Takes over entries of others in one of the two streams: entries whose leases are over, and
//! entries of consumers that are silent. If the server refuses that, everything else goes on.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::death_watch::{DeathWatch, SILENT};
use super::sessions::End;
use crate::message::boot_time::BootTime;
use crate::message::entry::Entry;
use crate::service::boot_clock::boot_time;
use crate::service::drain::Drain;
use crate::service::outage::OutageTracker;
use crate::service::pulse::Pulse;
use crate::store::{Entries, Peer};

/// The longest time between two sweeps.
const SWEEP: Duration = Duration::from_secs(15);

/// Hands on entries that have become ours; the time is a moment before they did.
type HandOn<'a> = &'a mut dyn FnMut(&mut Entries, Vec<Entry>, BootTime) -> Result<(), End>;

/// See the module's header.
pub struct Takeover {
    /// The stream's key, for the log.
    key: String,
    lease: Duration,
    /// Entries that are taken over at a time.
    batch: usize,
    pulse: Pulse,
    outage: OutageTracker,
    sweep_at: Instant,
    cursor: String,
    /// Which consumers are silent. `None` where leases are shorter than such a silence.
    silence: Option<DeathWatch>,
}

/// The result of a step.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// There was nothing to do yet, or there is more to do.
    Done,
    /// All entries were looked at once.
    RoundOver,
    /// The server refused.
    Refused,
}

impl Takeover {
    pub fn new(
        key: String,
        lease: Duration,
        batch: usize,
        pulse: Pulse,
        outage: OutageTracker,
    ) -> Takeover {
        let now = Instant::now();
        Takeover {
            key,
            lease,
            batch,
            pulse,
            outage,
            sweep_at: now,
            cursor: "0-0".into(),
            silence: (lease > SILENT).then(|| DeathWatch::new(now)),
        }
    }

    /// When there is something to do next.
    pub fn next(&self) -> Instant {
        let look = self.silence.as_ref().map(DeathWatch::next_look);
        look.map_or(self.sweep_at, |look| look.min(self.sweep_at))
    }

    /// Redis was away. Others may have been cut off too, and get time to renew their leases and to
    /// be heard.
    pub fn lose_contact(&mut self, now: Instant) {
        self.sweep_at = now + self.interval();
        if let Some(silence) = &mut self.silence {
            silence.lose_contact(now);
        }
    }

    /// Whether it is time for something.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next() <= now
    }

    /// No consumer has entries, so there is nothing to do for a while.
    pub fn rest(&mut self, now: Instant) {
        self.sweep_at = self.sweep_at.max(now + SWEEP.min(self.lease / 4));
        if let Some(silence) = &mut self.silence {
            silence.rest(now);
        }
    }

    /// Takes over entries of dead consumers, when it is time.
    pub fn run(
        &mut self,
        entries: &mut Entries,
        drain: &Drain,
        hand_on: HandOn<'_>,
    ) -> Result<Step, End> {
        let now = Instant::now();
        let mut step = Step::Done;
        if now >= self.sweep_at {
            step = match self.sweep(entries, hand_on) {
                Err(End::Failed(e)) if e.is_refusal() => {
                    self.sweep_at = now + self.outage.begin(&e);
                    Step::Refused
                }
                result => {
                    let step = result?;
                    self.outage.end();
                    step
                }
            };
        }
        if self.silence.as_ref().is_some_and(|s| s.next_look() <= now) {
            match self.take_from_dead(entries, drain, hand_on) {
                // It is tried again later; the leases will end anyway.
                Err(End::Failed(e)) if e.is_refusal() => {
                    self.lose_contact(now);
                    step = Step::Refused;
                }
                result => result?,
            }
        }
        Ok(step)
    }

    /// Takes back entries that are neither new nor pending, which nobody would ever be given.
    pub fn take_back_orphans(&self, entries: &mut Entries) -> Result<(), End> {
        let taken = entries.take_back_orphans()?;
        if taken > 0 {
            warn!(
                "{taken} entries of {} were nobody's (a consumer was deleted with them, or the group was \
                 deleted or moved): taken back; they are delivered when their lease is over",
                self.key
            );
        }
        Ok(())
    }

    fn sweep(&mut self, entries: &mut Entries, hand_on: HandOn<'_>) -> Result<Step, End> {
        let asked = boot_time();
        let swept = entries.sweep(self.lease, &self.cursor, self.batch)?;
        self.log_vanished(&swept.vanished);
        if !swept.entries.is_empty() {
            let count = swept.entries.len();
            info!(event = "took_over", count = count; "took over {count} entries of dead consumers");
        }
        hand_on(entries, swept.entries, asked)?;
        self.cursor = swept.cursor;
        if self.cursor != "0-0" {
            return Ok(Step::Done);
        }
        entries.tidy()?;
        self.sweep_at = Instant::now() + self.interval();
        Ok(Step::RoundOver)
    }

    fn take_from_dead(
        &mut self,
        entries: &mut Entries,
        drain: &Drain,
        hand_on: HandOn<'_>,
    ) -> Result<(), End> {
        let peers = entries.peers()?;
        let Some(silence) = &mut self.silence else {
            return Ok(());
        };
        let findings = silence.look(peers, Instant::now());
        for peer in &findings.suspected {
            info!(
                "{} entries of {} are in the hands of {}, which has been silent for {:.0?}: they \
                 are taken over in {:.0?} if it stays so",
                peer.entries,
                self.key,
                peer.name,
                peer.silent,
                DeathWatch::left(peer),
            );
        }
        for peer in &findings.dead {
            self.take_from(entries, peer, drain, hand_on)?;
        }
        Ok(())
    }

    fn take_from(
        &self,
        entries: &mut Entries,
        peer: &Peer,
        drain: &Drain,
        hand_on: HandOn<'_>,
    ) -> Result<(), End> {
        let (mut count, mut more) = (0, true);
        while more && !drain.has_begun() {
            let asked = boot_time();
            let taken = entries.take_from(&peer.name, SILENT, self.batch)?;
            if !taken.entries.is_empty() {
                self.pulse.beat(asked, boot_time());
            }
            self.log_vanished(&taken.vanished);
            count += taken.entries.len();
            more = taken.more;
            hand_on(entries, taken.entries, asked)?;
        }
        if count > 0 {
            info!(
                event = "took_over", count = count, from = peer.name.as_str();
                "took over {count} entries of {}, which had been silent for {:.0?}",
                peer.name, peer.silent
            );
        }
        Ok(())
    }

    fn log_vanished(&self, vanished: &[String]) {
        if !vanished.is_empty() {
            warn!(
                "{} entries were deleted or trimmed from {} before they were delivered: {}",
                vanished.len(),
                self.key,
                vanished.join(" ")
            );
        }
    }

    fn interval(&self) -> Duration {
        (self.lease / 4).min(SWEEP)
    }
}
