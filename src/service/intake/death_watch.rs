//! Decides which consumers of the group have died, by their silence. Pure.
//!
//! Redis hears of each replica every three seconds at least, whatever else it does
//! ([`super::heartbeat`]). A consumer that is silent for [`SILENT`] at two looks in a row is taken
//! for dead, long before the leases of its entries are over. Two looks, because all consumers are
//! silent while Redis is away, and the first one that is back must give the others time. A wrong
//! guess costs little: a replica that lost an entry leaves it alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::service::pulse::TRUSTED;
use crate::store::Peer;

/// A consumer that has been silent for this long may be dead.
pub const SILENT: Duration = Duration::from_secs(5);

/// A silent replica stops using its entries before another takes them over.
const _: () = assert!(TRUSTED.as_millis() < SILENT.as_millis());

/// How often consumers are looked at, if none of them would be silent for too long before; and how
/// soon again when one may be dead: later than the next sign of life is due, as Redis's clock may have
/// jumped.
const LOOK: Duration = Duration::from_secs(4);
const LOOK_AGAIN: Duration = Duration::from_millis(3500);

/// Redis counts silence in milliseconds.
const TICK: Duration = Duration::from_millis(2);

/// How much time a replica that was cut off from Redis gives the others to come back.
const OTHERS_TIME: Duration = Duration::from_secs(8);

/// A consumer that is silent for less than this is not logged at the first look.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// The result of a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Consumers that may be dead, and were not suspected before. They are logged.
    pub suspected: Vec<Peer>,
    /// Consumers that are dead: their entries are taken over.
    pub dead: Vec<Peer>,
}

/// See the module's header.
#[derive(Debug)]
pub struct DeathWatch {
    /// The suspected consumers, by name, each with the look that first found it silent.
    suspects: HashMap<String, Instant>,
    is_first: bool,
    next: Instant,
}

impl DeathWatch {
    pub fn new(now: Instant) -> DeathWatch {
        DeathWatch {
            suspects: HashMap::new(),
            is_first: true,
            next: now,
        }
    }

    /// When to look next.
    pub fn next_look(&self) -> Instant {
        self.next
    }

    /// Redis was away, or this replica was cut off.
    pub fn lose_contact(&mut self, now: Instant) {
        self.suspects.clear();
        self.next = now + OTHERS_TIME;
    }

    /// No consumer has entries: there is nothing to look at for a while.
    pub fn rest(&mut self, now: Instant) {
        self.suspects.clear();
        self.next = now + LOOK;
    }

    /// Takes in what Redis says of the others.
    pub fn look(&mut self, peers: Vec<Peer>, now: Instant) -> Findings {
        let mut findings = Findings::default();
        let before = std::mem::take(&mut self.suspects);
        let is_first = std::mem::take(&mut self.is_first);
        let mut wait = LOOK;
        for peer in peers.into_iter().filter(|peer| peer.entries > 0) {
            if peer.silent < SILENT {
                wait = wait.min(SILENT - peer.silent + TICK);
                if is_first && peer.silent >= WORTH_TELLING {
                    findings.suspected.push(peer);
                }
                continue;
            }
            let since = before.get(&peer.name).copied();
            self.suspects
                .insert(peer.name.clone(), since.unwrap_or(now));
            match since {
                Some(since) if now.saturating_duration_since(since) >= LOOK_AGAIN => {
                    findings.dead.push(peer);
                }
                Some(_) => {}
                None => findings.suspected.push(peer),
            }
        }
        if !self.suspects.is_empty() {
            wait = LOOK_AGAIN;
        }
        self.next = now + wait;
        findings
    }

