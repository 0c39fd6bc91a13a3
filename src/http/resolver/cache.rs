//! The cache of names: what is known of each, and which callers wait a moment for an answer. Pure.
//!
//! An answer is fresh for as long as its servers say, within bounds. From then on it is given
//! out all the same while it is asked for again, and for a day if no server answers: a name
//! that was known once never makes anybody wait. For an unknown name, a caller waits until a moment of its
//! look-up has passed. Later callers are told since when the look-up goes on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evictor::{Evictor, zone};
use super::lookup::{Outcome, Publication};
use super::number_map::NumberMap;
use super::request_queue::RequestQueue;
use super::waiter::{News, Waiter};

/// This many names are remembered. Beyond it, the oldest of the zone with the most is forgotten.
const MAX_KNOWN: usize = 16 * 1024;

const LEAST_TTL: Duration = Duration::from_secs(5);
const MOST_TTL: Duration = Duration::from_secs(300);
/// How long an old answer may be given out.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// After a failure, this much time passes before an old answer is asked for again (RFC 8767, 5).
const RECHECK: Duration = Duration::from_secs(30);

/// NXDOMAIN and the like are believed for as long as the zone says, within these bounds.
const LEAST_ABSENT: Duration = Duration::from_secs(1);
const MOST_ABSENT: Duration = Duration::from_secs(30);
/// A name whose answer is old and that is being looked up is looked at again after this time.
const SOON: Duration = Duration::from_secs(1);
/// Silence and refusals are believed for this long.
const FAILED: Duration = Duration::from_secs(1);
/// A failure that no caller has got yet is kept for this long, for a message that waits for it.
const UNREPORTED: Duration = Duration::from_secs(600);

/// How long a look-up may make anybody wait. Most servers that answer at all do so within it.
pub const MOMENT: Duration = Duration::from_millis(25);

#[derive(Debug, Default)]
struct Entry {
    known: Option<Known>,
    failure: Option<Failure>,
    pending: Option<Pending>,
    preferred: Option<IpAddr>,
    /// Its age order among the names that are remembered; 0 if it is not.
    learned: u64,
}

/// A look-up is under way.
#[derive(Debug)]
struct Pending {
    waiters: Vec<Arc<Waiter>>,
    since: Instant,
    /// Nobody has been told to come again for it.
    is_quiet: bool,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    fresh_until: Instant,
    usable_until: Instant,
    not_again_before: Instant,
}

#[derive(Debug)]
struct Failure {
    text: Arc<str>,
    /// When its look-up began.
    since: Instant,
    until: Instant,
    is_reported: bool,
}

/// What a caller gets. The times are those at which the look-up began.
#[derive(Debug)]
pub enum Asked {
    Known(Vec<IpAddr>),
    Failed(Arc<str>, Instant),
    /// Wait here, until [`MOMENT`] has passed since.
    Wait(Arc<Waiter>, Instant),
    /// It has gone on for longer than that.
    Pending(Instant),
}

#[derive(Debug)]
pub struct Cache {
    entries: HashMap<Arc<str>, Entry>,
    /// The names that are remembered, by age.
    ages: NumberMap<u64, Arc<str>>,
    evictor: Evictor,
    /// Names to be looked up.
    requests: RequestQueue,
    counter: u64,
    changes: u64,
}

impl Cache {
    /// `most_requests`: at most this many names stand in line to be looked up.
    pub fn new(most_requests: usize) -> Cache {
        Cache {
            entries: HashMap::new(),
            ages: NumberMap::default(),
            evictor: Evictor::default(),
            requests: RequestQueue::new(most_requests),
            counter: 0,
            changes: 0,
        }
    }

