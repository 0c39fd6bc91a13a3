//! How long a server lets a connection rest, as far as is known. Pure.
//!
//! A connection that is closed while it rests costs no attempt, so it may be kept for long; it is
//! closed before its server does so where that is known, as the close may cross with a request.

use std::time::{Duration, Instant};

/// Where nothing is known.
const USUAL: Duration = Duration::from_secs(60);

/// No longer than this, whatever a server promises: a firewall on the way may forget the connection sooner.
const LONGEST: Duration = Duration::from_secs(180);

/// No shorter than this, whatever was seen: a server that was restarted closes all at once.
const SHORTEST: Duration = Duration::from_secs(1);

/// What was seen holds for this long. Then a longer rest is tried again.
const VALID: Duration = Duration::from_secs(600);

/// See the module's header.
#[derive(Debug, Default)]
pub struct KeepAlive {
    promised: Option<Duration>,
    seen: Option<(Duration, Instant)>,
    /// Until then its connections do not rest at all.
    distrusted: Option<Instant>,
}

impl KeepAlive {
    /// What the server's last answer said (`Keep-Alive: timeout=`).
    pub fn note_promise(&mut self, limit: Option<Duration>) {
        self.promised = limit;
    }

    /// A connection had been closed when it was looked at, after it had rested for `rested`.
    pub fn note_end(&mut self, rested: Duration, now: Instant) {
        let limit = self.limit(now).min(rested.mul_f64(0.9)).max(SHORTEST);
        self.seen = Some((limit, now + VALID));
    }

    /// It has sent what nobody asked for just behind an answer. Had that come a little later, the
    /// next request would have taken it for its own answer, and nobody could tell.
    pub fn distrust(&mut self, now: Instant) {
        self.distrusted = Some(now + VALID);
    }

    /// How long a connection may rest.
    pub fn limit(&self, now: Instant) -> Duration {
        if self.distrusted.is_some_and(|until| now < until) {
            return Duration::ZERO;
        }
        let promised = match self.promised {
            // A second less, as that is the unit in which servers count.
            Some(promised) => promised
                .saturating_sub(Duration::from_secs(1))
                .max(promised / 2)
                .min(LONGEST),
            None => USUAL,
        };
        match self.seen {
            Some((seen, until)) if now < until => promised.min(seen),
            _ => promised,
        }
    }

    /// Whether it is worth remembering.
    pub fn has_learned(&self, now: Instant) -> bool {
        let until = [self.seen.map(|(_, until)| until), self.distrusted];
        until.into_iter().flatten().any(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_server_is_taken_at_its_word_less_a_second() {
        let now = Instant::now();
        let mut keep_alive = KeepAlive::default();
        assert_eq!(keep_alive.limit(now), USUAL);
        for (promised, limit) in [(5 * S, 4 * S), (S, S / 2), (7200 * S, LONGEST)] {
            keep_alive.note_promise(Some(promised));
            assert_eq!(keep_alive.limit(now), limit);
        }
        keep_alive.note_promise(Some(Duration::ZERO));
        assert_eq!(keep_alive.limit(now), Duration::ZERO);
        keep_alive.note_promise(None);
        assert_eq!(keep_alive.limit(now), USUAL);
    }

    #[test]
    fn whoever_speaks_unasked_is_distrusted_for_a_while() {
        let now = Instant::now();
        let mut keep_alive = KeepAlive::default();
        keep_alive.distrust(now);
        assert_eq!(keep_alive.limit(now), Duration::ZERO);
        assert!(keep_alive.has_learned(now));
        assert_eq!(keep_alive.limit(now + VALID), USUAL);
        assert!(!keep_alive.has_learned(now + VALID));
    }

    #[test]
    fn what_was_seen_shortens_it_for_a_while() {
        let now = Instant::now();
        let mut keep_alive = KeepAlive::default();
        keep_alive.note_end(10 * S, now);
        assert_eq!(keep_alive.limit(now), 9 * S);
        keep_alive.note_end(90 * S, now);
        assert_eq!(keep_alive.limit(now), 9 * S, "it is known to be shorter");
        keep_alive.note_end(S / 10, now);
        assert_eq!(keep_alive.limit(now), SHORTEST);
        assert!(keep_alive.has_learned(now));
        assert_eq!(keep_alive.limit(now + VALID), USUAL);
        assert!(!keep_alive.has_learned(now + VALID));
    }
}
