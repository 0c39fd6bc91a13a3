//! Whether a proxy works, as far as attempts have shown, and which attempts may try it while it does not.
//! Pure.
//!
//! A fault that no target can be the cause of is an *outage*. One attempt at a time tries the proxy, after
//! pauses that grow, and all others are told at once when it is worth asking again. So an outage costs the
//! same however many messages wait. A fault that may be one target's is a *doubt*. It keeps back that
//! origin alone, in the same way, so no number of odd targets stops the others. A doubt ends with the
//! first proof that the proxy works, or with patience; then the fault is the target's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A proxy that has led to a target within this time is not taken for broken because of a fault that may
/// be one target's.
const LATELY: Duration = Duration::from_secs(5);

/// The faults of a target may be the proxy's for this long, if nothing shows whose they are.
const PATIENCE: Duration = Duration::from_secs(60);

/// And for this long if several targets fail so, and none is reached: then it is the proxy as a rule.
const LONG_PATIENCE: Duration = Duration::from_secs(3600);
const SEVERAL: usize = 3;

/// A doubt of which nothing was heard for this long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// At most this many origins are in doubt. Beyond that each fault is the target's.
const MAX_DOUBTS: usize = 10_000;

/// This many kinds of trouble are remembered, so that two that alternate are logged once each.
const MAX_REPORTED: usize = 8;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Health {
    /// When the proxy last led to a target.
    good: Option<Instant>,
    outage: Option<Outage>,
    /// By origin.
    doubts: HashMap<Arc<str>, Doubt>,
    /// How many origins have come into doubt since the proxy last led to a target.
    doubted: usize,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Outage {
    turns: Turns,
    /// The proxy was reached, and is at fault nevertheless.
    reached: bool,
}

#[derive(Debug)]
struct Doubt {
    since: Instant,
    heard: Instant,
    kind: Unclear,
    turns: Turns,
}

/// Trouble that is logged, until the proxy leads to a target again.
#[derive(Debug)]
struct Episode {
    since: Instant,
    reported: Vec<String>,
}

/// Lets one attempt at a time try.
#[derive(Debug)]
struct Turns {
    next: Instant,
    /// An attempt is under way, and ends by then.
    trying: Option<Instant>,
    /// Faults of attempts that began before this have been counted.
    counted: Instant,
    pause: Duration,
    last: String,
}

/// What to do after a fault of the proxy.
#[derive(Debug, PartialEq)]
pub struct Advice {
    /// When it is worth trying again.
    pub again: Duration,
    /// The fault is news, and is to be logged.
    pub is_news: bool,
}

/// What may be the proxy's fault or the target's.
#[derive(Debug, Clone, Copy)]
pub struct Fault<'a> {
    /// In a sentence.
    pub text: &'a str,
    pub kind: Unclear,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unclear {
    /// The proxy has led nowhere, or has not said so.
    Unled,
    /// The proxy has a request, which may have arrived: so few more are tried.
    Sent,
    /// The proxy says that it does not take our login. An operator must give us another one, and until then
    /// patience has no end.
    Login,
}

/// Whose fault it was.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Perhaps the proxy's.
    Proxy(Advice),
    /// The target's: the proxy leads to others, or it goes on for long.
    Target { leads: bool },
}

impl Health {
    /// Whether `origin` may be tried now, with `until` as the latest end, and whether that also tries a
    /// proxy in an outage. The error says when it is worth asking again, and what was wrong.
    pub fn ask(
        &mut self,
        origin: &str,
        now: Instant,
        until: Instant,
    ) -> Result<bool, (Duration, String)> {
        let (good, patience) = (self.good, self.patience());
        let doubt = self.doubts.get_mut(origin);
        let doubt = doubt.filter(|doubt| doubt.holds(good, patience, now));
        let outage = &mut self.outage;
        let turns = |outage: &mut Outage| outage.turns.ask(now);
        outage.as_mut().map_or(Ok(()), turns)?;
        if let Some(doubt) = doubt {
            doubt.turns.ask(now)?;
            doubt.turns.trying = Some(until);
        }
        // The others wait for what comes of this.
        if let Some(outage) = outage {
            outage.turns.trying = Some(until);
            return Ok(true);
        }
        Ok(false)
    }

    /// An attempt that was to try the proxy has come to nothing, through no fault of proxy or target.
    pub fn abandon(&mut self, origin: &str) {
        if let Some(doubt) = self.doubts.get_mut(origin) {
            doubt.turns.trying = None;
        }
        if let Some(outage) = &mut self.outage {
            outage.turns.trying = None;
        }
    }

    /// There is a connection to the proxy. If there was none before, all attempts may now see where it leads:
    /// the first may have to wait for a target that does not answer.
    pub fn reached(&mut self) {
        self.outage.take_if(|outage| !outage.reached);
    }

