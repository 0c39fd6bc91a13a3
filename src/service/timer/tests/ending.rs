//! How the timer ends, and what it waits for.

use super::super::ending::Phase;
use super::*;

#[test]
fn a_record_that_the_ledger_has_no_room_for_keeps_the_timer_from_ending() {
    let (mut timer, around) = wired(Limits::of_one_attempt(1, 1));
    drop((around.ends.eager, around.ends.patient));
    clog(&mut timer);
    assert!(!timer.is_finished());
    around.ends.ledger.records.recv_until(None).unwrap();
    timer.turn();
    assert!(timer.is_finished());
}

#[test]
fn the_end_of_the_drain_waits_for_what_the_ledger_has_not_got_yet() {
    let (mut timer, around) = wired(Limits::of_one_attempt(1, 1));
    timer.ending.phase = Phase::Cut(Instant::now());
    // The end may come just after it was looked for: the alarm still rings.
    assert!(timer.alarm().is_some());
    clog(&mut timer);
    assert!(!timer.is_finished());
    // It does not spin meanwhile.
    assert_eq!(timer.alarm(), None);
    for _ in 0..2 {
        around.ends.ledger.records.recv_until(None).unwrap();
    }
    timer.turn();
    assert!(!timer.scheduler.has_outbox());
    // Nor while the ledger writes, and has not told the last to leave.
    assert!(!timer.is_finished());
    assert_eq!(timer.alarm(), None);
    drop(around.ends.ledger.last);
    timer.parker.sleep_until_woken();
    timer.turn();
    assert!(!timer.is_finished() && timer.alarm().is_some());
    drop((around.ends.eager, around.ends.patient));
    timer.turn();
    assert!(timer.is_finished());
}

#[test]
fn who_hears_to_the_last_is_told_to_leave_when_all_else_is_written_and_what_it_brings_is_kept() {
    let (timer, around) = wired(Limits::of_one_attempt(1, 1));
    let (count, counted) = crossbeam_channel::unbounded();
    let ledger = ledger(Lines(count), around.ends.ledger);
    let ledger = thread::spawn(move || ledger.run());
    let last = timer.last.clone();
    let timer = thread::spawn(move || timer.run());
    around.ends.eager.send(refused(1)).unwrap();
    drop(around.trigger);
    // One that can be read again later has not ended yet.
    assert_eq!(counted.recv_timeout(LONG), Ok(1));
    assert!(!last.has_begun());
    drop(around.ends.patient);
    assert!(last.wait(LONG));
    for _ in 0..1000 {
        around.ends.eager.send(refused(1)).unwrap();
    }
    drop(around.ends.eager);
    assert_eq!(timer.join().unwrap().stats.rejected, 1001);
    ledger.join().unwrap();
    assert_eq!(counted.iter().sum::<usize>(), 1000);
}

#[test]
fn the_drain_begins_and_ends_in_time_though_no_source_ends() {
    let (timer, around) = wired(Limits::of_one_attempt(1, 1));
    let (tell, told) = bounded(1);
    let timer = thread::spawn(move || {
        let last = timer.run();
        tell.send(()).unwrap();
        last
    });
    assert!(!around.commands.snapshot().unwrap().draining);
    // The ledger has nothing to write, and tells whoever would hear to the last.
    drop(around.ends.ledger.last);
    drop(around.trigger);
    // Nobody wakes it but the trigger, and then the end of its time.
    told.recv_timeout(LONG).expect("the timer sleeps");
    assert!(timer.join().unwrap().draining);
}
