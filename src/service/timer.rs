//! The timer thread: the middle of the star, and the one owner of the scheduler.
//!
//! Everyone else only sends to it. Each turn of its loop does all that can be done now
//! (`turn`), then waits for a reason to do more (`wait`), which is the only place where it
//! blocks. It sends to workers only what they have room for, and to the ledger only what
//! fits; what does not fit stays in an outbox: the scheduler's, or the timer's own, which goes after it
//! and holds what begins an attempt and answers to operators. While anything is there, no
//! work is handed out and nothing is taken in: no new delivery. Results are taken always.
//!
//! There are two intakes, as there are two kinds of source. A *patient* one (the stream,
//! standard input) keeps what is not taken, and is taken from only when there is room. An
//! *eager* one (Pub/Sub) loses what is not taken, so it is always taken; what there is no
//! room for goes to the stream, or where there is none becomes a dead letter.

mod attempt_log;
mod ending;
mod endpoint_log;
mod wire;

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, TrySendError};
use log::error;

use crate::delivery::Job;
use crate::delivery::endpoint_snapshot::EndpointSnapshots;
use crate::delivery::parked::Want;
use crate::delivery::receipt::Receipt;
use crate::delivery::record::{Move, Notice, Record};
use crate::message::timestamp::unix_ms;
use crate::scheduler::{Now, Scheduler};
use crate::service::boot_clock::boot_time;
use crate::service::channel::byte_bound::{TryReceiver, TrySender};
use crate::service::channel::wake::{WaitingParker, WakingSender};
use crate::service::channel::work_queue::WorkSender;
use crate::service::control::{Command, Gaps, Snapshot};
use crate::service::drain::Drain;
use crate::service::intake::Arrival;
use crate::service::lender::Desk;
use crate::service::pulse::Pulse;
use crate::service::worker::CompletedAttempt;

use attempt_log::AttemptLine;
use ending::Ending;
use endpoint_log::{log_change, log_lapsed, log_suspension};
pub use wire::Sizes;

/// How often it is told that others have taken over entries.
const COMPLAIN: Duration = Duration::from_secs(10);

/// Messages taken in between two looks at everything else.
const TAKE: usize = 64;

/// Answers to operators that may wait for the ledger.
const MOST_OWED: usize = 4;

/// The one owner of the scheduler. See the module's header, and `wire.rs` for what connects it.
pub struct Timer {
    scheduler: Scheduler,
    config: TimerConfig,
    eager: TryReceiver<Arrival>,
    patient: TryReceiver<Arrival>,
    work: WorkSender<Job>,
    done: Receiver<Box<CompletedAttempt>>,
    ledger: TrySender<Record>,
    /// What became of that.
    receipts: Receiver<Receipt>,
    commands: Receiver<Command>,
    parker: WaitingParker,
    drain: Drain,
    /// The ledger has told whoever hears to the last that all else is done.
    last: Drain,
    ending: Ending,
    /// There was no room; nothing is taken from patient sources until there is much.
    full: bool,
    /// What this itself tells the ledger, after what the scheduler does.
    outbox: VecDeque<Record>,
    gaps: Gaps,
    /// How many lapsed entries were told of, and when.
    told_lapsed: u64,
    told_at: Option<Instant>,
}

/// What the timer keeps to, and whom it asks beside its channels.
pub struct TimerConfig {
    /// Who this is, among several.
    pub replica: String,
    /// Whether the others may think that this one is dead, and take over what it holds.
    pub pulse: Pulse,
    /// To whoever brings back what waits in the store; until the drain begins.
    pub wants: Option<WakingSender<Want>>,
    /// Limits that hold for all replicas are asked for there.
    pub desk: Desk,
    pub drain_timeout: Duration,
    /// Ends all attempts in flight.
    pub cut: Box<dyn Fn() + Send>,
}

impl Timer {
    /// Runs until all sources have ended and all they brought is settled, or the drain's
    /// time is over. Answers the final state: what is still active then has been lost.
    ///
    /// Its channels are dropped with it, which ends the workers and then the ledger.
    pub fn run(mut self) -> Snapshot {
        loop {
            self.turn();
            if self.is_finished() {
                return self.snapshot();
            }
            self.wait();
        }
    }

