//! Counts messages by what they have in common. What is counted has no end; its groups are few.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::table::{Cell, Column};
use super::{Out, Stop};

/// See the module's header.
pub struct Tally {
    /// By what it counts: the names of columns, and of keys in JSON.
    by: Vec<&'static str>,
    groups: HashMap<Vec<String>, Group>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Group {
    count: u64,
    /// Unix milliseconds.
    oldest: u64,
    newest: u64,
}

impl Tally {
    pub fn new(by: Vec<&'static str>) -> Tally {
        Tally {
            by,
            groups: HashMap::new(),
        }
    }

    /// Counts one message of `time` that has these, in the order of the names.
    pub fn add(&mut self, group: Vec<String>, time: u64) {
        let group = self.groups.entry(group).or_insert(Group {
            count: 0,
            oldest: time,
            newest: time,
        });
        group.count += 1;
        group.oldest = group.oldest.min(time);
        group.newest = group.newest.max(time);
    }

    pub fn total(&self) -> u64 {
        self.groups.values().map(|group| group.count).sum()
    }

    /// The time of the oldest of all.
    pub fn oldest(&self) -> Option<u64> {
        self.groups.values().map(|group| group.oldest).min()
    }

    /// The largest groups first.
    fn sorted(&self) -> Vec<(&Vec<String>, Group)> {
        let mut sorted: Vec<_> = self.groups.iter().map(|(names, g)| (names, *g)).collect();
        sorted.sort_by_key(|(names, group)| (Reverse(group.count), *names));
        sorted
    }

    /// `477 exhausted, 3 gone`: the largest groups in words.
    pub fn summary(&self) -> String {
        const SHOWN: usize = 3;
        let sorted = self.sorted();
        let shown = sorted.iter().take(SHOWN);
        let words = shown.map(|(names, group)| format!("{} {}", group.count, names.join(" ")));
        let mut words: Vec<String> = words.collect();
        let others: u64 = sorted
            .iter()
            .skip(SHOWN)
            .map(|(_, group)| group.count)
            .sum();
        if others > 0 {
            words.push(format!("{others} others"));
        }
        words.join(", ")
    }

    pub fn print(&self, json: bool) -> Result<(), Stop> {
        let mut columns = vec![Column::number("count")];
        columns.extend(self.by.iter().map(|name| Column::cut(name, 20)));
        columns.extend([Column::whole("oldest"), Column::whole("newest")]);
        let mut out = Out::list(json, &columns);
        for (names, group) in self.sorted() {
            let object = || {
                let names = self.by.iter().zip(names);
                let names = names.map(|(by, name)| ((*by).to_owned(), Value::from(&**name)));
                let mut object: Map<String, Value> = names.collect();
                object.insert("count".into(), group.count.into());
                object.insert("oldest_ms".into(), group.oldest.into());
                object.insert("newest_ms".into(), group.newest.into());
                object
            };
            let cells = || {
                let mut cells = vec![Cell::Count(group.count)];
                cells.extend(names.iter().map(|name| Cell::Text(name.clone())));
                cells.extend([Cell::Time(group.oldest), Cell::Time(group.newest)]);
                cells
            };
            out.row(object, cells)?;
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_and_the_largest_come_first() {
        let mut tally = Tally::new(vec!["reason"]);
        assert_eq!((tally.total(), tally.oldest()), (0, None));
        for (n, reason) in ["gone", "bad_url", "gone", "expired", "bad_json", "gone"]
            .into_iter()
            .enumerate()
        {
            tally.add(vec![reason.into()], 100 - n as u64);
        }
        assert_eq!((tally.total(), tally.oldest()), (6, Some(95)));
        assert_eq!(tally.summary(), "3 gone, 1 bad_json, 1 bad_url, 1 others");
        let (names, group) = tally.sorted()[0];
        assert_eq!((&*names[0], group.oldest, group.newest), ("gone", 95, 100));
    }
}
