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

use super::clock::{At, Span, seconds};
use super::endpoint::{Arrival, Mood};
use super::faults::{Fault, On};
use super::replica::{DRAIN, LEASE, Life, TIMEOUT, WATCH};
use super::trace::{Deed, Given, Trace, Written};

/// How far two threads of the test may be apart in what they note of one moment.
const NEAR: Duration = Duration::from_millis(30);

/// How soon after an acceptance was heard it is on its way to Redis, if nothing is in that way.
const SOON: Duration = Duration::from_millis(300);

/// Who waited less than this for a processor is not late because of that.
const STARVED: Duration = Duration::from_millis(150);

const UNHEARD_BY_DEATH: &str = "killed before it heard the answer";
const UNHEARD_BY_STOP: &str = "suspended before it heard the answer";
const UNSENT_BY_STOP: &str = "suspended before it sent the request";
const CUT_BY_DRAIN: &str = "cut short by the end of its drain";
const BUSY: &str = "the machine was busy";
const UNSETTLED_BY_DEATH: &str = "killed before it settled";

/// Of these, one replica can have no more at a time than it has workers.
pub const IN_FLIGHT: [&str; 4] = [
    UNHEARD_BY_DEATH,
    UNHEARD_BY_STOP,
    UNSENT_BY_STOP,
    CUT_BY_DRAIN,
];

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
            return self.why_late(next, after);
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
            true => self.why_late(first, before),
            false => self.why_unsettled(first, before, taken),
        }
    }

    /// What Redis had given to the replica that sent this.
    fn given_for(&self, id: &str, arrival: &Arrival) -> Option<&Given> {
        let life = *self.numbers.get(&arrival.life)?;
        let given = self.trace.given.get(id)?.iter();
        let mut given = given.filter(|g| g.life == life && g.came.is_some());
        given.rfind(|g| g.at <= arrival.sent)
    }

    /// Who was given the same entry next: another life, or the same again after a lost answer.
    fn taker(&self, id: &str, before: &Given) -> Option<&Given> {
        let given = self.trace.given.get(id)?.iter();
        let mut given = given.filter(|g| g.entry == before.entry && g.at > before.at);
        let again = given.clone().next();
        given.find(|g| g.life != before.life).or(again)
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
        // An answer that came as its connection ended may have been heard or not.
        let ended = left.or(cut);
        let is_sure = |heard: At| ended.is_none_or(|ended| ended > heard + NEAR);
        if let Some(heard) = first.heard()
            && (is_sure(heard) || self.has_delivered(&first.life, id))
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

    /// Whether the replica says that this was delivered.
    fn has_delivered(&self, life: &str, id: &str) -> bool {
        let record = self.lives[self.numbers[life]].record.lock().unwrap();
        let word = format!("delivered id={id} ");
        record.log.iter().any(|line| line.contains(&word))
    }

    /// The answer was in the replica's socket, but the attempt was over, or was by the time that
    /// the replica could read it.
    fn why_unread(&self, id: &str, first: &Arrival, heard: At) -> Option<Cause> {
        let life = &self.lives[self.numbers[&first.life]];
        let record = life.record.lock().unwrap();
        if !record.log.iter().any(|line| tells_of_timeout(line, id)) {
            return None;
        }
        let stop = stopped(&record.stops, first.sent, heard + NEAR);
        drop(record);
        if let Some(stop) = stop {
            return cause(UNHEARD_BY_STOP, format!("{} {stop}", life.name));
        }
        let is_late = heard.saturating_sub(first.sent) >= TIMEOUT.mul_f64(0.9);
        is_late.then(|| self.why_gave_up(id, first, heard))?
    }

    /// The replica closed the connection before the answer was there.
    fn why_gave_up(&self, id: &str, first: &Arrival, left: At) -> Option<Cause> {
        let life = &self.lives[self.numbers[&first.life]];
        let record = life.record.lock().unwrap();
        if let Some(killed) = record.killed.filter(|killed| *killed <= left) {
            // What has come by then may have been heard.
            let name = match first.heard().is_some_and(|heard| heard < killed) {
                true => UNSETTLED_BY_DEATH,
                false => UNHEARD_BY_DEATH,
            };
            return cause(name, &*life.name);
        }
        if record.terminated.is_some_and(|t| left + NEAR >= t + DRAIN) {
            return cause(CUT_BY_DRAIN, &*life.name);
        }
        // The attempt may have begun before, on a connection that was closed.
        let took_all = |until: At| until.saturating_sub(first.sent) >= TIMEOUT.mul_f64(0.9);
        if !took_all(left) && !record.log.iter().any(|line| tells_of_timeout(line, id)) {
            return None;
        }
        // Then most of its time had gone before it was sent here: elsewhere, or in a stop.
        let begun = match took_all(left) {
            true => first.sent,
            false => left.saturating_sub(TIMEOUT),
        };
        let stop = stopped(&record.stops, begun, left);
        let stop = stop.and_then(|stop| cause(UNHEARD_BY_STOP, format!("{} {stop}", life.name)));
        let starved = starved(&record.waits, begun, left, &life.name);
        drop(record);
        if first.heard().is_some_and(|heard| !took_all(heard)) {
            return stop.or(starved);
        }
        if first.mood == Mood::Slow {
            let fault = self.fault(On::Endpoint(first.endpoint), first.at, first.at + NEAR)?;
            return cause("the endpoint answered too late", fault.line());
        }
        if let Some(fault) = self.fault(On::EndpointPath(first.endpoint), begun, left) {
            return cause("the answer was held up", fault.line());
        }
        // Without a fault the endpoint was as late as that: it is a part of this test.
        let late = || cause(BUSY, format!("endpoint {} was late", first.endpoint));
        stop.or_else(|| took_all(left).then(late)?).or(starved)
    }

    /// It had heard that the message was accepted, and the entry was taken before it was settled.
    fn why_unsettled(&self, first: &Arrival, before: &Given, taken: At) -> Option<Cause> {
        let heard = first.heard()?;
        if heard >= taken {
            return self.why_outlived(first, heard, before);
        }
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
        let life = &self.lives[before.life];
        let record = life.record.lock().unwrap();
        let killed = record.killed.filter(|killed| *killed <= taken);
        let ended = record.ended.filter(|ended| *ended <= taken);
        let end = killed.or(ended).unwrap_or(taken);
        let starved = starved(&record.waits, heard, end, &life.name);
        let stop = stopped(&record.stops, heard, end);
        drop(record);
        // Settlements are written first: had others been, this one would have been too. But for a
        // path on which each write takes a while: then it may stand in the channel behind others.
        if self.has_settled(before.life, heard + SOON, end) {
            let path = On::RedisPath(self.lives[before.life].replica);
            let slow = self.fault(path, heard, end).filter(|f| f.what == "slow");
            return match slow {
                Some(slow) => cause("its settle stood behind others on a slow path", slow.line()),
                None => starved,
            };
        }
        if killed.is_some() {
            return cause(UNSETTLED_BY_DEATH, &*life.name);
        }
        if let Some(stop) = stop {
            let by = format!("{} {stop}", life.name);
            return cause("suspended before it settled", by);
        }
        let Some(fault) = self.outage(before.life, heard, end) else {
            return starved;
        };
        let name = match (ended, fault.on) {
            (Some(_), _) => "its drain ended before Redis was back",
            (None, On::Server) => "Redis failed before it settled",
            _ => "cut off before it settled",
        };
        cause(name, fault.line())
    }

    /// Its attempt was under way when its lease ended.
    fn why_outlived(&self, first: &Arrival, heard: At, given: &Given) -> Option<Cause> {
        let life = &self.lives[given.life];
        let record = life.record.lock().unwrap();
        if let Some(stop) = stopped(&record.stops, given.at, heard) {
            return cause(UNHEARD_BY_STOP, format!("{} {stop}", life.name));
        }
        let starved = starved(&record.waits, given.at, heard, &life.name);
        drop(record);
        let ill = [
            On::EndpointPath(first.endpoint),
            On::Endpoint(first.endpoint),
        ];
        let fault = ill.iter().find_map(|on| self.fault(*on, first.sent, heard));
        match fault {
            Some(fault) => cause("its answer came after its lease", fault.line()),
            None => starved,
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

    /// It was sent by one that had lost the entry by then.
    fn why_late(&self, late: &Arrival, given: &Given) -> Option<Cause> {
        let life = &self.lives[given.life];
        let record = life.record.lock().unwrap();
        let starved = starved(&record.waits, given.at, late.at, &life.name);
        let stop = stopped(&record.stops, given.at, late.sent);
        if let Some(stop) = stop {
            return cause(UNSENT_BY_STOP, format!("{} {stop}", life.name));
        }
        let begun = self.written(&given.entry).iter().find(|w| {
            let waited = w.came.map(|came| came.saturating_sub(w.sent));
            w.deed == Deed::Note && w.life == given.life && waited >= Some(LEASE - TIMEOUT)
        });
        let Some(begun) = begun else {
            return starved;
        };
        let (from, to) = (begun.sent, begun.came?);
        let path = self.fault(On::RedisPath(life.replica), from, to);
        let fault = path.or_else(|| self.fault(On::Server, from, to))?;
        cause("its leave to begin came late", fault.line())
    }
}

/// The first time in between in which a process was suspended.
fn stopped(stops: &[Span], from: At, to: At) -> Option<String> {
    let stop = stops.iter().find(|stop| stop.overlaps(from, to))?;
    Some(format!("from {}", seconds(stop.from).trim()))
}

/// `failed id=… timeout … took=1.0s`.
fn tells_of_timeout(line: &str, id: &str) -> bool {
    line.contains("failed ") && line.contains(&format!("id={id} ")) && line.contains("timeout")
}

/// Threads of a process waited for a processor for half of a time, or longer.
fn starved(waits: &[(At, Duration)], from: At, to: At, name: &str) -> Option<Cause> {
    // A wait is known when it is over.
    let within = waits
        .iter()
        .filter(|(at, _)| *at >= from && *at <= to + WATCH * 2);
    let waited: Duration = within.map(|(_, wait)| *wait).sum();
    let is_much = waited >= to.saturating_sub(from) / 2 && waited >= STARVED;
    is_much.then(|| cause(BUSY, format!("{name} waited {waited:?} for a processor")))?
}
