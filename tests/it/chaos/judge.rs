//! Why a message came again after it had been accepted. Each repetition has one cause, which these
//! rules prove from what was recorded: of this message, its entry, the replica that had it, and the
//! fault that stood in the way. A fault that was merely near explains nothing.
//!
//! Of two arrivals, `first` (accepted) and the `next`, the question is why the replica that sent
//! the first, to which Redis had *given* an entry of the message, did not settle that entry before
//! somebody tried it again:
//!
//! 1. It did not hear the answer: [`Judge::why_unheard`].
//! 2. It heard, and the entry was taken over before it was settled: [`Judge::why_unsettled`].
//! 3. It (or whoever sent the next) sent its request after it had lost the entry:
//!    [`Judge::why_late`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::clock::At;
use super::endpoint::{Arrival, Mood};
use super::faults::{Fault, On};
use super::replica::{DRAIN, LEASE, Life, TIMEOUT};
use super::trace::{Deed, Given, Trace, Written};

/// How far two threads of the test may be apart in what they note of one moment.
const NEAR: Duration = Duration::from_millis(30);

/// How soon after an acceptance was heard it is on its way to Redis, if nothing is in that way.
const SOON: Duration = Duration::from_millis(300);

/// A thread that waited so long for a processor may be late because of that.
const STARVED: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cause {
    pub name: &'static str,
    /// Which fault, or which end of which life.
    pub by: String,
}

fn cause(name: &'static str, by: impl Into<String>) -> Option<Cause> {
    let by = by.into();
    Some(Cause { name, by })
}

pub struct Judge {
    pub trace: Trace,
    pub lives: Vec<Arc<Life>>,
    pub faults: Vec<Fault>,
    /// By name.
    numbers: HashMap<String, usize>,
}

impl Judge {
    pub fn new(lives: Vec<Arc<Life>>, faults: Vec<Fault>) -> Judge {
        let numbers = lives.iter().enumerate();
        let numbers = numbers.map(|(n, life)| (life.name.clone(), n)).collect();
        Judge {
            trace: Trace::read(&lives),
            lives,
            faults,
            numbers,
        }
    }

    /// Why `next` came after `first` had been accepted; nothing if no rule says so.
    pub fn explain(&self, id: &str, first: &Arrival, next: &Arrival) -> Option<Cause> {
        let before = self.given_for(id, first)?;
        let after = self.given_for(id, next)?;
        if before.life == after.life && before.at == after.at {
            return self.why_unheard(id, first);
        }
        if after.at < before.at {
            return self.why_late(next, after, self.taken_at(before));
        }
        if let Some(cause) = self.why_unheard(id, first) {
            return Some(cause);
        }
        let taker = self.taker(id, before)?;
        let taken = self.taken_at(taker);
        // Whoever moves an entry of its own accord has heard no acceptance.
        let moves = |w: &&Written| {
            let moves = matches!(w.deed, Deed::Park | Deed::Bury);
            moves && w.life == before.life && w.sent >= before.at && w.sent < taken
        };
        if self.written(&before.entry).iter().any(|w| moves(&w)) {
            return None;
        }
        match first.sent > taken {
            true => self.why_late(first, before, taken),
            false => self.why_unsettled(first.heard()?, before, taken),
        }
    }

    /// What Redis had given to the replica that sent this.
    fn given_for(&self, id: &str, arrival: &Arrival) -> Option<&Given> {
        let life = *self.numbers.get(&arrival.life)?;
        let given = self.trace.given.get(id)?.iter();
        let mut given = given.filter(|g| g.life == life && g.came.is_some());
        given.rfind(|g| g.at <= arrival.sent)
    }

    /// Who was given the same entry next.
    fn taker(&self, id: &str, before: &Given) -> Option<&Given> {
        let mut given = self.trace.given.get(id)?.iter();
        given.find(|g| g.entry == before.entry && g.at > before.at)
    }

    /// When it was decided that this one tries it: its first note, or else when it was given.
    fn taken_at(&self, given: &Given) -> At {
        let mut notes = self.written(&given.entry).iter();
        let note = notes.find(|w| {
            w.deed == Deed::Note && w.life == given.life && w.sent >= given.at && w.came.is_some()
        });
        note.and_then(|note| note.answered).unwrap_or(given.at)
    }

    fn written(&self, entry: &str) -> &[Written] {
        self.trace.written.get(entry).map_or(&[], Vec::as_slice)
    }

