//! The consumer: the Redis stream in.
//!
//! One thread and one connection do it all: they read new entries, take over the entries of
//! consumers that died (`takeover.rs`), and look after Redis now and then. Handing on an entry
//! blocks while the timer has no room, and everything here waits for that: Redis keeps unread
//! entries.
//!
//! Redis hands out entries in order. So entries of a lost reply are our pending entries beyond the
//! last entry seen. They are fetched after each reconnect.

use std::collections::HashMap;
use std::sync::Once;
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};

use super::sessions::{End, Reader, run_sessions};
use super::takeover::{Step, Takeover};
use super::upkeep::{Upkeep, revive};
use super::{Arrival, Intake};
use crate::delivery::{DeadReason, Delivery};
use crate::message::boot_time::BootTime;
use crate::message::entry::{Entry, EntryId, Stream};
use crate::message::timestamp::unix_ms;
use crate::service::boot_clock::boot_time;
use crate::service::control::{Command, Commands};
use crate::service::drain::Drain;
use crate::service::outage::OutageTracker;
use crate::service::pulse::Pulse;
use crate::store::{Entries, Keys, Lack, Part, Read, Redis, Seen, StoreError};

/// How long one read waits: the rhythm of an idle service, of which Redis sees about one command a
/// second.
const BLOCK: Duration = Duration::from_secs(1);

/// After a silence of this length Redis gets a sign of life.
const BEAT: Duration = Duration::from_millis(1200);

/// A read that times out before Redis answers would leave its entries pending, unseen.
const ANSWER: Duration = Duration::from_secs(5);

/// Entries in one read, at most an eighth of the entries that may be in memory: nobody renews the
/// lease of an entry that is read and not taken in yet.
pub fn batch(max_active: usize) -> usize {
    (max_active / 8).clamp(1, 128)
}

/// Entries in the first read of a connection, which does not know their sizes yet.
const FIRST: usize = 16;

/// Bytes in one read, as estimated from the last one.
const BYTES: usize = 4 << 20;

/// Names of backlogs that are read at a time, and at the start.
const BACKLOGS: usize = 1000;
const FIRST_BACKLOGS: usize = 10_000;

/// See the module's header.
pub struct Consumer {
    pub redis: Redis,
    pub keys: Keys,
    /// Among the group's consumers.
    pub name: String,
    /// The name was configured. An earlier process may have had it, and its entries are taken back.
    pub stable: bool,
    /// How long a lease is: an entry that nobody renewed for this long belongs to a dead consumer.
    pub lease: Duration,
    /// Entries in one read.
    pub batch: usize,
    /// The commands that the server must allow.
    pub parts: Vec<Part>,
    /// How long ids and URLs are remembered, to drop copies. `None`: not at all.
    pub dedup: Option<Duration>,
    /// The refusal of Redis was logged.
    pub dedup_refused: Once,
    pub upkeep: Upkeep,
    /// When Redis last heard of this replica.
    pub pulse: Pulse,
    /// Commands to the timer.
    pub commands: Commands,
    pub outage: OutageTracker,
}

/// What outlives a connection.
pub struct Progress {
    /// Nothing was read on any connection yet.
    is_first: bool,
    /// The last entry that `>` gave us; `None` before the first.
    seen: Option<EntryId>,
    takeover: Takeover,
    /// Which backlogs are looked at next.
    backlogs: usize,
    /// Where to go on with checking that the heads of keys still exist.
    heads: u64,
    /// Commands that the server refuses, as they were logged.
    lacks: Vec<Lack>,
    /// Faults of the keys, as they were logged.
    faults: Vec<String>,
    /// Something was refused since.
    is_refused: bool,
}

impl Consumer {
    /// Reads and hands on, until the drain or the end of the timer.
    pub fn run(mut self, intake: &mut Intake, drain: &Drain) {
        let progress = Progress {
            is_first: true,
            seen: None,
            takeover: Takeover::new(
                self.keys.messages.clone(),
                self.lease,
                self.batch,
                self.pulse.clone(),
                self.outage.of("sweep"),
            ),
            backlogs: 0,
            heads: 0,
            lacks: Vec::new(),
            faults: Vec::new(),
            is_refused: true,
        };
        run_sessions(&mut self, progress, intake, drain);
    }

