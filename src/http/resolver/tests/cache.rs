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

fn table() -> Table {
    Table::new(100_000)
}

fn is_known(asked: &Asked, expected: &[u8]) -> bool {
    let expected: Vec<IpAddr> = expected.iter().map(|n| ip(*n)).collect();
    matches!(asked, Asked::Known(ips) if *ips == expected)
}

fn requested(table: &mut Table) -> Vec<String> {
    std::iter::from_fn(|| table.take_request())
        .map(|name| name.to_string())
        .collect()
}

#[test]
fn a_name_is_asked_for_once_however_many_wait() {
    let (mut table, now) = (table(), Instant::now());
    for _ in 0..5 {
        assert!(matches!(table.ask("a", now), Asked::Wait(..)));
    }
    assert_eq!(requested(&mut table), ["a"]);
    let (waiters, news) = table.learn(&found("a", &[1, 2], 60 * SECOND), now).unwrap();
    assert_eq!(waiters.len(), 5);
    assert_eq!(news, News::Answer(Ok(vec![ip(1), ip(2)])));
    assert!(is_known(&table.ask("a", now), &[1, 2]));
    assert!(requested(&mut table).is_empty());
}

#[test]
fn an_answer_is_fresh_for_its_time_and_then_given_out_while_it_is_asked_for_again() {
    for (ttl, fresh) in [(0, 5), (60, 60), (90_000, 300)] {
        let (mut table, now) = (table(), Instant::now());
        table.ask("a", now);
        table.take_request();
        table.learn(&found("a", &[1], ttl * SECOND), now);
        assert!(is_known(
            &table.ask("a", now + fresh * SECOND - SECOND / 2),
            &[1]
        ));
        assert_eq!(table.requested(), 0, "ttl {ttl}");
        let later = now + fresh * SECOND;
        for _ in 0..3 {
            assert!(is_known(&table.ask("a", later), &[1]), "nobody waits");
        }
        assert_eq!(requested(&mut table), ["a"], "ttl {ttl}");
        assert!(table.learn(&found("a", &[2], 60 * SECOND), later).is_none());
        assert!(is_known(&table.ask("a", later), &[2]));
    }
}

#[test]
fn an_old_answer_outlives_its_servers_for_a_day_and_is_asked_for_only_when_wanted() {
    let (mut table, start) = (table(), Instant::now());
    table.learn(&found("a", &[1], SECOND), start);
    let mut asked = 0;
    let mut now = start + 10 * SECOND;
    while now < start + STALE {
        assert!(is_known(&table.ask("a", now), &[1]));
        for _ in requested(&mut table) {
            asked += 1;
            table.learn(&failed("a"), now);
        }
        now += 10 * SECOND;
    }
    assert!((2800..=2880).contains(&asked), "every 30 s: {asked}");
    assert!(matches!(table.ask("a", start + STALE), Asked::Wait(..)));
    assert!(requested(&mut table).len() == 1, "nobody asks by itself");
}

#[test]
fn an_answer_that_there_is_nothing_replaces_what_was_known() {
    let (mut table, now) = (table(), Instant::now());
    table.learn(&found("a", &[1], SECOND), now);
    let absent = |ttl| Publication {
        outcome: Outcome::Absent {
            text: "no".into(),
            ttl,
        },
        ..failed("a")
    };
    for (ttl, believed) in [(None, 1), (Some(0), 1), (Some(7), 7), (Some(9000), 30)] {
        table.learn(&absent(ttl.map(|s: u32| s * SECOND)), now);
        let until = now + believed * SECOND;
        assert!(
            matches!(table.ask("a", until - SECOND / 2), Asked::Failed(text, _) if &*text == "no")
        );
        assert!(matches!(table.ask("a", until), Asked::Wait(..)), "{ttl:?}");
    }
}

#[test]
fn a_look_up_makes_nobody_wait_for_longer_than_a_moment() {
    let (mut table, now) = (table(), Instant::now());
    let millis = Duration::from_millis;
    for after in [0, 20] {
        let asked = table.ask("a", now + millis(after));
        assert!(matches!(asked, Asked::Wait(_, since) if since == now));
    }
    for after in [25, 30_000] {
        let asked = table.ask("a", now + millis(after));
        assert!(matches!(asked, Asked::Pending(since) if since == now));
    }
    assert_eq!(requested(&mut table), ["a"]);
    let over = now + 40 * SECOND;
    let told = table.learn(&failed("a"), over).unwrap();
    assert_eq!(told.0.len(), 2);
    let asked = table.ask("a", over + SECOND / 2);
    assert!(matches!(asked, Asked::Failed(text, since) if &*text == "a failed" && since == now));
    // It was told, and is over.
    let again = over + SECOND;
    let asked = table.ask("a", again);
    assert!(matches!(asked, Asked::Wait(_, since) if since == again));
    assert_eq!(requested(&mut table), ["a"]);
}

