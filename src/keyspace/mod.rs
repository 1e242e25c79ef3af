//! The keyspace: databases of keys, each in one hash table or, while that is resized, in two.
//!
//! ```text
//! hash      keyed hash: shard, bucket and tag of a key
//! batch     participants and their batches: the way in       gate   the exclusive side
//! locks     several keys at once
//! header    a shard's 16 bytes, the byte lock        shard  the guard: find, insert, replace, remove
//! bucket    12 tags and 32-bit references in a cache line     entry  a key and its value, packed
//! segment   the mapping behind entries          arena    places in its segments, free stacks
//! engines   the tables of a database          migrate  from one into the other
//! compact   segments with holes are emptied   unrest   how fast an arena changes
//! scan     walking in hash order, random keys
//! contention  waits for locks as a part of the load
//! reclaim   epochs and the trash              work     what the helper thread is woken for
//! walk      something is done to each entry of all databases
//! renew     what stands out of line is moved together      pack   small collections come into their entries
//! journal   what was moved, and how long it took
//! figures   what is known of a database       sizes    how large its values are
//! ```
//!
//! A worker begins a [`Batch`], hashes and prefetches the keys of its requests, locks shards and
//! uses keys through [`ShardGuard`]s. It never waits for anything else inside a batch. Between
//! batches it calls [`Keyspace::maintain`] if [`Keyspace::needs_help`]; the helper thread loops
//! over `maintain` and [`Keyspace::wait_for_work`].
//!
//! Absent here on purpose: what a command means, whether a key is expired for its reader (only
//! migration drops what is past its deadline, and says so), RESP, sockets, settings, clocks other than
//! to measure slices and to date migrations.

mod arena;
mod batch;
mod bucket;
mod compact;
mod contention;
mod engines;
mod entry;
mod figures;
mod gate;
mod hash;
mod header;
mod journal;
mod locks;
mod migrate;
mod pack;
mod reclaim;
mod renew;
mod scan;
mod segment;
mod shard;
mod sizes;
mod sync;
mod unrest;
mod walk;
mod work;

#[cfg(test)]
mod tests;

pub use batch::{Ahead, Batch, Participant, Spot};
pub use entry::{EntryRef, Held, InPlace};
pub use figures::{Cell, EngineStats, FILL_CLASSES, Fills, KEYS_PER_SHARD, Memory, SegmentBytes, State};
pub use hash::KeyHash;
pub use journal::{Reason, Step, Totals};
pub use locks::{LentSet, LockSet};
pub use pack::{Loose, PackWalk};
pub use shard::{Lent, Pos, ShardGuard};
pub use sizes::Sizes;
pub use walk::Walk;

use crate::memory::Renewal;
use crate::values::Value;
use compact::{Haste, Outcome};
use engines::Engines;
use reclaim::{Garbage, Protected, Reclaim};
use segment::Segments;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Number of a database.
pub type DbId = u16;

/// How a keyspace is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of databases.
    pub databases: u16,
    /// Address space for entries; a smaller part if the system refuses. 32 GiB at most.
    pub reserve_bytes: usize,
    /// Fill from which on a table is doubled.
    pub grow_percent: u8,
    /// Fill below which it is halved.
    pub shrink_percent: u8,
    /// Threads that run commands: what they wait for each other counts as load, and bounds what it may ask for.
    pub workers: u16,
    /// Seed of the hash; random if absent.
    pub seed: Option<[u64; 4]>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            databases: 16,
            reserve_bytes: 32 << 30,
            grow_percent: 85,
            shrink_percent: 20,
            workers: 1,
            seed: None,
        }
    }
}

/// Why there is no keyspace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No address space.
    #[error("cannot reserve address space for keys: {0}")]
    Reserve(#[from] std::io::Error),
}

/// The reserved mapping is full (or a single shard, which only a flood of new keys within one
/// command can do). Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of space for keys")]
pub struct OutOfSpace;

