//! Participants, and the batches in which they use the keyspace.

use super::arena::Arena;
use super::bucket::{self, Block, SHARD_SLOTS};
use super::engines::{Engine, Engines, Space, bucket_hint};
use super::gate::{Raised, Slot};
use super::hash::{Hasher, KeyHash};
use super::header::LIVE;
use super::locks::LockSet;
use super::reclaim::{Garbage, Pin};
use super::shard::{Locked, ShardGuard, peek};
use super::{Cell, DbId, EngineStats, EntryRef, Fills, Keyspace, Memory, Sizes, compact, migrate, scan};
use crossbeam_epoch::LocalHandle;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Replaced blocks for which it is worth to wake the helper thread.
const BLOCKS_TOGETHER: usize = 32;

/// One worker's or helper's place in the keyspace. It stays on its thread.
pub struct Participant {
    keyspace: Arc<Keyspace>,
    slot: Slot,
    epoch: LocalHandle,
    helper: bool,
}

impl Participant {
    pub(super) fn new(keyspace: &Arc<Keyspace>, helper: bool) -> Self {
        Participant {
            slot: keyspace.gate.register(),
            epoch: keyspace.reclaim.register(),
            keyspace: Arc::clone(keyspace),
            helper,
        }
    }

    pub(super) fn is_helper(&self) -> bool {
        self.helper
    }

    /// The keyspace.
    pub fn keyspace(&self) -> &Arc<Keyspace> {
        &self.keyspace
    }

    /// Begins a batch; waits while the gate is raised. Not to be held while waiting for anything.
    #[inline]
    pub fn enter(&mut self) -> Batch<'_> {
        self.keyspace.gate.enter(&self.slot);
        self.batch(None)
    }

    /// Begins a batch, or gives up at once while the gate is raised: for those who only look, and must not hang
    /// behind a long script.
    pub fn try_enter(&mut self) -> Option<Batch<'_>> {
        self.keyspace.gate.try_enter(&self.slot).then(|| self.batch(None))
    }

    /// Raises the gate: waits until everybody else is between batches, and keeps them there.
    pub fn enter_exclusive(&mut self) -> Batch<'_> {
        let raised = self.keyspace.gate.raise();
        self.batch(Some(raised))
    }

    #[inline]
    fn batch<'p>(&'p self, raised: Option<Raised<'p>>) -> Batch<'p> {
        Batch {
            pin: Pin::new(&self.epoch, &self.keyspace.reclaim.trash),
            keyspace: &self.keyspace,
            slot: &self.slot,
            raised,
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.keyspace.gate.unregister(&self.slot);
    }
}

/// Asks for the memory of keys in three passes, so that the misses of a batch overlap. What
/// it says may be outdated, which costs time, not truth.
#[derive(Clone, Copy)]
pub struct Ahead<'b> {
    engines: &'b Engines,
    batch: &'b Batch<'b>,
}

/// A bucket that was asked for.
#[derive(Clone, Copy)]
pub struct Spot<'b> {
    bucket: &'b bucket::Bucket,
    tag: u8,
}

impl<'b> Ahead<'b> {
    /// All passes over any number of keys.
    pub fn keys(self, hashes: impl Iterator<Item = KeyHash> + Clone) {
        hashes.clone().for_each(|hash| self.shard(hash));
        for hash in hashes.clone() {
            self.bucket(hash);
        }
        hashes.filter_map(|hash| self.bucket(hash)).for_each(|spot| self.entry(spot));
    }

    /// First pass: asks for the shard's header.
    #[inline(always)]
    pub fn shard(self, hash: KeyHash) {
        bucket::prefetch(self.engines.active.shard(hash));
        if let Some(growing) = &self.engines.growing {
            bucket::prefetch(growing.shard(hash));
        }
    }

    /// Second pass: asks for the bucket, once the header is there.
    #[inline(always)]
    pub fn bucket(self, hash: KeyHash) -> Option<Spot<'b>> {
        let bucket = bucket_hint(self.engines, hash, |word| peek(word, self.batch))?;
        bucket::prefetch(bucket);
        Some(Spot { bucket, tag: hash.tag() })
    }

    /// Third pass: asks for the entry, once the bucket is there.
    #[inline(always)]
    pub fn entry(self, spot: Spot<'b>) {
        let slots = spot.bucket.matching(spot.tag);
        if slots != 0 {
            let raw = spot.bucket.raw(slots.trailing_zeros() as usize);
            let address = self.batch.keyspace.segments.address_hint(raw);
            bucket::prefetch(address);
            bucket::prefetch(address.wrapping_add(64));
        }
    }
}

/// Proof of being inside a batch: what is found stays in memory until it ends.
pub struct Batch<'p> {
    pin: Pin<'p>,
    keyspace: &'p Keyspace,
    slot: &'p Slot,
    raised: Option<Raised<'p>>,
}

