//! Engines: the tables of a database, and the pair of them that serves while it is resized.
//!
//! ```text
//! Engine    2^bits shards; the top bits of the hash name the shard, the next 5 its bucket
//! Engines   active, and during a migration growing: what a database points to
//! Space     what outlives engines: arenas of packed memory, counters, the resize lock
//! ```
//!
//! A shard's own state, read under its lock, says where keys are:
//!
//! * LIVE: all keys of its range are here.
//! * MOVED: all keys of its range are in the growing engine, complete. For ever.
//! * PENDING: of a growing engine, before its keys have come. Nobody gets here by looking
//!   a key up, because the shards that it is filled from are not MOVED yet.
//!
//! Whoever meets MOVED in what was thought to be the newest engine has an old `Engines` and
//! loads the pointer again. A retired engine is never used again.

use super::arena::Arena;
use super::bucket::{BlockView, SHARD_SLOTS, Word};
use super::contention::{Contention, LOOK_EACH};
use super::figures::SHARDS_PER_CELL;
use super::hash::KeyHash;
use super::header::{LIVE, PENDING, Shard};
use super::journal::{Journal, Reason, Tally};
use super::segment::Segments;
use super::shard::drop_block;
use super::work::Work;
use super::{Cell, EngineStats, Fills, State};
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::hint::select_unpredictable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Shard and bucket come from the upper half of the hash.
pub(super) const BITS_MAX: u8 = 27;
const BUCKET_BITS: u8 = 5;
const _: () = assert!(1 << BUCKET_BITS == super::bucket::BUCKETS);
pub(super) const ARENAS: usize = 8;

/// A table of 2^bits shards.
pub(super) struct Engine {
    shards: Box<[Shard]>,
    bits: u8,
    pub generation: u64,
}

impl Engine {
    pub fn new(bits: u8, generation: u64, state: u8) -> Self {
        debug_assert!(bits <= BITS_MAX && (state == LIVE || state == PENDING));
        let shards = (0..1_usize << bits).map(|_| Shard::new(state)).collect();
        Engine { shards, bits, generation }
    }

    #[inline(always)]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    #[inline(always)]
    pub fn index(&self, hash: KeyHash) -> usize {
        (hash.0 >> 32).wrapping_shr(u32::from(32_u8.wrapping_sub(self.bits))) as usize
    }

    #[inline(always)]
    pub fn shard(&self, hash: KeyHash) -> &Shard {
        &self.shards[self.index(hash)]
    }

    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The bucket of a hash in its shard.
    #[inline(always)]
    pub fn bucket(&self, hash: KeyHash) -> usize {
        (hash.0.wrapping_shl(self.bits.into()) >> (64 - BUCKET_BITS)) as usize
    }

    fn fills(&self) -> Fills {
        let (generation, shards) = (self.generation, self.shards.len());
        let mut fills = Fills { generation, shards, emptiest: usize::MAX, ..Fills::default() };
        for shard in &self.shards {
            if shard.is_live() {
                fills.add(shard.used(), shard.contended());
            } else {
                fills.elsewhere += 1;
            }
        }
        fills.emptiest = fills.emptiest.min(fills.fullest);
        fills
    }

    /// The shards in at most `max` cells, in the order of their hashes; of a large cell some shards stand for the others.
    fn cells(&self, max: usize) -> Vec<Cell> {
        let n = self.shards.len().min(max.next_power_of_two());
        let each = self.shards.len() / n.max(1);
        self.shards.chunks(each.max(1)).map(|shards| cell(shards, each.div_ceil(SHARDS_PER_CELL))).collect()
    }

    /// How far a bucket reaches in hash space: 2^this hashes.
    pub fn bucket_width_bits(&self) -> u32 {
        64 - u32::from(self.bits) - u32::from(BUCKET_BITS)
    }
}

/// What every `step`th of these shards comes to.
fn cell(shards: &[Shard], step: usize) -> Cell {
    let (mut seen, mut serving, mut keys) = (0_usize, 0_usize, 0_usize);
    for shard in shards.iter().step_by(step.max(1)) {
        seen += 1;
        if shard.is_live() {
            serving += 1;
            keys += shard.used();
        }
    }
    Cell {
        load_percent: keys as f32 * 100.0 / (serving.max(1) * SHARD_SLOTS) as f32,
        serving: serving as f32 / seen.max(1) as f32,
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            drop_block(shard);
        }
    }
}

/// A migration's progress. A unit is a shard of the smaller of both engines.
#[derive(Default)]
pub(super) struct Migration {
    pub next: AtomicUsize,
    pub done: AtomicUsize,
    pub started_ms: u64,
    pub reason: Reason,
    pub tally: Tally,
}

/// What a database points to.
pub(super) struct Engines {
    pub space: Arc<Space>,
    pub active: Arc<Engine>,
    pub growing: Option<Arc<Engine>>,
    pub migration: Migration,
}

impl Engines {
    pub fn steady(space: Arc<Space>, active: Arc<Engine>) -> Box<Self> {
        Box::new(Engines { space, active, growing: None, migration: Migration::default() })
    }

    /// The engine and the shard where the hash lives, as far as can be seen without the lock.
    #[inline(always)]
    pub fn choose(&self, hash: KeyHash) -> (&Engine, &Shard) {
        let old = self.active.shard(hash);
        let Some(growing) = &self.growing else {
            return (&self.active, old);
        };
        // Half of the shards are moved at the middle of a migration: a branch would mispredict.
        let (moved, new) = (old.is_moved(), growing.shard(hash));
        (select_unpredictable(moved, &**growing, &*self.active), select_unpredictable(moved, new, old))
    }

