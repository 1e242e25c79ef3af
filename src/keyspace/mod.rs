//! The keyspace: databases of keys in dual-engine hash tables with packed entries.
//!
//! First landing: the interface only; the bodies follow at once.
#![allow(unused_variables, missing_docs)]

use crate::values::{Kind, Value};
use std::marker::PhantomData;
use std::sync::Arc;

/// Number of a database.
pub type DbId = u16;

/// Keyed 64-bit hash of a whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The 40 bits that name this hash in the expiry wheel.
    pub fn hash40(self) -> u64 {
        (self.0 >> 32) << 8 | (self.0 & 0xff)
    }
    /// A hash that finds the same shard, bucket and tag as the hash behind these 40 bits.
    pub fn from_hash40(bits: u64) -> Self {
        KeyHash((bits >> 8) << 32 | (bits & 0xff))
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub databases: u16,
    pub reserve_bytes: usize,
    pub grow_percent: u8,
    pub shrink_percent: u8,
    pub seed: Option<[u64; 4]>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            databases: 16,
            reserve_bytes: 32 << 30,
            grow_percent: 85,
            shrink_percent: 20,
            seed: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot reserve address space for keys: {0}")]
    Reserve(std::io::Error),
}

/// The reserved mapping (or the memory behind it) is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of space for keys")]
pub struct OutOfSpace;

/// Longest value that is packed beside its key; longer ones live in an allocation of their own.
pub const PACKED_VALUE_MAX: usize = 1024;

pub struct Keyspace {
    options: Options,
}

impl Keyspace {
    pub fn new(options: Options) -> Result<Arc<Keyspace>, Error> {
        todo!()
    }
    pub fn hash_key(&self, key: &[u8]) -> KeyHash {
        todo!()
    }
    pub fn databases(&self) -> u16 {
        self.options.databases
    }
    /// For a worker.
    pub fn register(self: &Arc<Self>) -> Participant {
        todo!()
    }
    /// For the helper thread: its `maintain` also frees retired memory and calls madvise.
    pub fn register_helper(self: &Arc<Self>) -> Participant {
        todo!()
    }
    /// One relaxed load: whether a worker should call `maintain` between batches.
    #[inline]
    pub fn needs_help(&self) -> bool {
        todo!()
    }
    /// The helper thread sleeps here until there is something to maintain or `timeout_ms` passed
    /// (None: no limit). True if there is work.
    pub fn wait_for_work(&self, timeout_ms: Option<u64>) -> bool {
        todo!()
    }
    /// Wakes `wait_for_work` (for shutdown).
    pub fn wake_helper(&self) {
        todo!()
    }
    /// One bounded slice of migration, compaction and (helper only) freeing. True: more to do.
    pub fn maintain(
        &self,
        who: &mut Participant,
        budget_us: u64,
        now_ms: u64,
        purge: &mut dyn Purge,
    ) -> bool {
        todo!()
    }
    /// For tests and DEBUG: starts one resize (true: x2, false: /2); false if one is running or it cannot be done.
    pub fn force_resize(&self, who: &mut Participant, db: DbId, up: bool) -> bool {
        todo!()
    }
    /// MEMORY PURGE: compacts as far as it goes and gives free segments back. For the helper thread.
    pub fn purge(&self, who: &mut Participant, now_ms: u64, purge: &mut dyn Purge) {
        todo!()
    }
    /// Hands a value to the helper thread, which drops it.
    pub fn discard(&self, value: Box<Value>) {
        todo!()
    }
    pub fn memory(&self) -> Memory {
        todo!()
    }
}

/// Memory of the whole keyspace, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub segments: usize,
    pub tables: usize,
    pub dead: usize,
    pub waiting_to_be_freed: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Steady,
    Growing,
    Shrinking,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct EngineStats {
    pub generation: u64,
    pub shards: usize,
    pub load_percent: f64,
    pub keys: usize,
    pub expires: usize,
    pub keys_moved: u64,
    pub keys_purged: u64,
    pub state: State,
    pub migrations_done: u64,
    pub last_migration_ms: u64,
    pub contended_locks: u64,
    pub bytes_segments: usize,
    pub bytes_tables: usize,
    pub bytes_dead: usize,
}