impl Drop for Batch<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.raised.is_none() {
            self.keyspace.gate.leave(self.slot);
        }
    }
}

impl<'p> Batch<'p> {
    /// Whether nobody else is in a batch.
    pub fn is_exclusive(&self) -> bool {
        self.raised.is_some()
    }

    /// The keyspace.
    pub fn keyspace(&self) -> &'p Keyspace {
        self.keyspace
    }

    /// The hash of a key.
    #[inline]
    pub fn hash_key(&self, key: &[u8]) -> KeyHash {
        self.keyspace.hasher.hash(key)
    }

    pub(super) fn hasher(&self) -> &'p Hasher {
        &self.keyspace.hasher
    }

    pub(super) fn pin(&self) -> &Pin<'p> {
        &self.pin
    }

    /// A block was replaced. The helper is woken when some have come together: nothing else may wake it for long.
    pub(super) fn retire_block(&self, block: Block) {
        self.pin.retire(Garbage::Block(block));
        if self.keyspace.reclaim.trash.pending().is_multiple_of(BLOCKS_TOGETHER) {
            self.keyspace.work.wake();
        }
    }

    pub(super) fn grow_mark(&self) -> usize {
        self.keyspace.load.grow_mark.load(Relaxed)
    }

    pub(super) fn shrink_mark(&self) -> usize {
        self.keyspace.load.shrink_mark.load(Relaxed)
    }

    pub(super) fn owe_unit(&self) {
        self.keyspace.work.owe_unit();
    }

    /// A place of this arena died.
    #[inline]
    pub(super) fn released(&self, arena: &Arena) {
        if arena.wants_compaction(compact::PERCENT_STILL, compact::SLACK_STILL) {
            self.keyspace.work.request_compaction();
        }
    }

    #[inline(always)]
    pub(super) fn engines(&self, db: DbId) -> Option<&Engines> {
        self.keyspace.dbs[usize::from(db)].load(&self.pin)
    }

    #[cold]
    #[inline(never)]
    fn first_engine(&self, db: DbId) {
        let ks = self.keyspace;
        let space = Space::new(Arc::clone(&ks.segments), Arc::clone(&ks.journal), Arc::clone(&ks.work));
        let engine = Arc::new(Engine::new(0, 1, LIVE));
        // Somebody else may have been faster; then ours was never seen.
        drop(self.keyspace.dbs[usize::from(db)].fill(Engines::steady(space, engine)));
    }

    /// For asking for the memory of keys before they are locked; None for an empty database.
    #[inline]
    pub fn ahead(&self, db: DbId) -> Option<Ahead<'_>> {
        Some(Ahead { engines: self.engines(db)?, batch: self })
    }

    /// Locks the shard where the hash lives now.
    #[inline(always)]
    pub fn lock(&self, db: DbId, hash: KeyHash) -> ShardGuard<'_> {
        if let Some(engines) = self.engines(db) {
            let (engine, shard) = engines.choose(hash);
            let locked = Locked::new(shard, &engines.space);
            if locked.state() == LIVE {
                return ShardGuard::new(locked, engine, engines, self);
            }
        }
        self.lock_slow(db, hash)
    }

    /// The shard was moved between the look and the lock, or the database has no engine yet.
    #[cold]
    #[inline(never)]
    fn lock_slow(&self, db: DbId, hash: KeyHash) -> ShardGuard<'_> {
        loop {
            let Some(engines) = self.engines(db) else {
                self.first_engine(db);
                continue;
            };
            let (engine, shard) = engines.choose(hash);
            let locked = Locked::new(shard, &engines.space);
            if locked.state() == LIVE {
                return ShardGuard::new(locked, engine, engines, self);
            }
            drop(locked);
            std::hint::spin_loop();
        }
    }

    /// Locks the shards of all these keys, each once, in one global order. What `set` held
    /// before is released first. Nothing else may be locked by this batch.
    pub fn lock_many<'s>(&'s self, keys: &[(DbId, KeyHash)], set: &mut LockSet<'s>) {
        set.fill(self, keys);
    }

    /// Keys of a database, those past their deadline and not removed yet included.
    pub fn len(&self, db: DbId) -> usize {
        self.engines(db).map_or(0, |e| e.space.keys())
    }

    /// Whether a database has no keys.
    pub fn is_empty(&self, db: DbId) -> bool {
        self.len(db) == 0
    }

    /// Keys with a deadline.
    pub fn expires(&self, db: DbId) -> usize {
        self.engines(db).map_or(0, |e| e.space.expires())
    }

    /// What the engines of a database are and have done; all zero for one never used.
    pub fn stats(&self, db: DbId) -> EngineStats {
        self.engines(db).map_or_else(EngineStats::default, Engines::stats)
    }

    /// How the keys of a database are spread over its shards, engine by engine, the one that keys move to last.
    pub fn fills(&self, db: DbId) -> Option<(Fills, Option<Fills>)> {
        self.engines(db).map(Engines::fills)
    }

    /// The engines of a database as at most `max` (rounded up to a power of two) cells each, in the order of hashes.
    /// Costs some thousand loads, however many keys there are.
    pub fn cells(&self, db: DbId, max: usize) -> Option<(Vec<Cell>, Option<Vec<Cell>>)> {
        self.engines(db).map(|engines| engines.cells(max))
    }

    /// What the keyspace takes, values out of line apart.
    pub fn memory(&self) -> Memory {
        let ks = self.keyspace;
        let mut memory = Memory {
            segments: ks.segments.taken_bytes(),
            spare: ks.segments.dirty_bytes(),
            waiting_to_be_freed: ks.reclaim.trash.bytes(),
            ..Memory::default()
        };
        for db in 0..ks.databases() {
            let stats = self.stats(db);
            memory.tables += stats.bytes_tables;
            memory.dead += stats.bytes_dead;
        }
        memory
    }

    /// Before a command that adds many keys at once: sees to it that the table is large enough.
    /// Moves the keys of a small table at once; nothing may be locked by this batch.
    pub fn prepare(&self, db: DbId, additional: usize) {
        if additional <= SHARD_SLOTS {
            return;
        }
        if self.engines(db).is_none() {
            self.first_engine(db);
        }
        migrate::prepare(self, db, additional);
    }

    /// Empties a database by exchanging pointers; the helper thread frees what was in it.
    /// Gives the number of keys that went.
    ///
    /// # Panics
    /// Unless the batch is exclusive.
    pub fn flush(&self, db: DbId) -> usize {
        assert!(self.is_exclusive(), "invariant: flushing wants the gate");
        let keys = self.len(db);
        if self.engines(db).is_some() {
            let out_of_line = super::sizes::out_of_line(self, db);
            self.keyspace.dbs[usize::from(db)].replace(None, out_of_line, &self.pin);
            self.keyspace.work.wake();
        }
        keys
    }

    /// Exchanges two databases.
    ///
    /// # Panics
    /// Unless the batch is exclusive.
    pub fn swap(&self, a: DbId, b: DbId) {
        assert!(self.is_exclusive(), "invariant: swapping wants the gate");
        if a != b {
            self.keyspace.dbs[usize::from(a)].swap(&self.keyspace.dbs[usize::from(b)]);
        }
    }

    /// Visits at least `count` keys, whole buckets at a time, from the cursor on, and gives the
    /// next cursor. 0 begins and ends. A key that is there from the beginning to the end is
    /// visited exactly once, whatever resizes happen. `f` is called under the shard's lock.
    pub fn scan(&self, db: DbId, cursor: u64, count: usize, f: &mut dyn FnMut(EntryRef<'_>)) -> u64 {
        scan::scan(self, db, cursor, count, f)
    }

    /// How large the values of a database are: of all keys if there are at most `most`, else estimated from about as many,
    /// which other `shift`s choose differently.
    pub fn sizes(&self, db: DbId, most: usize, shift: u64) -> Sizes {
        Sizes::of(self, db, most, shift)
    }

    /// Visits the keys of all buckets that begin within `span` hashes from `from` on (around the end of
    /// hash space), in hash order. `f` is called under the shard's lock and gives access bits to store,
    /// if others. An almost empty table is left off part of the way.
    pub fn visit(&self, db: DbId, from: u64, span: u64, f: &mut dyn FnMut(EntryRef<'_>) -> Option<u16>) {
        scan::visit(self, db, from, span, f);
    }

    /// Bytes of living entries, their values out of line apart.
    pub fn live_bytes(&self) -> usize {
        (0..self.keyspace.databases()).filter_map(|db| self.engines(db)).map(|e| e.space.live_bytes()).sum()
    }

    /// Bytes of dead entries whose places are neither filled nor given back yet.
    pub fn dead_bytes(&self) -> usize {
        (0..self.keyspace.databases()).filter_map(|db| self.engines(db)).map(|e| e.space.dead_bytes()).sum()
    }

    /// A collection came out of line.
    pub(super) fn loosened(&self) {
        self.keyspace.work.loosened();
    }

    /// The arenas of all databases in use.
    pub(super) fn arenas(&self) -> impl Iterator<Item = (DbId, &Arena)> {
        let used = (0..self.keyspace.databases()).filter_map(|db| Some((db, self.engines(db)?)));
        used.flat_map(|(db, engines)| engines.space.arenas.iter().map(move |arena| (db, &**arena)))
    }

    /// One key at random; false if there is none. Call again with another `rnd` for another key.
    /// `f` is called under the shard's lock.
    pub fn random(&self, db: DbId, rnd: u64, f: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        scan::random(self, db, rnd, f)
    }
}
