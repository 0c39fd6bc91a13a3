//! The lanes with work and room, in rotation.
//!
//! Trusted lanes and others stand in lists of their own, so that the others can be passed over.
//! The number of each place keeps it one rotation all the same. A lane knows the place at
//! which it stands: one that has changed lists leaves a place behind that is not its own.

use std::collections::VecDeque;
use std::sync::Arc;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Turns {
    trusted: VecDeque<(u64, Arc<str>)>,
    others: VecDeque<(u64, Arc<str>)>,
    place: u64,
}

impl Turns {
    /// To the end. Answers the place.
    pub fn push(&mut self, key: Arc<str>, trusted: bool) -> u64 {
        self.place += 1;
        let list = match trusted {
            true => &mut self.trusted,
            false => &mut self.others,
        };
        list.push_back((self.place, key));
        self.place
    }

    /// The next place; those of lanes that are not trusted only if `hope`.
    pub fn next(&mut self, hope: bool) -> Option<(u64, Arc<str>)> {
        let first = |list: &VecDeque<(u64, Arc<str>)>| list.front().map(|(place, _)| *place);
        let list = match (first(&self.trusted), first(&self.others).filter(|_| hope)) {
            (Some(a), Some(b)) if b < a => &mut self.others,
            (Some(_), _) => &mut self.trusted,
            (None, _) if hope => &mut self.others,
            (None, _) => return None,
        };
        list.pop_front()
    }

    /// The first place of those that are not trusted.
    pub fn first_of_others(&self) -> Option<&(u64, Arc<str>)> {
        self.others.front()
    }

    /// Drops that place, which is nobody's any more.
    pub fn drop_first_of_others(&mut self) {
        self.others.pop_front();
    }
}