/// What migration does with keys past their deadline.
pub trait Purge {
    /// Whether migration may drop such keys at all.
    fn enabled(&self) -> bool;
    /// Called under the shard's lock just before the key goes. It must not lock.
    fn expired(&mut self, db: DbId, entry: EntryRef<'_>);
}

/// One worker's or helper's place in the keyspace.
pub struct Participant {
    _private: PhantomData<*const ()>,
}

impl Participant {
    /// Begins a batch; waits while the gate is raised.
    pub fn enter(&mut self) -> Batch<'_> {
        todo!()
    }
    /// Raises the gate: waits until everybody else is between batches.
    pub fn enter_exclusive(&mut self) -> Batch<'_> {
        todo!()
    }
}

/// Proof of being inside a batch.
pub struct Batch<'p> {
    _private: PhantomData<&'p mut Participant>,
}

impl<'p> Batch<'p> {
    pub fn is_exclusive(&self) -> bool {
        todo!()
    }
    pub fn hash_key(&self, key: &[u8]) -> KeyHash {
        todo!()
    }
    #[inline]
    pub fn prefetch_shard(&self, db: DbId, hash: KeyHash) {
        todo!()
    }
    #[inline]
    pub fn prefetch_bucket(&self, db: DbId, hash: KeyHash) {
        todo!()
    }
    #[inline]
    pub fn prefetch_entry(&self, db: DbId, hash: KeyHash) {
        todo!()
    }
    #[inline]
    pub fn lock(&self, db: DbId, hash: KeyHash) -> ShardGuard<'_> {
        todo!()
    }
    /// Locks all shards of these keys, each once, in one global order. `set` is emptied first.
    pub fn lock_many<'s>(&'s self, keys: &[(DbId, KeyHash)], set: &mut LockSet<'s>) {
        todo!()
    }
    pub fn len(&self, db: DbId) -> usize {
        todo!()
    }
    pub fn is_empty(&self, db: DbId) -> bool {
        self.len(db) == 0
    }
    /// Keys with a deadline.
    pub fn expires(&self, db: DbId) -> usize {
        todo!()
    }
    pub fn stats(&self, db: DbId) -> EngineStats {
        todo!()
    }
    /// Before a command that adds many keys at once: makes the table large enough beforehand. Not under a lock.
    pub fn prepare(&self, db: DbId, additional: usize) {
        todo!()
    }
    /// Empties a database by exchanging pointers; the helper frees. Panics unless exclusive.
    pub fn flush(&self, db: DbId) -> usize {
        todo!()
    }
    /// SWAPDB. Panics unless exclusive.
    pub fn swap(&self, a: DbId, b: DbId) {
        todo!()
    }
    /// Visits at least `count` keys (whole buckets) from the cursor on, gives the next cursor; 0 begins and ends.
    pub fn scan(&self, db: DbId, cursor: u64, count: usize, f: &mut dyn FnMut(EntryRef<'_>)) -> u64 {
        todo!()
    }
    /// One key at random; false if there is none. Call again with another `rnd` for another.
    pub fn random(&self, db: DbId, rnd: u64, f: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        todo!()
    }
}

/// What an entry is to hold.
pub enum Content<'a> {
    /// A string; packed if it is short, else a `Value::Str`.
    Bytes(&'a [u8]),
    /// An out-of-line value (a `Value::Str` stays out of line whatever its length).
    Value(Value),
}

/// What `ShardGuard::take` gives back.
#[derive(Debug)]
pub enum Taken {
    Bytes(Vec<u8>),
    Value(Box<Value>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Unix milliseconds; at most 2^48 - 1 (later ones are clamped).
    pub deadline: Option<u64>,
    /// Tick at which the wheel has this key armed; kept only together with a deadline.
    pub armed: u32,
    /// LRU/LFU bits.
    pub access: u16,
    /// The string answers OBJECT ENCODING raw.
    pub raw: bool,
}

/// Place of a key inside its locked shard; good until that key is inserted, replaced or removed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pos {
    bucket: u16,
    slot: u16,
    reference: u32,
}