/// Longest value that is packed beside its key; longer ones live in an allocation of their own.
pub const PACKED_VALUE_MAX: usize = entry::VALUE_PACKED_MAX;

/// What an entry is to hold.
pub enum Content<'a> {
    /// A string; packed if it is short, else a `Value::Str`.
    Bytes(&'a [u8]),
    /// A value that stands out of line (also a `Value::Str`, whatever its length).
    Value(Value),
}

/// What `ShardGuard::take` gives back.
#[derive(Debug)]
pub enum Taken {
    /// A packed string.
    Bytes(Vec<u8>),
    /// An out-of-line value.
    Value(Value),
}

impl Taken {
    /// The same as the content of another key.
    pub fn into_content(self, bytes: &mut Vec<u8>) -> Content<'_> {
        match self {
            Taken::Bytes(taken) => {
                *bytes = taken;
                Content::Bytes(bytes)
            }
            Taken::Value(value) => Content::Value(value),
        }
    }
}

/// What a key has beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Unix milliseconds; clamped to 2^48 - 1.
    pub deadline: Option<u64>,
    /// Tick at which the wheel has this key armed; kept only together with a deadline.
    pub armed: u32,
    /// LRU/LFU bits.
    pub access: u16,
    /// A string: it answers OBJECT ENCODING raw. Of anything else the entry's own (entry.rs).
    pub mark: bool,
}

/// What migration does with keys past their deadline.
pub trait Purge {
    /// Whether migration may drop such keys at all.
    fn enabled(&self) -> bool;
    /// Called under the shard's lock just before the key goes. It must not lock, and not panic.
    fn expired(&mut self, db: DbId, entry: EntryRef<'_>);
    /// Called after each critical section of a migration, with what it took; nothing is locked.
    fn slice(&mut self, _took_ns: u64) {}
}

/// Migration that leaves keys past their deadline to the timers.
pub struct KeepAll;

impl Purge for KeepAll {
    fn enabled(&self) -> bool {
        false
    }
    fn expired(&mut self, _: DbId, _: EntryRef<'_>) {}
}

/// All databases, shared by all workers.
pub struct Keyspace {
    // First, so that it goes first: databases put what they own into the others.
    dbs: Box<[Protected<Engines>]>,
    segments: Arc<Segments>,
    hasher: hash::Hasher,
    gate: gate::Gate,
    reclaim: Reclaim,
    work: Arc<work::Work>,
    load: Load,
    /// Bits of the largest table that contention may ask for.
    highest: u8,
    journal: Arc<journal::Journal>,
    databases: DbId,
}

/// How full the tables may be; changed while everybody works.
struct Load {
    grow_percent: AtomicUsize,
    shrink_percent: AtomicUsize,
    /// Keys of a shard at which the load is looked at.
    grow_mark: AtomicUsize,
    shrink_mark: AtomicUsize,
}

impl Load {
    fn new(grow_percent: u8, shrink_percent: u8) -> Self {
        let [grow, shrink] = [grow_percent, shrink_percent].map(usize::from);
        let mark = |percent: usize| AtomicUsize::new(bucket::SHARD_SLOTS * percent / 100);
        Load {
            grow_percent: AtomicUsize::new(grow),
            shrink_percent: AtomicUsize::new(shrink),
            grow_mark: mark(grow),
            shrink_mark: mark(shrink),
        }
    }

