//! Resizing: when, and how keys come from one engine into the other.
//!
//! A migration moves one unit at a time in one critical section: the shards that make up one
//! shard of the smaller engine. Growing splits one shard into neighbours, shrinking joins
//! neighbours, all of them at once, so no target is ever visible half filled. Units are claimed
//! from an atomic counter; whoever moves the last one installs the new engine alone.
//!
//! Locks: sources ascending, then targets ascending. Targets are reached by nobody else before
//! their sources are MOVED, and sources become MOVED only once the targets are complete.
//!
//! The helper thread drives it. Workers owe a unit per [`INSERTS_PER_UNIT`] inserts, so a
//! migration ends before the table has grown by another third even if the helper never runs.

use super::arena::Arena;
use super::batch::{Batch, Participant};
use super::bucket::{BUCKETS, Block, SHARD_SLOTS, SLOTS, prefetch};
use super::engines::{BITS_MAX, Engine, Engines, Migration};
use super::header::{LIVE, MOVED, PENDING, Shard};
use super::journal::{Reason, Step};
use super::reclaim::Garbage;
use super::segment::Ref;
use super::shard::Locked;
use super::{DbId, KeepAll, Keyspace, Purge};
use smallvec::SmallVec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// Inserts during a migration for each of which the workers owe a unit.
pub(super) const INSERTS_PER_UNIT: u32 = 96;
/// Doublings or halvings done in one step at most, when growing is not asked for by `prepare`.
const STEPS_MAX: u8 = 4;
/// Larger tables are made by the helper thread: their headers alone take half a millisecond and more to be written.
const BITS_BY_WORKERS: u8 = 15;
/// Units that `prepare` moves itself.
const PREPARE_UNITS_MAX: usize = 64;
/// Keys whose entries are asked for ahead.
const AHEAD: usize = 12;

/// Looks at the databases that asked for it, and begins to resize those whose load says so.
pub(super) fn check(batch: &Batch<'_>, helper: bool, now_ms: u64) {
    let watched = batch.keyspace().work.take_watch();
    let mut watch = false;
    for db in 0..batch.keyspace().databases() {
        let Some(engines) = batch.engines(db) else {
            continue;
        };
        let asked = engines.space.check.swap(false, Relaxed);
        if (asked || watched)
            && engines.growing.is_none()
            && let Some((bits, reason)) = wanted(batch.keyspace(), engines, now_ms)
        {
            if helper || bits <= BITS_BY_WORKERS {
                install(batch, db, bits, reason, now_ms);
            } else {
                engines.space.check.store(true, Relaxed);
                batch.keyspace().work.leave_check();
            }
        }
        watch |= engines.space.contention.lock().floor() > 0;
    }
    if watch {
        batch.keyspace().work.watch();
    }
}

/// The size that the load asks for, if it is another one, and which part of the load does.
fn wanted(keyspace: &Keyspace, engines: &Engines, now_ms: u64) -> Option<(u8, Reason)> {
    let (space, bits) = (&engines.space, engines.active.bits());
    let by_keys = by_keys(keyspace, space.keys(), bits);
    let mut contention = space.contention.lock();
    let before = contention.floor();
    let floor =
        contention.look(space.counters.contended.load(Relaxed), now_ms, bits, by_keys, keyspace.highest);
    let target = by_keys.max(floor);
    let step = target.clamp(bits.saturating_sub(STEPS_MAX), (bits + STEPS_MAX).min(BITS_MAX));
    let reason = if target == by_keys && before == 0 { Reason::Load } else { Reason::Contention };
    (step != bits).then_some((step, reason))
}

/// The size that so many keys ask for, of a table that has 2^`bits` shards; between both thresholds it is the one that it has.
fn by_keys(keyspace: &Keyspace, keys: usize, bits: u8) -> u8 {
    let (grow, shrink) = keyspace.percents();
    let fits = |bits: u8, percent: usize| keys * 100 < (SHARD_SLOTS << bits) * percent;
    if !fits(bits, grow) {
        return (bits + 1..BITS_MAX).find(|&b| fits(b, grow)).unwrap_or(BITS_MAX);
    }
    if fits(bits, shrink) {
        return (0..bits).find(|&b| fits(b, usize::midpoint(grow, shrink))).unwrap_or(bits);
    }
    bits
}

