//! What connects the timer, made in one place: its own ends of all channels, and those of the others.

use std::time::Instant;

use crossbeam_channel::bounded;

use super::{Ending, Timer, TimerConfig};
use crate::delivery::Job;
use crate::scheduler::Scheduler;
use crate::service::channel::byte_bound::{BlockingSender, from_timer, to_timer};
use crate::service::channel::wake::WakingSender;
use crate::service::channel::work_queue::{self, WorkReceiver};
use crate::service::control::{Gaps, Inbox};
use crate::service::drain::{Drain, EndSignals, drain as signal};
use crate::service::intake::Arrival;
use crate::service::ledger;
use crate::service::worker::CompletedAttempt;

/// How much may be on its way.
pub struct Sizes {
    /// There is work for each, and room for what becomes of it.
    pub workers: usize,
    /// Places of the two intakes.
    pub eager: usize,
    pub patient: usize,
}

/// The ends of all others.
pub struct Ends {
    pub eager: BlockingSender<Arrival>,
    pub patient: BlockingSender<Arrival>,
    /// What sources are told.
    pub signals: EndSignals,
    /// One for each worker.
    pub work: Vec<WorkReceiver<Job>>,
    /// From each worker.
    pub done: WakingSender<Box<CompletedAttempt>>,
    pub ledger: ledger::Ends,
}

impl Timer {
    /// A timer that has all its channels, and is to be run once the others have theirs.
    pub fn wire(
        mut scheduler: Scheduler,
        config: TimerConfig,
        inbox: Inbox,
        drain: Drain,
        sizes: &Sizes,
    ) -> (Timer, Ends) {
        if config.desk.has_lender() {
            scheduler.share_limits(Instant::now());
        }
        let waker = inbox.waker;
        let (eager_in, eager) = to_timer(sizes.eager, waker.clone());
        let (patient_in, patient) = to_timer(sizes.patient, waker.clone());
        let (done_in, done) = bounded(sizes.workers);
        let (work, takers) = work_queue::queue(sizes.workers);
        let (ledger, records) = from_timer(ledger::CAPACITY, waker.clone());
        let (receipts_in, receipts) = bounded(ledger::RECEIPTS);
        let (last_trigger, last) = signal(waker.clone());
        let ends = Ends {
            eager: eager_in,
            patient: patient_in,
            signals: EndSignals {
                drain: drain.clone(),
                last: last.clone(),
            },
            work: takers,
            done: WakingSender::new(done_in, waker.clone()),
            ledger: ledger::Ends {
                records,
                receipts: WakingSender::new(receipts_in, waker),
                work: work.clone(),
                drain: drain.clone(),
                last: Some(last_trigger),
            },
        };
        let timer = Timer {
            scheduler,
            config,
            eager,
            patient,
            work,
            done,
            ledger,
            receipts,
            commands: inbox.commands,
            parker: inbox.parker,
            drain,
            last,
            ending: Ending::default(),
            full: false,
            outbox: Default::default(),
            gaps: Gaps::default(),
            told_lapsed: 0,
            told_at: None,
        };
        (timer, ends)
    }
}
