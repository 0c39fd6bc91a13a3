//! What is known of the times in which Redis published and we did not hear.

use std::fmt;
use std::time::{Duration, Instant};

/// A time in which messages may have been published that never came.
#[derive(Debug, PartialEq)]
pub struct Gap {
    /// At most.
    pub length: Duration,
    /// Messages come by Pub/Sub, and the server was there all the time: what it was given
    /// meanwhile is lost. Where the server itself was away, nobody could publish.
    pub is_loss: bool,
}

/// What outlives a connection.
#[derive(Debug, Default)]
pub struct Past {
    /// A message has come.
    pub has_messages: bool,
    /// Of the server that was subscribed at last.
    run_id: Option<String>,
    /// All that was published before this has been heard.
    heard_until: Option<Instant>,
    /// The subscription was lost, and there is none since.
    is_away: bool,
}

impl Past {
    /// Something was heard. `empty_at`: what came before had been read by then, so this was sent
    /// later, and Redis sends in order.
    pub fn hear(&mut self, empty_at: Instant) {
        self.heard_until = Some(empty_at);
    }

    /// The subscription is lost.
    pub fn lose(&mut self) {
        self.is_away = true;
    }

    /// A subscription begins, at the server with this mark if it tells.
    pub fn begin(&mut self, run_id: Option<String>) -> Option<Gap> {
        let is_same = run_id.is_none() || self.run_id.is_none() || run_id == self.run_id;
        let gap = self.gap(self.has_messages && is_same);
        self.run_id = run_id;
        self.is_away = false;
        self.heard_until = Some(Instant::now());
        gap
    }

    /// The service ends. Whether the server was there nobody knows.
    pub fn end(&mut self) -> Option<Gap> {
        self.gap(false)
    }

    fn gap(&self, is_loss: bool) -> Option<Gap> {
        let since = self.heard_until.filter(|_| self.is_away)?;
        Some(Gap {
            length: since.elapsed(),
            is_loss,
        })
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = Duration::from_millis(self.length.as_millis() as u64);
        let length = humantime::format_duration(length);
        match self.is_loss {
            true => write!(
                f,
                "up to {length} while Redis was there: what was published meanwhile is lost; \
                 --bridge or the stream keeps it"
            ),
            false => write!(f, "up to {length}: what was published meanwhile is lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn a_gap_begins_with_a_loss_and_counts_from_what_was_surely_heard() {
        let mut past = Past::default();
        assert_eq!(past.begin(id("a")), None, "it was never subscribed before");
        let before = Instant::now() - Duration::from_secs(5);
        past.hear(before);
        assert_eq!(past.end(), None, "it is subscribed");
        past.lose();
        let gap = past.begin(id("a")).unwrap();
        assert!(gap.length >= Duration::from_secs(5) && !gap.is_loss);
        assert_eq!(past.end(), None, "it is subscribed again");
    }

    #[test]
    fn it_is_a_loss_where_messages_come_and_the_server_went_on_without_us() {
        for (before, after, is_loss) in [
            (id("a"), id("a"), true),
            (id("a"), id("b"), false),
            (None, id("b"), true),
            (id("a"), None, true),
        ] {
            let mut past = Past::default();
            past.begin(before);
            past.has_messages = true;
            past.lose();
            assert!(!past.end().unwrap().is_loss);
            assert_eq!(past.begin(after).unwrap().is_loss, is_loss);
        }
    }
}