/// Whether the load of the whole table is likely to ask for another size, where one shard's does. In a table of any size the
/// load of shards differs by some percent, so near a threshold a third of all inserts come upon a shard that is beyond it, and
/// each look wakes the helper thread. The arena, an eighth of the keys, is asked first: the caller has just counted there.
pub(super) fn is_worth_a_look(batch: &Batch<'_>, engines: &Engines, arena: &Arena) -> bool {
    let (keyspace, space, bits) = (batch.keyspace(), &engines.space, engines.active.bits());
    let asked_by = |keys: usize| match by_keys(keyspace, keys, bits) {
        size if size > bits => true,
        // It has more shards than its keys need, and is looked at once a second for that.
        size => size < bits && !keyspace.work.is_watching(),
    };
    let arenas = space.arenas.len();
    // If the whole is beyond a threshold, some arena is; in a table with fewer shards, others fill this one too.
    let arena_tells = 1 << bits >= arenas;
    (!arena_tells || asked_by(arena.keys() * arenas)) && asked_by(space.keys())
}

/// Begins a migration, unless one is running.
pub(super) fn install(batch: &Batch<'_>, db: DbId, bits: u8, reason: Reason, now_ms: u64) -> bool {
    let Some(engines) = batch.engines(db) else {
        return false;
    };
    let space = &engines.space;
    let _resize = space.resize.lock();
    // Somebody else may have been here since.
    let Some(engines) = batch.engines(db) else {
        return false;
    };
    if engines.growing.is_some() || bits == engines.active.bits() || bits > BITS_MAX {
        return false;
    }
    let growing = Engine::new(bits, engines.active.generation + 1, PENDING);
    batch.keyspace().work.migrating.fetch_add(1, Relaxed);
    space.journal.generations.fetch_add(1, Relaxed);
    batch.keyspace().replace_engines(
        batch,
        db,
        Box::new(Engines {
            space: Arc::clone(space),
            active: Arc::clone(&engines.active),
            growing: Some(Arc::new(growing)),
            migration: Migration { started_ms: now_ms, reason, ..Migration::default() },
        }),
    );
    batch.keyspace().work.wake();
    true
}

/// Moves one unit of some database; false if there is none to claim.
pub(super) fn step(batch: &Batch<'_>, helper: bool, now_ms: u64, purge: &mut dyn Purge) -> bool {
    (0..batch.keyspace().databases()).any(|db| step_of(batch, db, helper, now_ms, purge))
}

fn step_of(batch: &Batch<'_>, db: DbId, helper: bool, now_ms: u64, purge: &mut dyn Purge) -> bool {
    let Some(engines) = batch.engines(db) else {
        return false;
    };
    let Some(growing) = &engines.growing else {
        return false;
    };
    let (progress, units) = (&engines.migration, engines.units());
    if progress.next.load(Relaxed) >= units {
        return false;
    }
    let unit = progress.next.fetch_add(1, Relaxed);
    if unit >= units {
        return false;
    }
    let began = crate::clock::mono_ns();
    move_unit(batch, db, engines, growing, unit, now_ms, purge);
    let took = crate::clock::mono_ns().saturating_sub(began);
    engines.space.journal.slice(took, !helper);
    progress.tally.slice(took);
    purge.slice(took);
    batch.keyspace().work.pay_unit();
    if progress.done.fetch_add(1, AcqRel) + 1 == units {
        finish(batch, db, engines, growing, now_ms);
    }
    true
}

