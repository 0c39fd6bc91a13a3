//! Tables for [`Health`]. `model` plays proxies and targets that come and go at random.

mod model;

use super::*;
use crate::dice::Dice;

const SEC: Duration = Duration::from_secs(1);

fn fault(text: &str) -> Fault<'_> {
    Fault {
        text,
        kind: Unclear::Unled,
    }
}

#[test]
fn an_outage_is_tried_by_one_at_a_time_and_ends_with_the_first_success() {
    let (mut health, start) = (Health::default(), Instant::now());
    let at = |s: u32| start + s * SEC;
    let refused = |s: u32| Err((s * SEC, "refused".to_owned()));
    assert_eq!(health.ask("a", at(0), at(9)), Ok(false));
    assert_eq!(health.ask("a", at(0), at(9)), Ok(false));
    let advice = health.fail("refused", false, at(0), at(0));
    assert_eq!((advice.again, advice.is_news), (SEC, true));
    // One that was under way is no second fault, and no news.
    let advice = health.fail("refused", false, at(0) - SEC, at(0));
    assert_eq!((advice.again, advice.is_news), (SEC, false));
    assert_eq!(health.ask("a", at(0), at(9)), refused(1));
    assert_eq!(health.ask("a", at(1), at(9)), Ok(true), "the pause is over");
    for now in 1..9 {
        assert_eq!(health.ask("b", at(now), at(20)), refused(1), "it is tried");
    }
    assert_eq!(
        health.ask("b", at(9), at(20)),
        Ok(true),
        "that took too long"
    );
    let advice = health.fail("no name", false, at(9), at(11));
    assert_eq!((advice.again, advice.is_news), (2 * SEC, true));
    assert_eq!(health.ask("a", at(13), at(20)), Ok(true));
    health.abandon("a");
    assert_eq!(health.ask("b", at(13), at(20)), Ok(true));
    assert_eq!(health.succeed("b", at(14)), Some(14 * SEC));
    assert_eq!(health.succeed("b", at(15)), None);
    assert_eq!(health.ask("a", at(70), at(79)), Ok(false));
    let advice = health.fail("refused", false, at(70), at(70));
    assert!(advice.is_news, "a new outage");
}

#[test]
fn an_outage_is_over_for_all_as_soon_as_the_proxy_is_reached() {
    let (mut health, start) = (Health::default(), Instant::now());
    let at = |s: u32| start + s * SEC;
    for (reached, is_open) in [(false, true), (true, false)] {
        health.fail("x", reached, at(0), at(0));
        assert_eq!(health.ask("odd", at(1), at(9)), Ok(true));
        health.reached();
        assert_eq!(health.ask("good", at(1), at(9)).is_ok(), is_open);
        health.succeed("good", at(2));
    }
    // Or when it turns out that something else is wrong.
    health.fail("x", true, at(10), at(10));
    let begun = at(11);
    assert_eq!(health.ask("odd", begun, at(20)), Ok(true));
    health.doubt(&"odd".into(), fault("y"), begun, at(20));
    assert_eq!(health.ask("good", at(20), at(30)), Ok(false));
}

/// With however many messages: at most one try in each pause, pauses grow to their bound, and
/// nobody is told to come back later than that, or at once.
#[test]
fn however_many_ask_few_try() {
    let (mut dice, mut health, start) = (Dice::usual(3), Health::default(), Instant::now());
    let (mut now, mut tries) = (start, 0);
    health.fail("x", false, now, now);
    while now < start + 600 * SEC {
        dice.step();
        now += Duration::from_millis(dice.below(40));
        match health.ask("a", now, now + SEC) {
            Ok(_) => {
                tries += 1;
                let advice = health.fail("x", false, now, now);
                assert!(!advice.is_news && advice.again <= LONGEST_PAUSE);
            }
            Err((again, _)) => assert!(!again.is_zero() && again <= LONGEST_PAUSE),
        }
    }
    assert!((35..=46).contains(&tries), "{tries}");
}

