//! Which data set a database number stands for.
//!
//! SWAPDB exchanges the data of two numbers. Timers belong to the data, and each worker has
//! its own, so they are kept under an identity that moves with the data instead of being
//! exchanged in every worker.

use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU32, Ordering::Relaxed};

use super::wheel::SWEEP_ITEMS_MIN;
use crate::keyspace::DbId;

/// The identity of the data behind each database number. Changed behind the exclusive gate
/// only, whose hand-over orders the relaxed accesses.
#[derive(Debug)]
pub struct Identities {
    of: Box<[AtomicU16]>,
    /// By identity.
    counts: Box<[Counts]>,
}

/// What the workers' wheels for one data set have in common.
#[derive(Debug, Default)]
struct Counts {
    /// Items in all of them that stand for no key any more. An item is armed by one worker and made stale by
    /// another, so nobody can count its own. An estimate: it decides only when to look.
    stale: AtomicI64,
    /// How often the data set was emptied.
    flushes: AtomicU32,
    /// Hashes in which a field has a deadline.
    hashes: AtomicI64,
}

impl Identities {
    /// Every number stands for itself.
    pub fn new(databases: DbId) -> Identities {
        Identities {
            of: (0..databases).map(AtomicU16::new).collect(),
            counts: (0..databases).map(|_| Counts::default()).collect(),
        }
    }

    /// Identity of the data at `db`.
    #[inline]
    pub fn identity(&self, db: DbId) -> usize {
        usize::from(self.of[usize::from(db)].load(Relaxed))
    }

    /// The number under which that data is found now.
    pub fn database(&self, identity: usize) -> DbId {
        let place = self.of.iter().position(|i| usize::from(i.load(Relaxed)) == identity);
        place.and_then(|p| DbId::try_from(p).ok()).unwrap_or(0)
    }

    /// SWAPDB.
    pub fn swap(&self, a: DbId, b: DbId) {
        let (a, b) = (&self.of[usize::from(a)], &self.of[usize::from(b)]);
        let old = a.load(Relaxed);
        a.store(b.load(Relaxed), Relaxed);
        b.store(old, Relaxed);
    }

    /// FLUSHDB: no timer of this data set stands for a key any more. Each worker sees it at its next look.
    pub fn flushed(&self, identity: usize) {
        let counts = &self.counts[identity];
        counts.flushes.fetch_add(1, Relaxed);
        counts.stale.store(0, Relaxed);
        counts.hashes.store(0, Relaxed);
    }

    /// How often [`flushed`](Self::flushed) was called, round the numbers.
    #[inline]
    pub fn flushes(&self, identity: usize) -> u32 {
        self.counts[identity].flushes.load(Relaxed)
    }

    /// Items became stale, or (negative) stale ones are gone.
    pub fn add_stale(&self, identity: usize, n: i64) {
        self.counts[identity].stale.fetch_add(n, Relaxed);
    }

    /// More or (negative) fewer hashes have a field with a deadline.
    pub fn add_hashes(&self, identity: usize, n: i64) {
        self.counts[identity].hashes.fetch_add(n, Relaxed);
    }

    /// Hashes of the data behind this number in which a field has a deadline.
    pub fn hashes(&self, db: DbId) -> u64 {
        u64::try_from(self.counts[self.identity(db)].hashes.load(Relaxed)).unwrap_or(0)
    }

    /// Whether there are so many stale items that it is worth while to look whose they are.
    pub fn has_stale(&self) -> bool {
        self.counts.iter().any(|counts| counts.stale.load(Relaxed) >= SWEEP_ITEMS_MIN as i64)
    }

    /// Items of all workers that are believed to be stale.
    #[inline]
    pub fn stale(&self, identity: usize) -> i64 {
        self.counts[identity].stale.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_move_with_the_data() {
        let ids = Identities::new(4);
        ids.swap(0, 2);
        ids.swap(2, 3);
        assert_eq!([ids.identity(0), ids.identity(2), ids.identity(3)], [2, 3, 0]);
        assert_eq!([ids.database(0), ids.database(2), ids.database(3)], [3, 0, 2]);
    }
}
