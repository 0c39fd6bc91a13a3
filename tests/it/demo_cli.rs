//! `outhook demo`: the product in one process.

use std::time::Duration;

use crate::support::service::Outhook;
use crate::support::sys::Signal;
use crate::support::until;

#[test]
fn the_demo_shows_something_without_redis_and_a_signal_drains_it() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Outhook::new(&["demo"]).env("OUTHOOK_LOG", "info").spawn();
        until("the demo to show something", || {
            let lines = demo.out.all().len() + demo.log.all().len();
            (lines > 3).then_some(())
        });
        assert!(demo.is_running());
        demo.signal(signal);
        let code = demo.wait_exit(Duration::from_secs(20));
        // Its receiver fails now and then, so that a message may have run out of attempts.
        assert!(code == 0 || code == 1, "exit code {code}");
        assert_eq!(demo.log.count("panicked"), 0);
    }
}
