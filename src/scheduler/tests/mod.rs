//! The scheduler against its model, and a few of its promises by example.

mod asking;
mod backlogs;
mod missing_secrets;
pub(super) mod model;
mod simulation;
mod soup;
mod waiting_for;

use std::time::Duration;

use super::*;
use crate::delivery::parked::Parked;
use crate::delivery::receipt::{Receipt, Turn};
use crate::delivery::retry_schedule::{Delays, RetrySchedule};
use crate::delivery::{AttemptResult, Attempts, FailureKind};
use crate::dice::seeds;
use crate::message::entry::EntryId;
use model::{delivery, now};

const SEEDS: u64 = 100;
const STEPS: usize = 2000;

/// For examples: no store, room for all, one attempt at an endpoint at a time.
fn limits() -> Limits {
    Limits {
        lanes: lane::LaneLimits {
            window: 1,
            backoff_base: Duration::from_millis(20),
            backoff_max: Duration::from_millis(150),
        },
        schedule: RetrySchedule {
            attempts: 4,
            delays: Delays::Doubling {
                base: Duration::from_millis(100),
                max: Duration::from_millis(300),
            },
            jitter: 0.2,
        },
        ..Limits::of_one_attempt(8, 1)
    }
}

#[test]
fn nothing_is_lost_early_late_or_in_two_places() {
    for seed in seeds(0..SEEDS) {
        model::run(seed, STEPS / 10 * (1 + seed as usize % 10));
    }
}

#[test]
fn lanes_take_turns_and_none_holds_more_than_its_window() {
    let now = now();
    let mut s = Scheduler::new(Limits::of_one_attempt(8, 2), EndpointRules::default());
    for n in 0..50 {
        s.accept(delivery(&format!("busy{n}"), 1), now);
    }
    for n in 0..3 {
        s.accept(delivery(&format!("calm{n}"), 2), now);
    }
    let ids = |out: &[Job]| -> Vec<String> {
        out.iter()
            .map(|job| job.delivery.message.id.to_string())
            .collect()
    };
    // One each until it has answered, as there are few workers.
    let out: Vec<Job> = std::iter::from_fn(|| s.next(now)).collect();
    assert_eq!(ids(&out), ["busy0", "calm0"]);
    for job in out {
        s.finish(job, answered(), now);
    }
    let out: Vec<Job> = std::iter::from_fn(|| s.next(now)).collect();
    assert_eq!(ids(&out), ["busy1", "calm1", "busy2", "calm2"]);
    assert_eq!(s.levels().in_flight, 4);
}

#[test]
fn bytes_bound_what_is_held_as_well_as_the_count() {
    let limits = Limits {
        max_active_bytes: 120,
        ..limits()
    };
    let now = now();
    let mut s = Scheduler::new(limits, EndpointRules::default());
    s.accept(delivery("a", 1), now);
    assert!(s.has_room());
    s.accept(delivery("b", 1), now);
    s.accept(delivery("c", 1), now);
    assert!(!s.has_room());
}

fn keyed(id: &str, entry: Option<u64>, at: Now) -> Delivery {
    let mut delivery = delivery(id, 1);
    delivery.message.overrides.order_key = Some("k".into());
    delivery.entry = entry.map(|n| EntryId::new(n, 0));
    delivery.lease_renewed_at = at.boot;
    delivery
}

/// The ledger asks the store whose turn it is.
fn answer_turns(s: &mut Scheduler, turn: Turn, at: Now) -> usize {
    let mut turns = Vec::new();
    for record in s.outbox().drain(..) {
        match record {
            Record::Move(Move::Queue(delivery)) => turns.push((*delivery, turn)),
            other => panic!("{other:?}"),
        }
    }
    let count = turns.len();
    let receipt = Receipt {
        turns,
        ..Receipt::default()
    };
    s.take_receipt(receipt, at);
    count
}

