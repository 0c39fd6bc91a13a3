//! The lanes with work and room, in rotation.
//!
//! Lanes stand in lists by how far they are trusted with workers, so that a list can be passed over.
//! Places are numbered across all lists, so it is one rotation all the same. A lane knows its place. When
//! it changes lists, it leaves a place behind that is nobody's.

use std::collections::VecDeque;

use crate::delivery::LaneId;
use crate::scheduler::lane::Class;

/// A lane's place in the rotation.
pub type Ticket = (u64, LaneId);

/// See the module's header.
#[derive(Debug, Default)]
pub struct Rotation {
    trusted: VecDeque<Ticket>,
    untried: VecDeque<Ticket>,
    unproven: VecDeque<Ticket>,
    failing: VecDeque<Ticket>,
    place: u64,
}

impl Rotation {
    /// Puts a lane at the end of its list. Answers its place.
    pub fn push(&mut self, lane: LaneId, class: Class) -> u64 {
        self.place += 1;
        let place = self.place;
        self.list(class).push_back((place, lane));
        place
    }

    fn list(&mut self, class: Class) -> &mut VecDeque<Ticket> {
        match class {
            Class::Trusted => &mut self.trusted,
            Class::Untried => &mut self.untried,
            Class::Unproven => &mut self.unproven,
            Class::Failing => &mut self.failing,
        }
    }

    /// The next place. Lanes that are not trusted have a turn only if `others`, and lanes that fail only if
    /// `failing` too. An untried lane goes before an unproven one, and that before a failing one.
    pub fn next(&mut self, others: bool, failing: bool) -> Option<Ticket> {
        let order = [
            (Class::Untried, others),
            (Class::Unproven, others),
            (Class::Failing, others && failing),
        ];
        let mut allowed = order.into_iter().filter(|(_, is_allowed)| *is_allowed);
        let other = allowed.find(|(class, _)| !self.list(*class).is_empty());
        let first = |list: &VecDeque<Ticket>| list.front().map(|(place, _)| *place);
        let class = match (first(&self.trusted), other) {
            (Some(a), Some((class, _))) if first(self.list(class)) < Some(a) => class,
            (Some(_), _) => Class::Trusted,
            (None, Some((class, _))) => class,
            (None, None) => return None,
        };
        self.list(class).pop_front()
    }

    /// The untried lane that came last.
    pub fn newest(&mut self) -> Option<Ticket> {
        self.untried.pop_back()
    }

    pub fn has_untried(&self) -> bool {
        !self.untried.is_empty()
    }

    /// The first place of the lanes that are not trusted.
    pub fn first_of_others(&mut self) -> Option<Ticket> {
        let classes = [Class::Untried, Class::Unproven, Class::Failing];
        let mut classes = classes.into_iter();
        classes.find_map(|class| self.list(class).front().copied())
    }

    /// Drops the place that [`Rotation::first_of_others`] answers, because it is nobody's any more.
    pub fn drop_first_of_others(&mut self) {
        for class in [Class::Untried, Class::Unproven, Class::Failing] {
            if self.list(class).pop_front().is_some() {
                return;
            }
        }
    }
}
