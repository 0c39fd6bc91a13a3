//! The scheduler against its model, and a few of its promises by example.

pub(super) mod model;
mod simulation;

use super::*;
use model::{delivery, limits, now};

const SEEDS: u64 = 100;
const STEPS: usize = 2000;

#[test]
fn nothing_is_lost_early_late_or_in_two_places() {
    for seed in 0..SEEDS {
        model::run(seed, STEPS / 10 * (1 + seed as usize % 10));
    }
}

#[test]
fn lanes_take_turns_and_none_holds_more_than_its_window() {
    let now = now();
    let mut s = Scheduler::new(Limits::of_one_attempt(8, 2), Rules::default());
    for n in 0..50 {
        s.accept(delivery(&format!("busy{n}"), 1), now);
    }
    for n in 0..3 {
        s.accept(delivery(&format!("calm{n}"), 2), now);
    }
    let out: Vec<String> = std::iter::from_fn(|| s.next(now))
        .map(|d| d.message.id.to_string())
        .collect();
    assert_eq!(out, ["busy0", "calm0", "busy1", "calm1"]);
    assert_eq!(s.levels().in_flight, 4);
}

#[test]
fn bytes_bound_what_is_held_as_well_as_the_count() {
    let mut limits = limits(1);
    let now = now();
    (limits.near, limits.bridge) = (None, false);
    limits.max_active = 100;
    limits.max_active_bytes = 150;
    let mut s = Scheduler::new(limits, Rules::default());
    s.accept(delivery("a", 1), now);
    assert!(s.has_room());
    s.accept(delivery("b", 1), now);
    s.accept(delivery("c", 1), now);
    assert!(!s.has_room());
}

#[test]
fn the_first_of_a_key_that_has_waited_too_long_is_back_before_all_behind_it() {
    let (mut limits, mut at) = (limits(1), now());
    (limits.near, limits.bridge) = (Some(Duration::from_secs(30)), false);
    (limits.workers, limits.max_active, limits.share) = (0, 100, 100);
    limits.max_active_bytes = 1 << 20;
    limits.share_bytes = 1 << 20;
    let mut s = Scheduler::new(limits, Rules::default());
    let keyed = |n: usize| {
        let mut delivery = delivery(&n.to_string(), 1);
        delivery.message.overrides.order_key = Some("k".into());
        (delivery.leased, delivery.entry) = (at.mono, Some(EntryId { ms: 1, seq: 0 }));
        delivery
    };
    let first = keyed(0);
    let behind: Vec<Delivery> = (1..10_000).map(keyed).collect();
    s.accept(first, at);
    for delivery in &behind {
        s.chains.send_away(delivery, at.unix_ms + 60_000);
    }
    at.mono += Duration::from_secs(31);
    at.unix_ms += 31_000;
    s.tick(at);
    match s.outbox().pop_front() {
        Some(Record::Park(parked)) => assert!(parked.due <= at.unix_ms + 1000, "{parked:?}"),
        other => panic!("{other:?}"),
    }
}