#[test]
fn the_store_says_whose_turn_it_is_and_is_told_when_that_one_is_settled() {
    let (mut s, at) = (leasing(), now());
    s.accept(keyed("a", Some(1), at), at);
    assert!(s.next(at).is_none(), "nobody knows yet");
    assert_eq!((s.active(), s.levels().lanes), (1, 0));
    assert_eq!(answer_turns(&mut s, Turn::Head, at), 1);
    let head = s.next(at).unwrap();
    assert_eq!(head.delivery.head.as_deref(), Some("http://h1 k"));
    s.accept(keyed("b", Some(2), at), at);
    assert_eq!(answer_turns(&mut s, Turn::Follows, at), 1);
    assert_eq!((s.active(), s.stats().deferred), (1, 1));
    s.accept(keyed("c", Some(3), at), at);
    assert_eq!(answer_turns(&mut s, Turn::Lost, at), 1);
    assert_eq!((s.active(), s.stats().lapsed), (1, 1));
    s.finish(head, answered(), at);
    match s.outbox().pop_front() {
        Some(Record::Move(Move::Advance(entry, key))) => {
            assert_eq!((entry.ms, &*key), (1, "http://h1 k"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((s.active(), s.levels().bytes), (0, 0));
}

#[test]
fn a_head_leaves_as_one_and_what_memory_alone_holds_is_added_in_order() {
    let (mut s, at) = (leasing(), now());
    s.accept(keyed("new", None, at), at);
    let mut head = keyed("head", Some(1), at);
    head.head = head.message.group();
    head.message.deliver_at = Some(at.unix_ms + 60_000);
    s.accept(head, at);
    let parked = parked(&mut s);
    let seen: Vec<_> = parked
        .iter()
        .map(|p| (p.is_ordered, p.head.as_deref()))
        .collect();
    assert_eq!(seen, [(true, None), (false, Some("http://h1 k"))]);
    assert_eq!((s.active(), s.levels().bytes), (0, 0));
}

#[test]
fn without_a_store_the_next_of_a_key_goes_when_the_one_before_it_is_settled() {
    let at = now();
    let mut s = Scheduler::new(Limits::of_one_attempt(8, 8), EndpointRules::default());
    for id in ["a", "b", "c"] {
        s.accept(keyed(id, None, at), at);
    }
    s.accept(delivery("free", 1), at);
    for (turn, attempt) in [("a", answered()), ("b", refused()), ("c", answered())] {
        let mut out: Vec<Job> = std::iter::from_fn(|| s.next(at)).collect();
        if turn == "a" {
            s.finish(out.pop().unwrap(), answered(), at);
        }
        let ids: Vec<&str> = out.iter().map(|job| &*job.delivery.message.id).collect();
        assert_eq!(ids, [turn]);
        s.finish(out.pop().unwrap(), attempt, at);
    }
    assert_eq!((s.active(), s.followers.len()), (0, 0));
    assert_eq!((s.stats().delivered, s.stats().dead), (3, 1));
}

fn dead(s: &mut Scheduler) -> Vec<DeadLetter> {
    let letters = s.outbox().drain(..).filter_map(|record| match record {
        Record::Move(Move::Bury(letter)) => Some(*letter),
        _ => None,
    });
    letters.collect()
}

fn parked(s: &mut Scheduler) -> Vec<Parked> {
    let parked = s.outbox().drain(..).filter_map(|record| match record {
        Record::Move(Move::Park(parked)) => Some(*parked),
        _ => None,
    });
    parked.collect()
}

/// With a store, room for a hundred, and a lease of a minute.
fn leasing() -> Scheduler {
    let near_window = Duration::from_secs(30);
    let limits = Limits {
        parking: Parking::InRedis { near_window },
        max_active: 100,
        share: 100,
        ..limits()
    };
    Scheduler::new(limits, EndpointRules::default())
}

fn entry(n: u64, now: Now) -> Delivery {
    Delivery {
        entry: Some(EntryId::new(n, 0)),
        lease_renewed_at: now.boot,
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
    assert!(matches!(
        s.outbox().pop_front(),
        Some(Record::Move(Move::Park(_)))
    ));
    // Its move is not confirmed: whoever took it in now would deliver it as well.
    s.accept(entry(1, at), at);
    assert_eq!((s.active(), s.stats().already_active), (0, 1));
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
fn who_was_suspended_drops_what_has_lapsed_wherever_it_stands() {
    let (mut s, at) = (leasing(), now());
    assert_eq!(s.wake(at), None);
    // Queued, waiting for its turn, for its time, and one that memory alone holds.
    s.accept(entry(1, at), at);
    s.accept(keyed("m2", Some(2), at), at);
    let mut waiting = entry(3, at);
    waiting.message.deliver_at = Some(at.unix_ms + 20_000);
    s.accept(waiting, at);
    s.accept(delivery("memory", 9), at);
    let soon = later(at, 25);
    s.accept(entry(4, soon), soon);
    let wakes = later(at, 61);
    let (length, dropped) = s.wake(wakes).unwrap();
    assert_eq!((length, dropped), (Duration::from_secs(61), 2));
    // It may have been its turn, but others have it by now.
    answer_turns(&mut s, Turn::Head, wakes);
    s.tick(wakes);
    let mut out: Vec<(String, bool)> = std::iter::from_fn(|| s.next(wakes))
        .map(|Job { delivery, .. }| (delivery.message.id.to_string(), delivery.notes_first()))
        .collect();
    out.sort();
    assert_eq!(s.stats().lapsed, 3);
    // That one is old, and waits better in the store.
    assert_eq!(out, [("memory".into(), false)]);
    let left = parked(&mut s);
    assert!(left.len() == 1 && &*left[0].id == "m4", "{left:?}");
    // What comes now was read before.
    s.accept(entry(5, at), wakes);
    assert_eq!((s.active(), s.stats().already_active), (1, 1));
}

#[test]
fn a_suspension_before_the_first_look_is_one_too() {
    let (mut s, at) = (leasing(), now());
    s.accept(entry(1, at), at);
    let slept = Now {
        mono: at.mono,
        ..later(at, 61)
    };
    assert_eq!(s.wake(slept), Some((Duration::from_secs(61), 1)));
    s.tick(slept);
    assert!(s.next(slept).is_none() && s.stats().lapsed == 1);
}

#[test]
fn what_would_outlive_its_lease_is_renewed_and_asks_before_its_first_attempt() {
    let (mut s, read) = (leasing(), now());
    let mut timed = entry(1, read);
    timed.message.deliver_at = Some(read.unix_ms + 35_000);
    let at = later(read, 10);
    s.accept(timed, at);
    let note = s.outbox().pop_front();
    assert!(
        matches!(note, Some(Record::Move(Move::Note(_, 0)))),
        "{note:?}"
    );
    let due = later(read, 35);
    s.tick(due);
    assert!(s.next(due).unwrap().delivery.notes_first());
}

fn answered() -> Attempt {
    Attempt {
        at: 0,
        took: Duration::ZERO,
        result: AttemptResult::Response {
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
        result: AttemptResult::Failure {
            kind: FailureKind::Connect,
            text: "refused".into(),
        },
    }
}

fn forbidden() -> Attempt {
    Attempt {
        result: AttemptResult::Failure {
            kind: FailureKind::Refused,
            text: "10.0.0.1 is refused".into(),
        },
        ..answered()
    }
}

#[test]
fn what_the_guard_refuses_is_dead_at_once_and_says_nothing_of_its_endpoint() {
    let (mut s, at) = (Scheduler::new(limits(), EndpointRules::default()), now());
    for n in 0..39 {
        s.accept(delivery(&format!("x{n}"), 1), at);
        let delivery = s.next(at).unwrap_or_else(|| panic!("closed after {n}"));
        let fate = s.finish(delivery, forbidden(), at);
        assert_eq!(fate, Disposition::Dead(DeadReason::RefusedAddress));
        match s.outbox().pop_front() {
            Some(Record::Move(Move::Bury(letter))) => {
                assert_eq!(
                    (letter.attempts, letter.detail.sentence()),
                    (0, "10.0.0.1 is refused")
                );
                assert!(letter.last.is_none());
            }
            other => panic!("{other:?}"),
        }
    }
    s.accept(delivery("last", 1), at);
    let last = s.next(at).expect("it is open");
    assert_eq!(s.finish(last, answered(), at), Disposition::Delivered);
    assert_eq!((s.stats().attempts, s.stats().dead), (1, 39));
}

#[test]
fn a_probe_that_the_guard_refuses_leaves_its_place_to_the_next() {
    let (mut s, at) = (leasing(), now());
    (s.limits.parking, s.limits.schedule.attempts) = (Parking::Nowhere, 9);
    close_host(&mut s, at);
    assert!(s.next(at).is_none(), "it is closed");
    let mut probes = 0;
    for minute in 1..20 {
        let then = later(at, 60 * minute);
        s.tick(then);
        while let Some(probe) = s.next(then) {
            probes += 1;
            let fate = s.finish(probe, forbidden(), then);
            assert_eq!(fate, Disposition::Dead(DeadReason::RefusedAddress));
        }
    }
    assert_eq!((probes, s.active()), (4, 0));
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
        attempts: Attempts::of_entry(3, 1),
        failed_before: Some("status=503".into()),
        ..received(101, 3)
    };
    s.accept(tried, at);
    let letters = dead(&mut s);
    assert!(letters.iter().all(|l| l.reason == DeadReason::TooOld));
    assert!(
        letters[0]
            .detail
            .sentence()
            .contains("1m 40s (--max-age): attempts made: 0")
    );
    assert!(
        letters[1]
            .detail
            .sentence()
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
        detail
            .sentence()
            .contains("failing, with error=connect (refused)"),
        "{detail}"
    );
}

#[test]
fn without_its_secret_a_message_waits_for_an_hour_and_then_dies_unsent() {
    let missing = || Attempt {
        at: 0,
        took: Duration::ZERO,
        result: AttemptResult::Failure {
            kind: FailureKind::NoSecret,
            text: "secret acme: there is none".into(),
        },
    };
    let begin = now();
    let mut s = leasing();
    let mut first = delivery("a", 1);
    (first.entry, first.received) = (Some(EntryId::new(1, 0)), begin.unix_ms);
    first.lease_renewed_at = begin.boot;
    s.accept(first, begin);
    let out = s.next(begin).unwrap();
    let fate = s.finish(out, missing(), begin);
    assert!(matches!(fate, Disposition::Parked { .. }), "{fate:?}");
    assert_eq!((s.stats().attempts, s.active()), (0, 0), "it is no attempt");
    // Another of its endpoint goes at once: it has said nothing of the endpoint.
    s.accept(delivery("b", 1), begin);
    let other = s.next(begin).unwrap();
    assert_eq!(&*other.delivery.message.id, "b");
    s.finish(other, answered(), begin);

    let begin = Now {
        unix_ms: begin.unix_ms + 10_000_000,
        ..begin
    };
    for (age, due, dies) in [
        (3_599_999, 0, false),
        (3_600_000, 0, true),
        (9_000_000, 8_000_000, false),
    ] {
        let mut s = leasing();
        let mut old = delivery("a", 1);
        (old.entry, old.lease_renewed_at) = (Some(EntryId::new(1, 0)), begin.boot);
        old.received = begin.unix_ms - age;
        old.message.deliver_at = (due > 0).then(|| begin.unix_ms - age + due);
        s.accept(old, begin);
        let out = s.next(begin).unwrap();
        match s.finish(out, missing(), begin) {
            Disposition::Dead(reason) => assert!(dies && reason == DeadReason::NoSecret, "{age}"),
            fate => assert!(!dies, "{age}: {fate:?}"),
        }
    }
}