    fn fault(&self, on: On, from: At, to: At) -> Option<&Fault> {
        let mut faults = self.faults.iter();
        faults.find(|f| f.on == on && f.span.overlaps(from, to))
    }

    /// The replica never had the answer while its attempt lasted.
    fn why_unheard(&self, id: &str, first: &Arrival) -> Option<Cause> {
        let record = first.link.lock().unwrap();
        let (left, cut) = (record.client_left, record.cut);
        drop(record);
        if let Some(heard) = first.heard()
            && left.is_none_or(|left| left > heard + NEAR)
        {
            return self.why_unread(id, first, heard);
        }
        if first.mood == Mood::Drops {
            let fault = self.fault(On::Endpoint(first.endpoint), first.at, first.at + NEAR)?;
            return cause("the endpoint closed without its answer", fault.line());
        }
        if let Some(cut) = cut {
            let on = On::EndpointPath(first.endpoint);
            let fault = self.fault(on, cut, cut + NEAR)?;
            return cause("the answer was cut off", fault.line());
        }
        self.why_gave_up(id, first, left?)
    }

    /// The answer was in the replica's socket, but the attempt was over, or was by the time that
    /// the replica could read it.
    fn why_unread(&self, id: &str, first: &Arrival, heard: At) -> Option<Cause> {
        let life = &self.lives[self.numbers[&first.life]];
        let record = life.record.lock().unwrap();
        if !record.log.iter().any(|line| tells_of_timeout(line, id)) {
            return None;
        }
        let stopped = record.stops.iter().any(|stop| {
            let length = stop.to.map_or(TIMEOUT, |to| to.saturating_sub(stop.from));
            stop.overlaps(first.sent, heard + NEAR) && length >= TIMEOUT / 2
        });
        drop(record);
        if stopped {
            return cause("suspended before it heard the answer", &*life.name);
        }
        let is_late = heard.saturating_sub(first.sent) >= TIMEOUT.mul_f64(0.9);
        is_late.then(|| self.why_gave_up(id, first, heard))?
    }

    /// The replica closed the connection before the answer was there.
    fn why_gave_up(&self, id: &str, first: &Arrival, left: At) -> Option<Cause> {
        let life = &self.lives[self.numbers[&first.life]];
        let record = life.record.lock().unwrap();
        if record.killed.is_some_and(|killed| killed <= left) {
            return cause("killed before it heard the answer", &*life.name);
        }
        let stopped = record
            .stops
            .iter()
            .any(|stop| stop.overlaps(first.sent, left));
        if stopped {
            return cause("suspended before it heard the answer", &*life.name);
        }
        if record.terminated.is_some_and(|t| left + NEAR >= t + DRAIN) {
            return cause("cut short by the end of its drain", &*life.name);
        }
        // The attempt may have begun before, on a connection that was closed.
        let waited = left.saturating_sub(first.sent) >= TIMEOUT.mul_f64(0.9)
            || record.log.iter().any(|line| tells_of_timeout(line, id));
        if !waited {
            return None;
        }
        let longest = longest_wait(&record.waits, first.sent, left);
        drop(record);
        if first.mood == Mood::Slow {
            let fault = self.fault(On::Endpoint(first.endpoint), first.at, first.at + NEAR)?;
            return cause("the endpoint answered too late", fault.line());
        }
        match self.fault(On::EndpointPath(first.endpoint), first.sent, left) {
            Some(fault) => cause("the answer was held up", fault.line()),
            None => starved(longest, &life.name),
        }
    }

