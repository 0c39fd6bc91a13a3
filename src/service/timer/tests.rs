//! The timer and a ledger, without sources, workers and Redis. What is refused makes records
//! and no alarms, so nothing wakes the timer but what must.

mod ending;

use std::io::{self, Write};
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::*;
use crate::delivery::rules::EndpointRules;
use crate::delivery::{DeadLetter, Delivery};
use crate::message::endpoint::Endpoint;
use crate::message::entry::EntryId;
use crate::message::{Message, RejectReason, Rejection};
use crate::scheduler::Limits;
use crate::service::channel::byte_bound::{BlockingReceiver, BlockingSender, from_timer, to_timer};
use crate::service::channel::wake::WakingSender;
use crate::service::channel::work_queue;
use crate::service::control::{Commands, Inbox};
use crate::service::drain::{DrainTrigger, drain as signal};
use crate::service::ledger::{CAPACITY, Ledger, RECEIPTS};
use crate::service::outage::OutageTracker;
use crate::store::Ndjson;

/// Longer than anything here takes: who waits so long has missed a wake.
const LONG: Duration = Duration::from_secs(30);

/// All that the timer has to do with.
struct Around {
    eager: BlockingSender<Arrival>,
    patient: BlockingSender<Arrival>,
    done: WakingSender<Box<CompletedAttempt>>,
    records: BlockingReceiver<Record>,
    receipts: WakingSender<Receipt>,
    drain: Drain,
    trigger: DrainTrigger,
    last: Option<DrainTrigger>,
    commands: Commands,
    work: WorkSender<Job>,
    taker: work_queue::WorkReceiver<Job>,
}

