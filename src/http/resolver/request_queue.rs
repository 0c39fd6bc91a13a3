//! The queue of names that are to be looked up. Pure.
//!
//! Zones take turns, so that a thousand names of one owner stand behind each other and not
//! before everybody else's. Where the line is full, the first of the longest zone has to go.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::evictor::{Evictor, zone};
use super::number_map::NumberMap;

#[derive(Debug)]
pub struct RequestQueue {
    most: usize,
    /// The numbers of the names of each zone that stands in line; none of them is empty.
    zones: HashMap<Box<str>, VecDeque<u64>>,
    /// Zones in the order of their turns.
    turns: VecDeque<Box<str>>,
    names: NumberMap<u64, Arc<str>>,
    evictor: Evictor,
    last: u64,
}

impl RequestQueue {
    /// `most`: names in line.
    pub fn new(most: usize) -> RequestQueue {
        RequestQueue {
            most: most.max(1),
            zones: HashMap::new(),
            turns: VecDeque::new(),
            names: NumberMap::default(),
            evictor: Evictor::default(),
            last: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn most(&self) -> usize {
        self.most
    }

    /// Puts a name at the end of its zone. Answers the name that had to go for that, if one had to.
    pub fn push(&mut self, name: Arc<str>) -> Option<Arc<str>> {
        let displaced = match self.names.len() < self.most {
            true => None,
            false => self.displace(),
        };
        self.last += 1;
        let zone = zone(&name);
        match self.zones.get_mut(zone) {
            Some(numbers) => numbers.push_back(self.last),
            None => {
                self.zones.insert(zone.into(), [self.last].into());
                self.turns.push_back(zone.into());
            }
        }
        self.evictor.insert(zone, self.last);
        self.names.insert(self.last, name);
        displaced
    }

    /// The next name, of the zone whose turn it is.
    pub fn pop(&mut self) -> Option<Arc<str>> {
        let zone = self.turns.pop_front()?;
        let number = *self.zones[&zone].front().expect("none is empty");
        let name = self.take_out(number);
        if self.zones.contains_key(&zone) {
            self.turns.push_back(zone);
        }
        Some(name)
    }

    fn displace(&mut self) -> Option<Arc<str>> {
        let name = self.take_out(self.evictor.first_to_leave()?);
        let zone = zone(&name);
        if !self.zones.contains_key(zone) {
            self.turns.retain(|other| &**other != zone);
        }
        Some(name)
    }

    /// Takes out the first name of a zone.
    fn take_out(&mut self, number: u64) -> Arc<str> {
        let name = self.names.remove(&number).expect("it stands in line");
        let zone = zone(&name);
        self.evictor.remove(zone, number);
        let numbers = self.zones.get_mut(zone).expect("it has this name");
        debug_assert_eq!(numbers.front(), Some(&number));
        numbers.pop_front();
        if numbers.is_empty() {
            self.zones.remove(zone);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::{Dice, seeds};

    fn pop_all(line: &mut RequestQueue) -> Vec<String> {
        std::iter::from_fn(|| line.pop())
            .map(|name| name.to_string())
            .collect()
    }

    #[test]
    fn zones_take_turns() {
        let mut line = RequestQueue::new(100);
        for name in [
            "a.x.test", "b.x.test", "c.x.test", "a.y.test", "a.z.test", "b.z.test",
        ] {
            assert_eq!(line.push(name.into()), None);
        }
        let expected = [
            "a.x.test", "a.y.test", "a.z.test", "b.x.test", "b.z.test", "c.x.test",
        ];
        assert_eq!(pop_all(&mut line), expected);
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn where_it_is_full_the_first_of_the_longest_zone_goes() {
        let mut line = RequestQueue::new(4);
        for name in ["a.good.test", "a.bad.test", "b.bad.test", "c.bad.test"] {
            line.push(name.into());
        }
        assert_eq!(
            line.push("d.bad.test".into()).as_deref(),
            Some("a.bad.test")
        );
        assert_eq!(
            line.push("b.good.test".into()).as_deref(),
            Some("b.bad.test")
        );
        let expected = ["a.good.test", "c.bad.test", "b.good.test", "d.bad.test"];
        assert_eq!(pop_all(&mut line), expected);
    }

    #[test]
    fn nothing_is_lost_or_left_over_random_steps() {
        for seed in seeds(0..20) {
            let mut dice = Dice::new(seed);
            let (mut line, mut inside) = (RequestQueue::new(30), 0);
            for step in 0..3000 {
                dice.step();
                match dice.below(5) {
                    0..3 => {
                        let name = format!("n{step}.z{}.test", dice.below(6));
                        inside += 1 - usize::from(line.push(name.into()).is_some());
                    }
                    _ => inside -= usize::from(line.pop().is_some()),
                }
                assert_eq!(line.len(), inside);
                assert!(inside <= 30 && line.evictor.len() == inside);
                assert_eq!(line.turns.len(), line.zones.len());
            }
            assert_eq!(pop_all(&mut line).len(), inside);
            assert!(line.zones.is_empty() && line.turns.is_empty());
        }
    }
}
