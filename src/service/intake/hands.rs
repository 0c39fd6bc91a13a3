//! The entries of the second stream that Redis has given to this replica, to whichever thread.
//!
//! The recaller and the dealer both get entries. A reply that was lost may have given us entries
//! all the same: they are pending under our name, beyond the last entry that came before. Since
//! then the other thread may have got more. So from that moment each entry is noted, until a thread
//! has looked for the missing ones. The lock is held during a request: an entry that one thread is
//! about to hand on must not seem lost to the other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sessions::End;
use crate::message::boot_time::BootTime;
use crate::message::entry::{Entry, EntryId};
use crate::service::boot_clock::boot_time;
use crate::store::{Entries, StoreError};

/// Clones share the same state.
#[derive(Debug, Clone)]
pub struct Hands(Arc<Mutex<Given>>);

#[derive(Debug, Default)]
struct Given {
    /// Everything up to this one has come.
    last: Option<EntryId>,
    /// While entries beyond it may be missing: the ones that have come.
    since: Option<BTreeSet<EntryId>>,
}

impl Hands {
    /// `anew`: nobody has ever had this name, so nothing is pending under it.
    pub fn new(anew: bool) -> Hands {
        let since = (!anew).then(BTreeSet::new);
        Hands(Arc::new(Mutex::new(Given { last: None, since })))
    }

    /// Sends the request `ask`, and notes the entries of the reply.
    pub fn take<T>(
        &self,
        ask: impl FnOnce() -> Result<T, StoreError>,
        entries: impl FnOnce(&T) -> &[Entry],
    ) -> Result<T, StoreError> {
        let mut given = self.lock();
        match ask() {
            Ok(answer) => {
                given.note(entries(&answer));
                Ok(answer)
            }
            Err(e) => {
                given.since.get_or_insert_default();
                Err(e)
            }
        }
    }

    /// Hands on entries that are ours and have not come, if there may be any, up to `batch` at a
    /// time.
    pub fn recover(
        &self,
        entries: &mut Entries,
        batch: usize,
        mut hand_on: impl FnMut(Vec<Entry>, BootTime) -> Result<(), End>,
    ) -> Result<(), End> {
        loop {
            let asked = boot_time();
            let mut given = self.lock();
            if given.since.is_none() {
                return Ok(());
            }
            let (own, end) = entries.own(given.last, batch)?;
            let missing = given.pass(own, end);
            drop(given);
            hand_on(missing, asked)?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Given {
    fn note(&mut self, entries: &[Entry]) {
        let ids = entries.iter().map(|entry| entry.id);
        match &mut self.since {
            Some(since) => since.extend(ids),
            None => self.last = self.last.max(ids.max()),
        }
    }

    /// `own`: all our pending entries beyond the last, up to `end`. Returns those that have not
    /// come.
    fn pass(&mut self, mut own: Vec<Entry>, end: Option<EntryId>) -> Vec<Entry> {
        let since = self.since.get_or_insert_default();
        own.retain(|entry| !since.contains(&entry.id));
        if end.is_none() {
            self.last = self.last.max(since.last().copied());
            self.since = None;
        } else {
            self.last = end;
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::entry::Stream;

    fn id(n: u64) -> EntryId {
        let id: EntryId = format!("{n}-0").parse().unwrap();
        id.of(Stream::Again)
    }

    fn entries(ids: &[u64]) -> Vec<Entry> {
        let entry = |n: &u64| Entry {
            id: id(*n),
            count: 1,
            suspect: false,
            fields: Vec::new(),
        };
        ids.iter().map(entry).collect()
    }

    #[test]
    fn what_came_after_a_lost_answer_is_not_taken_for_lost() {
        let mut given = Given::default();
        given.note(&entries(&[1, 2]));
        given.since.get_or_insert_default();
        // 3 was in the answer that never came; the other thread was given 4 and 6, then 5 was lost.
        given.note(&entries(&[4, 6]));
        let ids = |found: Vec<Entry>| found.iter().map(|e| e.id).collect::<Vec<_>>();
        let missing = given.pass(entries(&[3, 4]), Some(id(4)));
        assert_eq!(ids(missing), [id(3)]);
        given.note(&entries(&[7]));
        let missing = given.pass(entries(&[5, 6, 7]), Some(id(7)));
        assert_eq!(ids(missing), [id(5)]);
        assert!(given.pass(Vec::new(), None).is_empty());
        assert_eq!((given.last, given.since), (Some(id(7)), None));
    }
}