    fn change(&self, to: &Load) {
        let change = |from: &AtomicUsize, to: &AtomicUsize| from.store(to.load(Relaxed), Relaxed);
        change(&self.grow_percent, &to.grow_percent);
        change(&self.shrink_percent, &to.shrink_percent);
        change(&self.grow_mark, &to.grow_mark);
        change(&self.shrink_mark, &to.shrink_mark);
    }
}

/// Trash items freed in one step, and segments given back in one.
const TRASH_STEP: usize = 64;
const DISCARD_STEP: usize = 32;
/// How long the helper waits for quiet before it tidies up, and for batches to end that may
/// still look at what was retired.
const QUIET: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_millis(2);
/// Time between two looks at a table that is larger than its keys need, because workers waited for each other.
const WATCH: Duration = Duration::from_millis(contention::WINDOW_MS);

impl Keyspace {
    /// An empty keyspace.
    pub fn new(options: Options) -> Result<Arc<Keyspace>, Error> {
        Ok(Arc::new(Keyspace {
            dbs: (0..options.databases).map(|_| Protected::default()).collect(),
            segments: Arc::new(Segments::reserve(options.reserve_bytes)?),
            hasher: hash::Hasher::new(options.seed),
            gate: gate::Gate::default(),
            reclaim: Reclaim::new(),
            work: Arc::default(),
            highest: contention::highest(options.workers),
            load: Load::new(options.grow_percent, options.shrink_percent),
            journal: Arc::default(),
            databases: options.databases,
        }))
    }

    /// The hash of a key.
    #[inline]
    pub fn hash_key(&self, key: &[u8]) -> KeyHash {
        self.hasher.hash(key)
    }

    /// Number of databases.
    pub fn databases(&self) -> DbId {
        self.databases
    }

    fn percents(&self) -> (usize, usize) {
        (self.load.grow_percent.load(Relaxed), self.load.shrink_percent.load(Relaxed))
    }

    /// Changes the fill at which tables grow and shrink, and has every database looked at.
    pub fn set_load_limits(&self, batch: &Batch<'_>, grow_percent: u8, shrink_percent: u8) {
        self.load.change(&Load::new(grow_percent, shrink_percent));
        for db in 0..self.databases {
            if let Some(engines) = batch.engines(db) {
                engines.space.check.store(true, Relaxed);
            }
        }
        self.work.request_check();
    }

    /// Sums since the start: a few loads, no lock, from any thread.
    pub fn totals(&self) -> Totals {
        self.journal.totals(self.segments.given_back_bytes())
    }

    /// The last migrations that ended, newest first.
    pub fn history(&self, count: usize) -> Vec<Step> {
        self.journal.history(count)
    }

    /// Databases in which keys are being moved.
    pub fn migrations_running(&self) -> usize {
        self.work.migrating.load(Relaxed)
    }

    /// Whether keys are being moved between engines.
    pub fn is_migrating(&self) -> bool {
        self.work.migrating.load(Relaxed) != 0
    }

    /// Whether the helper thread has keys to move, between engines or out of segments with holes.
    pub fn has_to_move(&self) -> bool {
        self.is_migrating() || self.work.compacts()
    }

    /// Whether it should not rest: workers move keys themselves meanwhile, or memory is short, or most of an arena is dead.
    pub fn is_behind(&self, who: &mut Participant) -> bool {
        self.needs_help()
            || self.haste(false, crate::clock::mono_ms()) == Haste::Short
            || compact::is_behind(&who.enter())
    }

    fn replace_engines(&self, batch: &Batch<'_>, db: DbId, new: Box<Engines>) {
        self.dbs[usize::from(db)].replace(Some(new), 0, batch.pin());
    }

    /// A place for a worker.
    pub fn register(self: &Arc<Self>) -> Participant {
        Participant::new(self, false)
    }

    /// A place for the helper thread: its `maintain` also compacts, frees, and gives pages back.
    pub fn register_helper(self: &Arc<Self>) -> Participant {
        Participant::new(self, true)
    }

    /// Whether a worker should call `maintain` between batches: one relaxed load.
    #[inline]
    pub fn needs_help(&self) -> bool {
        self.work.is_for_workers()
    }

