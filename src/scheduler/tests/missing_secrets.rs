//! What cannot be signed, where there is no Redis to wait in.

use super::*;

fn fault(kind: FailureKind) -> Attempt {
    Attempt {
        at: 0,
        took: Duration::ZERO,
        result: AttemptResult::Failure {
            kind,
            text: "secret acme: x".into(),
        },
    }
}

#[test]
fn without_a_store_what_cannot_be_signed_ends() {
    let again = |s| FailureKind::SecretUnread {
        again: Duration::from_secs(s),
    };
    for (kind, dies) in [
        (again(1), false),
        (again(29), false),
        (again(30), true),
        (FailureKind::NoSecret, true),
        (FailureKind::Unsigned, true),
    ] {
        let (mut s, begin) = (Scheduler::new(limits(), EndpointRules::default()), now());
        s.accept(delivery("a", 1), begin);
        let out = s.next(begin).unwrap();
        let fate = s.finish(out, fault(kind), begin);
        let want = Disposition::Dead(DeadReason::NoSecret);
        assert_eq!(fate == want, dies, "{kind:?}: {fate:?}");
    }
}