    /// Answers what is known of a name, and requests a look-up if that is needed.
    pub fn ask(&mut self, name: &str, now: Instant) -> Asked {
        let key = match self.entries.get_key_value(name) {
            Some((key, entry)) => {
                if let Some(known) = &entry.known
                    && now < known.fresh_until
                {
                    return Asked::Known(known.addresses.clone());
                }
                key.clone()
            }
            None => Arc::from(name),
        };
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some(known) = entry.known.as_ref().filter(|k| now < k.usable_until) {
            let addresses = known.addresses.clone();
            if entry.pending.is_none() && now >= known.not_again_before {
                entry.pending = Some(Pending::new(now));
                self.request(key);
            }
            return Asked::Known(addresses);
        }
        if let Some(failure) = entry.failure.as_mut()
            && (now < failure.until || !failure.is_reported && now < failure.until + UNREPORTED)
        {
            failure.is_reported = true;
            return Asked::Failed(failure.text.clone(), failure.since);
        }
        let is_new = entry.pending.is_none();
        let pending = entry.pending.get_or_insert_with(|| Pending::new(now));
        pending.is_quiet = false;
        let since = pending.since;
        if now >= since + MOMENT {
            return Asked::Pending(since);
        }
        let waiter = Arc::new(Waiter::default());
        pending.waiters.push(waiter.clone());
        if is_new {
            self.request(key);
        }
        Asked::Wait(waiter, since)
    }

    /// What is known of a name, for who can do without: nobody is made to wait. And until when
    /// it holds, if [`Cache::changes`] stays as it is. Asks for the name as [`Cache::ask`] does.
    pub fn present(&mut self, name: &str, now: Instant) -> Option<(Vec<IpAddr>, Instant)> {
        let key = match self.entries.get_key_value(name) {
            Some((key, _)) => key.clone(),
            None => Arc::from(name),
        };
        let entry = self.entries.entry(key.clone()).or_default();
        let known = entry.known.as_ref().filter(|k| now < k.usable_until);
        let present = known.map(|k| (k.addresses.clone(), k.fresh_until.max(now + SOON)));
        let not_before = match (known, &entry.failure) {
            (Some(known), _) => known.not_again_before,
            (None, Some(failure)) => failure.until,
            (None, None) => now,
        };
        if entry.pending.is_none() && now >= not_before {
            entry.pending = Some(Pending::new(now));
            self.request(key);
        }
        present
    }

    /// How often names have come to lead elsewhere, or may have.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Puts a name in line. If another had to go for that, its waiters are told so.
    fn request(&mut self, name: Arc<str>) {
        let Some(displaced) = self.requests.push(name) else {
            return;
        };
        let entry = self.entries.get_mut(&displaced).expect("it was pending");
        let text: Arc<str> = format!(
            "{displaced} was not looked up: {} names stand in line, and those below {} are most",
            self.requests.most(),
            zone(&displaced),
        )
        .into();
        for waiter in entry.pending.take().into_iter().flat_map(|p| p.waiters) {
            waiter.notify(News::Answer(Err(text.clone())));
        }
        if entry.learned == 0 {
            self.entries.remove(&displaced);
        }
    }

    /// The next name to be looked up.
    pub fn take_request(&mut self) -> Option<Arc<str>> {
        self.requests.pop()
    }

    pub fn requested(&self) -> usize {
        self.requests.len()
    }

    /// Forgets a waiter that has stopped waiting.
    pub fn leave(&mut self, name: &str, waiter: &Arc<Waiter>) {
        if let Some(pending) = self.entries.get_mut(name).and_then(|e| e.pending.as_mut()) {
            pending.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
        }
    }

    /// Takes in what was found out. Answers the waiters for it, and the news for them.
    pub fn learn(&mut self, news: &Publication, now: Instant) -> Option<(Vec<Arc<Waiter>>, News)> {
        let entry = self.entries.entry(news.name.clone()).or_default();
        let (mut waiters, mut since, mut is_quiet) = (Vec::new(), now, false);
        if let Some(pending) = &mut entry.pending {
            waiters = std::mem::take(&mut pending.waiters);
            (since, is_quiet) = (pending.since, pending.is_quiet);
        }
        if news.last {
            entry.pending = None;
        }
        let answer = match &news.outcome {
            Outcome::Found { v6, v4, ttl } => {
                let addresses = order(v6, v4, entry.preferred);
                let fresh_until = now + (*ttl).clamp(LEAST_TTL, MOST_TTL);
                entry.failure = None;
                if entry.known.as_ref().is_some_and(|k| k.differs(&addresses)) {
                    self.changes += 1;
                }
                entry.known = Some(Known {
                    addresses: addresses.clone(),
                    fresh_until,
                    usable_until: now + STALE,
                    not_again_before: fresh_until,
                });
                Ok(addresses)
            }
            Outcome::Absent { text, ttl } => {
                let ttl = ttl.unwrap_or(LEAST_ABSENT).clamp(LEAST_ABSENT, MOST_ABSENT);
                self.changes += u64::from(entry.known.take().is_some());
                Err(entry.fail(text, since, now + ttl))
            }
            Outcome::Failed { text } => match &mut entry.known {
                Some(known) if now < known.usable_until => {
                    known.not_again_before = now + RECHECK;
                    Ok(known.addresses.clone())
                }
                _ => Err(entry.fail(text, since, now + FAILED)),
            },
        };
        if let Some(failure) = &mut entry.failure {
            failure.is_reported |= !waiters.is_empty() || is_quiet;
        }
        self.remember(&news.name);
        (!waiters.is_empty()).then_some((waiters, News::Answer(answer)))
    }

