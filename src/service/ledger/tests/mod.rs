//! The ledger beside a store in memory that takes, refuses, is silent and loses its answers, drawn
//! from a seed.
//!
//! Records are given at random, among them moves of entries that others have taken over or settled.
//! After each write the model checks which requests the store saw: one a kind, in the order of kinds,
//! none after one that was not answered, and none left out because another kind was refused. At the
//! end the store takes all that is left. Then each move was made once, or its message is known to be
//! others'; each attempt that was to begin has begun if its entry is ours, and else was given back;
//! each entry that was to be moved stands in one receipt; and no notice is in the ledger's way.

mod twin;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, unbounded};

use super::*;
use crate::delivery::parked::{Parked, Until};
use crate::delivery::receipt::Turn;
use crate::delivery::record::{Move, MoveKind};
use crate::delivery::status_update::StatusUpdate;
use crate::delivery::{DeadReason, Delivery};
use crate::dice::{Dice, seeds};
use crate::message::Message;
use crate::message::endpoint::Endpoint;
use crate::message::entry::EntryId;
use crate::service::channel::byte_bound::{TrySender, from_timer};
use crate::service::channel::wake::waker;
use crate::service::channel::work_queue;
use crate::service::drain::drain;

use twin::{Kind, Mood, Owner, Twin, World, name};

const SEEDS: u64 = 300;
const WRITES: usize = 40;