    /// The helper thread sleeps here until there may be something to maintain, or the limit
    /// has passed. An idle process is not woken by anything else.
    pub fn wait_for_work(&self, limit: Option<Duration>) {
        let looks_in = self.work.until_compaction(crate::clock::mono_ms());
        if self.work.is_for_helper() {
            return;
        }
        let at_most = |d: Duration| {
            [limit, looks_in].into_iter().flatten().min().map_or(Some(d), |other| Some(other.min(d)))
        };
        if !self.reclaim.trash.is_empty() || self.segments.wants_discard(false) {
            self.work.sleep(at_most(RETRY));
        } else if looks_in.is_some() || self.segments.wants_discard(true) {
            // Who wants to be woken earlier has something else to do: that is no quiet.
            let quiet = limit.is_none_or(|l| l >= QUIET);
            if !self.work.sleep(at_most(QUIET)) && quiet {
                self.work.settle(true);
            }
        } else if self.work.is_watching() {
            if !self.work.sleep(at_most(WATCH)) {
                self.work.request_check();
            }
        } else {
            self.work.sleep(limit);
        }
    }

    /// Wakes `wait_for_work`.
    pub fn wake_helper(&self) {
        self.work.wake();
    }

    /// A slice of what is to be done beside requests, outside of any batch. True: there is more.
    pub fn maintain(
        &self,
        who: &mut Participant,
        budget_us: u64,
        now_ms: u64,
        purge: &mut dyn Purge,
    ) -> bool {
        let end = crate::clock::mono_ns().saturating_add(budget_us.saturating_mul(1000));
        while self.step(who, now_ms, purge) {
            if crate::clock::mono_ns() >= end {
                return true;
            }
        }
        false
    }

    /// One small step; false if there was nothing to do.
    fn step(&self, who: &mut Participant, now_ms: u64, purge: &mut dyn Purge) -> bool {
        let helper = who.is_helper();
        {
            let batch = who.enter();
            if self.work.take_check(helper) {
                migrate::check(&batch, helper, now_ms);
            }
            let wanted = if helper { self.work.migrating.load(Relaxed) != 0 } else { self.work.owed() != 0 };
            if wanted {
                if migrate::step(&batch, helper, now_ms, purge) {
                    return true;
                }
                if !helper {
                    // Others move the last units.
                    self.work.forgive();
                }
            }
        }
        helper && self.tidy(who)
    }

    /// What only the helper thread does.
    fn tidy(&self, who: &mut Participant) -> bool {
        let settling = self.work.is_settling();
        let asked = self.work.take_compaction();
        {
            let batch = who.enter();
            if asked || settling {
                let now_ms = crate::clock::mono_ms();
                let mut outcome = compact::step(&batch, self.haste(settling, now_ms), now_ms);
                if outcome == Outcome::Worked && asked {
                    self.work.go_on_compacting();
                }
                if outcome == Outcome::Nothing && settling {
                    outcome = compact::tidy_up(&batch, false, now_ms);
                }
                match outcome {
                    Outcome::Worked => return true,
                    Outcome::Waits => self.work.compact_later(now_ms + compact::SEARCH_MS),
                    Outcome::Nothing if settling => self.work.compact_no_more(),
                    Outcome::Nothing => {}
                }
            }
            self.work.settle(false);
            if !self.reclaim.trash.is_empty() {
                batch.pin().collect();
            }
        }
        self.reclaim.trash.empty(TRASH_STEP)
            || self.segments.wants_discard(settling) && self.segments.discard(DISCARD_STEP, settling) > 0
    }

    fn haste(&self, settling: bool, now_ms: u64) -> Haste {
        if self.work.is_memory_short(now_ms) || self.segments.is_nearly_full() {
            Haste::Short
        } else if settling {
            Haste::Idle
        } else {
            Haste::None
        }
    }

    /// Memory is short: for a while holes are compacted at once, also where they may be filled or grow soon.
    pub fn memory_is_short(&self) {
        self.work.memory_is_short(crate::clock::mono_ms());
    }