#[test]
fn a_failure_is_kept_for_whoever_waits_longer_than_it_is_believed() {
    let (mut table, now) = (table(), Instant::now());
    table.ask("a", now);
    requested(&mut table);
    let Asked::Pending(since) = table.ask("a", now + SECOND) else {
        panic!("it is being looked up");
    };
    // Whoever asked first has gone.
    table.take_all_waiters();
    table.learn(&failed("a"), now + SECOND);
    let asked = table.ask("a", now + 60 * SECOND);
    assert!(matches!(asked, Asked::Failed(_, began) if began == since));
    let asked = table.ask("a", now + 61 * SECOND);
    assert!(matches!(asked, Asked::Wait(..)), "it was told once");
}

#[test]
fn families_alternate_and_the_one_that_answered_comes_first() {
    let v6 = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
    let (mut table, now) = (table(), Instant::now());
    let news = Publication {
        outcome: Outcome::Found {
            v6: vec![v6(1), v6(2)],
            v4: vec![ip(1), ip(2), ip(3)],
            ttl: SECOND,
        },
        ..failed("a")
    };
    let addresses = |table: &mut Table| match table.ask("a", now) {
        Asked::Known(ips) => ips,
        other => panic!("{other:?}"),
    };
    table.learn(&news, now);
    assert_eq!(addresses(&mut table), [v6(1), ip(1), v6(2), ip(2), ip(3)]);
    table.prefer("a", ip(2));
    assert_eq!(addresses(&mut table), [ip(2), v6(1), ip(1), v6(2), ip(3)]);
    table.learn(&news, now);
    assert_eq!(
        addresses(&mut table),
        [ip(2), v6(1), ip(1), v6(2), ip(3)],
        "also after a refresh"
    );
    table.prefer("a", ip(9));
    table.prefer("b", ip(9));
    table.learn(&news, now);
    assert_eq!(addresses(&mut table), [v6(1), ip(1), v6(2), ip(2), ip(3)]);
}

#[test]
fn what_is_remembered_is_bounded_and_one_owner_s_names_push_out_their_own() {
    let (mut table, now) = (table(), Instant::now());
    for n in 0..100 {
        table.learn(
            &found(&format!("n{n}.good{n}.test"), &[1], 60 * SECOND),
            now,
        );
    }
    for n in 0..MAX_KNOWN * 2 {
        let name = format!("n{n}.wild.test");
        table.ask(&name, now);
        table.take_request();
        match n % 3 {
            0 => drop(table.learn(&failed(&name), now)),
            _ => drop(table.learn(&found(&name, &[2], 60 * SECOND), now)),
        }
        assert!(table.remembered() <= MAX_KNOWN && table.entries.len() <= MAX_KNOWN + 1);
    }
    for n in 0..100 {
        assert!(
            is_known(&table.ask(&format!("n{n}.good{n}.test"), now), &[1]),
            "{n}"
        );
    }
    assert_eq!(table.ages.len(), table.remembered());
}

#[test]
fn who_has_to_leave_the_line_is_told_so_and_may_ask_again() {
    let (mut table, now) = (Table::new(2), Instant::now());
    let Asked::Wait(waiter, _) = table.ask("a.bad.test", now) else {
        panic!("known");
    };
    table.ask("b.bad.test", now);
    table.ask("good.test", now);
    let news = waiter.wait(now).expect("news");
    assert!(
        matches!(news, News::Answer(Err(text)) if text.contains("those below bad.test are most"))
    );
    assert!(matches!(table.ask("b.bad.test", now), Asked::Wait(..)));
    assert_eq!(requested(&mut table), ["b.bad.test", "good.test"]);
    assert!(matches!(table.ask("a.bad.test", now), Asked::Wait(..)));
}

#[test]
fn other_servers_mean_that_all_is_asked_for_again() {
    let (mut table, now) = (table(), Instant::now());
    table.learn(&found("a", &[1], 300 * SECOND), now);
    table.learn(&failed("b"), now);
    table.doubt_all(now);
    assert!(is_known(&table.ask("a", now), &[1]));
    assert!(matches!(table.ask("b", now), Asked::Wait(..)));
    assert_eq!(requested(&mut table), ["a", "b"]);
    table.forget("a");
    assert!(matches!(table.ask("a", now), Asked::Wait(..)));
}