/// All shards are MOVED; this thread moved the last of them.
fn finish(batch: &Batch<'_>, db: DbId, engines: &Engines, growing: &Arc<Engine>, now_ms: u64) {
    debug_assert!(engines.active.shards().iter().all(Shard::is_moved));
    let space = &engines.space;
    let _resize = space.resize.lock();
    let steady = Engines::steady(Arc::clone(space), Arc::clone(growing));
    batch.keyspace().replace_engines(batch, db, steady);
    space.counters.migrations.fetch_add(1, Relaxed);
    let (progress, took_ms) = (&engines.migration, now_ms.saturating_sub(engines.migration.started_ms));
    space.counters.last_ms.store(took_ms, Relaxed);
    space.journal.done(progress.tally.complete(Step {
        db,
        generation: growing.generation,
        shards_from: engines.active.shards().len(),
        shards_to: growing.shards().len(),
        reason: progress.reason,
        started_ms: progress.started_ms,
        took_ms,
        ..Step::default()
    }));
    let work = &batch.keyspace().work;
    if work.migrating.fetch_sub(1, Relaxed) == 1 {
        work.forgive();
    }
    space.contention.lock().restart(space.counters.contended.load(Relaxed), now_ms);
    // The load may have gone on meanwhile.
    space.check.store(true, Relaxed);
    work.request_check();
}

struct Item {
    target: u32,
    bucket: u8,
    tag: u8,
    place: Ref,
}