    /// How long until its entries are taken over, if it stays silent.
    pub fn left(peer: &Peer) -> Duration {
        SILENT.saturating_sub(peer.silent) + LOOK_AGAIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::{Dice, seeds};

    const S: Duration = Duration::from_secs(1);

    fn peer(name: &str, entries: u64, silent: Duration) -> Peer {
        Peer {
            name: name.into(),
            entries,
            silent,
        }
    }

    fn names(peers: &[Peer]) -> Vec<&str> {
        peers.iter().map(|peer| &*peer.name).collect()
    }

    #[test]
    fn whoever_is_silent_at_two_looks_is_dead() {
        let start = Instant::now();
        let mut silence = DeathWatch::new(start);
        assert_eq!(silence.next_look(), start);
        let found = silence.look(vec![peer("a", 3, 6 * S), peer("b", 3, S)], start);
        assert_eq!((names(&found.suspected), found.dead.len()), (vec!["a"], 0));
        let again = silence.next_look();
        assert_eq!(again, start + LOOK_AGAIN);
        let found = silence.look(vec![peer("a", 3, 8 * S), peer("b", 3, S)], again);
        assert_eq!((found.suspected.len(), names(&found.dead)), (0, vec!["a"]));
        let found = silence.look(vec![peer("a", 0, 10 * S)], again + LOOK_AGAIN);
        assert_eq!(found, Findings::default(), "it holds nothing any more");
        assert_eq!(silence.next_look(), again + LOOK_AGAIN + LOOK);
    }

    #[test]
    fn whoever_speaks_in_between_is_not_suspected_any_more() {
        let start = Instant::now();
        let mut silence = DeathWatch::new(start);
        for n in 0..10 {
            let silent = if n % 2 == 0 { 6 * S } else { S };
            let found = silence.look(vec![peer("a", 3, silent)], start + n * LOOK_AGAIN);
            assert!(found.dead.is_empty(), "{n}");
        }
    }

    #[test]
    fn after_redis_was_away_the_others_get_time() {
        let start = Instant::now();
        let mut silence = DeathWatch::new(start);
        silence.look(vec![peer("a", 3, 60 * S)], start);
        silence.lose_contact(start + S);
        assert_eq!(silence.next_look(), start + 9 * S);
        let found = silence.look(vec![peer("a", 3, 69 * S)], start + 9 * S);
        assert!(found.dead.is_empty(), "it is suspected anew");
    }

    #[test]
    fn the_first_look_tells_of_whoever_may_have_died_just_now() {
        let start = Instant::now();
        let mut silence = DeathWatch::new(start);
        let found = silence.look(vec![peer("a", 3, 3 * S)], start);
        assert_eq!(names(&found.suspected), ["a"]);
        assert_eq!(DeathWatch::left(&found.suspected[0]), 2 * S + LOOK_AGAIN);
        assert_eq!(silence.next_look(), start + 2 * S + TICK);
        let found = silence.look(vec![peer("a", 3, 4 * S)], start + S);
        assert_eq!(found, Findings::default());
        assert_eq!(silence.next_look(), start + 2 * S + TICK);
    }

    /// Replicas that beat every second, one of which dies, and a Redis that goes away: nobody who
    /// lives is taken for dead, and whoever has died is, within nine seconds.
    #[test]
    fn a_model_of_replicas_that_live_and_die() {
        for seed in seeds(1..200) {
            let mut dice = Dice::new(seed);
            let start = Instant::now();
            let at = |ms: u64| start + Duration::from_millis(ms);
            let mut silence = DeathWatch::new(start);
            let died = 20_000 + dice.below(20_000);
            let (away, back) = (5_000 + dice.below(5_000), 10_000 + dice.below(5_000));
            let (mut spoke, mut cut, mut taken) = ([0u64; 3], false, None);
            for ms in (0..60_000).step_by(100) {
                dice.step();
                let reachable = !(away..back).contains(&ms);
                for (n, last) in spoke.iter_mut().enumerate() {
                    // A beat comes up to 2.5 s late, and up to 5 s after Redis is back.
                    let waits = 1000 + dice.below(1500);
                    let late = ms >= back && ms < back + 5_000 && !dice.once_in(40);
                    let lives = n > 0 || ms < died;
                    if lives && reachable && !late && ms - *last >= waits {
                        *last = ms;
                    }
                }
                if !reachable {
                    cut = true;
                    continue;
                }
                if std::mem::take(&mut cut) {
                    silence.lose_contact(at(ms));
                }
                if at(ms) < silence.next_look() {
                    continue;
                }
                let peers = spoke.iter().enumerate().map(|(n, last)| {
                    let silent = Duration::from_millis(ms - last);
                    peer(
                        &n.to_string(),
                        1 - u64::from(n == 0 && taken.is_some()),
                        silent,
                    )
                });
                for dead in silence.look(peers.collect(), at(ms)).dead {
                    assert_eq!(dead.name, "0", "at {ms} ms");
                    assert!(ms > died, "at {ms} ms");
                    taken = Some(ms);
                }
            }
            let taken = taken.unwrap_or_else(|| panic!("nobody noticed"));
            assert!(taken <= died + 9_000, "{} ms", taken - died);
        }
    }
}