    /// Goes on with a walk over what stands out of line, for about so long; false when it is at its end. Not while keys
    /// are being moved anyway: then it waits.
    pub fn renew(
        &self,
        who: &mut Participant,
        walk: &mut Walk,
        renewal: &mut Renewal,
        budget_us: u64,
    ) -> bool {
        let end = crate::clock::mono_ns().saturating_add(budget_us.saturating_mul(1000));
        while !self.is_migrating() && crate::clock::mono_ns() < end {
            if !renew::step(&who.enter(), walk, renewal) {
                return false;
            }
        }
        true
    }

    /// Goes on with a walk that packs small collections which are left alone, for about so long; false when it is at its
    /// end. Not while keys are being moved anyway: then it waits.
    pub fn pack(&self, who: &mut Participant, walk: &mut PackWalk, budget_us: u64) -> bool {
        let end = crate::clock::mono_ns().saturating_add(budget_us.saturating_mul(1000));
        while !self.is_migrating() && crate::clock::mono_ns() < end {
            if !pack::step(&who.enter(), walk) {
                return false;
            }
        }
        true
    }

    /// How many collections stand out of line.
    pub fn loose(&self, who: &mut Participant) -> Loose {
        who.enter().arenas().fold(Loose::default(), |sum, (_, arena)| Loose {
            keys: sum.keys + arena.keys(),
            collections: sum.collections + arena.loose(),
        })
    }

    /// Whether a collection came out of line since this was asked last; the first that does wakes the helper thread.
    pub fn take_loosened(&self) -> bool {
        self.work.take_loosened()
    }

    /// MEMORY PURGE: compacts as far as that goes, frees what waits, gives all pages back. For
    /// the helper thread; it takes as long as it takes.
    pub fn purge(&self, who: &mut Participant, now_ms: u64, purge: &mut dyn Purge) {
        while self.maintain(who, 10_000, now_ms, purge) {}
        let now = crate::clock::mono_ms();
        loop {
            while compact::step(&who.enter(), Haste::Now, now) == Outcome::Worked {}
            if compact::tidy_up(&who.enter(), true, now) != Outcome::Worked {
                break;
            }
        }
        for _ in 0..8 {
            who.enter().pin().collect();
            while self.reclaim.trash.empty(TRASH_STEP) {}
        }
        while self.segments.discard(DISCARD_STEP, true) > 0 {}
    }

    /// For tests and DEBUG: begins one resize (true: x 2, false: / 2). False if one is running,
    /// or the database was never used, or it has one shard.
    pub fn force_resize(&self, who: &mut Participant, db: DbId, up: bool) -> bool {
        migrate::force(who, db, up)
    }

    /// Whether entries take almost all of the space reserved for them.
    pub fn is_nearly_full(&self) -> bool {
        self.segments.is_nearly_full()
    }

    /// Hands a value to the helper thread, which drops it.
    pub fn discard(&self, value: Value) {
        let first = self.reclaim.trash.is_empty();
        self.reclaim.trash.push(Garbage::Value(value));
        if first {
            self.work.wake();
        }
    }

    /// Bytes that are handed out by the allocator, but gone as far as eviction is concerned: retired blocks and values,
    /// and what emptied databases held out of line.
    #[inline]
    pub fn leaving_bytes(&self) -> usize {
        self.reclaim.trash.leaving()
    }

    /// What the helper thread has freed is no longer among what is handed out.
    pub fn settle_freed(&self) {
        self.reclaim.trash.settle();
    }

    /// The part of [`memory`](Self::memory) that needs no batch.
    pub fn segment_bytes(&self) -> SegmentBytes {
        SegmentBytes {
            taken: self.segments.taken_bytes(),
            spare: self.segments.dirty_bytes(),
            waiting_to_be_freed: self.reclaim.trash.bytes(),
        }
    }

    /// What the keyspace takes, values out of line apart.
    pub fn memory(&self, who: &mut Participant) -> Memory {
        who.enter().memory()
    }
}
