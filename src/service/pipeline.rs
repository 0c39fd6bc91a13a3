//! The pipeline: which threads there are, what runs between them, and how it ends.
//!
//! ```text
//! sources ──▶ eager / patient ──▶ TIMER ──▶ work ──▶ workers ──▶ done ──▶ (back to TIMER)
//!                                   │
//!                                   └──▶ ledger ──▶ store
//! ```
//!
//! A star with the timer in its middle, not a ring: in a ring each side holds the other's
//! sender, and it can never end by dropping them. Who may block: sources in their input,
//! workers in HTTP, the ledger in its store; the timer never. Every channel is bounded:
//!
//! - `eager`, `patient` ([`INTAKE`]): a full one makes its source wait.
//! - `work` (one a worker; a queue, not a channel): never full, as no more is handed out than
//!   may be in flight.
//! - `done` (one a worker): never full, for the same reason.
//! - `ledger` ([`ledger::CAPACITY`]): a full one stops the timer from taking in and
//!   handing out.
//!
//! The end is the end of input. The drain ends the patient sources, or their input does; their
//! senders are dropped; the timer settles what is left; when the ledger has written that, it ends
//! those that hear to the last; the timer drops `work` and `ledger`; the workers and the ledger
//! end. A thread that hangs in the operating system (a name
//! look-up, a connect) is left behind: the process is about to end.

mod client;
mod sources;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use crate::delivery::Job;
use crate::delivery::config::DeliveryConfig;
use crate::delivery::parked::Want;
use crate::delivery::rules::EndpointRules;
use crate::http::Client;
use crate::scheduler::lane::LaneLimits;
use crate::scheduler::{Limits, Parking, Scheduler};
use crate::service::channel::wake::WakingSender;
use crate::service::channel::work_queue::WorkReceiver;
use crate::service::control::{Inbox, Snapshot};
use crate::service::drain::{Drain, EndSignals};
use crate::service::intake::Intake;
use crate::service::ledger::{Ledger, LedgerSummary};
use crate::service::lender::{Desk, Lender};
use crate::service::outage::OutageTracker;
use crate::service::pulse::Pulse;
use crate::service::threads::Threads;
use crate::service::timer::{Sizes, Timer, TimerConfig};
use crate::service::worker::{self, CompletedAttempt};
use crate::store::Store;
use crate::trust::keyring::Keyring;

use client::make_client;
use sources::{Inlets, start_sources};

/// Places between a source and the timer: small, as messages wait better in Redis. A patient
/// source gets fewer if little may be held.
const INTAKE: usize = 128;

/// A lane may hold so many messages even where `--max-active` is small, but not more than half.
const LEAST_SHARE: usize = 64;

/// How often idle connections are swept.
const SWEEP: Duration = Duration::from_secs(2);

/// The sweeper, the ledger and the timer.
const OTHER_THREADS: usize = 3;

/// Where messages come from: a name for dead letters and threads, and a function that
/// blocks until its input ends, the drain begins, or all else is done.
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    pub run: SourceBody,
}

/// What a source's thread does.
pub type SourceBody = Box<dyn FnOnce(&mut Intake, &EndSignals) + Send>;

/// Whether a source keeps what is not taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// It does not: what there is no room for becomes a dead letter (`overflow`).
    Eager,
    /// It does, and waits.
    Patient,
}

/// Where what leaves the pipeline is kept.
pub struct Persistence {
    pub store: Box<dyn Store>,
    pub parking: Parking,
    /// Whether it is told of every attempt.
    pub tells: bool,
    /// Eager sources' messages go to the stream first.
    pub bridge: bool,
    /// How long nothing is sent to a URL that answered 410.
    pub gone: Duration,
    pub outage: OutageTracker,
}

impl Persistence {
    /// For dead letters alone.
    pub fn of_letters(store: Box<dyn Store>) -> Persistence {
        Persistence {
            store,
            parking: Parking::Nowhere,
            tells: false,
            bridge: false,
            gone: Duration::ZERO,
            outage: OutageTracker::new("ledger").with("dead letters"),
        }
    }
}

/// What an operator has set, and what is asked of the timer from outside while it runs.
pub struct Control {
    pub rules: EndpointRules,
    pub inbox: Inbox,
    /// Who this is, among several.
    pub replica: String,
    /// Whether the others may think that this one is dead.
    pub pulse: Pulse,
    /// To whoever brings back what waits in the store.
    pub wants: Option<WakingSender<Want>>,
    /// Lends what limits allow that hold for all replicas. Without it each has its own.
    pub lender: Option<Lender>,
    /// Keys by the names that messages give. Without it messages that give one are refused.
    pub keyring: Option<Keyring>,
}

/// A pipeline at work.
pub struct Pipeline {
    timer: JoinHandle<Snapshot>,
    ledger: JoinHandle<LedgerSummary>,
}

/// What came of it all.
#[derive(Debug)]
pub struct Summary {
    pub last: Snapshot,
    pub ledger: LedgerSummary,
    /// Deliveries that never came back from their workers, and that memory alone held.
    pub stuck: usize,
}

impl Summary {
    /// Whether everything received was delivered or is kept, and nothing was published that
    /// should have been received and was not.
    pub fn nothing_lost(&self) -> bool {
        self.stuck == 0 && self.ledger.lost.is_empty() && self.last.gaps.losses == 0
    }
}

