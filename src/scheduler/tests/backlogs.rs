//! What waits for its endpoint, by example.

use super::model::{delivery, now};
use super::*;
use crate::delivery::hold::{Cause, Hold};
use crate::delivery::parked::{Until, Want};
use crate::scheduler::lane::Weight;

fn release(name: &Arc<str>, count: usize) -> Want {
    Want::Release {
        name: name.clone(),
        count,
        latest: None,
    }
}

fn until(name: &str) -> Until {
    Until::Released {
        name: name.into(),
        first: false,
    }
}

/// What a healthy endpoint has ahead is in memory, and what a failing one has is not.
#[test]
fn memory_belongs_to_those_who_answer() {
    let (mut s, at) = (leasing(), now());
    s.limits.max_active = 800;
    let of = |n: u64, host: u64| Delivery {
        entry: Some(EntryId::new(n, 0)),
        lease_renewed_at: at.boot,
        ..delivery(&format!("m{n}"), host)
    };
    // A hundred endpoints of which nothing is known share an eighth.
    for n in 0..2000 {
        s.accept(of(n, n % 100), at);
    }
    assert!((90..=100).contains(&s.active()), "{}", s.active());
    assert_eq!(parked(&mut s).len(), 2000 - s.active());
    // The one that answers has room for what it does in two seconds.
    let first = s.next(at).unwrap();
    let lane = s.lanes.name(first.lane).clone();
    s.finish(first, answered(), at);
    let before = s.active();
    let host = lane["http://h".len()..].parse().unwrap();
    for n in 3000..3080 {
        s.accept(of(n, host), at);
    }
    assert!(s.active() >= before + 40, "{} after {before}", s.active());
}

#[test]
fn who_was_never_tried_is_tried_soon_though_all_others_hang() {
    let (mut s, mut at) = (leasing(), now());
    (s.limits.workers, s.limits.max_active) = (16, 10_000);
    for n in 0..100 {
        s.accept(entry(n, at), at);
    }
    let hang: Vec<Job> = std::iter::from_fn(|| s.next(at)).collect();
    // Half of the workers, and one of those that are kept.
    assert_eq!(hang.len(), 9);
    let new = |n: u64, now: Now| Delivery {
        lease_renewed_at: now.boot,
        ..entry(n, now)
    };
    at = later(at, 8);
    s.accept(new(200, at), at);
    assert_eq!(
        s.next(at).map(|job| job.delivery.message.id),
        Some("m200".into()),
        "the last that came"
    );
    assert!(s.next(at).is_none(), "one in half a timeout");
    assert!(
        s.next_deadline()
            .is_some_and(|due| due <= at.mono + Duration::from_secs(8))
    );
}

