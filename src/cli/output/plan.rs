//! What a command is about to change. How much that is is said before anything is changed: to
//! whoever asked for no more than that (`--dry-run`), and to a person at a terminal, who may say no.

use std::time::SystemTime;

use super::tally::Tally;
use super::terminal::{can_ask, confirm};
use super::times::moment;
use super::{Out, Stop};
use crate::cli::args::select::ChangeArgs;
use crate::message::timestamp::unix_ms;

/// See the module's header.
pub struct Plan<'a> {
    pub change: &'a ChangeArgs,
    /// What is changed, in the singular.
    pub what: &'static str,
    /// As in `delete them?`
    pub act: &'static str,
    /// As in `3 are deleted`; also the key in JSON.
    pub done: &'static str,
}

impl Plan<'_> {
    /// Whether it must be known what is meant before it is done. `is_narrow`: the messages are
    /// named one by one.
    pub fn counts(&self, is_narrow: bool) -> bool {
        self.change.dry_run || !self.change.yes && !is_narrow && can_ask()
    }

    /// Whether to go on. Says what is meant.
    pub fn is_agreed(&self, json: bool, meant: &Tally) -> Result<bool, Stop> {
        let total = meant.total();
        let text = match meant.oldest() {
            None => self.number(0),
            Some(oldest) => format!(
                "{}: {}; the oldest is of {}",
                self.number(total),
                meant.summary(),
                moment(oldest, unix_ms(SystemTime::now()))
            ),
        };
        if self.change.dry_run {
            let mut out = Out::new(json);
            let sentence = format!("{text}; nothing is {} (--dry-run)", self.done);
            let object = [(self.done, total.into()), ("dry_run", true.into())];
            out.result(&object, &sentence)?;
            out.flush()?;
            return Ok(false);
        }
        if total == 0 {
            return Ok(true);
        }
        eprintln!("outhook: {text}");
        let is_agreed = confirm(&format!("{} them?", self.act));
        if !is_agreed {
            eprintln!("outhook: nothing is {}", self.done);
        }
        Ok(is_agreed)
    }

    /// Says what was done.
    pub fn print(&self, json: bool, count: u64) -> Result<(), Stop> {
        let mut out = Out::new(json);
        let sentence = format!("{} {}", self.number(count), self.done);
        out.result(&[(self.done, count.into())], &sentence)?;
        Ok(out.flush()?)
    }

    fn number(&self, count: u64) -> String {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {}{plural}", self.what)
    }
}
