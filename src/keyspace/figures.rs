//! Figures of the keyspace as a whole and of one database.

use super::bucket::SHARD_SLOTS;

/// Memory of the whole keyspace, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Segments in use.
    pub segments: usize,
    /// Of them in dead entries.
    pub dead: usize,
    /// Free segments that are still resident.
    pub spare: usize,
    /// Shard headers and blocks of buckets.
    pub tables: usize,
    /// Blocks and values that wait for the helper thread.
    pub waiting_to_be_freed: usize,
}

/// Bytes of the segments that hold keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct SegmentBytes {
    /// In use.
    pub taken: usize,
    /// Free and still resident.
    pub spare: usize,
    /// Of blocks and values that wait for the helper thread.
    pub waiting_to_be_freed: usize,
}

/// What a database's engines are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// One engine.
    #[default]
    Steady,
    /// Two, the newer one larger.
    Growing,
    /// Two, the newer one smaller.
    Shrinking,
}

/// Figures of one database.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineStats {
    /// Number of the newest engine, from 1 on.
    pub generation: u64,
    /// Its shards.
    pub shards: usize,
    /// Keys in percent of slots without overflow.
    pub load_percent: f64,
    /// Keys.
    pub keys: usize,
    /// Keys with a deadline.
    pub expires: usize,
    /// Keys moved from engine to engine, ever.
    pub keys_moved: u64,
    /// Keys dropped on the way because they were past their deadline.
    pub keys_purged: u64,
    /// What is going on.
    pub state: State,
    /// Shards of the engine that is being left, while keys are moved.
    pub shards_from: usize,
    /// How much of the hash space has been moved, in percent; 100 when nothing is going on.
    pub progress_percent: f64,
    /// Migrations that ended.
    pub migrations_done: u64,
    /// How long the last one took.
    pub last_migration_ms: u64,
    /// Locks that were not free at once.
    pub contended_locks: u64,
    /// Bytes used in segments.
    pub bytes_segments: usize,
    /// Bytes of headers and blocks.
    pub bytes_tables: usize,
    /// Bytes of dead entries.
    pub bytes_dead: usize,
}

/// Parts into which [`Fills`] divides the shards by their fill.
pub const FILL_CLASSES: usize = 11;

/// How keys are spread over the shards of one engine. Read without locks, so an estimate while keys come and go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fills {
    /// Number of the engine.
    pub generation: u64,
    /// Its shards.
    pub shards: usize,
    /// Of them moved to the next engine, or not filled from the last one yet.
    pub elsewhere: usize,
    /// Keys in the others.
    pub keys: usize,
    /// Shards by fill: below 10 %, below 20 %, …, 100 % and more of their slots.
    pub classes: [usize; FILL_CLASSES],
    /// Keys of the fullest shard.
    pub fullest: usize,
    /// Keys of the emptiest.
    pub emptiest: usize,
    /// Locks that were not free at once, of the shard where that happened most, and of all.
    pub contended_most: u64,
    /// Of all shards.
    pub contended: u64,
}

/// A stretch of an engine's hash space, as a picture shows it. Read without locks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Mean keys of the shards that serve, in percent of their slots.
    pub load_percent: f32,
    /// Share of the shards that serve: the others were moved to the next engine, or are not filled from the last one yet.
    pub serving: f32,
}

/// Shards of a cell that are looked at; it shows the mean of these.
pub(super) const SHARDS_PER_CELL: usize = 16;

/// Keys of a shard that would fill all its slots without overflow.
pub const KEYS_PER_SHARD: usize = SHARD_SLOTS;

impl Fills {
    /// Counts a shard that serves.
    pub(super) fn add(&mut self, keys: usize, contended: u32) {
        self.emptiest = self.emptiest.min(keys);
        self.fullest = self.fullest.max(keys);
        self.keys += keys;
        self.classes[(keys * 10 / SHARD_SLOTS).min(FILL_CLASSES - 1)] += 1;
        self.contended_most = self.contended_most.max(contended.into());
        self.contended += u64::from(contended);
    }
}