/// Exclusive lock on one shard.
pub struct ShardGuard<'b> {
    _private: PhantomData<&'b mut ()>,
}

impl<'b> ShardGuard<'b> {
    pub fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Pos> {
        todo!()
    }
    pub fn entry(&self, pos: Pos) -> EntryRef<'_> {
        todo!()
    }
    /// Out-of-line values only.
    pub fn value_mut(&mut self, pos: Pos) -> Option<&mut Value> {
        todo!()
    }
    /// Packed strings only; same length.
    pub fn bytes_mut(&mut self, pos: Pos) -> Option<&mut [u8]> {
        todo!()
    }
    /// Calls `f` for each key with a deadline whose hash has these 40 bits, until it answers true.
    pub fn for_each_candidate(&self, hash40: u64, f: &mut dyn FnMut(Pos, EntryRef<'_>) -> bool) -> bool {
        todo!()
    }
    /// The key must not be there yet.
    pub fn insert(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        content: Content<'_>,
        meta: Meta,
    ) -> Result<Pos, OutOfSpace> {
        todo!()
    }
    /// New content and meta for a key that is there. Gives the old out-of-line value, if any, to be dropped off the worker.
    pub fn replace(
        &mut self,
        pos: Pos,
        hash: KeyHash,
        content: Content<'_>,
        meta: Meta,
    ) -> Result<(Pos, Option<Box<Value>>), OutOfSpace> {
        todo!()
    }
    pub fn set_meta(&mut self, pos: Pos, meta: Meta) -> Result<Pos, OutOfSpace> {
        todo!()
    }
    /// Stores only if it differs.
    pub fn set_access(&mut self, pos: Pos, access: u16) {
        todo!()
    }
    /// Removes the key; gives its out-of-line value, to be dropped off the worker.
    pub fn remove(&mut self, pos: Pos) -> Option<Box<Value>> {
        todo!()
    }
    /// Removes the key and gives what it held.
    pub fn take(&mut self, pos: Pos) -> (Taken, Meta) {
        todo!()
    }
}

/// The guards of several keys.
#[derive(Default)]
pub struct LockSet<'b> {
    _private: PhantomData<&'b mut ()>,
}

impl<'b> LockSet<'b> {
    pub fn new() -> Self {
        todo!()
    }
    /// The guard of the i-th key that was given to `lock_many` (keys may share one).
    pub fn guard(&mut self, i: usize) -> &mut ShardGuard<'b> {
        todo!()
    }
    pub fn guard_ref(&self, i: usize) -> &ShardGuard<'b> {
        todo!()
    }
    /// Releases all locks.
    pub fn clear(&mut self) {
        todo!()
    }
}

/// A key and what it holds, seen under its shard's lock.
#[derive(Clone, Copy)]
pub struct EntryRef<'g> {
    _private: PhantomData<&'g ()>,
}

impl<'g> EntryRef<'g> {
    pub fn key(&self) -> &'g [u8] {
        todo!()
    }
    pub fn kind(&self) -> Kind {
        todo!()
    }
    pub fn is_packed(&self) -> bool {
        todo!()
    }
    /// The bytes of a packed string.
    pub fn bytes(&self) -> Option<&'g [u8]> {
        todo!()
    }
    /// The out-of-line value.
    pub fn value(&self) -> Option<&'g Value> {
        todo!()
    }
    pub fn deadline(&self) -> Option<u64> {
        todo!()
    }
    pub fn armed(&self) -> u32 {
        todo!()
    }
    pub fn access(&self) -> u16 {
        todo!()
    }
    pub fn raw_encoding(&self) -> bool {
        todo!()
    }
    pub fn meta(&self) -> Meta {
        todo!()
    }
    /// Bytes in the segment.
    pub fn packed_bytes(&self) -> usize {
        todo!()
    }
}
