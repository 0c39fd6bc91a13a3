//! Decides which member leaves where a bound that all share is reached.
//!
//! Names that never answer belong to somebody. The oldest member of the zone with the most members
//! leaves, so that nobody can fill the bound against others.
//! Pure: a member is a number that grows with its age order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// Members of all zones.
#[derive(Debug, Default)]
pub struct Evictor {
    /// Where each zone stands in `zones`.
    indexes: HashMap<Box<str>, usize>,
    /// Sets without members are used again.
    zones: Vec<BTreeSet<u64>>,
    empty: Vec<usize>,
    /// Size, oldest member and index of each zone; a member of the last one leaves first.
    sizes: BTreeSet<(usize, Reverse<u64>, usize)>,
    members: usize,
}

impl Evictor {
    pub fn len(&self) -> usize {
        self.members
    }

    /// Adds a member that is not there yet.
    pub fn insert(&mut self, zone: &str, member: u64) {
        let index = match self.indexes.get(zone) {
            Some(index) => *index,
            None => {
                let index = self.empty.pop().unwrap_or(self.zones.len());
                if index == self.zones.len() {
                    self.zones.push(BTreeSet::new());
                }
                self.indexes.insert(zone.into(), index);
                index
            }
        };
        self.change(index, |members| members.insert(member));
        self.members += 1;
    }

    /// Removes a member, if it is there.
    pub fn remove(&mut self, zone: &str, member: u64) {
        let Some(&index) = self.indexes.get(zone) else {
            return;
        };
        if !self.change(index, |members| members.remove(&member)) {
            return;
        }
        self.members -= 1;
        if self.zones[index].is_empty() {
            self.indexes.remove(zone);
            self.empty.push(index);
        }
    }

    /// The oldest member of the largest zone; among equals, the oldest of all.
    pub fn first_to_leave(&self) -> Option<u64> {
        self.sizes.last().map(|(_, Reverse(oldest), _)| *oldest)
    }

    /// Changes a zone, and where it stands among others.
    fn change(&mut self, index: usize, act: impl FnOnce(&mut BTreeSet<u64>) -> bool) -> bool {
        let members = &mut self.zones[index];
        let before = members.first().map(|&oldest| (members.len(), oldest));
        let changed = act(members);
        let after = members.first().map(|&oldest| (members.len(), oldest));
        if before != after {
            if let Some((size, oldest)) = before {
                self.sizes.remove(&(size, Reverse(oldest), index));
            }
            if let Some((size, oldest)) = after {
                self.sizes.insert((size, Reverse(oldest), index));
            }
        }
        changed
    }
}

/// The registrable domain of a name, nearly: its last two labels, or three where the last two
/// look like `co.uk`. A public suffix list would cost more than a wrong guess here does.
pub fn zone(name: &str) -> &str {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), Some(second)) = (dots.next(), dots.next()) else {
        return name;
    };
    let country = name.len() - last - 1 == 2 && last - second - 1 <= 3;
    match (country, dots.next()) {
        (false, _) => &name[second + 1..],
        (true, Some(third)) => &name[third + 1..],
        (true, None) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::{Dice, seeds};

    #[test]
    fn a_zone_is_what_one_owner_has() {
        for (name, expected) in [
            ("a.b.slow.test", "slow.test"),
            ("slow.test.", "slow.test"),
            ("x.y.example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("a.example.io", "example.io"),
            ("localhost", "localhost"),
            ("", ""),
        ] {
            assert_eq!(zone(name), expected, "{name}");
        }
    }

    #[test]
    fn the_oldest_of_the_largest_zone_leaves_first() {
        let mut evictor = Evictor::default();
        for (zone, member) in [("good", 1), ("bad", 2), ("bad", 3), ("bad", 4)] {
            evictor.insert(zone, member);
        }
        let mut left = Vec::new();
        while let Some(member) = evictor.first_to_leave() {
            let zone = if member == 1 { "good" } else { "bad" };
            evictor.remove(zone, member);
            left.push(member);
        }
        assert_eq!(left, [2, 3, 1, 4]);
        assert_eq!(evictor.len(), 0);
    }

    #[test]
    fn it_agrees_with_a_plain_list_over_random_steps() {
        for seed in seeds(0..20) {
            let mut dice = Dice::new(seed);
            let (mut evictor, mut plain) = (Evictor::default(), Vec::<(String, u64)>::new());
            for step in 0..2000 {
                dice.step();
                if !dice.once_in(3) || plain.is_empty() {
                    let zone = format!("z{}", dice.below(5));
                    evictor.insert(&zone, step);
                    plain.push((zone, step));
                } else {
                    let (zone, member) = plain.swap_remove(dice.index(plain.len()));
                    evictor.remove(&zone, member);
                    evictor.remove(&zone, member);
                }
                let size = |zone: &str| plain.iter().filter(|(z, _)| z == zone).count();
                let oldest =
                    |zone: &str| plain.iter().filter(|(z, _)| z == zone).map(|m| m.1).min();
                let expected = (0..5)
                    .map(|n| format!("z{n}"))
                    .filter(|z| size(z) > 0)
                    .max_by_key(|z| (size(z), Reverse(oldest(z))))
                    .and_then(|z| oldest(&z));
                assert_eq!(evictor.first_to_leave(), expected);
                assert_eq!(evictor.len(), plain.len());
            }
        }
    }
}
