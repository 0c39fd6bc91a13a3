//! A store in memory, whose moods are drawn from a seed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::delivery::receipt::{Unmoved, Why};
use crate::delivery::record::{Move, MoveKind, Notice, NoticeKind};
use crate::dice::Dice;
use crate::message::entry::EntryId;
use crate::service::boot_clock::boot_time;
use crate::store::{Store, StoreError};

/// What the store does with one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Takes,
    Refuses,
    Silent,
    /// It does what it was asked, and nobody hears of it.
    LosesItsAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Move(MoveKind),
    Notice(NoticeKind),
}

/// Who has an entry that is pending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Owner {
    Us,
    Others,
}

/// All that is in the store, and what it was asked.
pub struct World {
    dice: Dice,
    pub is_calm: bool,
    pub pending: HashMap<EntryId, Owner>,
    /// How often each was parked, buried or put behind another for us.
    pub kept: HashMap<String, usize>,
    /// Those of which the answer was lost.
    pub repeated: HashSet<String>,
    pub requests: Vec<(Kind, Mood)>,
}

impl World {
    pub fn new(dice: Dice) -> World {
        World {
            dice,
            is_calm: false,
            pending: HashMap::new(),
            kept: HashMap::new(),
            repeated: HashSet::new(),
            requests: Vec::new(),
        }
    }

    fn mood(&mut self, kind: Kind) -> Mood {
        let mood = match self.dice.below(10) {
            _ if self.is_calm => Mood::Takes,
            0 | 1 => Mood::Refuses,
            2 => Mood::Silent,
            3 => Mood::LosesItsAnswer,
            _ => Mood::Takes,
        };
        self.requests.push((kind, mood));
        mood
    }

    /// Makes one move true, or says why not.
    fn make(&mut self, one: &Move) -> Result<(), Why> {
        if let Some(entry) = one.entry() {
            match self.pending.get(&entry) {
                _ if matches!(one, Move::Settle(_) | Move::Advance(..)) => {}
                Some(Owner::Us) => {}
                Some(Owner::Others) => return Err(Why::Taken),
                None => return Err(Why::Gone),
            }
        }
        match one {
            Move::Note(..) | Move::Begin(_) => return Ok(()),
            // Every second is the head of its key.
            Move::Queue(delivery) if delivery.entry.unwrap().seq % 2 == 0 => return Ok(()),
            Move::Settle(_) | Move::Advance(..) => {}
            Move::Queue(_) | Move::Bury(_) | Move::Park(_) => {
                *self.kept.entry(name(one)).or_default() += 1;
            }
        }
        one.entry().map(|entry| self.pending.remove(&entry));
        match one {
            Move::Queue(_) => Err(Why::Follows),
            _ => Ok(()),
        }
    }
}

pub struct Twin(pub Arc<Mutex<World>>);

impl Twin {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

impl Store for Twin {
    fn write(
        &mut self,
        kind: MoveKind,
        moves: &[Move],
        _: Duration,
    ) -> Result<Unmoved, StoreError> {
        assert!(!moves.is_empty() && moves.iter().all(|one| one.kind() == kind));
        let asked = boot_time();
        while boot_time().since(asked).is_zero() {}
        let mut world = self.world();
        match world.mood(Kind::Move(kind)) {
            Mood::Refuses => return Err(StoreError::refusal("OOM")),
            Mood::Silent => return Err(StoreError::new("no answer")),
            Mood::LosesItsAnswer => {
                world.repeated.extend(moves.iter().map(name));
                moves.iter().for_each(|one| _ = world.make(one));
                return Err(StoreError::new("no answer"));
            }
            Mood::Takes => {}
        }
        let made = moves.iter().map(|one| world.make(one)).enumerate();
        Ok(made.filter_map(|(n, why)| Some((n, why.err()?))).collect())
    }

    fn notify(
        &mut self,
        kind: NoticeKind,
        notices: &[Notice],
        _: Duration,
    ) -> Result<(), StoreError> {
        assert!(!notices.is_empty() && notices.iter().all(|notice| notice.kind() == kind));
        let mut world = self.world();
        match world.mood(Kind::Notice(kind)) {
            Mood::Refuses => Err(StoreError::refusal("NOPERM")),
            Mood::Silent | Mood::LosesItsAnswer => Err(StoreError::new("no answer")),
            Mood::Takes => Ok(()),
        }
    }

    fn place(&self) -> String {
        "nowhere".into()
    }
}

/// The model's name of what is moved.
pub fn name(one: &Move) -> String {
    match (one, one.entry()) {
        (_, Some(entry)) => entry.to_string(),
        (one, None) => one.loss().unwrap(),
    }
}
