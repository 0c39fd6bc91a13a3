//! The timer and a ledger, without sources, workers and Redis. What is refused makes records
//! and no alarms, so nothing wakes the timer but what must.

mod ending;

use std::io::{self, Write};
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::wire::{Ends, Sizes};
use super::*;
use crate::delivery::rules::EndpointRules;
use crate::delivery::{DeadLetter, Delivery};
use crate::message::endpoint::Endpoint;
use crate::message::entry::EntryId;
use crate::message::{Message, RejectReason, Rejection};
use crate::scheduler::Limits;
use crate::service::control::Commands;
use crate::service::drain::{DrainTrigger, drain as signal};
use crate::service::ledger::{CAPACITY, Ends as LedgerEnds, Ledger};
use crate::service::outage::OutageTracker;
use crate::store::Ndjson;

/// Longer than anything here takes: who waits so long has missed a wake.
const LONG: Duration = Duration::from_secs(30);

/// All that the timer has to do with.
struct Around {
    ends: Ends,
    trigger: DrainTrigger,
    commands: Commands,
}

fn wired(limits: Limits) -> (Timer, Around) {
    let (commands, inbox) = Commands::channel();
    let (trigger, drain) = signal(inbox.waker.clone());
    let config = TimerConfig {
        replica: "test".into(),
        pulse: Pulse::default(),
        wants: None,
        desk: Desk::new(None),
        drain_timeout: Duration::from_millis(100),
        cut: Box::new(|| ()),
    };
    let sizes = Sizes {
        workers: limits.workers,
        eager: 128,
        patient: 128,
    };
    let scheduler = Scheduler::new(limits, EndpointRules::default());
    let (timer, ends) = Timer::wire(scheduler, config, inbox, drain, &sizes);
    let around = Around {
        ends,
        trigger,
        commands,
    };
    (timer, around)
}

fn refused(bytes: usize) -> Arrival {
    let rejection = Rejection {
        reason: RejectReason::BadEntry,
        detail: "planted".into(),
        id: None,
        url: None,
        raw: vec![b'x'; bytes],
    };
    Err(DeadLetter::rejected(rejection, "test".into(), 0).into())
}