impl Pipeline {
    /// Starts all threads, the sources last: none takes anything in before all others are there.
    /// Fails only when the system has no threads to give; then those that were started end. The
    /// error is one line, with what fits.
    pub fn start(
        config: &DeliveryConfig,
        sources: Vec<Source>,
        persistence: Persistence,
        drain: Drain,
        control: Control,
    ) -> Result<Pipeline, String> {
        let client = make_client(config, control.keyring.clone())?;
        let mut threads = Threads::new(config.workers, OTHER_THREADS + sources.len());
        start_sweeper(&mut threads, &client, &drain)?;
        config.notes().iter().for_each(|note| warn!("{note}"));
        let limits = limits(config, &persistence);
        let shutdown = client.clone();
        let timer_config = TimerConfig {
            replica: control.replica,
            pulse: control.pulse,
            wants: control.wants,
            desk: Desk::new(control.lender),
            drain_timeout: config.drain_timeout,
            cut: Box::new(move || shutdown.shutdown()),
        };
        let sizes = Sizes {
            workers: config.workers,
            eager: INTAKE,
            patient: INTAKE.min(config.max_active / 8).max(1),
        };
        let scheduler = Scheduler::new(limits, control.rules).with(control.keyring.clone());
        let (timer, ends) = Timer::wire(scheduler, timer_config, control.inbox, drain, &sizes);
        let ledger = Ledger::new(
            ends.ledger,
            persistence.store,
            config.drain_timeout,
            persistence.parking.begin_within(),
            persistence.outage,
        );
        let ledger = threads.spawn("ledger", move || ledger.run())?;
        let timer = threads.spawn("timer", move || timer.run())?;
        start_workers(&mut threads, ends.work, &client, &ends.done)?;
        let inlets = Inlets {
            eager: ends.eager,
            patient: ends.patient,
            max_message_bytes: config.max_message_bytes,
            takes_secrets: control.keyring.is_some(),
        };
        start_sources(&mut threads, sources, inlets, &ends.signals)?;
        Ok(Pipeline { timer, ledger })
    }

    /// Waits for the end, tells what came of it, and answers it.
    pub fn wait(self) -> Summary {
        // A panic in either is a defect of outhook, and is passed on.
        let last = self
            .timer
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p));
        let ledger = self
            .ledger
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p));
        let stuck = last.levels.memory_only;
        let summary = Summary {
            last,
            ledger,
            stuck,
        };
        let (s, kept) = (&summary.last.stats, summary.ledger.letters);
        let lost = summary.ledger.lost.len() + stuck;
        info!(
            event = "drain_done", delivered = s.delivered, parked = s.parked,
            deferred = s.deferred, appended = s.appended, dead_letters = kept, lapsed = s.lapsed,
            duplicates = s.duplicates, lost = lost;
            "drain: done: delivered={} parked={} deferred={} appended={} dead letters kept={kept} lapsed={} \
             duplicates={} lost={lost}",
            s.delivered,
            s.parked,
            s.deferred,
            s.appended,
            s.lapsed,
            s.duplicates,
        );
        if summary.ledger.again > 0 {
            warn!(
                "{} deliveries could not be recorded, and will be made again",
                summary.ledger.again
            );
        }
        let gaps = &summary.last.gaps;
        if gaps.losses > 0 {
            error!(
                event = "lost", gaps = gaps.losses;
                "lost: what was published in {} gaps of the subscription; see above",
                gaps.losses
            );
        }
        if stuck > 0 {
            error!(event = "lost", count = stuck; "lost: {stuck} attempts did not end within the drain");
        }
        if !summary.ledger.lost.is_empty() {
            let ids = summary.ledger.lost.join(", ");
            error!(event = "lost", ids = ids.as_str(); "lost: {ids}");
        }
        summary
    }
}

fn share(max_active: usize) -> usize {
    let least = LEAST_SHARE.min(max_active / 2);
    (max_active / 4).max(least).max(1)
}

fn limits(config: &DeliveryConfig, persistence: &Persistence) -> Limits {
    Limits {
        workers: config.workers,
        lanes: LaneLimits {
            window: config.max_in_flight,
            backoff_base: config.endpoint_backoff_base,
            backoff_max: config.endpoint_backoff_max,
        },
        lane_by_url: config.lane_by_url,
        share: share(config.max_active),
        share_bytes: config.max_active_bytes / 4,
        max_active: config.max_active,
        max_active_bytes: config.max_active_bytes,
        schedule: config.schedule.clone(),
        timeout: config.timeout,
        max_age: config.max_age,
        parking: persistence.parking,
        tells: persistence.tells,
        bridge: persistence.bridge,
        gone: persistence.gone,
    }
}

fn start_workers(
    threads: &mut Threads,
    takers: Vec<WorkReceiver<Job>>,
    client: &Arc<Client>,
    report: &WakingSender<Box<CompletedAttempt>>,
) -> Result<(), String> {
    for (number, work) in (1..).zip(takers) {
        let (report, client) = (report.clone(), client.clone());
        threads.spawn_worker(number, move || {
            // Fails only when the timer has given up on it.
            worker::run(work, |m| client.attempt(m), |o| drop(report.send(o)));
        })?;
    }
    Ok(())
}

fn start_sweeper(threads: &mut Threads, client: &Arc<Client>, drain: &Drain) -> Result<(), String> {
    let (client, until) = (Arc::downgrade(client), drain.clone());
    threads.spawn("sweeper", move || {
        while !until.wait(SWEEP)
            && let Some(client) = client.upgrade()
        {
            client.close_idle(Instant::now());
        }
    })?;
    Ok(())
}
