//! What a lane does, by example. For whoever is new here this is the first page to read.

use super::*;
use crate::delivery::rules::EndpointRule;

const SECOND: Duration = Duration::from_secs(1);

const LIMITS: LaneLimits = LaneLimits {
    window: 6,
    backoff_base: SECOND,
    backoff_max: Duration::from_secs(5),
};

const SOON: HealthSignal = HealthSignal::Alive {
    took: Duration::from_millis(20),
};

const FAULT: HealthSignal = HealthSignal::Fault {
    retry_after: None,
    took: Duration::from_millis(20),
};

/// A new endpoint with much to do.
fn busy_lane(now: Instant) -> Lane {
    let mut lane = Lane::new(&LIMITS, now);
    (0..100).for_each(|_| lane.queue.push(Job::example()));
    lane
}

/// Begins what may begin. Answers how many did.
fn begin_all(lane: &mut Lane, now: Instant) -> usize {
    std::iter::from_fn(|| lane.take(now)).count()
}

/// All attempts in flight end so. Answers what changed.
fn end_all(lane: &mut Lane, signal: HealthSignal, now: Instant) -> Vec<EndpointEvent> {
    let all = 0..lane.in_flight();
    all.filter_map(|_| lane.release(signal, &LIMITS, now))
        .collect()
}

#[test]
fn a_new_endpoint_gets_a_few_attempts_at_a_time_and_one_more_for_each_answer() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    assert_eq!(lane.class(), Class::Untried);
    assert_eq!(begin_all(&mut lane, now), 4);
    lane.release(SOON, &LIMITS, now);
    assert_eq!((lane.window(), lane.class()), (5, Class::Trusted));
    end_all(&mut lane, SOON, now);
    assert_eq!(begin_all(&mut lane, now), 6, "the largest window");
}

#[test]
fn failures_without_an_answer_between_them_make_it_failing_after_one_window() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    begin_all(&mut lane, now);
    for _ in 0..3 {
        assert_eq!(lane.release(FAULT, &LIMITS, now), None);
    }
    let pause = SECOND;
    let failing = Some(EndpointEvent::Failing { pause });
    assert_eq!(lane.release(FAULT, &LIMITS, now), failing);
    assert!(lane.take(now).is_none(), "it is left alone");
    assert_eq!(lane.room_at(now), Some(now + pause));
}

#[test]
fn an_answer_between_failures_keeps_it_healthy() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    for _ in 0..50 {
        begin_all(&mut lane, now);
        assert_eq!(lane.release(SOON, &LIMITS, now), None);
        lane.take(now);
        assert_eq!(lane.release(FAULT, &LIMITS, now), None);
    }
    assert_eq!((lane.window(), lane.breaker().is_failing()), (6, false));
}

#[test]
fn a_retry_after_makes_it_failing_at_once_and_for_as_long() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    lane.take(now);
    let pause = 30 * SECOND;
    let busy = HealthSignal::Fault {
        retry_after: Some(pause),
        took: SECOND / 10,
    };
    let event = lane.release(busy, &LIMITS, now);
    assert_eq!(event, Some(EndpointEvent::Failing { pause }));
    assert_eq!(lane.breaker().failing_until(now), Some(now + pause));
}

#[test]
fn who_hangs_from_the_first_attempt_on_is_failing_after_that_one() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    lane.take(now);
    let timeout = HealthSignal::Fault {
        retry_after: None,
        took: 15 * SECOND,
    };
    assert!(lane.release(timeout, &LIMITS, now).is_some());
    assert_eq!(lane.class(), Class::Failing);
}

#[test]
fn after_the_back_off_one_delivery_is_the_probe_and_each_failed_one_doubles_it() {
    let mut now = Instant::now();
    let mut lane = busy_lane(now);
    begin_all(&mut lane, now);
    end_all(&mut lane, FAULT, now);
    for seconds in [1, 2, 4, 5, 5] {
        assert_eq!(lane.breaker().failing_for(now), Some(seconds * SECOND));
        now += seconds * SECOND;
        assert_eq!(lane.breaker().health(now), Health::Probing);
        assert_eq!(begin_all(&mut lane, now), 1);
        assert!(end_all(&mut lane, FAULT, now).is_empty(), "that is no news");
    }
}

#[test]
fn a_probe_that_is_answered_makes_it_healthy_with_a_window_that_grows_again() {
    let mut now = Instant::now();
    let mut lane = busy_lane(now);
    begin_all(&mut lane, now);
    end_all(&mut lane, FAULT, now);
    now += SECOND;
    begin_all(&mut lane, now);
    assert_eq!(end_all(&mut lane, SOON, now), [EndpointEvent::Healthy]);
    assert_eq!((lane.window(), begin_all(&mut lane, now)), (2, 2));
    end_all(&mut lane, SOON, now);
    assert_eq!(begin_all(&mut lane, now), 4);
}

#[test]
fn an_attempt_that_was_not_made_says_nothing_and_nothing_else_begins_for_a_while() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    begin_all(&mut lane, now);
    let pause = SECOND / 4;
    assert!(end_all(&mut lane, HealthSignal::None { pause }, now).is_empty());
    assert!(!lane.breaker().is_failing());
    assert!(lane.take(now).is_none());
    assert_eq!(begin_all(&mut lane, now + pause), 4);
}

#[test]
fn a_rate_is_a_time_between_two_beginnings() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    let rule = EndpointRule::of_limits(None, Some(SECOND));
    lane.apply_rule(Some(&rule), &LIMITS, None, now);
    assert_eq!(begin_all(&mut lane, now), 1);
    assert_eq!(lane.room_at(now), Some(now + SECOND));
    // A little late, and in time again: the rate stays what it is.
    let late = now + SECOND + Duration::from_millis(15);
    assert_eq!(begin_all(&mut lane, late), 1);
    assert_eq!(begin_all(&mut lane, now + 2 * SECOND), 1);
}

#[test]
fn an_operator_who_says_that_it_is_well_has_it_tried_at_once() {
    let now = Instant::now();
    let mut lane = busy_lane(now);
    begin_all(&mut lane, now);
    end_all(&mut lane, FAULT, now);
    lane.try_now(now);
    assert_eq!(begin_all(&mut lane, now), 1);
}

/// With its key and its place in the map: below a kibibyte for an endpoint at rest.
#[test]
fn a_lane_is_small() {
    assert!(size_of::<Lane>() <= 400, "{}", size_of::<Lane>());
}