fn delivery(id: &str, entry: Option<EntryId>) -> Delivery {
    let raw = format!(r#"{{"url":"http://h/","webhookId":"{id}","data":1}}"#);
    let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
    let message = Message::parse(raw.into_bytes(), 1000, || unreachable!(), endpoint);
    Delivery {
        entry,
        ..Delivery::new(message.unwrap(), "test".into(), 0, boot_time())
    }
}

struct Model {
    world: Arc<Mutex<World>>,
    ledger: Ledger,
    batch: Batch,
    summary: LedgerSummary,
    records: TrySender<Record>,
    receipts: Receiver<Receipt>,
    taker: work_queue::WorkReceiver<Job>,
    dice: Dice,
    next: u64,
    /// Moves that were given, by kind, and whether others had their entry then.
    given: BTreeMap<MoveKind, Vec<(String, bool)>>,
    begun: HashMap<EntryId, bool>,
}

impl Model {
    fn new(seed: u64) -> Model {
        let world = Arc::new(Mutex::new(World::new(Dice::part(seed, 1))));
        let (waker, _) = waker();
        let (work, mut takers) = work_queue::queue(WRITES * 12);
        let (receipt, receipts) = unbounded();
        let (last, drain) = drain(waker.clone());
        let (to, records) = from_timer(CAPACITY, waker.clone());
        let ends = Ends {
            records,
            receipts: WakingSender::new(receipt, waker),
            work,
            drain,
            last: Some(last),
        };
        let store = Box::new(Twin(world.clone()));
        let outage = OutageTracker::new("test");
        let ledger = Ledger::new(ends, store, Duration::ZERO, Duration::MAX, outage);
        Model {
            world,
            ledger,
            batch: Batch::default(),
            summary: LedgerSummary::default(),
            records: to,
            receipts,
            taker: takers.remove(0),
            dice: Dice::new(seed),
            next: 0,
            given: BTreeMap::new(),
            begun: HashMap::new(),
        }
    }

    /// A new entry, which may be others' by the time it is moved.
    fn entry(&mut self) -> EntryId {
        self.next += 1;
        let entry = EntryId::new(1, self.next);
        let owner = match self.dice.below(6) {
            0 => Some(Owner::Others),
            1 => None,
            _ => Some(Owner::Us),
        };
        let mut world = self.world.lock().unwrap();
        owner.map(|owner| world.pending.insert(entry, owner));
        entry
    }

    fn give(&mut self) {
        let entry = self.entry();
        let id = format!("m{}", self.next);
        let with_entry = self.dice.once_in(2);
        let kept = with_entry.then_some(entry);
        let until = match self.dice.once_in(2) {
            true => Until::Due(0),
            false => Until::Released {
                name: "http://h".into(),
                first: false,
            },
        };
        let one = match self.dice.below(10) {
            0 => Move::Settle(entry),
            1 => Move::Advance(entry, "key".into()),
            2 => Move::Queue(delivery(&id, Some(entry)).into()),
            3 => Move::Note(entry, 1),
            4 => Move::Begin(Job::of(delivery(&id, Some(entry))).into()),
            5 => {
                let detail = "planted".into();
                Move::Bury(
                    delivery(&id, kept)
                        .bury(DeadReason::TooOld, detail, 0)
                        .into(),
                )
            }
            6 => Move::Park(Parked::new(delivery(&id, kept), until).into()),
            _ => return self.give_notice(&id, entry),
        };
        let is_lost = {
            let world = self.world.lock().unwrap();
            one.entry()
                .is_some_and(|entry| world.pending.get(&entry) != Some(&Owner::Us))
        };
        if let Move::Begin(job) = &one {
            self.begun.insert(job.delivery.entry.unwrap(), is_lost);
        }
        let given = self.given.entry(one.kind()).or_default();
        given.push((name(&one), is_lost));
        self.records.try_send(one.into()).unwrap();
    }

    fn give_notice(&mut self, id: &str, entry: EntryId) {
        let notice = match self.dice.below(3) {
            0 => Notice::Gone("http://h/".into(), Duration::from_secs(1)),
            _ => {
                let update = StatusUpdate::of(&delivery(id, Some(entry)), true, 0);
                Notice::Status(Box::new(update(Disposition::Delivered)))
            }
        };
        self.records.try_send(notice.into()).unwrap();
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.batch.fill(&self.ledger.ends.records, None);
        let moves = self.batch.moves.keys().map(|kind| Kind::Move(*kind));
        let notices = self.batch.notices.keys().map(|kind| Kind::Notice(*kind));
        let kinds: Vec<Kind> = moves.chain(notices).collect();
        let written = self.ledger.write(&mut self.batch, &mut self.summary, None);
        let requests = std::mem::take(&mut self.world.lock().unwrap().requests);
        let is_silent =
            |(_, mood): &(Kind, Mood)| matches!(mood, Mood::Silent | Mood::LosesItsAnswer);
        let end = requests.iter().position(is_silent);
        let asked: Vec<Kind> = requests.iter().map(|(kind, _)| *kind).collect();
        match end {
            None => assert_eq!(asked, kinds),
            Some(last) => {
                assert_eq!(last + 1, asked.len());
                assert!(kinds.starts_with(&asked));
            }
        }
        let is_move = |(kind, _): &&(Kind, Mood)| matches!(kind, Kind::Move(_));
        let mut failed = requests.iter().filter(|(kind, mood)| match kind {
            // What is refused of these is given up.
            Kind::Notice(_) => *mood != Mood::Takes && *mood != Mood::Refuses,
            Kind::Move(_) => *mood != Mood::Takes,
        });
        assert_eq!(written.is_err(), failed.next().is_some());
        let all_moved = requests
            .iter()
            .filter(is_move)
            .all(|(_, mood)| *mood == Mood::Takes);
        if all_moved {
            assert!(self.batch.moves.is_empty());
        }
        written
    }

    fn check_end(self) {
        assert!(self.summary.lost.is_empty());
        let receipts: Vec<Receipt> = self.receipts.try_iter().collect();
        self.check_moved(&receipts);
        self.check_turns(&receipts);
        self.check_attempts(&receipts);
    }

    fn given(&self, kind: MoveKind) -> impl Iterator<Item = &(String, bool)> {
        self.given.get(&kind).into_iter().flatten()
    }

    /// What was parked or buried is so once, and stands in one receipt.
    fn check_moved(&self, receipts: &[Receipt]) {
        let world = self.world.lock().unwrap();
        let given = || self.given(MoveKind::Bury).chain(self.given(MoveKind::Park));
        for (name, is_lost) in given() {
            let kept = world.kept.get(name).copied().unwrap_or(0);
            match is_lost {
                true => assert_eq!(kept, 0, "{name}"),
                // An entry is there to be taken once.
                false if name.contains('-') => assert_eq!(kept, 1, "{name}"),
                false => assert!(
                    kept == 1 || kept > 1 && world.repeated.contains(name),
                    "{name}: {kept}"
                ),
            }
        }
        let entries = given().map(|(name, _)| name.clone());
        let mut entries: Vec<String> = entries.filter(|name| name.contains('-')).collect();
        let moved = receipts.iter().flat_map(|receipt| &receipt.moved);
        let mut moved: Vec<String> = moved.map(EntryId::to_string).collect();
        entries.sort();
        moved.sort();
        assert_eq!(moved, entries);
        let lost = given().filter(|(_, is_lost)| *is_lost).count() as u64;
        let counted = receipts
            .iter()
            .map(|r| r.not_parked + r.not_deferred + r.not_buried);
        // What is gone while answers are lost may have been moved by us.
        assert!(counted.sum::<u64>() <= lost);
    }

    /// Each learns whose turn it is.
    fn check_turns(&self, receipts: &[Receipt]) {
        let turns = receipts.iter().flat_map(|receipt| &receipt.turns);
        let turns: HashMap<String, Turn> = turns
            .map(|(delivery, turn)| (delivery.entry.unwrap().to_string(), *turn))
            .collect();
        assert_eq!(turns.len(), self.given(MoveKind::Queue).count());
        for (name, is_lost) in self.given(MoveKind::Queue) {
            let is_head = name.ends_with(['0', '2', '4', '6', '8']);
            match (turns[name], is_lost, is_head) {
                (Turn::Head, false, true) | (Turn::Follows, false, false) => {}
                (Turn::Lost, true, _) => {}
                // What is gone may be so because the answer was lost.
                (Turn::Follows, true, _) => {}
                odd => panic!("{name}: {odd:?}"),
            }
        }
    }

    /// Each begins that is ours, and the others are given back.
    fn check_attempts(self, receipts: &[Receipt]) {
        let Model {
            ledger,
            taker,
            begun,
            ..
        } = self;
        // The queue ends with it.
        drop(ledger);
        let work: Vec<Job> = taker.collect();
        let is_lost = |job: &Job| begun[&job.delivery.entry.unwrap()];
        assert!(!work.iter().any(is_lost));
        let not_begun = receipts.iter().flat_map(|receipt| &receipt.not_begun);
        assert!(not_begun.clone().all(is_lost));
        assert_eq!(work.len() + not_begun.count(), begun.len());
    }
}

#[test]
fn each_move_is_made_once_whatever_the_store_does() {
    for seed in seeds(0..SEEDS) {
        let mut model = Model::new(seed);
        for _ in 0..WRITES {
            model.dice.step();
            (0..=model.dice.below(7)).for_each(|_| model.give());
            let _ = model.write();
        }
        model.world.lock().unwrap().is_calm = true;
        model.give();
        model.write().unwrap();
        assert!(model.batch.is_empty());
        model.check_end();
    }
}

#[test]
fn what_was_noted_too_late_is_noted_again() {
    let mut model = Model::new(1);
    let entry = EntryId::new(1, 1);
    let mut world = model.world.lock().unwrap();
    world.is_calm = true;
    world.pending.insert(entry, Owner::Us);
    drop(world);
    let begin = Move::Begin(Job::of(delivery("a", Some(entry))).into());
    model.records.try_send(begin.into()).unwrap();
    for begin_within in [Duration::ZERO, Duration::MAX] {
        assert!(model.batch.fill(&model.ledger.ends.records, None));
        model.ledger.begin_within = begin_within;
        let Model {
            ledger,
            batch,
            summary,
            ..
        } = &mut model;
        ledger.write(batch, summary, None).unwrap();
        assert_eq!(batch.is_empty(), begin_within == Duration::MAX);
    }
    drop(model.ledger);
    assert_eq!(model.taker.count(), 1);
}
