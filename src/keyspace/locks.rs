//! Locks on the shards of several keys.
//!
//! Keys are sorted by database and hash, so shards are taken in ascending order of hash
//! space, each once. Migration takes the shards of a range in the old engine, ascending,
//! and then those of the same range in the new one; a range is either all here or all
//! there for whoever looks a key up. So all wait in one direction, and nobody in a circle.

use super::DbId;
use super::batch::Batch;
use super::hash::KeyHash;
use super::shard::{Lent, ShardGuard};
use smallvec::SmallVec;
use std::ops::Range;

/// The guards of several keys.
#[derive(Default)]
pub struct LockSet<'b> {
    guards: SmallVec<[ShardGuard<'b>; 4]>,
    /// Index of the guard of each key.
    which: SmallVec<[u32; 8]>,
}

impl<'b> LockSet<'b> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The guard of the i-th key that was given to `lock_many` (keys may share one).
    #[inline]
    pub fn guard(&mut self, i: usize) -> &mut ShardGuard<'b> {
        &mut self.guards[self.which[i] as usize]
    }

    /// The same for looking only.
    #[inline]
    pub fn guard_ref(&self, i: usize) -> &ShardGuard<'b> {
        &self.guards[self.which[i] as usize]
    }

    /// Lends the guard of the i-th key.
    pub fn lend(&mut self, i: usize) -> Lent<'_> {
        self.guard(i).lend()
    }

    /// Lends the guards of some of the keys.
    pub fn lend_range(&mut self, keys: Range<usize>) -> LentSet<'_> {
        let mut held: SmallVec<[u32; 8]> = self.which[keys.clone()].into();
        held.sort_unstable();
        held.dedup();
        let place = |guard: &u32| held.binary_search(guard).unwrap_or(0) as u32;
        let which = self.which[keys].iter().map(place).collect();
        let mut guards = SmallVec::with_capacity(held.len());
        let (mut rest, mut passed) = (&mut self.guards[..], 0);
        for &guard in &held {
            let (_, from) = rest.split_at_mut(guard as usize - passed);
            let Some((first, behind)) = from.split_first_mut() else { break };
            guards.push(first.lend());
            rest = behind;
            passed = guard as usize + 1;
        }
        LentSet { guards, which }
    }

    /// Keys in the set.
    pub fn len(&self) -> usize {
        self.which.len()
    }

    /// Whether nothing is locked.
    pub fn is_empty(&self) -> bool {
        self.which.is_empty()
    }

    /// Releases all locks.
    pub fn clear(&mut self) {
        self.guards.clear();
        self.which.clear();
    }

    pub(super) fn fill(&mut self, batch: &'b Batch<'b>, keys: &[(DbId, KeyHash)]) {
        self.clear();
        let mut order: SmallVec<[u32; 8]> = (0..keys.len() as u32).collect();
        order.sort_unstable_by_key(|&i| keys[i as usize]);
        self.which.resize(keys.len(), 0);
        let mut last = None;
        for i in order {
            let (db, hash) = keys[i as usize];
            let shared = last == Some(db) && self.guards.last().is_some_and(|g| g.covers(hash));
            if !shared {
                self.guards.push(batch.lock(db, hash));
                last = Some(db);
            }
            self.which[i as usize] = self.guards.len() as u32 - 1;
        }
    }
}

/// Some of the guards of a [`LockSet`], lent.
pub struct LentSet<'b> {
    guards: SmallVec<[Lent<'b>; 4]>,
    which: SmallVec<[u32; 8]>,
}

impl<'b> LentSet<'b> {
    /// The guard of the i-th key of the range that was lent.
    #[inline]
    pub fn guard(&mut self, i: usize) -> &mut Lent<'b> {
        &mut self.guards[self.which[i] as usize]
    }

    /// The same for looking only.
    #[inline]
    pub fn guard_ref(&self, i: usize) -> &ShardGuard<'b> {
        &self.guards[self.which[i] as usize]
    }
}