/// Asking, learning and leaving in any order: nobody who waits is forgotten, nothing grows.
#[test]
fn a_model_of_thousands_of_random_steps() {
    for seed in seeds(0..40) {
        let mut dice = Dice::new(seed);
        let mut table = Table::new(20);
        let start = Instant::now();
        let (mut now, mut flying) = (start, Vec::<Arc<str>>::new());
        let mut waiting: Vec<(String, Arc<Waiter>)> = Vec::new();
        for _ in 0..3000 {
            dice.step();
            match dice.below(8) {
                0..3 => {
                    let name = format!("n{}.z{}.test", dice.below(30), dice.below(3));
                    if let Asked::Wait(waiter, _) = table.ask(&name, now) {
                        waiting.push((name, waiter));
                    }
                    // Somebody may have had to leave the line.
                    waiting.retain(|(_, waiter)| waiter.wait(start).is_none());
                }
                3 => flying.extend(table.take_request()),
                4..6 if !flying.is_empty() => {
                    let name = flying.swap_remove(dice.index(flying.len()));
                    let news = match dice.below(3) {
                        0 => failed(&name),
                        n => found(&name, &[n as u8], Duration::from_secs(dice.below(20))),
                    };
                    let told = table.learn(&news, now).map(|t| t.0).unwrap_or_default();
                    let (gone, left): (Vec<_>, _) = waiting.into_iter().partition(|w| w.0 == *name);
                    assert_eq!(told.len(), gone.len(), "{name}");
                    waiting = left;
                }
                6 if !waiting.is_empty() => {
                    let (name, waiter) = waiting.swap_remove(dice.index(waiting.len()));
                    table.leave(&name, &waiter);
                }
                _ => now += Duration::from_millis(dice.below(5000)),
            }
            assert!(table.requests.len() <= 20);
            let pending = table
                .entries
                .values()
                .filter(|e| e.pending.is_some())
                .count();
            assert_eq!(pending, table.requests.len() + flying.len());
        }
        assert_eq!(table.take_all_waiters().len(), waiting.len());
    }
}

#[test]
fn who_can_do_without_is_told_what_is_known_and_until_when() {
    let (mut table, now) = (table(), Instant::now());
    // Nobody waits for it, but it is asked for.
    assert!(table.present("a", now).is_none());
    assert!(table.present("a", now).is_none());
    assert_eq!(requested(&mut table), ["a"]);
    assert!(table.learn(&found("a", &[1], 60 * SECOND), now).is_none());
    let fresh = Some((vec![ip(1)], now + 60 * SECOND));
    assert_eq!(table.present("a", now), fresh);
    assert_eq!(table.present("a", now + 59 * SECOND), fresh);
    assert_eq!(table.requested(), 0);
    // What is old is given out for a moment, while it is asked for again.
    let later = now + 61 * SECOND;
    let old = Some((vec![ip(1)], later + SOON));
    assert_eq!(table.present("a", later), old);
    assert_eq!(table.present("a", later), old);
    assert_eq!(requested(&mut table), ["a"]);
    // Its servers do not answer: it stays, and is not asked for at once again.
    table.learn(&failed("a"), later);
    assert_eq!(table.present("a", later), old);
    assert_eq!(table.requested(), 0);
}

#[test]
fn a_failure_that_nobody_has_waited_for_is_not_told_much_later() {
    let (mut table, now) = (table(), Instant::now());
    table.present("a", now);
    table.take_request();
    table.learn(&failed("a"), now);
    assert!(matches!(table.ask("a", now), Asked::Failed(..)));
    let later = now + FAILED;
    assert!(matches!(table.ask("a", later), Asked::Wait(..)));
    // But who was told that it is pending comes back for it.
    table.take_request();
    table.present("a", later);
    table.learn(&failed("a"), later + SECOND);
    let much_later = later + 60 * SECOND;
    let Asked::Wait(waiter, _) = table.ask("a", much_later) else {
        panic!("it was looked up for nobody");
    };
    table.leave("a", &waiter);
    assert!(matches!(
        table.ask("a", much_later + MOMENT),
        Asked::Pending(..)
    ));
    table.learn(&failed("a"), much_later + SECOND);
    assert!(matches!(
        table.ask("a", much_later + 60 * SECOND),
        Asked::Failed(..)
    ));
}

#[test]
fn it_counts_how_often_a_name_came_to_lead_elsewhere() {
    let (mut table, now) = (table(), Instant::now());
    let mut steps = Vec::new();
    let mut learn = |news: &Publication| {
        table.ask("a", now);
        table.learn(news, now);
        steps.push(table.changes());
    };
    learn(&found("a", &[1, 2], SECOND));
    learn(&found("a", &[2, 1], SECOND));
    learn(&found("a", &[1, 2, 3], SECOND));
    learn(&found("a", &[1, 2], SECOND));
    learn(&found("a", &[1, 9], SECOND));
    learn(&failed("a"));
    learn(&found("a", &[1, 9], SECOND));
    assert_eq!(steps, [0, 0, 1, 2, 3, 3, 3]);
    table.forget("a");
    table.doubt_all(now);
    assert_eq!(table.changes(), 5);
}