    /// All that can be done now.
    fn turn(&mut self) {
        let now = Now {
            mono: Instant::now(),
            boot: boot_time(),
            unix_ms: unix_ms(SystemTime::now()),
        };
        // Before anything else: what is not ours any more must not be touched.
        if let Some((length, dropped)) = self.scheduler.wake(now) {
            log_suspension(length, dropped);
            self.told_lapsed += dropped as u64;
        }
        self.take_receipts(now);
        self.take_results(now);
        // A full outbox keeps arrivals out.
        self.flush();
        self.take_arrivals(now);
        self.scheduler.tick(now);
        while let Ok(order) = self.commands.try_recv() {
            self.apply(order, now);
        }
        for (endpoint, change) in self.scheduler.events() {
            log_change(&endpoint, change);
        }
        self.advance(now);
        self.hand_out(now);
        for want in self.scheduler.wants(now) {
            self.ask(want);
        }
        self.claim_shares(now);
        if let Some(event) = self.scheduler.observe_load(now) {
            load::log_event(&event);
        }
        // Last, as all of these make room: nothing else may wake us up for it.
        self.full &= !self.scheduler.has_much_room();
    }

    /// Blocks until there is something to do: whoever gives us any wakes us up.
    fn wait(&mut self) {
        if self.has_more() {
            return;
        }
        // More is about to come, and to be woken costs more than to let others run.
        if self.scheduler.levels().in_flight > 1 {
            thread::yield_now();
        }
        self.parker.sleep(self.alarm());
    }

    /// Whether an intake was not taken to its end though it could be now.
    fn has_more(&mut self) -> bool {
        self.takes_eager() && self.eager.has_news()
            || self.takes_patient() && self.patient.has_news()
    }

    fn takes_eager(&self) -> bool {
        self.eager.is_open() && !self.has_outbox()
    }

    fn takes_patient(&self) -> bool {
        self.patient.is_open() && !self.full && !self.has_outbox()
    }

    fn take_results(&mut self, now: Now) {
        while let Ok(outcome) = self.done.try_recv() {
            self.finish(*outcome, now);
        }
    }

    fn take_receipts(&mut self, now: Now) {
        while let Ok(receipt) = self.receipts.try_recv() {
            self.scheduler.take_receipt(receipt, now);
        }
        let lapsed = self.scheduler.stats().lapsed;
        let is_quiet = self.told_at.is_some_and(|at| now.mono - at < COMPLAIN);
        if lapsed > self.told_lapsed && !is_quiet {
            log_lapsed(lapsed - self.told_lapsed);
            (self.told_lapsed, self.told_at) = (lapsed, Some(now.mono));
        }
    }

    fn take_arrivals(&mut self, now: Now) {
        for _ in 0..TAKE {
            if !self.takes_eager() {
                break;
            }
            let Some(arrival) = self.eager.try_recv() else {
                break;
            };
            self.ending.put_off(now.mono);
            self.take_in(arrival, now);
        }
        for _ in 0..TAKE {
            self.full |= !self.scheduler.has_room();
            if !self.takes_patient() {
                break;
            }
            let Some(arrival) = self.patient.try_recv() else {
                break;
            };
            self.take_in(arrival, now);
        }
    }