fn move_unit(
    batch: &Batch<'_>,
    db: DbId,
    engines: &Engines,
    growing: &Engine,
    unit: usize,
    now_ms: u64,
    purge: &mut dyn Purge,
) {
    let (active, space) = (&*engines.active, &*engines.space);
    let range = |engine: &Engine| {
        let steps = u32::from(engine.bits()) - engines.units().trailing_zeros();
        unit << steps..(unit + 1) << steps
    };
    let (sources, targets) = (range(active), range(growing));
    let mut from: SmallVec<[Locked<'_>; 16]> =
        active.shards()[sources.clone()].iter().map(|s| Locked::new(s, space)).collect();
    debug_assert!(from.iter().all(|s| s.state() == LIVE));
    let purge = (purge.enabled() && space.expires() > 0).then_some(purge);
    let plan = Plan { batch, db, active, growing, first_target: targets.start, now_ms };
    let items = plan.collect(&mut from, purge);

    let to: SmallVec<[Locked<'_>; 16]> =
        growing.shards()[targets].iter().map(|s| Locked::new(s, space)).collect();
    fill(&to, &items);
    let moved = items.len() as u64;
    space.counters.moved.fetch_add(moved, Relaxed);
    space.journal.keys_moved.fetch_add(moved, Relaxed);
    engines.migration.tally.moved.fetch_add(moved, Relaxed);
    for source in &from {
        source.set_state(MOVED);
        source.set_used(0);
        if let Some(block) = source.set_block(None) {
            batch.pin().retire(Garbage::Block(block));
        }
    }
}

/// What a unit's keys need to find their new place.
struct Plan<'a, 'p> {
    batch: &'a Batch<'p>,
    db: DbId,
    active: &'a Engine,
    growing: &'a Engine,
    first_target: usize,
    now_ms: u64,
}

impl Plan<'_, '_> {
    /// All keys of the sources but those past their deadline, which go here.
    fn collect(&self, from: &mut [Locked<'_>], mut purge: Option<&mut dyn Purge>) -> Vec<Item> {
        let segments = &self.batch.keyspace().segments;
        let mut items = Vec::with_capacity(from.iter().map(Locked::used).sum());
        let mut found: Vec<(u8, u8, Ref)> = Vec::new();
        for (index, source) in from.iter_mut().enumerate() {
            found.clear();
            if let Some(block) = source.block() {
                found.extend(block.entries().map(|(front, _, tag, place)| (front as u8, tag, place)));
            }
            let touch = purge.is_some() || self.growing.bits() > self.active.bits();
            for i in 0..found.len() {
                if touch && let Some(ahead) = found.get(i + AHEAD) {
                    prefetch(segments.address(ahead.2).as_ptr());
                }
                let (front, tag, place) = found[i];
                if let Some(purge) = purge.as_deref_mut()
                    && self.purge(source, place, purge)
                {
                    continue;
                }
                let (target, bucket) = self.target(source, index, front, place);
                items.push(Item { target, bucket, tag, place });
            }
        }
        items
    }

    /// The place of a key in the new engine, counted from the unit's first target.
    fn target(&self, source: &Locked<'_>, index: usize, front: u8, place: Ref) -> (u32, u8) {
        if self.growing.bits() < self.active.bits() {
            // Storage is in hash order: joining needs no hash.
            let steps = self.active.bits() - self.growing.bits();
            return (0, ((index * BUCKETS + usize::from(front)) >> steps) as u8);
        }
        let hash = source.entry(place).hash(self.batch.hasher());
        let target = self.growing.index(hash) - self.first_target;
        (target as u32, self.growing.bucket(hash) as u8)
    }

    /// Drops the key if it is past its deadline.
    fn purge(&self, source: &mut Locked<'_>, place: Ref, purge: &mut dyn Purge) -> bool {
        let entry = source.entry(place);
        if entry.deadline().is_none_or(|deadline| deadline >= self.now_ms) {
            return false;
        }
        // A bug in who hears of it must not end the migration half-way: nobody would move this unit again, and its
        // block would go on to name the entries that are dropped here.
        if catch_unwind(AssertUnwindSafe(|| purge.expired(self.db, entry))).is_err() {
            tracing::error!("an expired key was dropped, but telling so ended in a panic");
        }
        let hash = entry.hash(self.batch.hasher());
        if let Some(value) = source.kill(place, hash) {
            self.batch.keyspace().discard(value);
        }
        if let Some(engines) = self.batch.engines(self.db) {
            engines.space.counters.purged.fetch_add(1, Relaxed);
            engines.space.journal.keys_purged.fetch_add(1, Relaxed);
            engines.migration.tally.purged.fetch_add(1, Relaxed);
        }
        true
    }
}

/// Builds the targets' blocks, each as large as its keys need.
fn fill(to: &[Locked<'_>], items: &[Item]) {
    let mut counts = vec![[0_u16; BUCKETS]; to.len()];
    for item in items {
        counts[item.target as usize][usize::from(item.bucket)] += 1;
    }
    let blocks: Vec<Option<Block>> = counts
        .iter()
        .map(|counts| {
            if counts.iter().all(|&n| n == 0) {
                return None;
            }
            let overflow = counts.iter().map(|&n| usize::from(n).saturating_sub(SLOTS).div_ceil(SLOTS)).sum();
            Some(Block::new(overflow).expect("invariant: a part of what a block held fits a block"))
        })
        .collect();
    for item in items {
        let block = blocks[item.target as usize].as_ref().expect("invariant: counted above").view();
        block.insert(item.bucket.into(), item.tag, item.place).expect("invariant: room was counted");
    }
    for ((target, block), counts) in to.iter().zip(blocks).zip(&counts) {
        let old = target.set_block(block);
        debug_assert!(old.is_none());
        target.set_used(counts.iter().map(|&n| usize::from(n)).sum());
        target.set_state(LIVE);
    }
}

/// Makes the table large enough for `additional` keys; see [`Batch::prepare`].
pub(super) fn prepare(batch: &Batch<'_>, db: DbId, additional: usize) {
    let Some(engines) = batch.engines(db) else { return };
    let (grow, shrink) = batch.keyspace().percents();
    let keys = engines.space.keys().saturating_add(additional);
    let room = |bits: u8| (SHARD_SLOTS << bits) * usize::midpoint(grow, shrink) / 100;
    let bits = (0..BITS_MAX).find(|&b| keys <= room(b)).unwrap_or(BITS_MAX);
    // A single doubling is left to the ordinary way.
    if bits < engines.active.bits() + 2
        || !install(batch, db, bits, Reason::Announced, crate::clock::now_ms())
    {
        return;
    }
    if batch.engines(db).is_some_and(|e| e.units() <= PREPARE_UNITS_MAX) {
        while step_of(batch, db, false, 0, &mut KeepAll) {}
    }
}

/// Begins a resize by one step, whatever the load.
pub(super) fn force(who: &mut Participant, db: DbId, up: bool) -> bool {
    let batch = who.enter();
    let Some(engines) = batch.engines(db) else {
        return false;
    };
    let bits = engines.active.bits();
    let bits = if up { bits.checked_add(1) } else { bits.checked_sub(1) };
    bits.is_some_and(|bits| install(&batch, db, bits, Reason::Asked, crate::clock::now_ms()))
}
