//! A worker: takes jobs, makes one attempt at each, and always reports.
//!
//! It blocks in the attempt, which has a deadline of its own, and nowhere else for long:
//! the channel it reports to has room for every worker. It ends with its input.
//!
//! There are many workers, and most of them have never worked: what such a one holds is two pages
//! of its stack. So the loop in which it waits has a small frame, and all that an attempt needs
//! is in frames that only an attempt opens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use crate::delivery::{Attempt, AttemptResult, FailureKind, Job};
use crate::message::timestamp::unix_ms;

/// A job that comes back, with what its attempt came to.
#[derive(Debug)]
pub struct CompletedAttempt {
    pub job: Job,
    pub attempt: Attempt,
}

/// Works until `work` ends. A panic in an attempt is that attempt's failure, and is reported
/// like any other, so that nothing is lost and the count of deliveries in flight stays true.
pub fn run(
    work: impl IntoIterator<Item = Job>,
    attempt: impl Fn(&Job) -> Attempt,
    report: impl Fn(Box<CompletedAttempt>),
) {
    for job in work {
        make_attempt(job, &attempt, &report);
    }
}

// Inlined, its frame would be part of the loop's, and stay with each worker that waits.
#[inline(never)]
fn make_attempt(
    job: Job,
    attempt: &impl Fn(&Job) -> Attempt,
    report: &impl Fn(Box<CompletedAttempt>),
) {
    let at = unix_ms(SystemTime::now());
    let made = catch_unwind(AssertUnwindSafe(|| attempt(&job)));
    let attempt = made.unwrap_or_else(|_| Attempt {
        at,
        took: Duration::ZERO,
        result: AttemptResult::Failure {
            kind: FailureKind::Internal,
            text: "a defect in outhook; please report what the log says of it".into(),
        },
    });
    report(Box::new(CompletedAttempt { job, attempt }));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;
    use crate::delivery::Delivery;
    use crate::message::Message;
    use crate::message::endpoint::Endpoint;
    use crate::service::boot_clock::boot_time;

    #[test]
    fn a_panic_is_reported_and_the_next_delivery_made() {
        let job = |id: &str| {
            let raw = format!(r#"{{"url":"http://h/","webhookId":"{id}","data":1}}"#);
            let made = || unreachable!();
            let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
            let message = Message::parse(raw.into_bytes(), 1000, made, endpoint).unwrap();
            Job::of(Delivery::new(message, "test".into(), 0, boot_time()))
        };
        let reports = RefCell::new(Vec::new());
        let attempt = |job: &Job| match &*job.delivery.message.id {
            "bad" => panic!("planted"),
            _ => Attempt {
                at: 0,
                took: Duration::ZERO,
                result: AttemptResult::Response {
                    status: 200,
                    retry_after: None,
                    body: Box::default(),
                },
            },
        };
        let work = [job("bad"), job("good")];
        run(work, attempt, |o| reports.borrow_mut().push(o));
        let reports = reports.into_inner();
        assert_eq!(reports.len(), 2);
        assert!(matches!(
            reports[0].attempt.result,
            AttemptResult::Failure {
                kind: FailureKind::Internal,
                ..
            }
        ));
        assert_eq!(&*reports[1].job.delivery.message.id, "good");
    }
}
