//! The dealer: the stream of messages whose order is kept across replicas (`{outhook}:ordered`).
//!
//! It has no group: all replicas look at its beginning, and one script deals the messages there, in
//! order. The first message of a key goes to the replica that dealt it, the others wait behind it
//! in Redis. So reading cannot lose the order in which messages were added. Handing on blocks while
//! the timer has no room. Meanwhile this replica deals nothing, but others may.

use std::time::Duration;

use super::Intake;
use super::consumer::refuse_reused;
use super::hands::Hands;
use super::sessions::{End, Reader, run_sessions};
use crate::message::boot_time::BootTime;
use crate::message::entry::{Entry, Stream};
use crate::service::boot_clock::boot_time;
use crate::service::control::{Command, Commands};
use crate::service::drain::Drain;
use crate::service::outage::OutageTracker;
use crate::store::{Card, Dealt, Entries, Keys, Redis};

/// How long one look waits. It does not count as a sign of life.
const BLOCK: Duration = Duration::from_secs(5);

/// How long Redis may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Messages in one look.
const BATCH: usize = 128;

/// Messages in the first look of a connection, which does not know their sizes yet.
const FIRST: usize = 16;

/// Bytes in one look, as estimated from the last one, and in one script.
const BYTES: usize = 1 << 20;

/// How long a replica pauses that finds another one dealing.
const YIELD: Duration = Duration::from_millis(10);

/// See the module's header.
pub struct Dealer {
    pub redis: Redis,
    pub keys: Keys,
    /// Among the group's consumers.
    pub name: String,
    /// How long ids and URLs are remembered, to drop copies. `None`: not at all.
    pub dedup: Option<Duration>,
    pub hands: Hands,
    /// Commands to the timer.
    pub commands: Commands,
    pub outage: OutageTracker,
}

impl Dealer {
    /// Deals and hands on, until the drain or the end of the timer.
    pub fn run(mut self, intake: &mut Intake, drain: &Drain) {
        run_sessions(&mut self, (), intake, drain);
    }

    /// The script's view of a message. A message without an id gets one here, and keeps it.
    fn card(&self, entry: Entry, intake: &mut Intake) -> Card {
        let id = entry.id;
        // Messages that outhook itself has moved were checked before.
        let looks = self.dedup.is_some() && !entry.was_moved();
        match intake.read_entry(entry, boot_time()) {
            Ok(delivery) => Card::of(id, &delivery, looks.then_some(&self.keys)),
            Err(_) => Card::odd(id),
        }
    }

    /// Deals them in batches. False when another replica was ahead.
    fn deal(
        &self,
        entries: &mut Entries,
        mut cards: &[Card],
        intake: &mut Intake,
    ) -> Result<bool, End> {
        while !cards.is_empty() {
            let mut bytes = 0;
            let fits = cards.iter().take_while(|card| {
                bytes += card.member.len();
                bytes <= BYTES
            });
            let (batch, rest) = cards.split_at(fits.count().max(1));
            let asked = boot_time();
            let memory = self.dedup.unwrap_or_default();
            let dealt = || entries.deal(batch, memory);
            let dealt = self.hands.take(dealt, |dealt| &dealt.entries)?;
            let count = dealt.count;
            self.hand_on_dealt(dealt, asked, intake)?;
            if count < batch.len() {
                return Ok(false);
            }
            cards = rest;
        }
        Ok(true)
    }

    fn hand_on_dealt(&self, dealt: Dealt, asked: BootTime, intake: &mut Intake) -> Result<(), End> {
        if dealt.copies > 0 {
            self.commands.give(Command::Copies(dealt.copies));
        }
        for entry in dealt.entries {
            let is_reused = dealt.reused.contains(&entry.id.to_string());
            let arrival = intake.read_entry(entry, asked);
            intake.send(match is_reused {
                true => arrival.and_then(refuse_reused),
                false => arrival,
            })?;
        }
        Ok(())
    }
}

impl Reader for Dealer {
    type Progress = ();

    fn session(&mut self, (): &mut (), intake: &mut Intake, drain: &Drain) -> Result<(), End> {
        let (redis, keys, limit) = (&self.redis, &self.keys, BLOCK + ANSWER);
        let mut entries = Entries::open(redis, keys, Stream::Again, &self.name, limit)?;
        self.hands.recover(&mut entries, BATCH, |own, asked| {
            Ok(intake.send_entries(own, asked)?)
        })?;
        let mut count = FIRST;
        let mut block = Duration::from_millis(1);
        while !drain.has_begun() {
            let read = entries.look_at_ordered(count, block, || drain.has_begun())?;
            // The first look proves that the outage is over.
            if std::mem::replace(&mut block, BLOCK) != BLOCK {
                self.outage.end();
            }
            let bytes: usize = read.iter().flat_map(|e| &e.fields).map(Vec::len).sum();
            if let Some(average) = bytes.checked_div(read.len()) {
                count = (BYTES / average.max(1)).clamp(1, BATCH);
            }
            let cards: Vec<Card> = read.into_iter().map(|e| self.card(e, intake)).collect();
            if !self.deal(&mut entries, &cards, intake)? {
                drain.wait(YIELD);
            }
        }
        Ok(())
    }

    fn outage(&mut self) -> &mut OutageTracker {
        &mut self.outage
    }
}