    /// Puts the address that answered first.
    pub fn prefer(&mut self, name: &str, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        entry.preferred = Some(address);
        if let Some(known) = &mut entry.known
            && let Some(at) = known.addresses.iter().position(|ip| *ip == address)
        {
            known.addresses[..=at].rotate_right(1);
        }
    }

    /// Takes out all waiters. They are to be told that nothing will come.
    pub fn take_all_waiters(&mut self) -> Vec<Arc<Waiter>> {
        let pending = self.entries.values_mut().filter_map(|e| e.pending.as_mut());
        pending
            .flat_map(|p| std::mem::take(&mut p.waiters))
            .collect()
    }

    /// Other servers are asked from now on: known addresses may be old, and failures may be over.
    pub fn doubt_all(&mut self, now: Instant) {
        self.changes += 1;
        for entry in self.entries.values_mut() {
            entry.failure = None;
            if let Some(known) = &mut entry.known {
                known.fresh_until = known.fresh_until.min(now);
                known.not_again_before = known.not_again_before.min(now);
            }
        }
    }

    /// Forgets what is known of a name, because the hosts file says something else now.
    pub fn forget(&mut self, name: &str) {
        self.changes += 1;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.known = None;
            entry.failure = None;
        }
    }

    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.evictor.len()
    }

    /// Makes the name the youngest of those remembered, and forgets an old one if there are
    /// too many.
    fn remember(&mut self, name: &Arc<str>) {
        self.counter += 1;
        let entry = self.entries.get_mut(name).expect("it was just changed");
        if entry.learned != 0 {
            self.evictor.remove(zone(name), entry.learned);
            self.ages.remove(&entry.learned);
        }
        entry.learned = self.counter;
        self.evictor.insert(zone(name), self.counter);
        self.ages.insert(self.counter, name.clone());
        if self.evictor.len() <= MAX_KNOWN {
            return;
        }
        let oldest = self.evictor.first_to_leave().expect("there are many");
        let name = self
            .ages
            .remove(&oldest)
            .expect("what is in the crowd has a name");
        self.evictor.remove(zone(&name), oldest);
        let entry = self
            .entries
            .get_mut(&name)
            .expect("what is remembered has an entry");
        match entry.pending {
            Some(_) => (entry.known, entry.failure, entry.learned) = (None, None, 0),
            None => drop(self.entries.remove(&name)),
        }
    }
}

impl Known {
    /// Whether these are other addresses, whatever their order.
    fn differs(&self, addresses: &[IpAddr]) -> bool {
        self.addresses.len() != addresses.len()
            || !addresses.iter().all(|ip| self.addresses.contains(ip))
    }
}

impl Pending {
    fn new(since: Instant) -> Pending {
        Pending {
            waiters: Vec::new(),
            since,
            is_quiet: true,
        }
    }
}

impl Entry {
    fn fail(&mut self, text: &str, since: Instant, until: Instant) -> Arc<str> {
        let text: Arc<str> = text.into();
        self.known = None;
        self.failure = Some(Failure {
            text: text.clone(),
            since,
            until,
            is_reported: false,
        });
        text
    }
}

/// Families alternate, IPv6 first (RFC 8305, 4); the address that answered comes before all others.
fn order(v6: &[IpAddr], v4: &[IpAddr], preferred: Option<IpAddr>) -> Vec<IpAddr> {
    let mut all = Vec::with_capacity(v6.len() + v4.len());
    for n in 0..v6.len().max(v4.len()) {
        all.extend(v6.get(n));
        all.extend(v4.get(n));
    }
    if let Some(at) = all.iter().position(|ip| Some(*ip) == preferred) {
        all[..=at].rotate_right(1);
    }
    all
}

#[cfg(test)]
#[path = "tests/cache.rs"]
mod tests;