    /// How many units a migration has.
    pub fn units(&self) -> usize {
        let bits = self.growing.as_ref().map_or(self.active.bits, |g| g.bits.min(self.active.bits));
        1 << bits
    }

    pub fn state(&self) -> State {
        match &self.growing {
            None => State::Steady,
            Some(g) if g.bits > self.active.bits => State::Growing,
            Some(_) => State::Shrinking,
        }
    }

    fn progress_percent(&self) -> f64 {
        let done = self.migration.done.load(Relaxed) as f64;
        if self.growing.is_some() { done * 100.0 / self.units() as f64 } else { 100.0 }
    }

    /// How keys are spread: of the engine that serves alone or is being left, and of the one they go to.
    pub fn fills(&self) -> (Fills, Option<Fills>) {
        (self.active.fills(), self.growing.as_ref().map(|g| g.fills()))
    }

    /// Both engines as pictures, as [`Self::fills`].
    pub fn cells(&self, max: usize) -> (Vec<Cell>, Option<Vec<Cell>>) {
        (self.active.cells(max), self.growing.as_ref().map(|g| g.cells(max)))
    }

    pub fn stats(&self) -> EngineStats {
        let newest = self.growing.as_ref().unwrap_or(&self.active);
        let space = &self.space;
        let c = &space.counters;
        let shards = newest.shards.len();
        let headers = (self.active.shards.len() + self.growing.as_ref().map_or(0, |g| g.shards.len()))
            * size_of::<Shard>();
        EngineStats {
            generation: newest.generation,
            shards,
            load_percent: space.keys() as f64 * 100.0 / (shards * SHARD_SLOTS) as f64,
            keys: space.keys(),
            expires: space.expires(),
            keys_moved: c.moved.load(Relaxed),
            keys_purged: c.purged.load(Relaxed),
            state: self.state(),
            shards_from: self.active.shards.len(),
            progress_percent: self.progress_percent(),
            migrations_done: c.migrations.load(Relaxed),
            last_migration_ms: c.last_ms.load(Relaxed),
            contended_locks: c.contended.load(Relaxed),
            bytes_segments: space.live_bytes() + space.dead_bytes(),
            bytes_tables: c.table_bytes.load(Relaxed) + headers,
            bytes_dead: space.dead_bytes(),
        }
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub moved: AtomicU64,
    pub purged: AtomicU64,
    pub migrations: AtomicU64,
    pub last_ms: AtomicU64,
    pub contended: AtomicU64,
    pub table_bytes: AtomicUsize,
}

/// A database's memory and counters; engines come and go over it.
pub(super) struct Space {
    pub segments: Arc<Segments>,
    pub arenas: Box<[CachePadded<Arena>; ARENAS]>,
    pub counters: CachePadded<Counters>,
    pub journal: Arc<Journal>,
    /// Held by whoever installs or retires an engine.
    pub resize: Mutex<()>,
    pub contention: Mutex<Contention>,
    pub work: Arc<Work>,
    /// A shard passed the mark where the load should be looked at.
    pub check: AtomicBool,
}

impl Space {
    pub fn new(segments: Arc<Segments>, journal: Arc<Journal>, work: Arc<Work>) -> Arc<Space> {
        Arc::new(Space {
            segments,
            arenas: Box::new(std::array::from_fn(|i| CachePadded::new(Arena::new(i as u32)))),
            counters: CachePadded::default(),
            journal,
            resize: Mutex::default(),
            contention: Mutex::default(),
            work,
            check: AtomicBool::new(false),
        })
    }

    /// Has the load looked at.
    pub fn request_check(&self) {
        if !self.check.swap(true, Relaxed) {
            self.work.request_check();
        }
    }

    /// A lock was not free at once.
    pub fn waited(&self) {
        self.journal.contended_locks.fetch_add(1, Relaxed);
        if self.counters.contended.fetch_add(1, Relaxed) % LOOK_EACH == LOOK_EACH - 1 {
            self.request_check();
        }
    }

    /// The arena of a hash: a fixed range of hash space, whatever the engines.
    #[inline(always)]
    pub fn arena(&self, hash: KeyHash) -> &Arena {
        &self.arenas[(hash.0 >> 61) as usize]
    }

    pub fn keys(&self) -> usize {
        self.arenas.iter().map(|a| a.keys()).sum()
    }

    pub fn expires(&self) -> usize {
        self.arenas.iter().map(|a| a.expires()).sum()
    }

    pub fn live_bytes(&self) -> usize {
        self.arenas.iter().map(|a| a.live_bytes()).sum()
    }

    pub fn dead_bytes(&self) -> usize {
        self.arenas.iter().map(|a| a.dead_bytes()).sum()
    }
}

/// A prefetch of the bucket of a hash, as far as it can be seen without the lock.
#[inline(always)]
pub(super) fn bucket_hint<'a>(
    engines: &'a Engines,
    hash: KeyHash,
    view: impl Fn(Word) -> Option<BlockView<'a>>,
) -> Option<&'a super::bucket::Bucket> {
    let (engine, shard) = engines.choose(hash);
    Some(view(shard.word())?.front(engine.bucket(hash)))
}
