//! What is asked back finds room when it comes, and nothing goes to and fro: a store that answers at
//! once is driven for many turns of one moment, and must come to rest.

use super::model::now;
use super::*;
use crate::delivery::hold::{Cause, Hold};
use crate::delivery::parked::{Until, Want};
use crate::delivery::retry_schedule::RetrySchedule;
use crate::delivery::rules::{EndpointRule, Match};

const NAME: &str = "http://shared";

fn sized(n: u64, path: &str, size: usize, now: Now) -> Delivery {
    let pad = "x".repeat(size);
    let raw = format!(r#"{{"url":"{NAME}{path}","webhookId":"m{n}","data":"{pad}"}}"#);
    let endpoint = |url: &str| crate::message::endpoint::Endpoint::parse(url).map(Arc::new);
    let message =
        crate::message::Message::parse(raw.into_bytes(), 2 << 20, || unreachable!(), endpoint);
    Delivery {
        entry: Some(EntryId::new(n, 0)),
        ..Delivery::new(message.unwrap(), "test".into(), now.unix_ms, now.boot)
    }
}

fn took(ms: u64, attempt: Attempt) -> Attempt {
    let took = Duration::from_millis(ms);
    Attempt { took, ..attempt }
}

fn confirm(s: &mut Scheduler, at: Now) -> usize {
    let moved = parked(s).into_iter().map(|parked| {
        assert!(matches!(parked.until, Until::Released { .. }));
        parked.entry.unwrap()
    });
    let moved: Vec<EntryId> = moved.collect();
    let count = moved.len();
    let receipt = Receipt {
        moved,
        ..Receipt::default()
    };
    s.take_receipt(receipt, at);
    count
}

/// Answers what is asked of backlogs that never end with messages of `size`, a megabyte at a time,
/// until nothing more is asked. Answers how many came, and how many went back.
fn settle_down(s: &mut Scheduler, at: Now, size: usize) -> (usize, usize) {
    let (mut came, mut back) = (0, 0);
    for _ in 0..2000 {
        let wants = s.wants(at);
        if wants.is_empty() && s.outbox().is_empty() {
            return (came, back);
        }
        for want in wants {
            let Want::Release { name, count, .. } = want else {
                panic!("{want:?}");
            };
            let count = count.min((1 << 20) / size + 1);
            s.released(&name, count, 1000, Some(at.unix_ms), at);
            for _ in 0..count {
                came += 1;
                let path = name.strip_prefix(NAME).unwrap();
                let path = if path.is_empty() { "/0" } else { path };
                let delivery = sized(1_000_000 + came as u64, path, size, at);
                let backlog = Some(name.clone());
                s.accept(
                    Delivery {
                        backlog,
                        ..delivery
                    },
                    at,
                );
            }
        }
        back += confirm(s, at);
    }
    panic!("{came} came and {back} went back, at one moment");
}

/// As by default.
fn usual() -> Scheduler {
    let mut s = leasing();
    (s.limits.workers, s.limits.lanes.window) = (512, 32);
    (s.limits.max_active, s.limits.share) = (20_000, 5000);
    (s.limits.max_active_bytes, s.limits.share_bytes) = (32 << 20, 8 << 20);
    (s.limits.lanes.backoff_base, s.limits.lanes.backoff_max) =
        (Duration::from_secs(1), Duration::from_secs(60));
    s.limits.schedule = RetrySchedule::list(vec![Duration::from_secs(10); 4], 0.0);
    s
}

#[test]
fn a_healthy_endpoint_gets_what_it_has_room_for_whatever_the_size() {
    for (ms, size) in [
        (50, 6000),
        (20, 3000),
        (200, 20_000),
        (10, 1500),
        (1, 900_000),
    ] {
        let (mut s, at) = (usual(), now());
        s.accept(sized(0, "/0", 1, at), at);
        let first = s.next(at).unwrap();
        s.finish(first, took(ms, answered()), at);
        s.set_backlogs(vec![(NAME.into(), at.unix_ms)], at);
        let (came, back) = settle_down(&mut s, at, size);
        assert!(
            came > 0 && back == 0,
            "{ms} ms, {size}: {came} came, {back} went back"
        );
        assert!(s.tally.bytes() <= s.limits.share_bytes + (2 << 20));
    }
}

#[test]
fn endpoints_that_have_not_answered_get_one_each_within_their_part() {
    let (mut s, at) = (usual(), now());
    (s.limits.max_active, s.limits.lane_by_url) = (1000, true);
    for n in 0..3000 {
        s.accept(sized(n, &format!("/{n}"), 1, at), at);
    }
    confirm(&mut s, at);
    let (_, back) = settle_down(&mut s, at, 100);
    assert_eq!(back, 0);
    assert!(s.active() <= 510, "{}", s.active());
    while let Some(delivery) = s.next(at) {
        s.finish(delivery, took(10, answered()), at);
        assert_eq!(settle_down(&mut s, at, 100).1, 0);
        if s.active() > 900 {
            break;
        }
    }
}

#[test]
fn large_messages_of_one_that_has_not_answered_stay_in_the_store() {
    let (mut s, at) = (usual(), now());
    for n in 0..60 {
        s.accept(sized(n, "/0", 700_000, at), at);
    }
    while s.next(at).is_some() {}
    confirm(&mut s, at);
    assert_eq!(settle_down(&mut s, at, 700_000), (0, 0));
}

#[test]
fn no_probe_is_asked_for_while_a_retry_waits_here() {
    let (mut s, mut at) = (usual(), now());
    let memory = Delivery {
        entry: None,
        ..sized(0, "/0", 1, at)
    };
    s.accept(memory, at);
    let first = s.next(at).unwrap();
    s.finish(first, took(2000, refused()), at);
    s.accept(sized(1, "/0", 1, at), at);
    assert_eq!((s.active(), confirm(&mut s, at)), (1, 1));
    // The pause is over, the retry is due later.
    at.mono += Duration::from_secs(2);
    at.unix_ms += 2000;
    s.tick(at);
    assert_eq!(settle_down(&mut s, at, 1), (0, 0));
}

#[test]
fn what_only_looks_too_old_is_not_looked_at_again_at_once() {
    let (mut s, mut at) = (usual(), now());
    at.unix_ms = 100 * 86_400_000;
    s.limits.max_age = Duration::from_secs(3 * 86_400);
    let four_days_ago = at.unix_ms - 4 * 86_400_000;
    let rule = EndpointRule {
        matches: Match::Host("shared".into()),
        max_age: Some(Duration::from_secs(30 * 86_400)),
        ..EndpointRule::of_limits(None, None)
    };
    s.set_rules(EndpointRules::new(vec![rule]), at);
    let hold = Hold {
        cause: Cause::Paused,
        until: None,
    };
    s.hold(NAME.into(), hold, at);
    s.set_backlogs(vec![(NAME.into(), four_days_ago)], at);
    let mut asked = 0;
    while let Some(Want::Release { name, .. }) = s.wants(at).pop() {
        asked += 1;
        s.released(&name, 1, 10, Some(four_days_ago), at);
        let young = Delivery {
            received: four_days_ago,
            backlog: Some(name),
            ..sized(asked, "/0", 1, at)
        };
        s.accept(young, at);
        confirm(&mut s, at);
        assert!(asked < 3, "again and again");
    }
    assert_eq!(asked, 1);
}

#[test]
fn what_is_added_while_a_question_is_under_way_is_not_forgotten() {
    let (mut s, at) = (usual(), now());
    let name: Arc<str> = NAME.into();
    s.set_backlogs(vec![(name.clone(), at.unix_ms)], at);
    assert_eq!(s.wants(at).len(), 1);
    // The script has emptied the list; then one more is deferred, and then the answer comes.
    s.accept(sized(7, "/0", 1, at), at);
    assert_eq!(confirm(&mut s, at), 1);
    s.released(&name, 0, 0, None, at);
    assert_eq!(s.wants(at).len(), 1);
}
