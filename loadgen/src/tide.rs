//! A key space that rises to all of its keys and falls back to a random part of them.
//!
//! Which keys stay is a function of key and cycle, so generators know at any time which keys are
//! there without remembering one of them: the survivors are strewn over everything that was
//! allocated before them, as after real traffic, instead of being the oldest or the newest.

use std::cell::Cell;

use crate::keys::{Rng, scramble};

/// A probe looks this often for a key that is there.
const TRIES: usize = 200;

/// The state of a rise or fall; generators of one thread share it.
#[derive(Debug)]
pub struct Tide {
    keys: u64,
    /// Keys whose hash is below stay.
    stay_below: u64,
    cycle: Cell<u64>,
    rising: Cell<bool>,
    /// Keys below have been moved in this direction.
    cursor: Cell<u64>,
    there: Cell<u64>,
}

impl Tide {
    /// An empty key space that may rise to `keys` and falls back to this share of them.
    pub fn new(keys: u64, stay: f64) -> Self {
        let stay_below = (stay.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Tide {
            keys,
            stay_below,
            cycle: Cell::new(0),
            rising: Cell::new(true),
            cursor: Cell::new(0),
            there: Cell::new(0),
        }
    }

    fn stays(&self, key: u64, cycle: u64) -> bool {
        scramble(key ^ cycle.wrapping_mul(0x9e37_79b9_7f4a_7c15)) < self.stay_below
    }

    /// Whether the key was there before this rise, or stays in this fall.
    fn kept(&self, key: u64) -> bool {
        let cycle = self.cycle.get();
        if self.rising.get() { cycle > 0 && self.stays(key, cycle - 1) } else { self.stays(key, cycle) }
    }

    /// Whether the key has been written and not been deleted, as far as this side knows.
    fn is_there(&self, key: u64) -> bool {
        self.kept(key) || (key < self.cursor.get()) == self.rising.get()
    }

    /// Turns: how many keys have to move until the other end is reached.
    pub fn turn(&self, rising: bool) -> u64 {
        if rising && !self.rising.get() {
            self.cycle.set(self.cycle.get() + 1);
        }
        self.rising.set(rising);
        self.cursor.set(0);
        (0..self.keys).filter(|&k| !self.kept(k)).count() as u64
    }

    /// The next key to write (rising) or to delete (falling).
    #[inline]
    pub fn next(&self) -> u64 {
        let mut key = self.cursor.get();
        while key < self.keys && self.kept(key) {
            key += 1;
        }
        // Behind the end: a last batch is filled up with what moved already.
        let Some(left) = self.keys.checked_sub(key + 1) else {
            return self.keys - 1;
        };
        self.cursor.set(self.keys - left);
        let there = self.there.get();
        self.there.set(if self.rising.get() { there + 1 } else { there.saturating_sub(1) });
        key
    }

    /// A random key that is there.
    #[inline]
    pub fn any(&self, rng: &mut Rng) -> u64 {
        if self.rising.get() && self.cycle.get() == 0 {
            return rng.below(self.cursor.get().max(1));
        }
        let mut key = 0;
        for _ in 0..TRIES {
            key = rng.below(self.keys);
            if self.is_there(key) {
                break;
            }
        }
        key
    }

    /// How many keys are there.
    pub fn there(&self) -> u64 {
        self.there.get()
    }

    /// Bytes of all keys and values that are there.
    pub fn bytes(&self, each: impl Fn(u64) -> u64) -> u64 {
        (0..self.keys).filter(|&k| self.is_there(k)).map(each).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_rise_and_fall_exactly() {
        let tide = Tide::new(1000, 0.05);
        let mut rng = Rng::new(1);
        let mut there = HashSet::new();
        for _ in 0..3 {
            let moves = tide.turn(true);
            assert_eq!(moves, 1000 - there.len() as u64);
            let mut found = 0;
            for _ in 0..moves {
                assert!(there.insert(tide.next()), "a key rose twice");
                assert_eq!(tide.there(), there.len() as u64);
                found += usize::from(there.contains(&tide.any(&mut rng)));
            }
            assert!(found as f64 > moves as f64 * 0.99, "{found} of {moves}");
            assert_eq!(there.len(), 1000);
            let moves = tide.turn(false);
            let mut found = 0;
            for _ in 0..moves {
                assert!(there.remove(&tide.next()), "a key fell twice");
                found += usize::from(there.contains(&tide.any(&mut rng)));
            }
            assert!(found as f64 > moves as f64 * 0.99, "{found} of {moves}");
            assert!((20..100).contains(&there.len()), "{}", there.len());
            assert_eq!(tide.there(), there.len() as u64);
            assert_eq!(tide.bytes(|_| 2), 2 * there.len() as u64);
        }
        assert_eq!(tide.next(), 999);
        assert_eq!(tide.there(), there.len() as u64);
    }
}
