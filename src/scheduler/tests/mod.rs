//! The scheduler against its model, and a few of its promises by example.

mod asking;
mod backlogs;
pub(super) mod model;
mod simulation;
mod soup;

use super::*;
use crate::delivery::{Exchange, FaultKind};
use crate::entry::EntryId;
use crate::hold::Hold;
use crate::record::{Parked, Receipt, Until};
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
    let ids = |out: &[Delivery]| -> Vec<String> {
        out.iter().map(|d| d.message.id.to_string()).collect()
    };
    // One each until it has answered, as there are few workers.
    let out: Vec<Delivery> = std::iter::from_fn(|| s.next(now)).collect();
    assert_eq!(ids(&out), ["busy0", "calm0"]);
    for delivery in out {
        s.finish(delivery, answered(), now);
    }
    let out: Vec<Delivery> = std::iter::from_fn(|| s.next(now)).collect();
    assert_eq!(ids(&out), ["busy1", "calm1", "busy2", "calm2"]);
    assert_eq!(s.levels().in_flight, 4);
}

#[test]
fn bytes_bound_what_is_held_as_well_as_the_count() {
    let mut limits = limits(1);
    let now = now();
    (limits.near, limits.bridge) = (None, false);
    limits.max_active = 100;
    limits.max_active_bytes = 120;
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
        (delivery.leased, delivery.entry) = (at.boot, Some(EntryId::new(1, 0)));
        delivery
    };
    let first = keyed(0);
    let behind: Vec<Delivery> = (1..10_000).map(keyed).collect();
    s.accept(first, at);
    for delivery in &behind {
        s.chains.send_away(delivery, at.unix_ms + 60_000);
    }
    at.mono += Duration::from_secs(31);
    at.boot = model::boot(Duration::from_secs(31));
    at.unix_ms += 31_000;
    s.tick(at);
    match s.outbox().pop_front() {
        Some(Record::Park(parked)) => assert!(due(&parked) <= at.unix_ms + 1000, "{parked:?}"),
        other => panic!("{other:?}"),
    }
}

fn dead(s: &mut Scheduler) -> Vec<DeadLetter> {
    let letters = s.outbox().drain(..).filter_map(|record| match record {
        Record::Bury(letter) => Some(letter),
        _ => None,
    });
    letters.collect()
}

fn parked(s: &mut Scheduler) -> Vec<Parked> {
    let parked = s.outbox().drain(..).filter_map(|record| match record {
        Record::Park(parked) => Some(parked),
        _ => None,
    });
    parked.collect()
}

fn due(parked: &Parked) -> u64 {
    match parked.until {
        Until::Due(due) => due,
        Until::Released { .. } => panic!("deferred: {parked:?}"),
    }
}

/// With a store, room for a hundred, and a lease of a minute.
fn leasing() -> Scheduler {
    let mut limits = limits(1);
    (limits.near, limits.bridge) = (Some(Duration::from_secs(30)), false);
    (limits.workers, limits.max_active, limits.share) = (8, 100, 100);
    (limits.max_active_bytes, limits.share_bytes) = (1 << 20, 1 << 20);
    (limits.tells, limits.lane_by_url) = (false, false);
    Scheduler::new(limits, Rules::default())
}

fn entry(n: u64, now: Now) -> Delivery {
    Delivery {
        entry: Some(EntryId::new(n, 0)),
        leased: now.boot,
        ..delivery(&format!("m{n}"), n)
    }
}

fn later(now: Now, seconds: u64) -> Now {
    Now {
        mono: now.mono + Duration::from_secs(seconds),
        boot: model::boot(Duration::from_secs(seconds)),
        unix_ms: now.unix_ms + seconds * 1000,
    }
}

#[test]
fn an_entry_that_is_on_its_way_into_the_store_is_not_taken_in_a_second_time() {
    let (mut s, at) = (leasing(), now());
    s.accept(entry(1, at), at);
    s.cut(at);
    assert!(matches!(s.outbox().pop_front(), Some(Record::Park(_))));
    // Its move is not confirmed: whoever took it in now would deliver it as well.
    s.accept(entry(1, at), at);
    assert_eq!((s.active(), s.stats().held_already), (0, 1));
    let moved = vec![EntryId::new(1, 0)];
    s.take_receipt(
        Receipt {
            moved,
            ..Receipt::default()
        },
        at,
    );
    s.accept(entry(1, at), at);
    assert_eq!(s.stats().accepted, 2);
}