fn accepted(id: &str, more: &str) -> Arrival {
    let raw = format!(r#"{{"url":"http://h/","webhookId":"{id}","data":1{more}}}"#);
    let endpoint = |url: &str| Endpoint::parse(url).map(Arc::new);
    let message = Message::parse(raw.into_bytes(), 1000, || unreachable!(), endpoint);
    let delivery = Delivery::new(message.unwrap(), "test".into(), 0, boot_time());
    Ok(delivery)
}

fn ledger(store: impl Write + Send + 'static, ends: LedgerEnds) -> Ledger {
    let store = Box::new(Ndjson::new(store, "nowhere"));
    let outage = OutageTracker::new("test");
    Ledger::new(ends, store, LONG, Duration::MAX, outage)
}

/// Fills the ledger's channel, and the outbox with one record.
fn clog(timer: &mut Timer) {
    for seq in 0..=CAPACITY as u64 {
        let record = Move::Settle(EntryId::new(1, seq)).into();
        timer.scheduler.outbox().push_back(record);
    }
    timer.turn();
    assert!(timer.scheduler.has_outbox());
}

#[test]
fn what_a_turn_leaves_in_an_intake_is_looked_at_in_the_next() {
    for eager in [true, false] {
        let (mut timer, around) = wired(Limits::of_one_attempt(1, 1));
        let inlet = if eager {
            &around.ends.eager
        } else {
            &around.ends.patient
        };
        timer.turn();
        assert!(!timer.has_more());
        for n in 0..=TAKE {
            let arrival = accepted(&n.to_string(), "");
            inlet.send(arrival).unwrap();
        }
        timer.turn();
        assert_eq!(timer.scheduler.active(), TAKE);
        assert!(timer.has_more());
        timer.turn();
        assert!(!timer.has_more());
        // The second waits in vain while the first is in the outbox.
        inlet.send(refused(1)).unwrap();
        inlet.send(refused(1)).unwrap();
        timer.turn();
        assert!(timer.has_more());
    }
}

#[test]
fn what_handing_out_leaves_behind_is_not_left_over() {
    let (mut timer, around) = wired(Limits {
        max_active: 2,
        ..Limits::of_one_attempt(1, 1)
    });
    let Ends {
        patient,
        done,
        mut work,
        ..
    } = around.ends;
    patient.send(accepted("a", "")).unwrap();
    timer.turn();
    let past = r#","expiresAt":"1970-01-01T00:00:01Z""#;
    // Behind the first, until its time is over.
    patient.send(accepted("b", past)).unwrap();
    timer.turn();
    patient.send(accepted("c", "")).unwrap();
    timer.turn();
    let job = work[0].next().unwrap();
    let result = crate::delivery::AttemptResult::Response {
        status: 200,
        retry_after: None,
        body: Box::default(),
    };
    let attempt = crate::delivery::Attempt {
        at: 0,
        took: Duration::ZERO,
        result,
    };
    done.send(Box::new(CompletedAttempt { job, attempt }))
        .unwrap();
    timer.turn();
    assert!(!timer.scheduler.has_outbox());
    assert!(!timer.full);
}

#[test]
fn room_in_the_ledger_wakes_the_timer_that_has_a_record_left() {
    let (mut timer, around) = wired(Limits::of_one_attempt(1, 1));
    clog(&mut timer);
    around.ends.ledger.records.recv_until(None).unwrap();
    around.ends.ledger.records.tell_room();
    timer.parker.sleep_until_woken();
}

/// Counts lines.
struct Lines(Sender<usize>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.0.send(lines).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_flood_of_letters_large_and_small_is_kept_to_the_last_and_the_end_is_noticed() {
    const LETTERS: usize = 10_000;
    let (timer, around) = wired(Limits::of_one_attempt(1, 1));
    let (count, counted) = crossbeam_channel::unbounded();
    let ledger = ledger(Lines(count), around.ends.ledger);
    let ledger = thread::spawn(move || ledger.run());
    let (tell, told) = bounded(1);
    let timer = thread::spawn(move || {
        let last = timer.run();
        tell.send(()).unwrap();
        last
    });
    let sources = [around.ends.eager, around.ends.patient].map(|inlet| {
        thread::spawn(move || {
            for n in 0..LETTERS / 2 {
                // The large one takes half of the ledger's channel.
                let bytes = if n % 1024 == 7 { 10 << 20 } else { 1 };
                inlet.send(refused(bytes)).unwrap();
            }
        })
    });
    sources.into_iter().for_each(|s| s.join().unwrap());
    told.recv_timeout(LONG).expect("the timer sleeps");
    assert_eq!(timer.join().unwrap().stats.rejected, LETTERS as u64);
    ledger.join().unwrap();
    assert_eq!(counted.iter().sum::<usize>(), LETTERS);
}

#[test]
fn what_comes_while_the_timer_is_at_work_is_not_slept_over() {
    let (timer, around) = wired(Limits::of_one_attempt(1, 1));
    let timer = thread::spawn(move || timer.run());
    for n in 0..10_000 {
        let inlet = [&around.ends.eager, &around.ends.patient][n % 2];
        inlet.send(refused(1)).unwrap();
        let record = around.ends.ledger.records.recv_within(LONG);
        record.expect("the timer sleeps");
        // Now while it looks, now while it goes to sleep, now when it sleeps.
        (0..n % 300).for_each(|_| std::hint::spin_loop());
    }
    for _ in 0..1000 {
        around.commands.snapshot().expect("the timer sleeps");
    }
    drop((around.ends.eager, around.ends.patient));
    timer.join().unwrap();
}

/// Panics once it may.
struct Panics(Receiver<()>);

impl Write for Panics {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        // Like a panic, and without its lines on standard error.
        std::panic::resume_unwind(Box::new("planted"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_ledger_that_panics_wakes_the_timer() {
    for _ in 0..300 {
        let (mut timer, around) = wired(Limits::of_one_attempt(1, 1));
        let (go, may) = bounded(0);
        let ledger = ledger(Panics(may), around.ends.ledger);
        let ledger = thread::spawn(move || ledger.run());
        for _ in 0..3 * CAPACITY {
            let Err(letter) = refused(1) else {
                unreachable!()
            };
            timer
                .scheduler
                .outbox()
                .push_back(Move::Bury(letter).into());
        }
        timer.turn();
        while timer.ledger.len() < CAPACITY {
            thread::yield_now();
            timer.turn();
        }
        drop(go);
        while timer.scheduler.has_outbox() {
            timer.parker.sleep_until_woken();
            timer.turn();
        }
        assert!(ledger.join().is_err());
    }
}