fn timer(limits: Limits) -> (Timer, Around) {
    let (commands, inbox) = Commands::channel();
    let Inbox {
        commands: taken,
        parker,
        waker,
    } = inbox;
    let (eager_in, eager) = to_timer(128, waker.clone());
    let (patient_in, patient) = to_timer(128, waker.clone());
    let (report, done) = bounded(limits.workers);
    let (ledger, records) = from_timer(CAPACITY, waker.clone());
    let (receipt, receipts) = bounded(RECEIPTS);
    let (work, mut takers) = work_queue::queue(limits.workers);
    let (trigger, drain) = signal(waker.clone());
    let (last_trigger, last) = signal(waker.clone());
    let around = Around {
        eager: eager_in,
        patient: patient_in,
        done: WakingSender::new(report, waker.clone()),
        records,
        receipts: WakingSender::new(receipt, waker),
        drain: drain.clone(),
        trigger,
        last: Some(last_trigger),
        commands,
        work: work.clone(),
        taker: takers.remove(0),
    };
    let timer = Timer {
        wants: None,
        scheduler: Scheduler::new(limits, EndpointRules::default()),
        eager,
        patient,
        work,
        done,
        ledger,
        receipts,
        drain,
        last,
        commands: taken,
        parker,
        replica: "test".into(),
        desk: Desk::new(None),
        pulse: Pulse::default(),
        drain_timeout: Duration::from_millis(100),
        cut: Box::new(|| ()),
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

fn ledger(store: impl Write + Send + 'static, around: &mut Around) -> Ledger {
    Ledger {
        store: Box::new(Ndjson::new(store, "nowhere")),
        work: around.work.clone(),
        receipts: around.receipts.clone(),
        drain: around.drain.clone(),
        last: around.last.take(),
        patience: LONG,
        begin_within: Duration::MAX,
        outage: OutageTracker::new("test"),
        recent: crate::service::ledger::Recent::default(),
    }
}

/// Fills the ledger's channel, and the outbox with one record.
fn clog(run: &mut Run) {
    for seq in 0..=CAPACITY as u64 {
        let record = Move::Settle(EntryId::new(1, seq)).into();
        run.timer.scheduler.outbox().push_back(record);
    }
    run.turn();
    assert!(run.timer.scheduler.has_outbox());
}

#[test]
fn what_a_turn_leaves_in_an_intake_is_looked_at_in_the_next() {
    for eager in [true, false] {
        let (timer, around) = timer(Limits::of_one_attempt(1, 1));
        let inlet = if eager {
            &around.eager
        } else {
            &around.patient
        };
        let mut run = Run::new(timer);
        run.turn();
        assert!(!run.has_more());
        for n in 0..=TAKE {
            let arrival = accepted(&n.to_string(), "");
            inlet.send(arrival).unwrap();
        }
        run.turn();
        assert_eq!(run.timer.scheduler.active(), TAKE);
        assert!(run.has_more());
        run.turn();
        assert!(!run.has_more());
        // The second waits in vain while the first is in the outbox.
        inlet.send(refused(1)).unwrap();
        inlet.send(refused(1)).unwrap();
        run.turn();
        assert!(run.has_more());
    }
}

#[test]
fn what_handing_out_leaves_behind_is_not_left_over() {
    let (timer, around) = timer(Limits {
        max_active: 2,
        ..Limits::of_one_attempt(1, 1)
    });
    let Around {
        patient,
        done,
        mut taker,
        ..
    } = around;
    let mut run = Run::new(timer);
    patient.send(accepted("a", "")).unwrap();
    run.turn();
    let past = r#","expiresAt":"1970-01-01T00:00:01Z""#;
    // Behind the first, until its time is over.
    patient.send(accepted("b", past)).unwrap();
    run.turn();
    patient.send(accepted("c", "")).unwrap();
    run.turn();
    let job = taker.next().unwrap();
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
    run.turn();
    assert!(!run.timer.scheduler.has_outbox());
    assert!(!run.full);
}

#[test]
fn room_in_the_ledger_wakes_the_timer_that_has_a_record_left() {
    let (timer, around) = timer(Limits::of_one_attempt(1, 1));
    let mut run = Run::new(timer);
    clog(&mut run);
    around.records.recv().unwrap();
    around.records.tell_room();
    run.timer.parker.sleep_until_woken();
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
    let (timer, mut around) = timer(Limits::of_one_attempt(1, 1));
    let (count, counted) = crossbeam_channel::unbounded();
    let ledger = ledger(Lines(count), &mut around);
    let records = around.records;
    let ledger = thread::spawn(move || ledger.run(records));
    let (tell, told) = bounded(1);
    let timer = thread::spawn(move || {
        let last = timer.run();
        tell.send(()).unwrap();
        last
    });
    let sources = [around.eager, around.patient].map(|inlet| {
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
    drop(around.work);
    ledger.join().unwrap();
    assert_eq!(counted.iter().sum::<usize>(), LETTERS);
}

#[test]
fn what_comes_while_the_timer_is_at_work_is_not_slept_over() {
    let (timer, around) = timer(Limits::of_one_attempt(1, 1));
    let timer = thread::spawn(move || timer.run());
    for n in 0..10_000 {
        let inlet = [&around.eager, &around.patient][n % 2];
        inlet.send(refused(1)).unwrap();
        let record = around.records.recv_within(LONG);
        record.expect("the timer sleeps");
        // Now while it looks, now while it goes to sleep, now when it sleeps.
        (0..n % 300).for_each(|_| std::hint::spin_loop());
    }
    for _ in 0..1000 {
        around.commands.snapshot().expect("the timer sleeps");
    }
    drop((around.eager, around.patient));
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
        let (timer, mut around) = timer(Limits::of_one_attempt(1, 1));
        let (go, may) = bounded(0);
        let ledger = ledger(Panics(may), &mut around);
        let records = around.records;
        let ledger = thread::spawn(move || ledger.run(records));
        let mut run = Run::new(timer);
        for _ in 0..3 * CAPACITY {
            let Err(letter) = refused(1) else {
                unreachable!()
            };
            run.timer
                .scheduler
                .outbox()
                .push_back(Move::Bury(letter).into());
        }
        run.turn();
        while run.timer.ledger.len() < CAPACITY {
            thread::yield_now();
            run.turn();
        }
        drop(go);
        while run.timer.scheduler.has_outbox() {
            run.timer.parker.sleep_until_woken();
            run.turn();
        }
        assert!(ledger.join().is_err());
    }
}