#[test]
fn a_doubt_holds_back_one_origin_until_it_is_known_whose_fault_it_is() {
    let start = Instant::now();
    let at = |s: u32| start + s * SEC;
    let odd: Arc<str> = "odd".into();
    let target = |leads| Verdict::Target { leads };
    let mut health = Health::default();
    let waits = |s: u32, is_news| {
        let again = s * SEC;
        Verdict::Proxy(Advice { again, is_news })
    };
    assert_eq!(
        health.doubt(&odd, fault("hangs"), at(0), at(5)),
        waits(1, true)
    );
    assert_eq!(health.ask("odd", at(5), at(9)), Err((SEC, "hangs".into())));
    assert_eq!(health.ask("good", at(5), at(9)), Ok(false));
    assert_eq!(health.ask("odd", at(6), at(11)), Ok(false));
    assert!(health.ask("odd", at(10), at(20)).is_err(), "one at a time");
    assert_eq!(
        health.doubt(&odd, fault("hangs"), at(6), at(11)),
        waits(2, false)
    );
    // Others are led: from then on it is the target's, at once.
    assert_eq!(health.succeed("good", at(12)), Some(7 * SEC));
    for now in [12, 40, 400] {
        assert_eq!(health.ask("odd", at(now), at(now + 5)), Ok(false));
        let verdict = health.doubt(&odd, fault("hangs"), at(now), at(now + 5));
        assert_eq!(verdict, target(true), "{now}");
    }
    // It was led to, or long ago: a new doubt. Nothing proves anything: the target's in the end.
    health.succeed("odd", at(500));
    for begin in [600, 2000] {
        let mut counted = None;
        for now in (begin..begin + 100).step_by(20) {
            match health.doubt(&odd, fault("hangs"), at(now), at(now + 5)) {
                Verdict::Proxy(_) => assert_eq!(counted, None),
                verdict => {
                    assert_eq!(verdict, target(false));
                    counted = counted.or(Some(now - begin));
                }
            }
        }
        assert_eq!(counted, Some(60), "{begin}");
        assert_eq!(
            health.ask("odd", at(begin + 100), at(begin + 105)),
            Ok(false)
        );
        assert_eq!(
            health.ask("odd", at(begin + 100), at(begin + 105)),
            Ok(false)
        );
    }
    // Whoever was led to somebody in the meantime, or just before, works.
    health.succeed("good", at(4000));
    let other: Arc<str> = "other".into();
    for (begun, now, leads) in [(4001, 4004, true), (3990, 4100, true), (4001, 4006, false)] {
        let verdict = health.doubt(&other, fault("hangs"), at(begun), at(now));
        assert_eq!(verdict == target(true), leads, "{begun} {now}");
    }
}

#[test]
fn a_login_that_is_not_taken_is_the_proxys_affair_until_others_are_led() {
    let start = Instant::now();
    let at = |s: u32| start + s * SEC;
    let (mut health, odd) = (Health::default(), "odd".into());
    let fault = Fault {
        text: "407",
        kind: Unclear::Login,
    };
    for now in (0..7200).step_by(15) {
        let verdict = health.doubt(&odd, fault, at(now), at(now));
        assert!(matches!(verdict, Verdict::Proxy(_)), "{now}");
    }
    health.succeed("good", at(7201));
    let verdict = health.doubt(&odd, fault, at(7300), at(7300));
    assert_eq!(verdict, Verdict::Target { leads: true });
}

#[test]
fn several_in_doubt_are_waited_for_longer_unless_they_may_have_got_it() {
    let start = Instant::now();
    for (n, kind, want) in [
        (2, Unclear::Unled, 60),
        (3, Unclear::Unled, 3600),
        (3, Unclear::Sent, 60),
    ] {
        let (mut health, text) = (Health::default(), "x");
        let counts = |s: &u64| {
            let now = start + Duration::from_secs(*s);
            let mut one =
                |o: u32| health.doubt(&o.to_string().into(), Fault { text, kind }, now, now);
            let verdicts: Vec<_> = (0..n).map(&mut one).collect();
            verdicts[0] == Verdict::Target { leads: false }
        };
        assert_eq!(
            (0..4000).step_by(20).find(counts),
            Some(want),
            "{n} {kind:?}"
        );
    }
}

#[test]
fn what_is_remembered_of_odd_targets_is_bounded() {
    let (mut health, now) = (Health::default(), Instant::now());
    for n in 0..=MAX_DOUBTS {
        let verdict = health.doubt(&format!("o{n}").into(), fault("x"), now, now);
        assert_eq!(matches!(verdict, Verdict::Proxy(_)), n < MAX_DOUBTS, "{n}");
    }
    let later = now + FORGOTTEN;
    let verdict = health.doubt(&"new".into(), fault("x"), later, later);
    assert!(matches!(verdict, Verdict::Proxy(_)));
    assert_eq!(health.doubts.len(), 1);
}