fn at_url(n: u64, path: &str, now: Now) -> Delivery {
    let raw = format!(r#"{{"url":"http://shared{path}","webhookId":"m{n}","data":1}}"#);
    let endpoint = |url: &str| crate::message::endpoint::Endpoint::parse(url).map(Arc::new);
    let message =
        crate::message::Message::parse(raw.into_bytes(), 1000, || unreachable!(), endpoint);
    Delivery {
        entry: Some(EntryId::new(n, 0)),
        ..Delivery::new(message.unwrap(), "test".into(), 0, now.boot)
    }
}

fn too_many(after: Option<u64>) -> Attempt {
    Attempt {
        result: AttemptResult::Response {
            status: 429,
            retry_after: after.map(Duration::from_secs),
            body: Box::default(),
        },
        ..answered()
    }
}

#[test]
fn a_url_that_asks_for_a_pause_stands_apart_until_several_do() {
    let (mut s, at) = (leasing(), now());
    (s.limits.lanes.window, s.limits.max_active) = (8, 8000);
    (s.limits.share, s.limits.schedule.attempts) = (1000, 5);
    for n in 0..20 {
        s.accept(at_url(n, &format!("/{}", n % 5), at), at);
    }
    let first = s.next(at).unwrap();
    s.finish(first, too_many(Some(60)), at);
    // Its others wait with it, and those of other URLs go on.
    let waits = parked(&mut s);
    assert_eq!(waits.len(), 4);
    assert!(waits.iter().all(|p| &*p.url == "http://shared/0"));
    let next = s.next(at).unwrap();
    assert_eq!(&*next.delivery.message.endpoint.url, "http://shared/1");
    s.finish(next, too_many(None), at);
    let third = s.next(at).unwrap();
    assert_eq!(&*third.delivery.message.endpoint.url, "http://shared/2");
    // The third speaks for all.
    s.finish(third, too_many(Some(60)), at);
    assert!(s.next(at).is_none());
    s.accept(at_url(30, "/9", at), at);
    let last = parked(&mut s).pop().unwrap();
    assert_eq!(last.until, until("http://shared"));
}

#[test]
fn a_backlog_that_is_found_has_a_probe_and_then_its_part() {
    let (mut s, at) = (leasing(), now());
    let name: Arc<str> = "http://h7".into();
    s.set_backlogs(vec![(name.clone(), at.unix_ms)], at);
    s.tick(at);
    assert_eq!(s.wants(at), [release(&name, 1)]);
    s.released(&name, 1, 50, Some(at.unix_ms), at);
    let back = |n: u64| Delivery {
        backlog: Some(name.clone()),
        entry: Some(EntryId::new(n, 0)),
        ..delivery(&format!("m{n}"), 7)
    };
    s.accept(back(1), at);
    let probe = s.next(at).unwrap();
    assert!(s.wants(at).is_empty(), "one at a time");
    s.finish(probe, answered(), at);
    assert!(matches!(
        &s.wants(at)[..],
        [Want::Release {
            count: 2..,
            latest: None,
            ..
        }]
    ));
}

#[test]
fn over_the_budget_the_oldest_of_a_failing_endpoint_go_and_others_are_parked() {
    let (mut s, mut at) = (leasing(), now());
    at.unix_ms = 10_000_000;
    (s.limits.share, s.limits.max_active) = (6, 1000);
    close_host(&mut s, at);
    let of = |n: u64, host: u64, backlog: Option<&str>| Delivery {
        entry: Some(EntryId::new(n, 0)),
        received: at.unix_ms - 1000,
        backlog: backlog.map(Arc::from),
        ..delivery(&format!("m{n}"), host)
    };
    s.set_over_budget(true);
    for n in 1..4 {
        s.accept(of(n, 1, None), at);
    }
    // The oldest of the backlog make room for what comes.
    let deferred = parked(&mut s);
    assert_eq!(deferred.len(), 3);
    let moved = deferred.iter().filter_map(|p| p.entry).collect();
    let receipt = Receipt {
        moved,
        ..Receipt::default()
    };
    s.take_receipt(receipt, at);
    let name: Arc<str> = "http://h1".into();
    assert_eq!(s.wants(at), [release(&name, 3)]);
    s.released(&name, 3, 5, Some(at.unix_ms), at);
    s.accept(of(10, 1, Some(&name)), at);
    s.accept(of(11, 1, Some(&name)), at);
    s.accept(of(12, 1, Some(&name)), at);
    let letters = dead(&mut s);
    let ids: Vec<&str> = letters.iter().map(|l| l.id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["m10", "m11", "m12"]);
    assert!(letters.iter().all(|l| l.reason == DeadReason::OverBudget));
    assert!(letters[0].detail.sentence().contains("--redis-budget"));
    assert!(s.wants(at).is_empty());
    // So does the head of a key, for those that follow it.
    let mut head = of(20, 1, None);
    head.head = Some("0 1 m20 stream".into());
    s.accept(head, at);
    assert_eq!(dead(&mut s)[0].reason, DeadReason::OverBudget);
    // One that is for a time, and one that is paused, are kept.
    let mut timed = of(30, 1, None);
    timed.message.deliver_at = Some(at.unix_ms + 3_600_000);
    s.accept(timed, at);
    let hold = Hold {
        cause: crate::delivery::hold::Cause::Paused,
        until: None,
    };
    s.hold("http://h1".into(), hold, at);
    s.accept(of(40, 1, None), at);
    let kept = parked(&mut s);
    let ids: Vec<&str> = kept
        .iter()
        .filter(|p| p.entry.is_some())
        .map(|p| &*p.id)
        .collect();
    assert_eq!(ids, ["m30", "m40"]);
    assert!(dead(&mut s).is_empty() && s.wants(at).is_empty());
    // Below it again, nobody is given up any more.
    s.set_over_budget(false);
    s.resume("http://h1", at);
    for n in 50..60 {
        s.accept(of(n, 1, None), at);
    }
    assert!(dead(&mut s).is_empty());
}

#[test]
fn what_is_paused_is_given_up_when_it_has_become_too_old() {
    let (mut s, mut at) = (leasing(), now());
    at.unix_ms = 10_000_000;
    s.limits.max_age = Duration::from_secs(100);
    let received = |seconds_ago: u64, n: u64| Delivery {
        received: at.unix_ms - seconds_ago * 1000,
        ..entry(n, at)
    };
    let hold = Hold {
        cause: Cause::Paused,
        until: None,
    };
    s.hold("http://h5".into(), hold, at);
    s.accept(received(10, 5), at);
    let held = parked(&mut s).pop().unwrap();
    assert_eq!(held.until, until("http://h5"));
    s.released(&"http://h5".into(), 1, 0, None, at);
    let back = Delivery {
        backlog: Some("http://h5".into()),
        received: at.unix_ms - 100_000,
        ..delivery("m6", 5)
    };
    s.accept(back, at);
    let detail = dead(&mut s)[0].detail.clone();
    assert!(
        detail.sentence().ends_with("as its endpoint is paused"),
        "{detail}"
    );
}

#[test]
fn what_was_under_way_when_its_url_was_set_apart_joins_it() {
    let (mut s, at) = (leasing(), now());
    (s.limits.max_active, s.limits.schedule.attempts) = (8000, 5);
    s.limits.lanes.window = 8;
    for n in 0..8 {
        s.accept(at_url(n, "/0", at), at);
    }
    let first = s.next(at).unwrap();
    s.finish(first, answered(), at);
    let under_way: Vec<Job> = std::iter::from_fn(|| s.next(at)).collect();
    assert!(under_way.len() > 1);
    for job in under_way {
        s.finish(job, too_many(Some(60)), at);
    }
    let moved: Vec<EntryId> = parked(&mut s).iter().filter_map(|p| p.entry).collect();
    let count = moved.len() as u32;
    assert_eq!(
        s.lanes
            .named("http://shared/0")
            .unwrap()
            .backlog
            .deferring(),
        count
    );
    let receipt = Receipt {
        moved,
        ..Receipt::default()
    };
    s.take_receipt(receipt, at);
    assert_eq!(
        s.lanes
            .named("http://shared/0")
            .unwrap()
            .backlog
            .deferring(),
        0
    );
    assert_eq!((s.active(), s.lanes.tally()), (0, &Weight::default()));
}
