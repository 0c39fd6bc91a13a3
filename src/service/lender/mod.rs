//! The lender's thread: asks Redis for the places and starts that lanes claim, of limits that hold
//! for all replicas.
//!
//! The timer puts claims into a table, and waits for nothing else. It takes the answers as
//! commands, like everything from outside. The thread starts with the first claim, so there is none
//! if no endpoint has such a limit. It ends when the timer drops the [`Desk`]. It logs once that
//! Redis is away, and once that it is back.

mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::warn;

use crate::delivery::limits::{Claim, Grant, TOGETHER};
use crate::scheduler::LaneClaim;
use crate::service::control::{Command, Commands};
use crate::service::outage::OutageTracker;
use crate::store::{Keys, Lent, MOST_ASKED, Redis, Shares};

use table::{Question, Table};

/// Redis has one second to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// The longest delay between two tries. All replicas should be back at about the same time.
const LONGEST_DELAY: Duration = Duration::from_millis(300);

/// This many failures in a row are an outage: a single one is only a broken connection.
const AWAY: u32 = 2;

/// Everything that the thread needs.
pub struct Lender {
    pub redis: Redis,
    pub keys: Keys,
    /// The name of this replica.
    pub replica: String,
    pub commands: Commands,
    pub outage: OutageTracker,
}

/// Takes the timer's claims.
pub struct Desk {
    lender: Option<Lender>,
    table: Arc<Mutex<Table>>,
    /// Wakes the thread; dropped to end it.
    wake: Sender<()>,
    woken: Receiver<()>,
    is_manned: bool,
}

impl Desk {
    /// Without a lender no lane claims anything.
    pub fn new(lender: Option<Lender>) -> Desk {
        let (wake, woken) = bounded(1);
        Desk {
            lender,
            table: Arc::default(),
            wake,
            woken,
            is_manned: false,
        }
    }

    pub fn has_lender(&self) -> bool {
        self.lender.is_some()
    }

    /// Puts claims of lanes into the table. False if there is no lender.
    pub fn note(&mut self, claims: Vec<LaneClaim>) -> bool {
        if let Some(lender) = self.lender.take() {
            let (table, woken) = (self.table.clone(), self.woken.clone());
            let started = Builder::new()
                .name("limits".into())
                .spawn(move || lender.run(&table, &woken));
            self.is_manned = started.is_ok();
            if let Err(e) = started {
                warn!(
                    "the thread limits cannot be started: {e}; rate and max_in_flight of the \
                     endpoints file hold for this replica alone"
                );
            }
        }
        if self.is_manned {
            let mut table = lock(&self.table);
            for (endpoint, claim, is_anew) in claims {
                table.note(endpoint, claim, is_anew);
            }
            drop(table);
            // The channel is full: the thread is about to look.
            let _ = self.wake.try_send(());
        }
        self.is_manned
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lender {
    fn run(mut self, table: &Mutex<Table>, woken: &Receiver<()>) {
        let mut shares = None;
        let (mut failures, mut is_well) = (0u32, false);
        loop {
            let now = Instant::now();
            let is_away = failures >= AWAY;
            let due = lock(table).next_due(now);
            if !is_away && due.is_none_or(|due| due > now) {
                if !wait(woken, due) {
                    return;
                }
                continue;
            }
            let mut questions = lock(table).take_due(now + TOGETHER, MOST_ASKED);
            if questions.is_empty() {
                // Idle lanes should hear too that it is back.
                questions.push(("".into(), Claim::default()));
            }
            match self.ask(&mut shares, &questions) {
                Ok(answers) => {
                    if !std::mem::replace(&mut is_well, true) {
                        self.outage.end();
                    }
                    failures = 0;
                    let grants = lock(table).take_answers(questions, answers);
                    if is_away || !grants.is_empty() {
                        self.commands.give(Command::Grants(grants));
                    }
                }
                Err(delay) => {
                    (shares, is_well) = (None, false);
                    lock(table).take_back(&questions);
                    failures = failures.saturating_add(1);
                    if failures == AWAY {
                        self.commands.give(Command::LenderAway);
                    }
                    // Claims that come meanwhile must not wake it.
                    if !wait_for(woken, delay) {
                        return;
                    }
                }
            }
        }
    }

    /// The error is how long to wait before the next try.
    fn ask(
        &mut self,
        shares: &mut Option<Shares>,
        questions: &[Question],
    ) -> Result<Vec<Grant>, Duration> {
        let asked = Instant::now();
        let lent = match shares {
            Some(shares) => shares.ask(questions),
            None => Shares::open(&self.redis, &self.keys, &self.replica, LIMIT)
                .and_then(|opened| shares.insert(opened).ask(questions)),
        };
        let lent = lent.map_err(|e| {
            let delay = self.outage.begin(&e);
            match e.is_refusal() {
                true => delay,
                false => delay.min(LONGEST_DELAY),
            }
        })?;
        let answered = Instant::now();
        let grants = lent.into_iter().map(|lent| grant(lent, asked, answered));
        Ok(grants.collect())
    }
}

fn grant(lent: Lent, asked: Instant, answered: Instant) -> Grant {
    Grant {
        asked,
        answered,
        held: lent.held,
        goal: lent.goal,
        replicas: lent.replicas,
        starts: lent.starts,
        wait: lent.wait,
    }
}

/// Waits until it is woken, or until then. False when the timer has ended.
fn wait(woken: &Receiver<()>, until: Option<Instant>) -> bool {
    match until {
        Some(until) => woken.recv_deadline(until) != Err(RecvTimeoutError::Disconnected),
        None => woken.recv().is_ok(),
    }
}

/// Waits for this long, even if it is woken. False when the timer has ended.
fn wait_for(woken: &Receiver<()>, delay: Duration) -> bool {
    let end = Instant::now() + delay;
    loop {
        match woken.recv_deadline(end) {
            Ok(()) => {}
            Err(e) => return e == RecvTimeoutError::Timeout,
        }
    }
}

#[cfg(test)]
mod tests;
