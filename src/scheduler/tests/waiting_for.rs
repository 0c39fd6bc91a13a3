//! For a token and for a name a message waits apart, so that the time for one is not used up by the
//! other.

use super::model::{delivery, now};
use super::*;

fn without(kind: FailureKind) -> Attempt {
    let text = "not there yet".into();
    Attempt {
        result: AttemptResult::Failure { kind, text },
        ..answered()
    }
}

#[test]
fn the_time_of_a_token_is_not_the_time_of_a_name() {
    let at = now();
    let mut s = Scheduler::new(Limits::of_one_attempt(8, 2), EndpointRules::default());
    s.accept(delivery("a", 1), at);
    let again = Duration::from_secs(1);
    let next = |s: &mut Scheduler, seconds: u64, kind| {
        let at = later(at, seconds);
        s.tick(at);
        let job = s.next(at).expect("its turn");
        let since = (job.delivery.token_asked, job.delivery.name_asked);
        s.finish(job, without(kind), at);
        since
    };
    let (token, name) = (
        FailureKind::Tokenless { again },
        FailureKind::Unresolved { again },
    );
    let when = |seconds| Some(later(at, seconds).mono);
    assert_eq!(next(&mut s, 0, token), (None, None));
    assert_eq!(next(&mut s, 7, token), (when(0), None));
    assert_eq!(next(&mut s, 14, name), (when(0), None));
    assert_eq!(next(&mut s, 20, name), (when(0), when(14)));
    assert_eq!(next(&mut s, 30, FailureKind::Shutdown), (when(0), when(14)));
}
