//! Runs receivers against senders: see `tests/receivers/README.md`.
//!
//! From a file to a verdict: [`case`] reads it, [`receiver`] plays it over [`wire`], one of
//! [`senders`] sends to it, [`progress`] is what both wait for, and [`judge`] compares.

pub mod case;
pub mod certificates;
pub mod judge;
pub mod kernel;
pub mod names;
pub mod progress;
pub mod receiver;
pub mod script;
pub mod senders;
pub mod sockets;
pub mod table;
pub mod wire;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use case::Case;
use certificates::Certificates;
use progress::{Outcome, Progress};
use receiver::Receiver;
use senders::{CASE_LIMIT, Job, Sender};

/// So many cases are played at a time: most of them wait most of the time.
const AT_A_TIME: usize = 24;

/// A script that does not let the next message go within this time, with all others settled,
/// never will: the sender did what the script does not know.
const STALLED: Duration = Duration::from_secs(6);

/// What one sender did with one case.
#[derive(Default)]
pub struct Played {
    pub skipped: Option<String>,
    pub outcomes: Vec<Option<Outcome>>,
    pub faults: Vec<String>,
    pub transcript: Vec<String>,
    /// What became of the messages is right, whatever else is not.
    pub right: bool,
    pub took: Duration,
}

/// Plays all cases with this sender, several at a time; the results in the order of the cases.
pub fn play_all(
    cases: &[Arc<Case>],
    certificates: &Certificates,
    sender: &dyn Sender,
) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut played = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(n) else {
                return played;
            };
            let begun = Instant::now();
            let took = |played| Played {
                took: begun.elapsed(),
                ..played
            };
            played.push((n, took(play(n, case, certificates, sender))));
        }
    };
    let mut all: Vec<(usize, Played)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic in a case"))
            .collect()
    });
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, played)| played).collect()
}

fn play(
    number: usize,
    case: &Arc<Case>,
    certificates: &Certificates,
    sender: &dyn Sender,
) -> Played {
    let no_ipv6 = case.needs_ipv6 && TcpListener::bind("[::1]:0").is_err();
    if let Some(skipped) = no_ipv6
        .then(|| "no IPv6 here".into())
        .or_else(|| sender.skips(case))
    {
        return Played {
            skipped: Some(skipped),
            ..Played::default()
        };
    }
    let progress = Arc::new(Progress::of(case.message.len()));
    let failed = |text: String| Played {
        faults: vec![text],
        ..Played::default()
    };
    let tls = match case
        .tls
        .as_ref()
        .map(|tls| certificates.server(tls))
        .transpose()
    {
        Ok(tls) => tls,
        Err(e) => return failed(format!("its TLS server cannot be made: {e}")),
    };
    let receiver = match Receiver::start(case.clone(), tls, progress.clone()) {
        Ok(receiver) => receiver,
        Err(e) => return failed(format!("it cannot listen: {e}")),
    };
    let job = Job {
        number,
        case: case.clone(),
        port: receiver.port,
        progress: progress.clone(),
    };
    thread::scope(|scope| {
        scope.spawn(|| sender.send(&job));
        pace(case, &progress);
        // Ends a sender that waits for a message which the script will never let go.
        if progress.outcomes().iter().any(Option::is_none) {
            progress.end();
        }
    });
    let outcomes = progress.outcomes();
    let log = receiver.end();
    let ids: Vec<String> = (0..case.message.len()).map(|n| job.id(n)).collect();
    Played {
        skipped: None,
        faults: judge::faults(case, &ids, job.port, &outcomes, &log),
        right: judge::is_right_about_messages(case, &outcomes),
        outcomes,
        transcript: log.transcript,
        took: Duration::ZERO,
    }
}

/// Lets the messages go as the case says, and waits until all are settled.
fn pace(case: &Case, progress: &Progress) {
    let last = case.message.len() - 1;
    if case.together {
        for _ in &case.message {
            progress.release();
        }
    }
    if !case.together && !case.is_paced() {
        for n in 0..=last {
            progress.release();
            progress.await_outcome(n, CASE_LIMIT);
        }
    }
    progress.release_first();
    for n in 0..=last {
        if !progress.await_release(n, STALLED) || !progress.await_outcome(n, CASE_LIMIT) {
            return;
        }
    }
}
