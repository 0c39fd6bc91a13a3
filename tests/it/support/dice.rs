//! Dice for tests of random steps: for one seed the same throws on every machine.
//!
//! A test that panics while it holds dice is told the seed and the step, whichever assertion it was
//! and however deep: the dice say so when they are dropped. `OUTHOOK_SEED=7` runs that seed alone.
//! The unit tests of the library use this file too.

use std::ops::Range;
use std::time::Duration;

const VARIABLE: &str = "OUTHOOK_SEED";

/// The seeds that a test goes through: its own, or the one in the environment.
pub fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(chosen) = std::env::var(VARIABLE) else {
        return usual;
    };
    let seed: u64 = chosen.parse().expect(VARIABLE);
    seed..seed + 1
}

/// Things, each with how often it is drawn beside the others.
pub type Odds<T> = &'static [(u64, T)];

pub struct Dice {
    seed: u64,
    step: u64,
    random: fastrand::Rng,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice::part(seed, 0)
    }

    /// With this seed, or the one in the environment: for a test that needs no more than one.
    pub fn usual(seed: u64) -> Dice {
        Dice::new(seeds(seed..seed + 1).start)
    }

    /// Dice of their own for one of several parts of a test, so that each part has its own throws.
    pub fn part(seed: u64, part: u64) -> Dice {
        Dice {
            seed,
            step: 0,
            random: fastrand::Rng::with_seed(seed ^ part.rotate_left(32)),
        }
    }

    /// Another step begins.
    pub fn step(&mut self) {
        self.step += 1;
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.random.u64(..n)
    }

    /// An index of something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        self.random.usize(..length)
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// One of these, each as often as the number before it says.
    pub fn draw<T: Copy>(&mut self, odds: Odds<T>) -> T {
        let mut left = self.below(odds.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in odds {
            match left.checked_sub(*weight) {
                Some(less) => left = less,
                None => return *choice,
            }
        }
        unreachable!("it is below their sum")
    }

    /// Whether something happens that happens once in so many throws.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// From `from` on, and less than `to`.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

impl Drop for Dice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Dice { seed, step, .. } = self;
            eprintln!("--- at step {step} of seed {seed}; {VARIABLE}={seed} runs it alone");
        }
    }
}