    /// Sends a sign of life, if Redis has heard nothing for a while.
    fn be_heard(&self, entries: &mut Entries, drain: &Drain) -> Result<(), End> {
        let asked = boot_time();
        if self.pulse.age(asked) > BEAT {
            entries.beat(|| drain.has_begun())?;
            self.pulse.beat(asked, boot_time());
        }
        Ok(())
    }

    /// Hands on what was read. Returns how many entries to ask for next.
    fn take_in(
        &self,
        entries: &mut Entries,
        read: Read,
        (mut count, asked): (usize, BootTime),
        progress: &mut Progress,
        intake: &mut Intake,
    ) -> Result<usize, End> {
        match read {
            Read::MadeAnew => {
                warn!("{} or its group was deleted; made anew", self.keys.messages);
                progress.seen = None;
            }
            Read::Entries(new) => {
                if !new.is_empty() {
                    self.pulse.beat(asked, boot_time());
                }
                let bytes: usize = new.iter().flat_map(|e| &e.fields).map(Vec::len).sum();
                if let Some(average) = bytes.checked_div(new.len()) {
                    count = (BYTES / average.max(1)).clamp(1, self.batch);
                }
                let last = new.last().map(|entry| entry.id);
                self.hand_on(entries, new, asked, intake)?;
                progress.seen = last.or(progress.seen);
            }
        }
        Ok(count)
    }

    /// Hands on our own pending entries beyond `after`: those of a lost reply, or of an earlier
    /// process of this name.
    fn recover(
        &self,
        entries: &mut Entries,
        after: Option<EntryId>,
        intake: &mut Intake,
    ) -> Result<(), End> {
        let mut last = after;
        loop {
            let asked = boot_time();
            let (own, end) = entries.own(last, self.batch)?;
            self.hand_on(entries, own, asked, intake)?;
            match end {
                Some(end) => last = Some(end),
                None => return Ok(()),
            }
        }
    }

    /// Takes over entries of dead consumers, and inspects the keys once a round.
    fn take_over(
        &self,
        entries: &mut Entries,
        progress: &mut Progress,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let mut hand_on = |entries: &mut Entries, taken: Vec<Entry>, asked: BootTime| {
            self.hand_on(entries, taken, asked, intake)
        };
        match progress.takeover.run(entries, drain, &mut hand_on)? {
            Step::Done => {}
            Step::Refused => progress.is_refused = true,
            Step::RoundOver => {
                self.inspect(entries, progress)?;
                self.report_backlogs(entries, progress, BACKLOGS)?;
                progress.is_refused |= !revive(entries, &self.commands, &mut progress.heads)?;
            }
        }
        Ok(())
    }

    /// Reports some backlogs to the timer: their replicas may be gone, and somebody must release
    /// them.
    fn report_backlogs(
        &self,
        entries: &mut Entries,
        progress: &mut Progress,
        count: usize,
    ) -> Result<(), End> {
        let names = entries.backlogs(progress.backlogs, count)?;
        progress.backlogs = match names.len() < count {
            true => 0,
            false => progress.backlogs + count,
        };
        if !names.is_empty() {
            self.commands.give(Command::Backlogs(names));
        }
        Ok(())
    }

    /// Logs what is wrong with the keys, once each, and takes back entries that are nobody's.
    fn inspect(&self, entries: &mut Entries, progress: &mut Progress) -> Result<(), End> {
        // A refusal inside a script has no code that all servers share.
        self.log_lacks(entries, progress)?;
        let (faults, may_have_orphans) = entries.inspect()?;
        for fault in faults.iter().filter(|f| !progress.faults.contains(f)) {
            warn!("{fault}");
        }
        progress.faults = faults;
        if !may_have_orphans {
            return Ok(());
        }
        progress.takeover.take_back_orphans(entries)?;
        Ok(())
    }

    /// Logs what the server refuses, once each.
    fn log_lacks(&self, entries: &mut Entries, progress: &mut Progress) -> Result<(), End> {
        let lacks = entries.find_lacks(&self.parts)?;
        for lack in lacks.iter().filter(|l| !progress.lacks.contains(l)) {
            warn!("{}", lack.text);
        }
        progress.lacks = lacks;
        Ok(())
    }

