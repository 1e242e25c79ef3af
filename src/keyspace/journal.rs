//! What was moved, and how long that took: sums since the start, and the last migrations.
//!
//! Databases come and go (FLUSHALL); this stays, so that a counter never falls.

use super::DbId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Migrations that are remembered.
pub(super) const HISTORY_MAX: usize = 128;

/// Why a table changed its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// It had become too full or too empty.
    #[default]
    Load,
    /// Workers waited for each other at its shards too often, or no longer do.
    Contention,
    /// A command announced many keys.
    Announced,
    /// DEBUG asked for it.
    Asked,
}

/// A migration that ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// The database.
    pub db: DbId,
    /// Number of the engine that was made.
    pub generation: u64,
    /// Shards before.
    pub shards_from: usize,
    /// Shards after.
    pub shards_to: usize,
    /// Why.
    pub reason: Reason,
    /// Unix milliseconds of its beginning.
    pub started_ms: u64,
    /// How long it took.
    pub took_ms: u64,
    /// Keys moved.
    pub keys_moved: u64,
    /// Keys dropped on the way because they were past their deadline.
    pub keys_purged: u64,
    /// Critical sections.
    pub slices: u64,
    /// Time spent in all of them.
    pub busy_us: u64,
    /// The longest of them.
    pub slice_longest_us: u64,
}

/// Sums since the start, over all databases that ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Engines made by migrations.
    pub generations: u64,
    /// Migrations that ended.
    pub migrations_done: u64,
    /// Keys moved from engine to engine.
    pub keys_moved: u64,
    /// Keys dropped on the way because they were past their deadline.
    pub keys_purged: u64,
    /// Critical sections of migrations.
    pub slices: u64,
    /// Those of them that workers took over, since inserts came faster than the helper thread moved keys.
    pub slices_by_workers: u64,
    /// Time spent in them.
    pub slices_ns: u64,
    /// The longest of them.
    pub slice_longest_ns: u64,
    /// Locks of shards that were not free at once.
    pub contended_locks: u64,
    /// Bytes of living entries copied by compaction.
    pub compacted_bytes: u64,
    /// Small collections that came into their entries.
    pub packed_collections: u64,
    /// Bytes of segments given back to the system.
    pub given_back_bytes: u64,
}

/// Sums and history; see [`Totals`] and [`Step`].
#[derive(Default)]
pub(super) struct Journal {
    pub generations: AtomicU64,
    pub migrations_done: AtomicU64,
    pub keys_moved: AtomicU64,
    pub keys_purged: AtomicU64,
    slices: AtomicU64,
    slices_by_workers: AtomicU64,
    slices_ns: AtomicU64,
    slice_longest_ns: AtomicU64,
    pub contended_locks: AtomicU64,
    pub compacted_bytes: AtomicU64,
    pub packed_collections: AtomicU64,
    history: Mutex<VecDeque<Step>>,
}

impl Journal {
    /// A critical section of a migration ended.
    pub fn slice(&self, took_ns: u64, by_worker: bool) {
        self.slices.fetch_add(1, Relaxed);
        self.slices_by_workers.fetch_add(u64::from(by_worker), Relaxed);
        self.slices_ns.fetch_add(took_ns, Relaxed);
        self.slice_longest_ns.fetch_max(took_ns, Relaxed);
    }

    /// A migration ended.
    pub fn done(&self, step: Step) {
        self.migrations_done.fetch_add(1, Relaxed);
        let mut history = self.history.lock();
        if history.len() == HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(step);
    }

    /// The last migrations, newest first.
    pub fn history(&self, count: usize) -> Vec<Step> {
        self.history.lock().iter().rev().take(count).copied().collect()
    }

    pub fn totals(&self, given_back_bytes: u64) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Totals {
            generations: read(&self.generations),
            migrations_done: read(&self.migrations_done),
            keys_moved: read(&self.keys_moved),
            keys_purged: read(&self.keys_purged),
            slices: read(&self.slices),
            slices_by_workers: read(&self.slices_by_workers),
            slices_ns: read(&self.slices_ns),
            slice_longest_ns: read(&self.slice_longest_ns),
            contended_locks: read(&self.contended_locks),
            compacted_bytes: read(&self.compacted_bytes),
            packed_collections: read(&self.packed_collections),
            given_back_bytes,
        }
    }
}

/// What one running migration has done so far.
#[derive(Default)]
pub(super) struct Tally {
    pub moved: AtomicU64,
    pub purged: AtomicU64,
    slices: AtomicU64,
    busy_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl Tally {
    pub fn slice(&self, took_ns: u64) {
        self.slices.fetch_add(1, Relaxed);
        self.busy_ns.fetch_add(took_ns, Relaxed);
        self.longest_ns.fetch_max(took_ns, Relaxed);
    }

    /// Fills in what was counted.
    pub fn complete(&self, step: Step) -> Step {
        Step {
            keys_moved: self.moved.load(Relaxed),
            keys_purged: self.purged.load(Relaxed),
            slices: self.slices.load(Relaxed),
            busy_us: self.busy_ns.load(Relaxed) / 1000,
            slice_longest_us: self.longest_ns.load(Relaxed) / 1000,
            ..step
        }
    }
}