    fn apply(&mut self, order: Command, now: Now) {
        let scheduler = &mut self.scheduler;
        match order {
            Command::Rules(rules) => scheduler.set_rules(rules, now),
            Command::Holds(all) => scheduler.set_holds(all, now),
            Command::Hold(key, hold) => scheduler.hold(key, hold, now),
            Command::Resume(key) => scheduler.resume(&key, now),
            // An answer may be large. Whoever asked tells that none came.
            Command::Report(..) if self.outbox.len() >= MOST_OWED => {}
            Command::Report(reply, prefix) => {
                let known = scheduler.report(&prefix, now);
                let answer = EndpointSnapshots::of(self.config.replica.clone(), known);
                let answer = Notice::Reply(reply, Box::new(answer));
                self.outbox.push_back(answer.into());
            }
            Command::Copies(count) => scheduler.count_copies(count),
            Command::OverBudget(over) => scheduler.set_over_budget(over),
            Command::Backlogs(names) => scheduler.set_backlogs(names, now),
            Command::NewBacklog(name, oldest) => scheduler.note_backlog(&name, oldest, now),
            Command::Released {
                name,
                count,
                left,
                oldest,
            } => scheduler.released(&name, count, left, oldest, now),
            Command::Due => self.ask(Want::Look),
            Command::Grants(grants) => scheduler.take_grants(grants, now),
            Command::LenderAway => scheduler.lose_lender(now),
            // Whoever asked may have given up.
            Command::Snapshot(reply) => drop(reply.try_send(self.snapshot())),
            Command::Gap(length, is_loss) => self.gaps.add(length, is_loss),
        }
    }

    /// That channel has no bound of its own: there is one question at a time for each endpoint.
    fn ask(&self, want: Want) {
        if let Some(wants) = &self.config.wants {
            // Fails only when whoever takes it has ended.
            let _ = wants.try_send(want);
        }
    }

    fn take_in(&mut self, arrival: Arrival, now: Now) {
        match arrival {
            Ok(delivery) => self.scheduler.accept(delivery, now),
            Err(letter) => self.scheduler.reject(*letter),
        }
    }

    fn finish(&mut self, outcome: CompletedAttempt, now: Now) {
        let CompletedAttempt { job, attempt } = outcome;
        let line = AttemptLine::of(&job.delivery, &attempt);
        let disposition = self.scheduler.finish(job, attempt, now);
        if let Some(line) = line {
            line.log(disposition);
        }
    }

    /// Whether there is something that the ledger had no room for.
    fn has_outbox(&self) -> bool {
        self.scheduler.has_outbox() || !self.outbox.is_empty()
    }

    /// Sends the ledger what it has room for. When it has more it wakes us up.
    fn flush(&mut self) {
        for outbox in [self.scheduler.outbox(), &mut self.outbox] {
            while let Some(record) = outbox.pop_front() {
                match self.ledger.try_send(record) {
                    Ok(()) => {}
                    Err(TrySendError::Full(record)) => return outbox.push_front(record),
                    // It panicked, which its join tells.
                    Err(TrySendError::Disconnected(record)) => {
                        if let Some(name) = record.loss() {
                            error!(event = "lost", ids = name.as_str(); "lost: {name}");
                        }
                    }
                }
            }
        }
    }

    /// Hands out what workers are free for, unless the ledger is full. What is taken for that
    /// may leave a record behind instead.
    fn hand_out(&mut self, now: Now) {
        loop {
            self.flush();
            if self.has_outbox() {
                return;
            }
            let Some(mut job) = self.scheduler.next(now) else {
                return self.flush();
            };
            let pulse = &self.config.pulse;
            let in_doubt = pulse.is_in_doubt(job.delivery.lease_renewed_at, now.boot);
            // Only Redis knows whether it is still ours.
            job.delivery.renewed |= in_doubt;
            if job.delivery.notes_first() {
                // The ledger hands it on.
                let begin = Move::Begin(job.into());
                self.outbox.push_back(begin.into());
            } else {
                self.work.give(job);
            }
        }
    }

    /// Has asked for what lanes need of limits that hold for all replicas.
    fn claim_shares(&mut self, now: Now) {
        let claims = self.scheduler.claims();
        if !claims.is_empty() && !self.config.desk.note(claims) {
            self.scheduler.lose_lender(now);
            self.hand_out(now);
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            stats: self.scheduler.stats().clone(),
            levels: self.scheduler.levels(),
            gaps: self.gaps.clone(),
            intake: self.eager.len() + self.patient.len(),
            ledger: self.ledger.len(),
            draining: self.ending.has_begun(),
        }
    }
}

mod load;
#[cfg(test)]
mod tests;
