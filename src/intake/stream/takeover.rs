//! Taking over what others held: those whose leases are over, those who have fallen silent, and
//! what nobody holds. What the server refuses of it stops nothing else.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::{Consumer, End, Intake, Progress};
use crate::clock::boot_time;
use crate::drain::Drain;
use crate::intake::silence::{SILENT, Silence};
use crate::store::{Entries, Peer};

/// The longest pause between two sweeps.
const SWEEP: Duration = Duration::from_secs(15);

impl Consumer {
    /// Takes over what dead consumers hold. What the server refuses stops nothing else.
    pub(super) fn sweep(
        &mut self,
        entries: &mut Entries,
        progress: &mut Progress,
        intake: &mut Intake,
    ) -> Result<(), End> {
        match self.take_over(entries, progress, intake) {
            Err(End::Failed(e)) if e.is_refusal() => {
                progress.is_refused = true;
                progress.sweep_at = Instant::now() + self.sweeping.begin(&e);
                Ok(())
            }
            result => {
                if result.is_ok() {
                    self.sweeping.end();
                }
                result
            }
        }
    }

    fn take_over(
        &self,
        entries: &mut Entries,
        progress: &mut Progress,
        intake: &mut Intake,
    ) -> Result<(), End> {
        let asked = boot_time();
        let swept = entries.sweep(self.lease, &progress.cursor, self.batch)?;
        self.tell_vanished(&swept.vanished);
        if !swept.entries.is_empty() {
            info!(
                "took over {} entries of dead consumers",
                swept.entries.len()
            );
        }
        self.hand_on(entries, swept.entries, asked, intake)?;
        progress.cursor = swept.cursor;
        if progress.cursor == "0-0" {
            self.inspect(entries, progress)?;
            entries.tidy()?;
            progress.sweep_at = Instant::now() + self.sweep_pause();
        }
        Ok(())
    }

    /// Says what is wrong with the keys, once each, and takes back what nobody holds.
    fn inspect(&self, entries: &mut Entries, progress: &mut Progress) -> Result<(), End> {
        // What is refused inside of a script has no words or code that all servers share.
        self.tell_lacks(entries, progress)?;
        let (faults, may_have_orphans) = entries.inspect()?;
        for fault in faults.iter().filter(|f| !progress.faults.contains(f)) {
            warn!("{fault}");
        }
        progress.faults = faults;
        if !may_have_orphans {
            return Ok(());
        }
        let taken = entries.take_back_orphans()?;
        if taken > 0 {
            warn!(
                "{taken} entries of {} were nobody's (not new, and not pending: a consumer was \
                 deleted with them, or the group was moved): taken back, to be delivered when \
                 their lease is over",
                self.keys.messages
            );
        }
        Ok(())
    }

    /// Takes over what those hold who have died, when it is time to look for them. What the server
    /// refuses is tried again later; the leases of what they hold will be over some day.
    pub(super) fn look_for_dead(
        &mut self,
        entries: &mut Entries,
        progress: &mut Progress,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let now = Instant::now();
        let Some(silence) = progress.silence.as_mut().filter(|s| s.next_look() <= now) else {
            return Ok(());
        };
        match self.take_from_dead(entries, silence, intake, drain) {
            Err(End::Failed(e)) if e.is_refusal() => {
                silence.lose_contact(now);
                progress.is_refused = true;
                Ok(())
            }
            result => result,
        }
    }

    fn take_from_dead(
        &self,
        entries: &mut Entries,
        silence: &mut Silence,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let findings = silence.look(entries.peers()?, Instant::now());
        for peer in &findings.suspected {
            info!(
                "{} entries are in the hands of {}, which has been silent for {:.0?}: they are \
                 taken over in {:.0?} if it stays so",
                peer.entries,
                peer.name,
                peer.silent,
                Silence::left(peer),
            );
        }
        for peer in &findings.dead {
            self.take_from(entries, peer, intake, drain)?;
        }
        Ok(())
    }

    fn take_from(
        &self,
        entries: &mut Entries,
        peer: &Peer,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let (mut count, mut more) = (0, true);
        while more && !drain.has_begun() {
            let asked = boot_time();
            let taken = entries.take_from(&peer.name, SILENT, self.batch)?;
            if !taken.entries.is_empty() {
                self.pulse.beat(asked, boot_time());
            }
            self.tell_vanished(&taken.vanished);
            count += taken.entries.len();
            more = taken.more;
            self.hand_on(entries, taken.entries, asked, intake)?;
        }
        if count > 0 {
            info!(
                "took over {count} entries of {}, which had been silent for {:.0?}",
                peer.name, peer.silent
            );
        }
        Ok(())
    }

    fn tell_vanished(&self, vanished: &[String]) {
        if !vanished.is_empty() {
            warn!(
                "{} entries were deleted or trimmed from {} before they were delivered: {}",
                vanished.len(),
                self.keys.messages,
                vanished.join(" ")
            );
        }
    }

    pub(super) fn sweep_pause(&self) -> Duration {
        (self.lease / 4).min(SWEEP)
    }
}
