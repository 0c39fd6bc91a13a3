//! Commands to the timer while it runs, and its answers: from signals, and from operators through a
//! Redis channel.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::delivery::hold::Hold;
use crate::delivery::limits::Grant;
use crate::delivery::rules::EndpointRules;
use crate::scheduler::{Levels, Stats};
use crate::service::channel::wake::{WaitingParker, Waker, WakingSender, waker};

/// Commands that wait for the timer, which takes them at once.
const CAPACITY: usize = 16;

/// See the module's header.
#[derive(Debug)]
pub enum Command {
    /// Use these rules from now on.
    Rules(EndpointRules),
    /// All holds that exist.
    Holds(Vec<(Arc<str>, Hold)>),
    /// Send nothing to this URL or origin.
    Hold(Arc<str>, Hold),
    /// Send there again.
    Resume(Arc<str>),
    /// Write snapshots of the endpoints with this prefix (the second) to this key (the first).
    Report(Arc<str>, Arc<str>),
    Snapshot(Sender<Snapshot>),
    /// How long Pub/Sub was not heard, and whether messages were lost.
    Gap(Duration, bool),
    /// This many entries were copies of others, and are settled.
    Copies(u64),
    /// Backlogs that are not empty, each with the time at which its oldest message was received, in
    /// Unix milliseconds.
    Backlogs(Vec<(Arc<str>, u64)>),
    /// A replica has begun this backlog. A replica that does not know the endpoint ignores it.
    NewBacklog(Arc<str>, u64),
    /// `count` messages come from this backlog, and `left` are left there.
    Released {
        name: Arc<str>,
        count: usize,
        left: u64,
        /// When the oldest of the rest was received.
        oldest: Option<u64>,
    },
    /// A parked message was made due.
    Due,
    /// Whether Redis holds more than it should.
    OverBudget(bool),
    /// Grants of limits that hold for all replicas, by endpoint.
    Grants(Vec<(Arc<str>, Grant)>),
    /// Nothing is lent now, as Redis cannot be reached.
    LenderAway,
}

/// Gives commands.
#[derive(Clone)]
pub struct Commands(WakingSender<Command>);

/// The end at which the timer takes them, and sleeps.
pub struct Inbox {
    pub commands: Receiver<Command>,
    pub parker: WaitingParker,
    /// For all other threads that send to the timer.
    pub waker: Waker,
}

/// Times in which Pub/Sub was not heard.
#[derive(Debug, Clone, Default)]
pub struct Gaps {
    pub count: u64,
    /// The length of all of them together.
    pub length: Duration,
    /// How many of them may have lost messages.
    pub losses: u64,
}

impl Gaps {
    pub fn add(&mut self, length: Duration, is_loss: bool) {
        self.count += 1;
        self.length += length;
        self.losses += u64::from(is_loss);
    }
}

/// The state of the service at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub stats: Stats,
    pub levels: Levels,
    pub gaps: Gaps,
    /// Arrivals not looked at yet.
    pub intake: usize,
    /// Records on their way to the store.
    pub ledger: usize,
    pub draining: bool,
}

impl Commands {
    pub fn channel() -> (Commands, Inbox) {
        let (sender, commands) = bounded(CAPACITY);
        let (waker, parker) = waker();
        let inbox = Inbox {
            commands,
            parker,
            waker: waker.clone(),
        };
        (Commands(WakingSender::new(sender, waker)), inbox)
    }

    /// Wakes the timer.
    pub fn waker(&self) -> Waker {
        self.0.waker()
    }

    /// Blocks while the timer is behind. After the timer has ended it does nothing.
    pub fn give(&self, order: Command) {
        let _ = self.0.send(order);
    }

    /// `None` when the timer has ended, or does not answer within a second.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = bounded(1);
        self.0.try_send(Command::Snapshot(reply)).ok()?;
        answer.recv_timeout(Duration::from_secs(1)).ok()
    }
}

impl Command {
    /// Reads a command that an operator's tool published; `None` for anything else. `hold CAUSE MS
    /// KEY` (-1: no end), `resume KEY`, `report REPLY PREFIX`, `due`, `backlog RECEIVED NAME`.
    pub fn parse(text: &str, now: Instant) -> Option<Command> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "hold" => {
                let mut words = rest.splitn(3, ' ');
                let cause = words.next()?.parse().ok()?;
                let left: i64 = words.next()?.parse().ok()?;
                let left = u64::try_from(left).ok().map(Duration::from_millis);
                let until = left.and_then(|left| now.checked_add(left));
                Some(Command::Hold(words.next()?.into(), Hold { cause, until }))
            }
            "due" => Some(Command::Due),
            "backlog" => {
                let (received, name) = rest.split_once(' ')?;
                Some(Command::NewBacklog(name.into(), received.parse().ok()?))
            }
            "resume" => Some(Command::Resume(rest.into())),
            "report" => {
                let (reply, prefix) = rest.split_once(' ')?;
                Some(Command::Report(reply.into(), prefix.into()))
            }
            _ => None,
        }
    }
}

impl Snapshot {
    /// Its numbers by name, as they are logged.
    pub fn counters(&self) -> [(&'static str, u64); 22] {
        let Stats {
            accepted,
            delivered,
            dead,
            parked,
            deferred,
            appended,
            lapsed,
            duplicates,
            rejected,
            already_active,
            retried,
            attempts,
        } = self.stats;
        let levels = &self.levels;
        [
            ("accepted", accepted),
            ("delivered", delivered),
            ("dead", dead),
            ("parked", parked),
            ("deferred", deferred),
            ("appended", appended),
            ("lapsed", lapsed),
            ("duplicates", duplicates),
            ("rejected", rejected),
            ("already_active", already_active),
            ("retried", retried),
            ("attempts", attempts),
            ("in_flight", levels.in_flight as u64),
            ("queued", levels.queued as u64),
            ("scheduled", levels.scheduled as u64),
            ("memory_only", levels.memory_only as u64),
            ("endpoints", levels.lanes as u64),
            ("bytes", levels.bytes as u64),
            ("intake", self.intake as u64),
            ("ledger", self.ledger as u64),
            ("gaps", self.gaps.count),
            ("gap_ms", self.gaps.length.as_millis() as u64),
        ]
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.counters() {
            write!(f, "{name}={value} ")?;
        }
        write!(f, "draining={}", self.draining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::hold::Cause;

    #[test]
    fn what_is_published_is_read_and_anything_else_ignored() {
        let now = Instant::now();
        let read = |text: &str| Command::parse(text, now);
        match read("hold gone 1500 http://h/a b") {
            Some(Command::Hold(key, hold)) => {
                assert_eq!((&*key, hold.cause), ("http://h/a b", Cause::Gone));
                assert_eq!(hold.left(now), Some(Duration::from_millis(1500)));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            read("hold paused -1 http://h"),
            Some(Command::Hold(_, Hold { until: None, .. }))
        ));
        assert!(matches!(read("resume http://h"), Some(Command::Resume(_))));
        assert!(matches!(read("report {o}:r:1 "), Some(Command::Report(_, p)) if p.is_empty()));
        assert!(
            matches!(read("backlog 7 http://h"), Some(Command::NewBacklog(name, 7)) if &*name == "http://h")
        );
        for text in [
            "",
            "hold",
            "hold x 1 h",
            "hold gone x h",
            "hold gone 1",
            "stop all",
            "dues",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
