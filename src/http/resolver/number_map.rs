//! Maps whose keys are numbers of our own choice.
//!
//! The standard maps guard against keys that were chosen to collide. Nobody but us chooses
//! these: they are counted up, or drawn at random.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Multiplies each number by an odd constant with bits all over (2^64 divided by the golden
/// ratio), and lets the high bits reach the low ones.
#[derive(Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(20) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn counted_and_drawn_numbers_spread_over_all_bits() {
        let hasher = BuildHasherDefault::<NumberHasher>::default();
        for shift in [0, 20, 57] {
            let mut buckets = [0; 128];
            for n in 0..12_800u64 {
                let hash = hasher.hash_one((n / 100, n as u16));
                buckets[(hash >> shift) as usize % 128] += 1;
            }
            assert!(buckets.iter().all(|n| (40..200).contains(n)), "{buckets:?}");
        }
    }
}