    /// The proxy has led to `origin`, or says why it does not. If that ends an episode, answers how long it
    /// was.
    pub fn succeed(&mut self, origin: &str, now: Instant) -> Option<Duration> {
        self.good = Some(now);
        self.outage = None;
        self.doubted = 0;
        self.doubts.remove(origin);
        let episode = self.episode.take()?;
        Some(now.saturating_duration_since(episode.since))
    }

    /// An attempt that was begun then has failed, through a fault of the proxy. `what`: in a sentence.
    pub fn fail(&mut self, what: &str, reached: bool, begun: Instant, now: Instant) -> Advice {
        let fresh = || Outage {
            turns: Turns::new(begun, now),
            reached,
        };
        let outage = self.outage.get_or_insert_with(fresh);
        outage.reached = reached;
        let again = outage.turns.fail(what, begun, now);
        let is_news = self.note_news(what, now);
        Advice { again, is_news }
    }

    /// An attempt that was begun then has failed, through a fault of the proxy or of `origin`.
    pub fn doubt(
        &mut self,
        origin: &Arc<str>,
        fault: Fault<'_>,
        begun: Instant,
        now: Instant,
    ) -> Verdict {
        // This attempt got further than the outage.
        self.outage.take_if(|outage| begun >= outage.turns.counted);
        let (good, patience) = (self.good, self.patience());
        let is_led =
            good.is_some_and(|good| good >= begun || now.saturating_duration_since(good) < LATELY);
        let old = self.doubts.get_mut(origin);
        if let Some(doubt) = old.filter(|doubt| !doubt.is_forgotten(now)) {
            doubt.heard = now;
            doubt.kind = fault.kind;
            let leads = is_led || doubt.is_cleared(good);
            if leads || !doubt.holds(good, patience, now) {
                return Verdict::Target { leads };
            }
        } else if is_led || !self.has_room(now) {
            self.doubts.remove(origin);
            return Verdict::Target { leads: is_led };
        } else {
            let doubt = Doubt {
                since: now,
                heard: now,
                kind: fault.kind,
                turns: Turns::new(begun, now),
            };
            let old = self.doubts.insert(origin.clone(), doubt);
            self.doubted += usize::from(old.is_none_or(|old| old.is_cleared(good)));
        }
        let doubt = self.doubts.get_mut(origin).expect("it is there by now");
        let again = doubt.turns.fail(fault.text, begun, now);
        let is_news = self.note_news(fault.text, now);
        Verdict::Proxy(Advice { again, is_news })
    }

    fn patience(&self) -> Duration {
        match self.doubted {
            0..SEVERAL => PATIENCE,
            _ => LONG_PATIENCE,
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.doubts.len() >= MAX_DOUBTS {
            self.doubts.retain(|_, doubt| !doubt.is_forgotten(now));
        }
        self.doubts.len() < MAX_DOUBTS
    }

    fn note_news(&mut self, what: &str, now: Instant) -> bool {
        let episode = self.episode.get_or_insert_with(|| Episode {
            since: now,
            reported: Vec::new(),
        });
        // How long something took is no news.
        let kind: String = what.chars().filter(|c| !c.is_ascii_digit()).collect();
        let is_news = !episode.reported.contains(&kind) && episode.reported.len() < MAX_REPORTED;
        if is_news {
            episode.reported.push(kind);
        }
        is_news
    }
}

impl Doubt {
    /// The proxy has led to somebody since.
    fn is_cleared(&self, good: Option<Instant>) -> bool {
        good.is_some_and(|good| good >= self.since)
    }

    /// Whether it may still be the proxy.
    fn holds(&self, good: Option<Instant>, patience: Duration, now: Instant) -> bool {
        let patience = match self.kind {
            Unclear::Unled => patience,
            Unclear::Sent => PATIENCE,
            Unclear::Login => Duration::MAX,
        };
        !self.is_cleared(good) && now.saturating_duration_since(self.since) < patience
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) >= FORGOTTEN
    }
}

impl Turns {
    fn new(begun: Instant, now: Instant) -> Turns {
        Turns {
            next: now,
            trying: None,
            counted: begun,
            pause: Duration::ZERO,
            last: String::new(),
        }
    }

    fn ask(&self, now: Instant) -> Result<(), (Duration, String)> {
        let pause = match self.trying {
            _ if now < self.next => self.next - now,
            Some(until) if now < until => self.pause.min(until - now),
            _ => return Ok(()),
        };
        Err((pause, self.last.clone()))
    }

    /// Answers when it is worth trying again.
    fn fail(&mut self, what: &str, begun: Instant, now: Instant) -> Duration {
        // Attempts that were under way when the pause began add no further fault.
        if begun >= self.counted {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.next = now + self.pause;
            self.counted = now;
            self.trying = None;
        }
        what.clone_into(&mut self.last);
        match self.next.saturating_duration_since(now) {
            Duration::ZERO => self.pause,
            again => again,
        }
    }
}

#[cfg(test)]
mod tests;