    /// It had heard that the message was accepted, and the entry was taken before it was settled.
    fn why_unsettled(&self, heard: At, before: &Given, taken: At) -> Option<Cause> {
        let life = &self.lives[before.life];
        let record = life.record.lock().unwrap();
        let written = self.written(&before.entry).iter();
        let mut settles = written.filter(|w| w.deed == Deed::Settle && w.life == before.life);
        let settle = settles.find(|w| w.sent >= heard.saturating_sub(NEAR));
        if let Some(settle) = settle.filter(|w| w.reached.is_some_and(|at| at < taken)) {
            // Redis had it, and whoever came later was given the entry all the same.
            let reached = settle.reached?;
            if settle.answered.is_some_and(|at| at < taken) {
                return None;
            }
            let fault = self.fault(On::Server, reached, taken)?;
            return cause("Redis failed with its settle", fault.line());
        }
        if record.killed.is_some_and(|killed| killed <= taken) {
            return cause("killed before it settled", &*life.name);
        }
        let longest = longest_wait(&record.waits, heard, taken);
        let stopped = record.stops.iter().any(|stop| stop.overlaps(heard, taken));
        let ended = record.ended.filter(|ended| *ended <= taken);
        drop(record);
        // Settlements are written first: had others been, this one would have been too.
        if self.has_settled(before.life, heard + SOON, taken) {
            return starved(longest, &life.name);
        }
        if stopped {
            return cause("suspended before it settled", &*life.name);
        }
        match (
            self.outage(before.life, heard, ended.unwrap_or(taken)),
            ended,
        ) {
            (Some(fault), Some(_)) => cause("its drain ended before Redis was back", fault.line()),
            (Some(fault), None) if fault.on == On::Server => {
                cause("Redis failed before it settled", fault.line())
            }
            (Some(fault), None) => cause("cut off before it settled", fault.line()),
            (None, _) => starved(longest, &life.name),
        }
    }

    /// What kept a ledger from Redis for the longest part of a time. If nothing did: the fault from
    /// which it had not recovered.
    fn outage(&self, life: usize, from: At, to: At) -> Option<&Fault> {
        let path = On::RedisPath(self.lives[life].replica);
        let faults = self.faults.iter();
        let faults = faults.filter(|f| (f.on == path || f.on == On::Server) && f.span.from <= to);
        let part = |f: &&Fault| {
            let end = f.span.to.unwrap_or(to).min(to);
            end.saturating_sub(f.span.from.max(from))
        };
        let (within, before): (Vec<&Fault>, Vec<&Fault>) =
            faults.partition(|f| f.span.overlaps(from, to));
        let last = before.into_iter().max_by_key(|f| f.span.from);
        let last = last.filter(|f| !self.has_settled(life, f.span.from, to));
        within.into_iter().max_by_key(part).or(last)
    }

    /// Whether this life sent a settlement in between, and heard that it was made.
    fn has_settled(&self, life: usize, from: At, to: At) -> bool {
        let settled = self.trace.settled.get(&life);
        settled.is_some_and(|times| times.iter().any(|at| *at > from && *at < to))
    }

    /// It was sent by one that had lost the entry by then, or came long after it was sent.
    fn why_late(&self, late: &Arrival, given: &Given, taken: At) -> Option<Cause> {
        let life = &self.lives[given.life];
        let record = life.record.lock().unwrap();
        let longest = longest_wait(&record.waits, given.at, late.at);
        let stops = |from: At, to: At| record.stops.iter().any(|s| s.overlaps(from, to));
        if late.sent <= taken {
            let on = On::EndpointPath(late.endpoint);
            return match self.fault(on, late.sent, late.at) {
                Some(fault) => cause("the request was held up", fault.line()),
                None => starved(longest, &life.name),
            };
        }
        if stops(given.at, late.sent) {
            return cause("suspended before it sent the request", &*life.name);
        }
        let begun = self.written(&given.entry).iter().find(|w| {
            let waited = w.came.map(|came| came.saturating_sub(w.sent));
            w.deed == Deed::Note && w.life == given.life && waited >= Some(LEASE - TIMEOUT)
        });
        let Some(begun) = begun else {
            return starved(longest, &life.name);
        };
        let (from, to) = (begun.sent, begun.came?);
        let path = self.fault(On::RedisPath(life.replica), from, to);
        let fault = path.or_else(|| self.fault(On::Server, from, to))?;
        cause("its leave to begin came late", fault.line())
    }
}

/// `failed id=… timeout … took=1.0s`.
fn tells_of_timeout(line: &str, id: &str) -> bool {
    line.contains("failed ") && line.contains(&format!("id={id} ")) && line.contains("timeout")
}

fn longest_wait(waits: &[(At, Duration)], from: At, to: At) -> Duration {
    let seen_late = Duration::from_millis(500);
    let waits = waits.iter();
    let within = waits.filter(|(at, _)| *at >= from && *at <= to + seen_late);
    within.map(|(_, wait)| *wait).max().unwrap_or_default()
}

fn starved(longest: Duration, name: &str) -> Option<Cause> {
    let by = || format!("{name} waited {longest:?} for a processor");
    (longest >= STARVED).then(|| Cause {
        name: "the machine was busy",
        by: by(),
    })
}