    /// Sends on entries, except copies of earlier messages.
    fn hand_on(
        &self,
        entries: &mut Entries,
        read: Vec<Entry>,
        asked: BootTime,
        intake: &mut Intake,
    ) -> Result<(), End> {
        let Some(memory) = self.dedup else {
            for entry in read {
                let arrival = intake.read_entry(entry, asked);
                intake.send(arrival)?;
            }
            return Ok(());
        };
        // Entries that outhook itself has moved were checked before.
        let read = read.into_iter().map(|entry| {
            let is_ours = entry.was_moved();
            (intake.read_entry(entry, asked), is_ours)
        });
        let read: Vec<(Arrival, bool)> = read.collect();
        let fresh = read.iter().filter(|(_, is_ours)| !is_ours);
        let fresh = fresh.filter_map(|(arrival, _)| arrival.as_ref().ok());
        let seen = match entries.find_copies(fresh, memory) {
            // Messages that cannot be checked are delivered: that makes room in a full Redis.
            Err(e) if e.is_refusal() => {
                self.dedup_refused
                    .call_once(|| warn!("redis refuses to look for copies: {e}"));
                HashMap::new()
            }
            found => found?,
        };
        let mut copies = 0;
        for (arrival, _) in read {
            let entry = arrival.as_ref().ok().and_then(|delivery| delivery.entry);
            match entry.and_then(|entry| seen.get(&entry)) {
                Some(Seen::Copy) => copies += 1,
                Some(Seen::Reused) => intake.send(arrival.and_then(refuse_reused))?,
                None => intake.send(arrival)?,
            }
        }
        if copies > 0 {
            self.commands.give(Command::Copies(copies));
        }
        Ok(())
    }
}

impl Reader for Consumer {
    type Progress = Progress;

    fn session(
        &mut self,
        progress: &mut Progress,
        intake: &mut Intake,
        drain: &Drain,
    ) -> Result<(), End> {
        let (redis, keys, limit) = (&self.redis, &self.keys, BLOCK + ANSWER);
        let mut entries = Entries::open(redis, keys, Stream::Messages, &self.name, limit)?;
        if std::mem::take(&mut progress.is_first) {
            let stream = &*self.keys.messages;
            info!(event = "ready", stream = stream; "ready: consuming {stream} as {}", self.name);
            for sentence in entries.advice() {
                warn!("{sentence}");
            }
            // The timer knows which endpoints were failing before the first message for them is
            // read.
            self.report_backlogs(&mut entries, progress, FIRST_BACKLOGS)?;
            if self.stable {
                self.recover(&mut entries, None, intake)?;
            }
        } else {
            self.recover(&mut entries, progress.seen, intake)?;
        }
        let longest = BLOCK.min(self.lease / 8);
        let mut new = true;
        let mut count = FIRST.min(self.batch);
        while !drain.has_begun() {
            if std::mem::take(&mut progress.is_refused) {
                self.log_lacks(&mut entries, progress)?;
            }
            self.take_over(&mut entries, progress, intake, drain)?;
            if self.upkeep.is_due(Instant::now()) {
                self.upkeep.run(&mut entries, &self.commands)?;
            }
            let wake = progress.takeover.next();
            // The first read proves that the outage is over.
            let longest = if new { Duration::ZERO } else { longest };
            let block = wake.saturating_duration_since(Instant::now()).min(longest);
            self.be_heard(&mut entries, drain)?;
            // A lease begins when Redis answers. A process that was suspended since then cannot
            // know when that was. So the lease counts from the question, which is never too late.
            let asked = boot_time();
            let read = entries.read(count, block, || drain.has_begun())?;
            if std::mem::take(&mut new) {
                self.outage.end();
            }
            count = self.take_in(&mut entries, read, (count, asked), progress, intake)?;
        }
        Ok(())
    }

    fn outage(&mut self) -> &mut OutageTracker {
        &mut self.outage
    }

    fn resume(progress: &mut Progress, failure: &StoreError, now: Instant) {
        progress.is_refused |= failure.is_refusal();
        progress.takeover.lose_contact(now);
    }
}

pub(super) fn refuse_reused(delivery: Delivery) -> Arrival {
    let detail = "another message with this webhookId and url, and other bytes, came within \
                  --dedup; give each message an id of its own";
    let now = unix_ms(SystemTime::now());
    Err(delivery
        .bury(DeadReason::IdReused, detail.into(), now)
        .into())
}
