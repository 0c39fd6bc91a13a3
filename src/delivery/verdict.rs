//! What an attempt means for its message. Pure.

use std::time::Duration;

use crate::delivery::retry_schedule::RetrySchedule;
use crate::delivery::{AttemptResult, DeadReason, one_line};

/// What happens to a delivery after an attempt.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Delivered,
    /// Try again, not before `after` has passed.
    Retry {
        after: Duration,
    },
    Dead {
        reason: DeadReason,
        detail: String,
    },
}

/// Judges the `made`-th attempt (1 is the first) of message `id`, which gets `most`.
pub fn judge(
    result: &AttemptResult,
    id: &str,
    made: u32,
    schedule: &RetrySchedule,
    most: u32,
) -> Verdict {
    let wish = match result {
        // The status decides: a receiver that said 2xx has the message, even if it then
        // cut its body short, and would get it twice otherwise.
        AttemptResult::Response {
            status: 200..=299, ..
        } => return Verdict::Delivered,
        AttemptResult::Response { status: 410, .. } => {
            return Verdict::Dead {
                reason: DeadReason::Gone,
                detail: "the endpoint answered 410 Gone: it wants no more webhooks".into(),
            };
        }
        AttemptResult::Response { retry_after, .. } => retry_after.unwrap_or_default(),
        AttemptResult::Failure { .. } => Duration::ZERO,
    };
    match schedule.delay(id, made).filter(|_| made < most) {
        // A Retry-After moves the next attempt later, never earlier.
        Some(delay) => Verdict::Retry {
            after: delay.max(wish),
        },
        None => Verdict::Dead {
            reason: DeadReason::Exhausted,
            detail: {
                let failed = match made {
                    1 => "its only attempt failed,".to_owned(),
                    _ => format!("all {made} attempts failed, the last"),
                };
                let how = one_line(&result.to_string());
                format!("{failed} with {how}; --max-attempts or --retry-schedule allows more")
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::FailureKind;
    use crate::delivery::retry_schedule::Delays;

    const SEC: Duration = Duration::from_secs(1);

    fn answer(status: u16, retry_after: Option<u64>) -> AttemptResult {
        AttemptResult::Response {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body: Box::default(),
        }
    }

    fn verdict(result: &AttemptResult, made: u32) -> Verdict {
        let schedule = RetrySchedule {
            attempts: 3,
            delays: Delays::List(vec![10 * SEC]),
            jitter: 0.0,
        };
        judge(result, "a", made, &schedule, 3)
    }

    #[test]
    fn every_2xx_is_delivered_and_nothing_else_is() {
        for status in 100..=999 {
            let delivered = verdict(&answer(status, None), 1) == Verdict::Delivered;
            assert_eq!(delivered, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn gone_is_dead_at_once_and_the_rest_after_its_attempts() {
        let dead = |v| match v {
            Verdict::Dead { reason, .. } => Some(reason),
            _ => None,
        };
        let fault = AttemptResult::Failure {
            kind: FailureKind::Timeout,
            text: String::new(),
        };
        assert_eq!(dead(verdict(&answer(410, None), 1)), Some(DeadReason::Gone));
        for result in [
            answer(400, None),
            answer(302, None),
            answer(500, None),
            fault,
        ] {
            assert_eq!(verdict(&result, 2), Verdict::Retry { after: 10 * SEC });
            assert_eq!(dead(verdict(&result, 3)), Some(DeadReason::Exhausted));
            let says = format!("{:?}", verdict(&result, 3));
            assert!(says.contains(&result.to_string()), "{says}");
        }
    }

    #[test]
    fn retry_after_moves_later_and_never_earlier() {
        for (wish, seconds) in [(0, 10), (9, 10), (11, 11), (86400, 86400)] {
            let after = Duration::from_secs(seconds);
            assert_eq!(
                verdict(&answer(503, Some(wish)), 1),
                Verdict::Retry { after }
            );
        }
        // A Retry-After counts even with a status that is not the endpoint's fault.
        assert_eq!(
            verdict(&answer(400, Some(60)), 1),
            Verdict::Retry { after: 60 * SEC }
        );
    }
}