#[test]
fn who_was_suspended_drops_what_has_lapsed_wherever_it_stands_and_lets_those_behind_go_on() {
    let (mut s, at) = (leasing(), now());
    assert_eq!(s.wake(at), None);
    let keyed = |n: u64, at: Now| {
        let mut delivery = entry(n, at);
        delivery.message.overrides.order_key = Some("k".into());
        delivery
    };
    // Queued, behind it, in flight, waiting for its time, and one that memory alone holds.
    s.accept(keyed(1, at), at);
    s.accept(keyed(2, at), at);
    let mut waiting = entry(3, at);
    waiting.message.deliver_at = Some(at.unix_ms + 20_000);
    s.accept(waiting, at);
    s.accept(delivery("memory", 9), at);
    let soon = later(at, 25);
    s.accept(keyed(4, soon), soon);
    let wakes = later(at, 61);
    let (length, dropped) = s.wake(wakes).unwrap();
    assert_eq!((length, dropped), (Duration::from_secs(61), 3));
    s.tick(wakes);
    let mut out: Vec<(String, bool)> = std::iter::from_fn(|| s.next(wakes))
        .map(|d| (d.message.id.to_string(), d.notes_first()))
        .collect();
    out.sort();
    assert_eq!(s.stats().lapsed, 3);
    // The one behind it is old, and asks before it is tried.
    assert_eq!(out, [("m4".into(), true), ("memory".into(), false)]);
    assert!(matches!(s.outbox().pop_front(), Some(Record::Note(entry, 0)) if entry.ms == 4));
    // What comes now was read before.
    s.accept(entry(5, at), wakes);
    assert_eq!((s.active(), s.stats().held_already), (2, 1));
}

#[test]
fn what_waits_through_pauses_is_renewed_and_asks_before_its_first_attempt() {
    let (mut s, mut at) = (leasing(), now());
    let hold = |at: Now| Hold {
        cause: crate::hold::Cause::Paused,
        until: at.mono.checked_add(Duration::from_secs(25)),
    };
    s.hold("http://h1".into(), hold(at), at);
    // One with a key waits for the end of the pause, and not in a backlog.
    let mut keyed = entry(1, at);
    keyed.message.overrides.order_key = Some("k".into());
    s.accept(keyed, at);
    assert!(s.outbox().is_empty(), "its lease is new");
    for n in 1..5 {
        at = later(now(), 24 * n);
        s.hold("http://h1".into(), hold(at), at);
        at = later(now(), 24 * n + 1);
        s.tick(at);
        let note = s.outbox().pop_front();
        assert!(matches!(note, Some(Record::Note(_, 0))), "{n}: {note:?}");
    }
    s.resume("http://h1", at);
    at = later(now(), 24 * 4 + 1 + 24);
    s.tick(at);
    assert!(s.next(at).unwrap().notes_first());
}

fn answered() -> Attempt {
    Attempt {
        at: 0,
        took: Duration::ZERO,
        result: Exchange::Answer {
            status: 200,
            retry_after: None,
            body: Box::default(),
        },
    }
}

fn refused() -> Attempt {
    Attempt {
        at: 0,
        took: Duration::ZERO,
        result: Exchange::Fault {
            kind: FaultKind::Connect,
            text: "refused".into(),
        },
    }
}

/// Four attempts at host 1 fail, which closes it.
fn close_host(s: &mut Scheduler, at: Now) {
    for n in 0..4 {
        let received = at.unix_ms;
        let new = delivery(&format!("x{n}"), 1);
        s.accept(Delivery { received, ..new }, at);
    }
    while let Some(delivery) = s.next(at) {
        s.finish(delivery, refused(), at);
    }
    s.outbox().clear();
}

#[test]
fn what_waits_ends_when_it_is_too_old_and_says_how_often_and_why_it_failed() {
    let (mut s, mut at) = (leasing(), now());
    at.unix_ms = 10_000_000;
    s.limits.max_age = Duration::from_secs(100);
    s.limits.schedule.attempts = 1000;
    let received = |seconds_ago: u64, n: u64| Delivery {
        received: at.unix_ms - seconds_ago * 1000,
        ..entry(n, at)
    };
    // Too old when it comes, never tried; and after three attempts before it was parked.
    s.accept(received(100, 2), at);
    let tried = Delivery {
        attempts: 3,
        carried: 3,
        failed_before: Some("status=503".into()),
        ..received(101, 3)
    };
    s.accept(tried, at);
    let letters = dead(&mut s);
    assert!(letters.iter().all(|l| l.reason == DeadReason::TooOld));
    assert!(
        letters[0]
            .detail
            .contains("1m 40s (--max-age): attempts made: 0")
    );
    assert!(
        letters[1]
            .detail
            .contains("attempts made: 3, the last: status=503")
    );
    // From its deliverAt on.
    let mut later_one = received(1000, 4);
    later_one.message.deliver_at = Some(at.unix_ms - 99_000);
    s.accept(later_one, at);
    assert_eq!(s.active(), 1);
    assert!(s.next(at).is_some());
    // Behind a closed endpoint, in memory alone.
    close_host(&mut s, at);
    s.accept(
        Delivery {
            received: at.unix_ms - 95_000,
            ..delivery("memory", 1)
        },
        at,
    );
    let mut then = later(now(), 6);
    then.unix_ms = at.unix_ms + 6000;
    s.tick(then);
    let letters = dead(&mut s);
    let (id, detail) = (letters[0].id.clone(), &letters[0].detail);
    assert_eq!(
        (id.as_deref(), letters[0].reason),
        (Some("memory"), DeadReason::TooOld)
    );
    assert!(
        detail.contains("failing, with error=connect (refused)"),
        "{detail}"
    );
}
