//! Parcels of random sizes through small channels. The model of a channel is the list of what stands
//! in it.

use std::collections::VecDeque;
use std::thread;

use super::*;
use crate::dice::{Dice, seeds};
use crate::service::channel::wake::waker;

const PLACES: usize = 4;

/// Where it comes from, its number there, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Parcel(usize, usize, usize);

impl Weighed for Parcel {
    fn bytes(&self) -> usize {
        self.2
    }
}

fn parcel(dice: &mut Dice, from: usize, number: usize) -> Parcel {
    let largest = *dice.pick(&[1, PLACE, 3 * PLACE, 2 * PLACES * PLACE]);
    Parcel(from, number, dice.index(largest))
}

#[test]
fn what_the_timer_sends_is_bounded_by_count_and_by_bytes() {
    for seed in seeds(0..200) {
        let mut dice = Dice::new(seed);
        let (waker, parker) = waker();
        let (to, from) = from_timer(PLACES, waker);
        // The model: what stands in the channel, and whether room was lacking.
        let (mut inside, mut lacks) = (VecDeque::new(), false);
        for number in 0..300 {
            dice.step();
            let bytes: usize = inside.iter().map(Parcel::bytes).sum();
            let is_full = inside.len() == PLACES || bytes >= PLACES * PLACE;
            if dice.once_in(2) {
                let one = parcel(&mut dice, 0, number);
                match to.try_send(one) {
                    Ok(()) => {
                        assert!(!is_full);
                        inside.push_back(one);
                    }
                    Err(e) => {
                        assert!(is_full && e.into_inner() == one);
                        lacks = true;
                    }
                }
            } else {
                assert_eq!(from.try_recv(), inside.pop_front());
            }
            assert_eq!(to.len(), inside.len());
            if dice.once_in(8) {
                from.tell_room();
                if std::mem::take(&mut lacks) {
                    parker.sleep_until_woken();
                }
            }
        }
        drop(from);
        parker.sleep_until_woken();
        let sent = to.try_send(Parcel(0, 0, 1));
        assert!(matches!(sent, Err(TrySendError::Disconnected(_))));
    }
}

#[test]
fn all_that_sources_send_comes_in_order_and_its_bytes_are_bounded() {
    const SENDERS: usize = 3;
    const LARGEST: usize = 2 * PLACES * PLACE;
    for seed in seeds(0..20) {
        let mut dice = Dice::new(seed);
        let (waker, parker) = waker();
        let (to, mut from) = to_timer(PLACES, waker);
        let senders: Vec<_> = (0..SENDERS)
            .map(|n| (n, to.clone(), Dice::part(seed, n as u64 + 1)))
            .map(|(n, to, mut dice)| {
                thread::spawn(move || {
                    (0..1000).for_each(|i| to.send(parcel(&mut dice, n, i)).unwrap());
                })
            })
            .collect();
        drop(to);
        let mut next = [0; SENDERS];
        while from.is_open() {
            dice.step();
            let used = from.budget.0.used.load(Ordering::SeqCst);
            assert!(used < PLACES * PLACE + SENDERS * LARGEST);
            // It sleeps only if there is nothing, and is woken for each and for the end.
            if dice.once_in(3) && !from.has_news() {
                parker.sleep_until_woken();
            }
            if let Some(Parcel(sender, number, _)) = from.try_recv() {
                assert_eq!(number, next[sender]);
                next[sender] += 1;
            }
        }
        assert_eq!(next, [1000; SENDERS]);
        assert_eq!(from.budget.0.used.load(Ordering::SeqCst), 0);
        senders.into_iter().for_each(|s| s.join().unwrap());
    }
}

#[test]
fn who_waits_for_room_for_its_bytes_learns_of_the_end() {
    let (to, from) = to_timer(PLACES, waker().0);
    to.send(Parcel(0, 0, PLACES * PLACE)).unwrap();
    let (began, has_begun) = bounded(0);
    let sender = thread::spawn(move || {
        began.send(()).unwrap();
        to.send(Parcel(0, 1, 1))
    });
    has_begun.recv().unwrap();
    drop(from);
    assert!(sender.join().unwrap().is_err());
}

#[test]
fn the_end_of_the_sources_is_news_even_after_the_last_message() {
    let (to, mut from) = to_timer(PLACES, waker().0);
    to.send(Parcel(0, 0, 1)).unwrap();
    drop(to);
    assert!(from.has_news() && from.try_recv().is_some());
    assert!(from.is_open() && from.has_news() && !from.is_open());
    assert!(from.try_recv().is_none());
}
