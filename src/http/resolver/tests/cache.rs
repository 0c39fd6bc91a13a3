//! What callers get, and for how long.

use super::*;
use crate::dice::{Dice, seeds};

const SECOND: Duration = Duration::from_secs(1);

fn ip(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn found(name: &str, v4: &[u8], ttl: Duration) -> Publication {
    Publication {
        name: name.into(),
        outcome: Outcome::Found {
            v6: Vec::new(),
            v4: v4.iter().map(|n| ip(*n)).collect(),
            ttl,
        },
        last: true,
    }
}

fn failed(name: &str) -> Publication {
    Publication {
        name: name.into(),
        outcome: Outcome::Failed {
            text: format!("{name} failed"),
        },
        last: true,
    }
}

fn cache() -> Cache {
    Cache::new(100_000)
}

fn is_known(asked: &Asked, expected: &[u8]) -> bool {
    let expected: Vec<IpAddr> = expected.iter().map(|n| ip(*n)).collect();
    matches!(asked, Asked::Known(ips) if *ips == expected)
}

fn requested(cache: &mut Cache) -> Vec<String> {
    std::iter::from_fn(|| cache.take_request())
        .map(|name| name.to_string())
        .collect()
}

#[test]
fn a_name_is_asked_for_once_however_many_wait() {
    let (mut cache, now) = (cache(), Instant::now());
    for _ in 0..5 {
        assert!(matches!(cache.ask("a", now), Asked::Wait(..)));
    }
    assert_eq!(requested(&mut cache), ["a"]);
    let (waiters, news) = cache.learn(&found("a", &[1, 2], 60 * SECOND), now).unwrap();
    assert_eq!(waiters.len(), 5);
    assert_eq!(news, News::Answer(Ok(vec![ip(1), ip(2)])));
    assert!(is_known(&cache.ask("a", now), &[1, 2]));
    assert!(requested(&mut cache).is_empty());
}

#[test]
fn an_answer_is_fresh_for_its_time_and_then_given_out_while_it_is_asked_for_again() {
    for (ttl, fresh) in [(0, 5), (60, 60), (90_000, 300)] {
        let (mut cache, now) = (cache(), Instant::now());
        cache.ask("a", now);
        cache.take_request();
        cache.learn(&found("a", &[1], ttl * SECOND), now);
        assert!(is_known(
            &cache.ask("a", now + fresh * SECOND - SECOND / 2),
            &[1]
        ));
        assert_eq!(cache.requested(), 0, "ttl {ttl}");
        let later = now + fresh * SECOND;
        for _ in 0..3 {
            assert!(is_known(&cache.ask("a", later), &[1]), "nobody waits");
        }
        assert_eq!(requested(&mut cache), ["a"], "ttl {ttl}");
        assert!(cache.learn(&found("a", &[2], 60 * SECOND), later).is_none());
        assert!(is_known(&cache.ask("a", later), &[2]));
    }
}

#[test]
fn an_old_answer_outlives_its_servers_for_a_day_and_is_asked_for_only_when_wanted() {
    let (mut cache, start) = (cache(), Instant::now());
    cache.learn(&found("a", &[1], SECOND), start);
    let mut asked = 0;
    let mut now = start + 10 * SECOND;
    while now < start + STALE {
        assert!(is_known(&cache.ask("a", now), &[1]));
        for _ in requested(&mut cache) {
            asked += 1;
            cache.learn(&failed("a"), now);
        }
        now += 10 * SECOND;
    }
    assert!((2800..=2880).contains(&asked), "every 30 s: {asked}");
    assert!(matches!(cache.ask("a", start + STALE), Asked::Wait(..)));
    assert!(requested(&mut cache).len() == 1, "nobody asks by itself");
}

#[test]
fn an_answer_that_there_is_nothing_replaces_what_was_known() {
    let (mut cache, now) = (cache(), Instant::now());
    cache.learn(&found("a", &[1], SECOND), now);
    let absent = |ttl| Publication {
        outcome: Outcome::Absent {
            text: "no".into(),
            ttl,
        },
        ..failed("a")
    };
    for (ttl, believed) in [(None, 1), (Some(0), 1), (Some(7), 7), (Some(9000), 30)] {
        cache.learn(&absent(ttl.map(|s: u32| s * SECOND)), now);
        let until = now + believed * SECOND;
        assert!(
            matches!(cache.ask("a", until - SECOND / 2), Asked::Failed(text, _) if &*text == "no")
        );
        assert!(matches!(cache.ask("a", until), Asked::Wait(..)), "{ttl:?}");
    }
}

#[test]
fn a_look_up_makes_nobody_wait_for_longer_than_a_moment() {
    let (mut cache, now) = (cache(), Instant::now());
    let millis = Duration::from_millis;
    for after in [0, 20] {
        let asked = cache.ask("a", now + millis(after));
        assert!(matches!(asked, Asked::Wait(_, since) if since == now));
    }
    for after in [25, 30_000] {
        let asked = cache.ask("a", now + millis(after));
        assert!(matches!(asked, Asked::Pending(since) if since == now));
    }
    assert_eq!(requested(&mut cache), ["a"]);
    let over = now + 40 * SECOND;
    let told = cache.learn(&failed("a"), over).unwrap();
    assert_eq!(told.0.len(), 2);
    let asked = cache.ask("a", over + SECOND / 2);
    assert!(matches!(asked, Asked::Failed(text, since) if &*text == "a failed" && since == now));
    // It was told, and is over.
    let again = over + SECOND;
    let asked = cache.ask("a", again);
    assert!(matches!(asked, Asked::Wait(_, since) if since == again));
    assert_eq!(requested(&mut cache), ["a"]);
}

#[test]
fn a_failure_is_kept_for_whoever_waits_longer_than_it_is_believed() {
    let (mut cache, now) = (cache(), Instant::now());
    cache.ask("a", now);
    requested(&mut cache);
    let Asked::Pending(since) = cache.ask("a", now + SECOND) else {
        panic!("it is being looked up");
    };
    // Whoever asked first has gone.
    cache.take_all_waiters();
    cache.learn(&failed("a"), now + SECOND);
    let asked = cache.ask("a", now + 60 * SECOND);
    assert!(matches!(asked, Asked::Failed(_, began) if began == since));
    let asked = cache.ask("a", now + 61 * SECOND);
    assert!(matches!(asked, Asked::Wait(..)), "it was told once");
}

#[test]
fn families_alternate_and_the_one_that_answered_comes_first() {
    let v6 = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
    let (mut cache, now) = (cache(), Instant::now());
    let news = Publication {
        outcome: Outcome::Found {
            v6: vec![v6(1), v6(2)],
            v4: vec![ip(1), ip(2), ip(3)],
            ttl: SECOND,
        },
        ..failed("a")
    };
    let addresses = |cache: &mut Cache| match cache.ask("a", now) {
        Asked::Known(ips) => ips,
        other => panic!("{other:?}"),
    };
    cache.learn(&news, now);
    assert_eq!(addresses(&mut cache), [v6(1), ip(1), v6(2), ip(2), ip(3)]);
    cache.prefer("a", ip(2));
    assert_eq!(addresses(&mut cache), [ip(2), v6(1), ip(1), v6(2), ip(3)]);
    cache.learn(&news, now);
    assert_eq!(
        addresses(&mut cache),
        [ip(2), v6(1), ip(1), v6(2), ip(3)],
        "also after a refresh"
    );
    cache.prefer("a", ip(9));
    cache.prefer("b", ip(9));
    cache.learn(&news, now);
    assert_eq!(addresses(&mut cache), [v6(1), ip(1), v6(2), ip(2), ip(3)]);
}

#[test]
fn what_is_remembered_is_bounded_and_one_owner_s_names_push_out_their_own() {
    let (mut cache, now) = (cache(), Instant::now());
    for n in 0..100 {
        cache.learn(
            &found(&format!("n{n}.good{n}.test"), &[1], 60 * SECOND),
            now,
        );
    }
    for n in 0..MAX_KNOWN * 2 {
        let name = format!("n{n}.wild.test");
        cache.ask(&name, now);
        cache.take_request();
        match n % 3 {
            0 => drop(cache.learn(&failed(&name), now)),
            _ => drop(cache.learn(&found(&name, &[2], 60 * SECOND), now)),
        }
        assert!(cache.remembered() <= MAX_KNOWN && cache.entries.len() <= MAX_KNOWN + 1);
    }
    for n in 0..100 {
        assert!(
            is_known(&cache.ask(&format!("n{n}.good{n}.test"), now), &[1]),
            "{n}"
        );
    }
    assert_eq!(cache.ages.len(), cache.remembered());
}

#[test]
fn who_has_to_leave_the_line_is_told_so_and_may_ask_again() {
    let (mut cache, now) = (Cache::new(2), Instant::now());
    let Asked::Wait(waiter, _) = cache.ask("a.bad.test", now) else {
        panic!("known");
    };
    cache.ask("b.bad.test", now);
    cache.ask("good.test", now);
    let news = waiter.wait(now).expect("news");
    assert!(
        matches!(news, News::Answer(Err(text)) if text.contains("those below bad.test are most"))
    );
    assert!(matches!(cache.ask("b.bad.test", now), Asked::Wait(..)));
    assert_eq!(requested(&mut cache), ["b.bad.test", "good.test"]);
    assert!(matches!(cache.ask("a.bad.test", now), Asked::Wait(..)));
}

#[test]
fn other_servers_mean_that_all_is_asked_for_again() {
    let (mut cache, now) = (cache(), Instant::now());
    cache.learn(&found("a", &[1], 300 * SECOND), now);
    cache.learn(&failed("b"), now);
    cache.doubt_all(now);
    assert!(is_known(&cache.ask("a", now), &[1]));
    assert!(matches!(cache.ask("b", now), Asked::Wait(..)));
    assert_eq!(requested(&mut cache), ["a", "b"]);
    cache.forget("a");
    assert!(matches!(cache.ask("a", now), Asked::Wait(..)));
}

/// Asking, learning and leaving in any order: nobody who waits is forgotten, nothing grows.
#[test]
fn a_model_of_thousands_of_random_steps() {
    for seed in seeds(0..40) {
        let mut dice = Dice::new(seed);
        let mut cache = Cache::new(20);
        let start = Instant::now();
        let (mut now, mut flying) = (start, Vec::<Arc<str>>::new());
        let mut waiting: Vec<(String, Arc<Waiter>)> = Vec::new();
        for _ in 0..3000 {
            dice.step();
            match dice.below(8) {
                0..3 => {
                    let name = format!("n{}.z{}.test", dice.below(30), dice.below(3));
                    if let Asked::Wait(waiter, _) = cache.ask(&name, now) {
                        waiting.push((name, waiter));
                    }
                    // Somebody may have had to leave the line.
                    waiting.retain(|(_, waiter)| waiter.wait(start).is_none());
                }
                3 => flying.extend(cache.take_request()),
                4..6 if !flying.is_empty() => {
                    let name = flying.swap_remove(dice.index(flying.len()));
                    let news = match dice.below(3) {
                        0 => failed(&name),
                        n => found(&name, &[n as u8], Duration::from_secs(dice.below(20))),
                    };
                    let told = cache.learn(&news, now).map(|t| t.0).unwrap_or_default();
                    let (gone, left): (Vec<_>, _) = waiting.into_iter().partition(|w| w.0 == *name);
                    assert_eq!(told.len(), gone.len(), "{name}");
                    waiting = left;
                }
                6 if !waiting.is_empty() => {
                    let (name, waiter) = waiting.swap_remove(dice.index(waiting.len()));
                    cache.leave(&name, &waiter);
                }
                _ => now += Duration::from_millis(dice.below(5000)),
            }
            assert!(cache.requests.len() <= 20);
            let pending = cache
                .entries
                .values()
                .filter(|e| e.pending.is_some())
                .count();
            assert_eq!(pending, cache.requests.len() + flying.len());
        }
        assert_eq!(cache.take_all_waiters().len(), waiting.len());
    }
}

#[test]
fn who_can_do_without_is_told_what_is_known_and_until_when() {
    let (mut cache, now) = (cache(), Instant::now());
    // Nobody waits for it, but it is asked for.
    assert!(cache.present("a", now).is_none());
    assert!(cache.present("a", now).is_none());
    assert_eq!(requested(&mut cache), ["a"]);
    assert!(cache.learn(&found("a", &[1], 60 * SECOND), now).is_none());
    let fresh = Some((vec![ip(1)], now + 60 * SECOND));
    assert_eq!(cache.present("a", now), fresh);
    assert_eq!(cache.present("a", now + 59 * SECOND), fresh);
    assert_eq!(cache.requested(), 0);
    // What is old is given out for a moment, while it is asked for again.
    let later = now + 61 * SECOND;
    let old = Some((vec![ip(1)], later + SOON));
    assert_eq!(cache.present("a", later), old);
    assert_eq!(cache.present("a", later), old);
    assert_eq!(requested(&mut cache), ["a"]);
    // Its servers do not answer: it stays, and is not asked for at once again.
    cache.learn(&failed("a"), later);
    assert_eq!(cache.present("a", later), old);
    assert_eq!(cache.requested(), 0);
}

#[test]
fn a_failure_that_nobody_has_waited_for_is_not_told_much_later() {
    let (mut cache, now) = (cache(), Instant::now());
    cache.present("a", now);
    cache.take_request();
    cache.learn(&failed("a"), now);
    assert!(matches!(cache.ask("a", now), Asked::Failed(..)));
    let later = now + FAILED;
    assert!(matches!(cache.ask("a", later), Asked::Wait(..)));
    // But who was told that it is pending comes back for it.
    cache.take_request();
    cache.present("a", later);
    cache.learn(&failed("a"), later + SECOND);
    let much_later = later + 60 * SECOND;
    let Asked::Wait(waiter, _) = cache.ask("a", much_later) else {
        panic!("it was looked up for nobody");
    };
    cache.leave("a", &waiter);
    assert!(matches!(
        cache.ask("a", much_later + MOMENT),
        Asked::Pending(..)
    ));
    cache.learn(&failed("a"), much_later + SECOND);
    assert!(matches!(
        cache.ask("a", much_later + 60 * SECOND),
        Asked::Failed(..)
    ));
}

#[test]
fn it_counts_how_often_a_name_came_to_lead_elsewhere() {
    let (mut cache, now) = (cache(), Instant::now());
    let mut steps = Vec::new();
    let mut learn = |news: &Publication| {
        cache.ask("a", now);
        cache.learn(news, now);
        steps.push(cache.changes());
    };
    learn(&found("a", &[1, 2], SECOND));
    learn(&found("a", &[2, 1], SECOND));
    learn(&found("a", &[1, 2, 3], SECOND));
    learn(&found("a", &[1, 2], SECOND));
    learn(&found("a", &[1, 9], SECOND));
    learn(&failed("a"));
    learn(&found("a", &[1, 9], SECOND));
    assert_eq!(steps, [0, 0, 1, 2, 3, 3, 3]);
    cache.forget("a");
    cache.doubt_all(now);
    assert_eq!(cache.changes(), 5);
}
